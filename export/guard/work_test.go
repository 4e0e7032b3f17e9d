package guard_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
)

// nestings make a text that holds another one, by what is nested. Each is a shape that a walk over a plan could look at
// twice a level.
var nestings = map[string]func(inner string) string{
	"case else":      func(x string) string { return "CASE WHEN age = 1 THEN 2 ELSE " + x + " END" },
	"case then":      func(x string) string { return "CASE WHEN age = 1 THEN " + x + " ELSE 3 END" },
	"case when":      func(x string) string { return "CASE WHEN " + x + " = 4 THEN 5 ELSE 6 END" },
	"case two":       func(x string) string { return "CASE WHEN age = 1 THEN 2 WHEN age = 2 THEN 7 ELSE " + x + " END" },
	"if":             func(x string) string { return "if(age = 3, 4, " + x + ")" },
	"coalesce":       func(x string) string { return "coalesce(" + x + ", age)" },
	"coalesce right": func(x string) string { return "coalesce(age, " + x + ")" },
	"coalesce three": func(x string) string { return "coalesce(age, " + x + ", 3)" },
	"cast":           func(x string) string { return "CAST(CAST(" + x + " AS VARCHAR) AS INTEGER)" },
	"try cast":       func(x string) string { return "TRY_CAST(TRY_CAST(" + x + " AS DOUBLE) AS INTEGER)" },
	"nullif":         func(x string) string { return "nullif(" + x + ", 3)" },
	"plus":           func(x string) string { return "(" + x + " + age)" },
	"times":          func(x string) string { return "(" + x + " * 2)" },
	"over":           func(x string) string { return "(" + x + " / 2)::INTEGER" },
	"minus":          func(x string) string { return "(-" + x + ")" },
	"abs":            func(x string) string { return "abs(" + x + ")" },
	"greatest":       func(x string) string { return "greatest(age, " + x + ", 3)" },
	"between":        func(x string) string { return "(" + x + " BETWEEN 1 AND age)::INTEGER" },
	"in":             func(x string) string { return "(" + x + " IN (1, 2, age))::INTEGER" },
	"and or":         func(x string) string { return "((" + x + " = 1 OR age = 2) AND sex = 'F')::INTEGER" },
	"not":            func(x string) string { return "(NOT (" + x + " = 1))::INTEGER" },
	"is null":        func(x string) string { return "(" + x + " IS NULL)::INTEGER" },
	"secret":         func(x string) string { return "CASE WHEN income > 5 AND " + x + " = 1 THEN 1 ELSE 0 END" },
	"lambda":         func(x string) string { return "list_sum(list_transform([age], lambda y: y + " + x + "))::INTEGER" },
	"list":           func(x string) string { return "len([" + x + ", 1])::INTEGER" },
}

// wholes make a query of an expression.
var wholes = map[string]string{
	"projection": "SELECT count(*) FROM (SELECT %s AS x FROM adult) WHERE x > 0",
	"filter":     "SELECT sex, count(*) FROM adult WHERE %s = 1 GROUP BY 1",
	"argument":   "SELECT sex, sum(%s) FROM adult GROUP BY 1",
	"released":   "SELECT %s FROM (SELECT sex, count(*) AS age, sum(income) AS income FROM adult GROUP BY 1)",
}

// What nests is checked in steps that go with its size. Nothing here takes 2^n steps for n levels: sixty would not end.
func TestStepsGoWithSize(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	checked := 0
	for name, nest := range nestings {
		for place, whole := range wholes {
			x, depth := "age", 30
			if name == "between" || name == "nullif" { // which the engine itself writes twice a level
				depth = 7
			}
			for range depth {
				x = nest(x)
			}
			if checkSteps(t, p, fmt.Sprintf(whole, x)) {
				checked++
			} else {
				t.Logf("the engine did not take %s in %s", name, place)
			}
		}
	}
	if checked < 90 {
		t.Errorf("the engine took only %d of the texts", checked)
	}
}

// FuzzSteps nests the same shapes in any order.
func FuzzSteps(f *testing.F) {
	names := slices.Sorted(maps.Keys(nestings))
	places := slices.Sorted(maps.Keys(wholes))
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	f.Add([]byte{1, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23})
	f.Add(bytes.Repeat([]byte{3, 5, 0, 18}, 8))
	p := newPlanner(f, schemaOf(f, "testdata/schema.yaml"))
	f.Fuzz(func(t *testing.T, recipe []byte) {
		if len(recipe) == 0 {
			return
		}
		x := "age"
		for _, b := range recipe[1:min(len(recipe), 60)] {
			x = nestings[names[int(b)%len(names)]](x)
		}
		checkSteps(t, p, fmt.Sprintf(wholes[places[int(recipe[0])%len(places)]], x))
	})
}

// A common table expression that is read twice, and that by another, is written 2^n times.
func TestRepeatedRelations(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	steps := []string{
		"SELECT a.x AS x FROM prev a, prev b",
		"SELECT x FROM prev UNION ALL SELECT x FROM prev",
		"SELECT a.x AS x FROM prev a JOIN prev b ON a.x = b.x",
		"SELECT x FROM prev WHERE x IN (SELECT x FROM prev)",
		"SELECT x + (SELECT count(*) FROM prev) AS x FROM prev",
		"SELECT x FROM prev a WHERE EXISTS (SELECT 1 FROM prev b WHERE b.x = a.x)",
	}
	for _, begin := range []string{"SELECT 1 AS x", "SELECT age AS x FROM adult", "SELECT count(*) AS x FROM adult"} {
		for _, step := range steps {
			for _, depth := range []int{2, 16} {
				sql := "WITH r0 AS (" + begin + ")"
				for i := range depth {
					sql += fmt.Sprintf(", r%d AS (%s)", i+1, strings.ReplaceAll(step, "prev", fmt.Sprintf("r%d", i)))
				}
				sql += fmt.Sprintf(" SELECT count(*) FROM r%d", depth)
				if !checkSteps(t, p, sql) && depth == 2 {
					t.Errorf("the engine did not take %s", sql)
				}
			}
		}
	}
}

// checkSteps holds the steps of one check to the size of the plan, in which every expression takes some three hundred
// bytes, and its bytes to what memory can hold. It reports whether the engine took the text.
func checkSteps(t *testing.T, p *planner, sql string) bool {
	t.Helper()
	bound, err := p.bind(t.Context(), sql)
	if err != nil {
		return false
	}
	for _, mode := range []policy.Mode{policy.Exact, policy.Perturbed} {
		steps, bytes, err := guard.Work(sql, bound, p.schema, policy.DefaultRules, mode)
		if steps > len(bound.Plan) || bytes > guard.MaxWork+guard.MaxRelation {
			t.Errorf("%s: %d steps and %d bytes for %d bytes of plan (%v)\n%s", mode, steps, bytes, len(bound.Plan), problem.Of(err).Code, sql)
		}
	}
	return true
}
