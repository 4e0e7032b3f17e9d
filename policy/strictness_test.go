package policy_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/policy"
)

type weakeningCase struct {
	What      string
	Was, Next policy.Dataset
	Weaker    []string // kind, and the column if it is about one
}

func weakeningCases(t *testing.T) []weakeningCase {
	t.Helper()
	text, err := os.ReadFile("testdata/weakenings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []weakeningCase
	if err := yaml.UnmarshalWithOptions(text, &cases, yaml.Strict()); err != nil || len(cases) == 0 {
		t.Fatal(len(cases), err)
	}
	return cases
}

func TestWeakenings(t *testing.T) {
	seen := map[policy.WeakeningKind]bool{policy.WeakerFirst: true, policy.WeakerNoFrame: true} // found elsewhere
	for _, c := range weakeningCases(t) {
		t.Run(c.What, func(t *testing.T) {
			var got []string
			for _, w := range policy.Weakenings(&c.Was, c.Next) {
				got = append(got, strings.TrimSpace(string(w.What)+" "+w.Column))
				seen[w.What] = true
			}
			if !slices.Equal(got, c.Weaker) {
				t.Errorf("weaker in %q, want %q", got, c.Weaker)
			}
			for _, d := range []policy.Dataset{c.Was, c.Next} {
				if again := policy.Weakenings(&d, d); again != nil {
					t.Errorf("weaker than itself in %v", again)
				}
				if first := policy.Weakenings(nil, d); !slices.Equal(first, []policy.Weakening{{What: policy.WeakerFirst}}) {
					t.Errorf("a first version is weaker in %v", first)
				}
			}
		})
	}
	for _, kind := range policy.WeakeningKinds {
		if !seen[kind] {
			t.Errorf("no case of %s", kind)
		}
	}
}

// TestWeakeningsAddUp: no chain of changes that need no review leads to one that does.
func TestWeakeningsAddUp(t *testing.T) {
	var all []policy.Dataset
	for _, c := range weakeningCases(t) {
		all = append(all, c.Was, c.Next)
	}
	free := func(a, b policy.Dataset) bool { return policy.Weakenings(&a, b) == nil }
	for i, a := range all {
		for j, b := range all {
			for k, c := range all {
				if i != j && j != k && free(a, b) && free(b, c) && !free(a, c) {
					t.Errorf("cases %d, %d and %d: two steps that need no review, and %v in one", i/2, j/2, k/2, policy.Weakenings(&a, c))
				}
			}
		}
	}
}

// TestProposedCapsAreCompared: what intake proposed was reviewed, so a later proposal that is smaller is weaker.
func TestProposedCapsAreCompared(t *testing.T) {
	version := func(rows, pay, declared float64) policy.Dataset {
		return policy.Dataset{
			Units:   []policy.Unit{{Domain: "person", Key: "id", RowCap: policy.Cap{Most: rows}, Caps: map[string]policy.Cap{"pay": {Most: pay}}}},
			Columns: []policy.Column{{Name: "pay", Type: "INTEGER", Class: policy.Measure, Cap: declared}},
		}
	}
	approved := version(4, 1024, 0)
	for _, c := range []struct {
		what string
		next policy.Dataset
		want []policy.Weakening
	}{
		{"the same", version(4, 1024, 0), nil},
		{"larger", version(8, 2048, 0), nil},
		{"stated, and larger", version(4, 2000, 2000), nil},
		{"fewer rows", version(2, 1024, 0), []policy.Weakening{{What: policy.WeakerRows, Column: "id"}}},
		{"a smaller proposal", version(4, 512, 0), []policy.Weakening{{What: policy.WeakerCap, Column: "pay"}}},
		{"stated, and smaller", version(4, 1000, 1000), []policy.Weakening{{What: policy.WeakerCap, Column: "pay"}}},
		{"unknown, so nothing is summed", version(0, 0, 0), nil},
	} {
		if got := policy.Weakenings(&approved, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: weaker in %v, want %v", c.what, got, c.want)
		}
	}
}

func TestIsFrameOf(t *testing.T) {
	person, firm := []policy.Unit{{Domain: "person", Key: "a"}}, []policy.Unit{{Domain: "firm", Key: "b"}}
	register := policy.Dataset{Membership: policy.MembershipPublic, Units: person}
	for _, c := range []struct {
		what  string
		frame policy.Dataset
		of    policy.Dataset
		want  bool
	}{
		{"a register of the domain", register, policy.Dataset{Units: slices.Concat(firm, person)}, true},
		{"a register of another domain", register, policy.Dataset{Units: firm}, false},
		{"no register", policy.Dataset{Units: person}, policy.Dataset{Units: person}, false},
		{"open data", policy.Dataset{Open: true, Units: person}, policy.Dataset{Units: person}, false},
	} {
		if got := c.frame.IsFrameOf(c.of); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}
