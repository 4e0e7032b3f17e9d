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
	{Name: "居民", Columns: []policy.Column{{Name: "年龄", Type: "INTEGER"}, {Name: "select", Type: "VARCHAR"}}},
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
		SQL, Code, Name string
		Line, Column    int
		Columns         []string
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
			if text := p.Error(); strings.Contains(text, "Candidate") || strings.Contains(text, "Did you mean") {
				t.Errorf("the engine's own text in %q", text)
			}
		})
	}
}

func TestBindBombs(t *testing.T) {
	var ctes strings.Builder
	ctes.WriteString("WITH a0 AS (SELECT 1)")
	for i := 1; ctes.Len() < MaxText-200; i++ {
		ctes.WriteString(", a" + itoa(i) + " AS (FROM a" + itoa(i-1) + " x, a" + itoa(i-1) + " y)")
	}
	cases := map[string]string{
		"parentheses": "SELECT " + strings.Repeat("(", 10_000) + "1" + strings.Repeat(")", 10_000),
		"subqueries":  strings.Repeat("SELECT * FROM (", 4_000) + "SELECT 1" + strings.Repeat(")", 4_000),
		"10000 CTEs":  "WITH " + numbered(10_000) + " SELECT 1",
		"doubling":    ctes.String() + " SELECT 1",
		"2500 CTEs":   "WITH " + numbered(2_500) + " SELECT 1",
		"long":        "SELECT '" + strings.Repeat("x", MaxText) + "'",
		"sum":         "SELECT 1" + strings.Repeat("+1", 30_000),
		"not":         "SELECT " + strings.Repeat("NOT ", 15_000) + "true",
		"case":        "SELECT " + strings.Repeat("CASE WHEN true THEN ", 2_500) + "1" + strings.Repeat(" END", 2_500),
	}
	for name, sql := range cases {
		t.Run(name, func(t *testing.T) {
			s := plan(t, DefaultLimits)
			_, err := s.Bind(t.Context(), sql)
			if code := problem.Of(err).Code; err == nil || code != "sql.too-large" {
				t.Errorf("%d bytes: got %v (%s)", len(sql), err, code)
			}
			s.Close()
			mustBeGone(t, s.process)
		})
	}
}
