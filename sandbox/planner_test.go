package sandbox

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
	"weir/policy"
)

var schema = []policy.Dataset{
	{Name: "residents", Columns: []policy.Column{
		{Name: "id", Type: "VARCHAR"}, {Name: "年龄", Type: "int"}, {Name: "district", Type: "text"},
		{Name: "born", Type: "DATE"}, {Name: "income", Type: "decimal(12,2)"},
	}},
	{Name: "居民", Columns: []policy.Column{{Name: "年龄", Type: "INTEGER"}, {Name: "select", Type: "VARCHAR"}, {Name: "建筑面积(㎡)", Type: "DOUBLE"}}},
}

func plan(t testing.TB, l Limits) *Planning {
	t.Helper()
	s, err := NewPlanner(worker, l).Start(t.Context(), schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// All texts go to one process: a refusal must not spoil it.
func TestBind(t *testing.T) {
	var cases []struct {
		SQL, Code, Name, Says, Silent string
		Line, Column                  int
		Columns                       []string
	}
	content, err := os.ReadFile("testdata/texts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(content, &cases, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	s := plan(t, DefaultLimits)
	for _, c := range cases {
		t.Run(c.SQL, func(t *testing.T) {
			bound, err := s.Bind(t.Context(), c.SQL)
			if c.Code == "" {
				if err != nil {
					t.Fatal(err)
				}
				var columns []string
				for i := range bound.Names {
					columns = append(columns, bound.Names[i]+" "+bound.Types[i])
				}
				if diff := cmp.Diff(c.Columns, columns); diff != "" {
					t.Error(diff)
				}
				var node struct{ Type string }
				if err := json.Unmarshal(bound.Plan, &node); err != nil || !strings.HasPrefix(node.Type, "LOGICAL_") {
					t.Errorf("no plan: %v %.100s", err, bound.Plan)
				}
				return
			}
			p := problem.Of(err)
			if err == nil || p.Code != c.Code || p.At != (problem.Position{Line: c.Line, Column: c.Column}) {
				t.Errorf("got %v at %+v, want %s at %d:%d", err, p.At, c.Code, c.Line, c.Column)
			}
			if c.Name != "" && !strings.Contains(p.In(problem.English).Detail, `"`+c.Name+`"`) {
				t.Errorf("%q does not name %s", p.In(problem.English).Detail, c.Name)
			}
			text := p.Error()
			if !strings.Contains(text, c.Says) || c.Silent != "" && strings.Contains(text, c.Silent) {
				t.Errorf("%q, want it to say %q and not %q", text, c.Says, c.Silent)
			}
			if strings.Contains(text, "Candidate") || strings.Contains(text, "Did you mean:") || strings.Contains(text, "[[") {
				t.Errorf("the engine's own text in %q", text)
			}
		})
	}
}
