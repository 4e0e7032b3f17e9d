package guard_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/internal/problem"
	"weir/policy"
)

// verdictCase is one query and what the guard must say of it. Cases stand in testdata/cases, each allow beside its
// nearest deny; whoever finds a new way in or a question that ought to pass adds a case there and nothing else.
type verdictCase struct {
	SQL      string      `yaml:"sql"`
	Allow    bool        `yaml:"allow"`
	Deny     string      `yaml:"deny"`   // the code
	Line     int         `yaml:"line"`   // of its place, where the case is about the place too
	Column   int         `yaml:"column"` //
	Releases int         `yaml:"releases"`
	Mode     policy.Mode `yaml:"mode"`  // default: exact
	Sizes    *bool       `yaml:"sizes"` // of a noised mode: whether groups are public
	Keys     []string    `yaml:"keys"`  // domains of the keys that the first release is guarded by
	Names    []string    `yaml:"names"`
	Why      string      `yaml:"why"`

	file string
}

func cases(t testing.TB) []verdictCase {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var all []verdictCase
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list []verdictCase
		if err := yaml.UnmarshalWithOptions(content, &list, yaml.Strict()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range list {
			if c.file = strings.TrimSuffix(filepath.Base(file), ".yaml"); c.Allow == (c.Deny != "") {
				t.Fatalf("%s: %s: a case is either allow or deny", file, c.SQL)
			}
			all = append(all, c)
		}
	}
	return all
}

func TestCases(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	for _, c := range cases(t) {
		t.Run(c.file+"/"+c.SQL, func(t *testing.T) {
			modes := []policy.Mode{policy.Exact}
			if c.Mode != "" {
				modes = []policy.Mode{c.Mode}
			} else { // what the noised modes say is in cases of their own; whatever they say must be sound
				noisedHolds(t, p, c.SQL)
			}
			for _, mode := range modes {
				program, err := p.check(t.Context(), c.SQL, mode)
				if c.Allow {
					if err != nil {
						t.Fatalf("%s: denied: %v\n%s", mode, err, c.Why)
					}
					checkProgram(t, p.schema, program)
					if c.Sizes != nil && (len(program.Releases) == 0 || *c.Sizes != (program.Releases[0].Noised.Sizes != "")) {
						t.Errorf("public groups: want %v\n%+v", *c.Sizes, program.Releases)
					}
					if c.Releases > 0 && len(program.Releases) != c.Releases {
						t.Errorf("%d guarded aggregations, want %d", len(program.Releases), c.Releases)
					}
					if len(c.Keys) > 0 && !slices.Equal(program.Releases[0].Keys, c.Keys) {
						t.Errorf("guarded by %v, want %v", program.Releases[0].Keys, c.Keys)
					}
					if len(c.Names) > 0 && !slices.Equal(program.Final.Names, c.Names) {
						t.Errorf("columns %q, want %q", program.Final.Names, c.Names)
					}
					continue
				}
				if err == nil {
					t.Fatalf("%s: allowed, want %s\n%s\n%s", mode, c.Deny, c.Why, program.Tree)
				}
				found := problem.Of(err)
				if found.Code != c.Deny {
					t.Errorf("%s: %s (%v, %v), want %s", mode, found.Code, err, found.Unwrap(), c.Deny)
				}
				if found.At.Line == 0 && strings.HasPrefix(found.Code, "guard.") {
					t.Errorf("%s has no place", found.Code)
				}
				if c.Line > 0 && found.At != (problem.Position{Line: c.Line, Column: c.Column}) {
					t.Errorf("at %d:%d, want %d:%d", found.At.Line, found.At.Column, c.Line, c.Column)
				}
			}
		})
	}
}

// noisedHolds checks a query in perturbed mode: it is refused for a reason, or its program is sound.
func noisedHolds(t *testing.T, p *planner, sql string) {
	t.Helper()
	program, err := p.check(t.Context(), sql, policy.Perturbed)
	switch {
	case err == nil:
		checkProgram(t, p.schema, program)
	case problem.Of(err).Status() >= 500:
		t.Errorf("perturbed: %v (%v)", err, problem.Of(err).Unwrap())
	}
}

// unreachable are codes that no text over an ordinary schema gets, with the test that shows them instead.
var unreachable = map[string]string{
	"guard.unlabelled":         "a data set without units is refused at intake; TestUnlabelled",
	"guard.unknown-plan":       "only a plan that the pinned engine does not write; FuzzPlan",
	"guard.unknown-expression": "only an expression that the pinned engine does not write where others are refused first; FuzzPlan",
	"guard.table-released":     "only of a table that is to be kept; gateway/testdata/tables.yaml",
	"guard.table-measure":      "only of a table that is to be kept; gateway/testdata/tables.yaml",
	"guard.table-secret":       "only of a table that is to be kept; gateway/testdata/tables.yaml",
	"guard.table-columns":      "only of a table that is to be kept; gateway/testdata/tables.yaml",
	"guard.too-complex":        "too long for a case; TestTooComplex",
}

