package guard_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// lists reads a file of verdicts as it stands, into the verdict of each name: "typed", "total", … or, for what is
// denied, the reason.
func lists(t testing.TB, path string) map[string]map[string]string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for of, list := range file {
		all[of] = map[string]string{}
		file := func(verdict string, names any) {
			for _, name := range names.([]any) {
				if have, twice := all[of][fmt.Sprint(name)]; twice {
					t.Errorf("%s: two verdicts on %s: %s and %s", of, name, have, verdict)
				}
				all[of][fmt.Sprint(name)] = verdict
			}
		}
		verdicts, ok := list.(map[string]any)
		if !ok {
			file(of, list)
			continue
		}
		for verdict, names := range verdicts {
			if reasons, ok := names.(map[string]any); ok {
				for reason, names := range reasons {
					file(reason, names)
				}
				continue
			}
			file(verdict, names)
		}
	}
	return all
}

// same holds a list of ours against the engine's: neither may have a name that the other lacks.
func same(t *testing.T, what string, ours map[string]string, engine []string) {
	t.Helper()
	if len(engine) == 0 {
		t.Errorf("%s: the engine tells no names", what)
	}
	for _, name := range engine {
		if ours[name] == "" {
			t.Errorf("%s: no verdict on %s", what, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if !slices.Contains(engine, name) {
			t.Errorf("%s: a verdict on %s, which the engine does not have", what, name)
		}
	}
}

// Every word that the engine can write into a plan has a verdict: an upgrade that brings one fails here.
func TestEveryWordHasAVerdict(t *testing.T) {
	library, ours := openEngineLibrary(t), lists(t, "plan.yaml")
	for list, enumeration := range map[string]string{
		"operators": "LogicalOperatorType", "expressions": "ExpressionClass", "kinds": "ExpressionType", "joins": "JoinType", "types": "LogicalTypeId",
		"typeInfos": "ExtraTypeInfoType", "distincts": "DistinctType", "directions": "OrderType", "nullOrders": "OrderByNullType", "frames": "WindowBoundary",
		"exclusions": "WindowExcludeMode", "aggregations": "AggregateType", "limits": "LimitNodeType", "materializations": "CTEMaterialize",
		"columnReads": "ColumnIndexType", "scanFilters": "TableFilterType", "samples": "SampleMethod", "statements": "StatementType",
	} {
		same(t, list, ours[list], library.enumeration(t, enumeration))
		delete(ours, list)
	}
	if len(ours) > 0 {
		t.Errorf("lists that no enumeration holds: %v", slices.Sorted(maps.Keys(ours)))
	}
}

// Every function, macro, pragma and type of the engine has a verdict.
func TestEveryFunctionHasAVerdict(t *testing.T) {
	p, ours := newPlanner(t, schemaOf(t, "testdata/schema.yaml")), lists(t, "functions.yaml")
	aggregates := maps.Clone(ours["aggregates"])
	maps.Copy(aggregates, ours["windows"])
	tables := maps.Clone(ours["tables"])
	maps.DeleteFunc(tables, func(_, verdict string) bool { return verdict == "macros" })
	tableMacros := maps.Clone(ours["tables"])
	maps.DeleteFunc(tableMacros, func(_, verdict string) bool { return verdict != "macros" })
	for kind, list := range map[string]map[string]string{
		"scalar": ours["scalars"], "aggregate": aggregates, "table": tables, "table_macro": tableMacros, "macro": ours["macros"], "pragma": ours["pragmas"],
	} {
		same(t, kind, list, p.names(t, "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = '"+kind+"'"))
	}
	types := lists(t, "plan.yaml")["types"]
	for _, name := range p.names(t, "SELECT DISTINCT logical_type FROM duckdb_types()") {
		if types[name] == "" {
			t.Errorf("no verdict on the type %s", name)
		}
	}
}

// What is denied stays so whatever else is allowed: names of each reason that must never be reached.
func TestWhatIsNeverAllowed(t *testing.T) {
	ours, words := lists(t, "functions.yaml"), lists(t, "plan.yaml")
	for name, reason := range map[string]string{
		"random": "random", "uuid": "random", "setseed": "random", "now": "clock", "get_current_time": "clock", "sleep_ms": "waits", "version": "catalogue",
		"stats": "catalogue", "current_setting": "session", "getvariable": "session", "nextval": "state", "write_log": "state", "json_serialize_plan": "sql",
	} {
		if ours["scalars"][name] != reason {
			t.Errorf("%s: %s, want %s", name, ours["scalars"][name], reason)
		}
	}
	for name, reason := range map[string]string{"read_csv": "files", "glob": "files", "query": "sql", "json_execute_serialized_sql": "sql", "duckdb_settings": "catalogue", "enable_logging": "state"} {
		if ours["tables"][name] != reason {
			t.Errorf("%s: %s, want %s", name, ours["tables"][name], reason)
		}
	}
	for name, verdict := range words["operators"] {
		if verdict == "typed" && (strings.Contains(name, "INSERT") || strings.Contains(name, "COPY") || strings.Contains(name, "CREATE") || name == "LOGICAL_SAMPLE") {
			t.Errorf("%s is typed", name)
		}
	}
}

// names asks the engine of the planner's process, which holds no data.
func (p *planner) names(t testing.TB, sql string) []string {
	t.Helper()
	table := p.run(t, sql)
	var names []string
	for _, row := range table.Rows {
		names = append(names, fmt.Sprint(row[0]))
	}
	return names
}

func (p *planner) run(t testing.TB, sql string) sandbox.Table {
	t.Helper()
	if _, err := p.bind(p.alive, "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	table, err := p.process.Finish(p.alive, sandbox.Query{SQL: sql})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return table
}

// The aggregate that only a process with data has is denied to a planner that was taken over and names it in a plan.
func TestOurAggregateIsNobodys(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	bound, err := p.bind(t.Context(), "SELECT sex, sum(hours_per_week) FROM adult GROUP BY sex")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Check("", bound, p.schema, policy.DefaultRules, policy.Exact); err != nil {
		t.Fatalf("the plan as it is: %v", err)
	}
	bound.Plan = bytes.ReplaceAll(bound.Plan, []byte(`"name":"sum"`), []byte(`"name":"`+sandbox.Fingerprint+`"`))
	if !bytes.Contains(bound.Plan, []byte(sandbox.Fingerprint)) {
		t.Fatal("the plan does not name it")
	}
	if _, err := guard.Check("", bound, p.schema, policy.DefaultRules, policy.Exact); problem.Of(err).Code != "guard.aggregate" {
		t.Errorf("%v", err)
	}
}
