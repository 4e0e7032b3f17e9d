package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/policy"
	"weir/sandbox"
)

// hostile are values on which functions and casts fail, or might, by type.
var hostile = map[string][]string{
	"BOOLEAN":   {"TRUE"},
	"INTEGER":   {"0", "-1", "2147483647", "-2147483648"},
	"BIGINT":    {"0", "-1", "9223372036854775807", "-9223372036854775808"},
	"UBIGINT":   {"0", "18446744073709551615"},
	"HUGEINT":   {"170141183460469231731687303715884105727"},
	"DOUBLE":    {"0", "-1", "'nan'", "'inf'", "'-inf'", "1e308", "1e-320"},
	"FLOAT":     {"0", "'nan'", "3e38"},
	"DECIMAL":   {"0", "-999999999999999.999", "999999999999999.999"},
	"VARCHAR":   {"''", "'a'", "'x🙂é'", "'%'", "'['", "'{\"a\": [1, }'", "'2026-02-30'", "'99999-13-77'", "'-'", "'1e999'", "repeat('ab', 2000)"},
	"DATE":      {"'infinity'", "'-infinity'", "'5877642-06-25 (BC)'", "'5881580-07-10'", "'2024-02-29'"},
	"TIMESTAMP": {"'infinity'", "'-infinity'", "'290309-12-22 (BC) 00:00:00'", "'294247-01-10 04:00:54'", "'2024-02-29 23:59:59.999999'"},
	"INTERVAL":  {"'0 days'", "'178000000 years'", "'-178000000 years'", "'1 month -40 days'"},
}

// hostileSource writes the hostile values of a type as rows of one column, NULL among them.
func hostileSource(typeName, alias string) string {
	rows := []string{"(NULL)"}
	for _, v := range hostile[typeName] {
		rows = append(rows, "("+v+")")
	}
	full := typeName
	if typeName == "DECIMAL" {
		full = "DECIMAL(18,3)"
	}
	return fmt.Sprintf("(SELECT TRY_CAST(x AS %s) AS x FROM (VALUES %s) v(x)) %s", full, strings.Join(rows, ", "), alias)
}

// TestNothingFailsOnData calls every allowed function of one row, in each of its signatures over ordinary types, and
// every cast between these, with values that they are not made for. It asks as an analyst does and runs what the guard
// writes: some values may be NULL, and no query may fail.
func TestNothingFailsOnData(t *testing.T) {
	p, ours := newPlanner(t, schemaOf(t, "testdata/schema.yaml")), lists(t, "functions.yaml")["scalars"]
	signatures := p.run(t, `SELECT DISTINCT function_name, array_to_string(parameter_types, ';'), COALESCE(varargs, '') FROM duckdb_functions() WHERE function_type = 'scalar'`)
	called, ran := map[string]bool{}, 0
	for _, row := range signatures.Rows {
		name, types := fmt.Sprint(row[0]), strings.Split(fmt.Sprint(row[1]), ";")
		if ours[name] != "total" && ours[name] != "partial" {
			continue
		}
		if more := fmt.Sprint(row[2]); more != "" {
			types = append(types, more)
		}
		sql, ok := hostileCall(name, types)
		if !ok {
			continue
		}
		if hostileRun(t, p, sql) {
			ran++
			called[name] = true
		}
	}
	for name, verdict := range ours {
		if (verdict == "total" || verdict == "partial") && !called[name] {
			t.Errorf("%s was never called", name)
		}
	}
	for from := range hostile {
		for _, to := range []string{"BOOLEAN", "TINYINT", "INTEGER", "BIGINT", "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL(4,2)", "DECIMAL(38,0)", "VARCHAR", "DATE", "TIMESTAMP", "INTERVAL",
			"TIME", "UUID", "JSON", "INTEGER[]", "STRUCT(a INTEGER)", "MAP(VARCHAR, INTEGER)", "ENUM ('a', 'b')", "TIMESTAMP WITH TIME ZONE"} {
			if hostileRun(t, p, fmt.Sprintf("SELECT count(y) FROM (SELECT CAST(x AS %s) AS y FROM %s)", to, hostileSource(from, "a"))) {
				ran++
			}
		}
	}
	t.Logf("%d calls and casts ran, of %d functions", ran, len(called))
	if ran < 300 {
		t.Errorf("only %d calls and casts ran", ran)
	}
}

// hostileCall writes a call over the hostile values of all of its parameters' types. A pattern is a constant.
func hostileCall(name string, types []string) (string, bool) {
	var from, args []string
	for i, typeName := range types {
		typeName = strings.TrimSpace(typeName)
		switch {
		case typeName == "":
			continue
		case typeName == "ANY" || typeName == "T":
			typeName = "VARCHAR"
		}
		if _, known := hostile[typeName]; !known {
			return "", false
		}
		alias := fmt.Sprintf("a%d", i)
		if constant, ok := constants[name]; ok && i > 0 {
			if i == 2 && strings.HasSuffix(name, "_escape") {
				constant = "'!'"
			}
			args = append(args, constant)
			continue
		}
		from, args = append(from, hostileSource(typeName, alias)), append(args, alias+".x")
	}
	call := fmt.Sprintf(`"%s"(%s)`, name, strings.Join(args, ", "))
	if len(args) == 0 {
		call = map[bool]string{true: name, false: name + "()"}[name == "current_date"]
	}
	sql := "SELECT count(y) FROM (SELECT " + call + " AS y"
	if len(from) > 0 {
		sql += " FROM " + strings.Join(from, ", ")
	}
	return sql + ")", true
}

// constants are what stands for patterns and their like, which must be the analyst's own.
var constants = map[string]string{
	"~~": "'%a'", "!~~": "'%a'", "~~*": "'%a'", "!~~*": "'%a'", "~~~": "'a*'", "like_escape": "'a!%'", "not_like_escape": "'a!%'", "ilike_escape": "'a!%'", "not_ilike_escape": "'a!%'",
	"regexp_matches": "'(a|b)+$'", "regexp_full_match": "'a.*'", "regexp_extract": "'a(b)?'", "strftime": "'%Y %j %U'", "string_split": "'a'", "str_split": "'a'", "split": "'a'",
	"string_to_array": "'a'", "translate": "'ab'",
}

// hostileRun asks, and reports whether the engine and the guard took the text. Once they have, nothing may fail.
func hostileRun(t *testing.T, p *planner, sql string) bool {
	t.Helper()
	program, err := p.check(t.Context(), sql, policy.Exact)
	if err != nil {
		return false
	}
	table, err := p.process.Finish(t.Context(), sandbox.Query{SQL: program.Final.SQL})
	if err != nil {
		p.close()
		t.Errorf("%s\n%v\n%s", sql, err, program.Final.SQL)
		return true
	}
	if len(table.Rows) != 1 {
		t.Errorf("%s: %v", sql, table.Rows)
	}
	return true
}
