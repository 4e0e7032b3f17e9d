package guard_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// shared is the folder beside the project that may hold more attacks. Without it the cases are the seeds, which
// cover the same code.
const shared = "../../../shared/attacks"

func seeds(t testing.TB) []string {
	var texts []string
	for _, c := range cases(t) {
		texts = append(texts, c.SQL)
	}
	files, _ := filepath.Glob(filepath.Join(shared, "*.jsonl"))
	if len(files) == 0 {
		t.Logf("no attacks in %s: the committed cases are the only seeds", shared)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var line struct {
				SQL   string
				Steps []string
			}
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			texts = append(texts, line.Steps...)
			if line.SQL != "" {
				texts = append(texts, line.SQL)
			}
		}
		f.Close()
	}
	return texts
}

// FuzzCheck gives any text to the engine and what it makes of it to the guard: never a panic, and never a program
// that lets a protected row out.
func FuzzCheck(f *testing.F) {
	for _, sql := range seeds(f) {
		f.Add(sql)
	}
	p := newPlanner(f, schemaOf(f, "testdata/schema.yaml"))
	f.Fuzz(func(t *testing.T, sql string) {
		bound, err := p.bind(t.Context(), sql)
		if err != nil {
			return
		}
		for _, mode := range []policy.Mode{policy.Exact, policy.Perturbed} {
			program, err := guard.Check(sql, bound, p.schema, policy.DefaultRules, mode)
			if err == nil {
				checkProgram(t, p.schema, program)
			}
		}
	})
}

// plans are what the engine makes of the seeds.
func plans(t testing.TB, p *planner) []sandbox.Bound {
	var all []sandbox.Bound
	for _, sql := range seeds(t) {
		if bound, err := p.bind(p.alive, sql); err == nil {
			all = append(all, bound)
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d plans", len(all))
	}
	return all
}

// checkPlan holds the guard to the same, whoever wrote the plan: a planner process that was taken over may write
// what it likes.
func checkPlan(t testing.TB, schema []policy.Dataset, plan []byte, names []string) {
	for _, mode := range []policy.Mode{policy.Exact, policy.Perturbed} {
		program, err := guard.Check("SELECT 1", sandbox.Bound{Plan: plan, Names: names}, schema, policy.DefaultRules, mode)
		if err == nil {
			checkProgram(t, schema, program)
		}
	}
}

// FuzzPlan gives the guard plans that no engine wrote.
func FuzzPlan(f *testing.F) {
	schema := schemaOf(f, "testdata/schema.yaml")
	for _, bound := range plans(f, newPlanner(f, schema)) {
		if len(bound.Plan) < 6000 { // the fuzzer is slow with long inputs; TestChangedPlans has them all
			f.Add([]byte(bound.Plan), len(bound.Names))
		}
	}
	f.Fuzz(func(t *testing.T, plan []byte, columns int) {
		names := make([]string, min(max(columns, 0), 100))
		for i := range names {
			names[i] = fmt.Sprintf("n%d", i)
		}
		checkPlan(t, schema, plan, names)
	})
}

// TestChangedPlans changes the engine's plans where they have a structure, which random bytes seldom hit: a part
// is taken away, doubled, or put in another's place.
func TestChangedPlans(t *testing.T) {
	schema := schemaOf(t, "testdata/schema.yaml")
	all := plans(t, newPlanner(t, schema))
	r := rand.New(rand.NewPCG(1, 2))
	changes := 10
	if testing.Short() {
		changes = 4
	}
	for i, bound := range all {
		for range changes {
			tree, other := parsed(t, bound.Plan), parsed(t, all[r.IntN(len(all))].Plan)
			for range 1 + r.IntN(2) {
				change(r, tree, other)
			}
			text, err := json.Marshal(tree)
			if err != nil {
				continue // a part was put into itself
			}
			checkPlan(t, schema, text, bound.Names)
		}
		if t.Failed() {
			t.Fatalf("plan %d", i)
		}
	}
}

func parsed(t testing.TB, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// place is somewhere in a tree where a value can be put.
type place struct {
	name string
	get  func() any
	set  func(any)
}

func places(tree any) []place {
	var all []place
	switch v := tree.(type) {
	case map[string]any:
		var names []string
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, place{name, func() any { return v[name] }, func(x any) { v[name] = x }})
			all = append(all, places(v[name])...)
		}
	case []any:
		for i := range v {
			all = append(all, place{"", func() any { return v[i] }, func(x any) { v[i] = x }})
			all = append(all, places(v[i])...)
		}
	}
	return all
}

func change(r *rand.Rand, tree, other any) {
	here := places(tree)
	at := here[r.IntN(len(here))]
	switch r.IntN(6) {
	case 0:
		at.set(nil)
	case 1: // a part of the same name from another plan
		same := slices.DeleteFunc(places(other), func(p place) bool { return p.name != at.name })
		if len(same) > 0 {
			at.set(same[r.IntN(len(same))].get())
		}
	case 2: // another part of this plan
		from := here[r.IntN(len(here))].get()
		if text, err := json.Marshal(from); err == nil { // a copy, so that the tree stays one
			var value any
			if json.Unmarshal(text, &value) == nil {
				at.set(value)
			}
		}
	case 3:
		if list, ok := at.get().([]any); ok && len(list) > 0 {
			at.set(append(slices.Clone(list), list[r.IntN(len(list))]))
		} else {
			at.set([]any{})
		}
	case 4:
		at.set([]any{json.Number("0"), json.Number("1"), json.Number("-1"), json.Number("18446744073709551615"), "LOGICAL_GET", "'\"--", true, map[string]any{}}[r.IntN(8)])
	case 5: // the wrong column
		refs := slices.DeleteFunc(here, func(p place) bool { return p.name != "index" })
		if len(refs) > 0 {
			refs[r.IntN(len(refs))].set(json.Number(fmt.Sprint(r.IntN(6))))
		}
	}
}

// What is deep is refused and does not exhaust the stack.
func TestDeepPlans(t *testing.T) {
	schema := schemaOf(t, "testdata/schema.yaml")
	for _, depth := range []int{10, 300, 3000} {
		plan := strings.Repeat(`{"type":"LOGICAL_PROJECTION","expressions":[],"children":[`, depth) +
			`{"type":"LOGICAL_DUMMY_SCAN"}` + strings.Repeat("]}", depth)
		checkPlan(t, schema, []byte(plan), []string{"a"})
	}
}
