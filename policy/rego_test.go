package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

// regoTests parses the tests that stand beside the rules.
func regoTests(t testing.TB) map[string]*ast.Module {
	t.Helper()
	names, err := filepath.Glob("rego/weir/*/*_test.rego")
	if err != nil || len(names) == 0 {
		t.Fatalf("no rego tests: %v", err)
	}
	modules := map[string]*ast.Module{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		modules[name], err = ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Fatal(err)
		}
	}
	return modules
}

// runRego runs the rego tests over some rules. tracer may be nil.
func runRego(ctx context.Context, modules, tests map[string]*ast.Module, tracer *cover.Cover) (int, error) {
	all := maps.Clone(modules)
	maps.Copy(all, tests)
	db := inmem.New()
	txn, err := db.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		return 0, err
	}
	defer db.Abort(ctx, txn)
	runner := tester.NewRunner().SetStore(db).SetModules(all).RaiseBuiltinErrors(false)
	if tracer != nil {
		runner = runner.SetCoverageQueryTracer(tracer)
	}
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		return 0, err
	}
	var failed []error
	count := 0
	for result := range results {
		count++
		if !result.Pass() || result.Skip {
			failed = append(failed, fmt.Errorf("%s.%s: %v", result.Package, result.Name, result.Error))
		}
	}
	return count, errors.Join(failed...)
}

// TestRego runs the rego tests and holds what they cover of the rules to all of it.
func TestRego(t *testing.T) {
	modules, tracer := embeddedRules(t), cover.New()
	count, err := runRego(t.Context(), modules, regoTests(t), tracer)
	if err != nil {
		t.Fatal(err)
	}
	if count < 15 {
		t.Errorf("only %d rego tests ran", count)
	}
	decisions := []examples{queryExamples(t), actExamples(t)}
	for _, x := range decisions {
		coverDecisions(t, modules, tracer, x)
	}
	report := tracer.Report(modules)
	for name := range modules {
		for _, gap := range report.Files[name].NotCovered {
			t.Errorf("%s:%d is never evaluated", name, gap.Start.Row)
		}
	}
	t.Logf("%d rego tests, %d lines of rules and tests covered", count, report.CoveredLines)
}

// coverDecisions asks the cases of a data file under the eyes of the coverage tracer.
func coverDecisions(t *testing.T, modules map[string]*ast.Module, tracer *cover.Cover, x examples) {
	t.Helper()
	prepared, err := prepare(t.Context(), x.decision, modules)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range x.questions {
		if _, err := prepared.Eval(t.Context(), rego.EvalInput(map[string]any(q.facts)), rego.EvalQueryTracer(tracer)); err != nil {
			t.Error(err)
		}
	}
}

// mutant is a set of rules in which one condition has been taken out.
type mutant struct {
	name    string
	modules map[string]*ast.Module
}

// mutants takes out every condition of every rule, one at a time, also inside "every" and "else".
func mutants(modules map[string]*ast.Module) []mutant {
	var all []mutant
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		for i := range conditions(modules[file]) {
			changed := modules[file].Copy()
			place := conditions(changed)[i]
			gone := (*place.body)[place.index]
			name := fmt.Sprintf("%s:%d %s", file, gone.Location.Row, strings.TrimSpace(string(gone.Location.Text)))
			rest := slices.Concat((*place.body)[:place.index], (*place.body)[place.index+1:])
			if len(rest) == 0 {
				rest = ast.NewBody(ast.NewExpr(ast.BooleanTerm(true)))
			}
			*place.body = rest
			with := maps.Clone(modules)
			with[file] = changed
			all = append(all, mutant{name, with})
		}
	}
	return all
}

// condition is a place in a module: one expression of a body.
type condition struct {
	body  *ast.Body
	index int
}

func conditions(module *ast.Module) []condition {
	var all []condition
	var enter func(body *ast.Body)
	enter = func(body *ast.Body) {
		for i, expr := range *body {
			if expr.Generated {
				continue
			}
			all = append(all, condition{body, i})
			if every, ok := expr.Terms.(*ast.Every); ok {
				enter(&every.Body)
			}
		}
	}
	for _, rule := range module.Rules {
		if rule.Default {
			continue
		}
		for branch := rule; branch != nil; branch = branch.Else {
			enter(&branch.Body)
		}
	}
	return all
}

// TestEveryConditionMatters takes every condition out of the rules, one at a time. Some case of the data files, some
// missing fact or some rego test must notice; a condition whose absence nobody notices protects nobody.
func TestEveryConditionMatters(t *testing.T) {
	queries, acts := queryExamples(t), actExamples(t)
	queries.questions = append(queries.questions, spoiled(t, queries.allowed()[0])...)
	for _, q := range acts.allowed() {
		acts.questions = append(acts.questions, spoiled(t, q)...)
	}
	decisions := map[string]examples{"query": queries, "act": acts}
	tests := regoTests(t)
	all := mutants(embeddedRules(t))
	if len(all) < 100 {
		t.Fatalf("only %d conditions found", len(all))
	}
	for _, m := range all {
		if !noticed(t, m, decisions, tests) {
			t.Errorf("nothing notices the absence of %s", m.name)
		}
	}
	t.Logf("%d conditions taken out one at a time", len(all))
}

func noticed(t *testing.T, m mutant, decisions map[string]examples, tests map[string]*ast.Module) bool {
	for room, x := range decisions {
		if !strings.Contains(m.name, "/"+room+"/") && !strings.Contains(m.name, "/person/") {
			continue // these rules cannot have changed this decision
		}
		prepared, err := prepare(t.Context(), x.decision, m.modules)
		if err != nil {
			return true
		}
		for _, q := range x.questions {
			if judge(t.Context(), prepared, q) != nil {
				return true
			}
		}
	}
	_, err := runRego(t.Context(), m.modules, tests, nil)
	return err != nil
}

// TestSides compares the table of sides in the rules with the one that account creation uses.
func TestSides(t *testing.T) {
	var options []func(*rego.Rego)
	for _, module := range embeddedRules(t) {
		options = append(options, rego.ParsedModule(module))
	}
	results, err := rego.New(append(options, rego.Query("data.weir.person.sides"))...).Eval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := results[0].Expressions[0].Value.(map[string]any)
	if len(found) != len(duties.Roles) || len(duties.Roles) != len(Roles) {
		t.Errorf("%d roles in the rules, %d in the matrix, %d roles", len(found), len(duties.Roles), len(Roles))
	}
	for _, role := range Roles {
		if found[string(role)] != string(Needs(role)) || Needs(role) == "" {
			t.Errorf("%s needs %v in the rules and %q in the matrix", role, found[string(role)], Needs(role))
		}
	}
}