// Every code is shown by a case, so that a rule that is lost is missed.
func TestEveryCodeHasACase(t *testing.T) {
	shown := map[string]bool{}
	for _, c := range cases(t) {
		shown[c.Deny] = true
	}
	codes, _ := problem.Codes()
	for _, code := range codes {
		if !strings.HasPrefix(code, "guard.") || shown[code] {
			continue
		}
		if unreachable[code] == "" {
			t.Errorf("no case gets %s", code)
		}
	}
	for code := range unreachable {
		if shown[code] {
			t.Errorf("%s is said to be out of reach, and a case gets it", code)
		}
	}
}

// A projection over a projection repeats its text: what doubles at each step is refused, not rendered.
func TestTooComplex(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	nested := func(steps int) string {
		inner := "SELECT age AS a FROM adult"
		for range steps {
			inner = "SELECT a + a AS a FROM (" + inner + ")"
		}
		return "SELECT count(*) FROM (" + inner + ") WHERE a > 0"
	}
	if _, err := p.check(t.Context(), nested(8), policy.Exact); err != nil {
		t.Errorf("8 steps: %v", err)
	}
	for _, steps := range []int{20, 40} {
		if _, err := p.check(t.Context(), nested(steps), policy.Exact); problem.Of(err).Code != "guard.too-complex" {
			t.Errorf("%d steps: %v", steps, err)
		}
	}
}

// Unlabelled means denied, whatever is asked.
func TestUnlabelled(t *testing.T) {
	schema := []policy.Dataset{{Name: "things", Columns: []policy.Column{{Name: "a", Type: "INTEGER", Class: policy.OpenClass}}}}
	p := newPlanner(t, schema)
	if _, err := p.check(t.Context(), "SELECT count(*) FROM things", policy.Exact); problem.Of(err).Code != "guard.unlabelled" {
		t.Errorf("got %v", err)
	}
	schema[0].Open = true
	if _, err := p.check(t.Context(), "SELECT count(*) FROM things", policy.Exact); err != nil {
		t.Errorf("declared open: %v", err)
	}
}

// A column that is not granted does not exist, and its unit key still guards.
func TestGrantedColumnsAlone(t *testing.T) {
	var schema []policy.Dataset
	for _, d := range schemaOf(t, "testdata/schema.yaml") {
		if d.Name == "adult" {
			narrow, err := d.Only([]string{"sex", "income"})
			if err != nil {
				t.Fatal(err)
			}
			schema = append(schema, narrow)
		}
	}
	p := newPlanner(t, schema)
	program, err := p.check(t.Context(), "SELECT sex, avg(income) FROM adult GROUP BY 1", policy.Exact)
	if err != nil || !slices.Equal(program.Releases[0].Keys, []string{"person"}) {
		t.Errorf("%v", err)
	}
	for _, column := range []string{"pid", "race", "__unit_0"} {
		if _, err := p.check(t.Context(), "SELECT count("+column+") FROM adult", policy.Exact); problem.Of(err).Code != "sql.unknown-column" {
			t.Errorf("%s: %v", column, err)
		}
	}
}

// Every message's example gets its code, and what it tells people to write instead passes.
func TestExamplesOfMessages(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	codes, entries := problem.Codes()
	shown := 0
	for _, code := range codes {
		e := entries[code]
		if !strings.HasPrefix(code, "guard.") && !strings.HasPrefix(code, "sql.") || e.Example == "" {
			continue // TestExamplesOfMessages of the gateway says which messages need one
		}
		t.Run(code, func(t *testing.T) {
			shown++
			modes := []policy.Mode{policy.Exact}
			if e.Mode != "" {
				modes = []policy.Mode{policy.Mode(e.Mode)}
			}
			if _, err := p.check(t.Context(), e.Example, modes[0]); problem.Of(err).Code != code {
				t.Errorf("%s\ngot %v", e.Example, err)
			}
			for _, mode := range modes {
				program, err := p.check(t.Context(), e.Instead, mode)
				if err != nil {
					t.Fatalf("%s\ngot %v", e.Instead, err)
				}
				checkProgram(t, p.schema, program)
			}
		})
	}
	if shown < 35 {
		t.Errorf("only %d examples", shown)
	}
}
