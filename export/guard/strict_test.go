package guard_test

import (
	"regexp"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
)

// anything are the parts of a plan that are read and not used.
var anything = regexp.MustCompile(`arguments":\[[^]]*\]`)

// A plan that says more than the rules know is refused, wherever in it that stands; so is one that says something twice.
func TestStrictPlans(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	const sql = "SELECT sex, sum(income) FROM adult JOIN (VALUES (1 + 1)) v(n) ON age > n WHERE age > 30 GROUP BY sex ORDER BY sex LIMIT 3"
	bound, err := p.bind(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what, plan string) {
		t.Helper()
		changed := bound
		changed.Plan = []byte(plan)
		if _, err := guard.Check(sql, changed, p.schema, policy.DefaultRules, policy.Exact); err == nil || problem.Of(err).Code != "guard.unknown-plan" {
			t.Errorf("%s: %v", what, err)
		}
	}
	plan := anything.ReplaceAllString(string(bound.Plan), `arguments":[]`)
	bound.Plan = []byte(plan)
	if _, err := guard.Check(sql, bound, p.schema, policy.DefaultRules, policy.Exact); err == nil || problem.Of(err).Code != "guard.fan-out" {
		t.Fatal(err)
	}
	refused("what follows", plan+"{}")
	objects := 0
	for at := range plan {
		if !strings.HasPrefix(plan[at:], `{"`) {
			continue
		}
		objects++
		name, _, _ := strings.Cut(plan[at+2:], `"`)
		refused("a field more at "+plan[at:min(at+60, len(plan))], plan[:at+1]+`"added":null,`+plan[at+1:])
		refused("a field twice at "+plan[at:min(at+60, len(plan))], plan[:at+1]+`"`+name+`":null,`+plan[at+1:])
	}
	if objects < 50 {
		t.Errorf("only %d objects in %s", objects, plan)
	}
}
