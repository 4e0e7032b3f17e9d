package guard

import (
	"fmt"
	"strings"

	"weir/internal/problem"
)

// Windows and set operations are post-processing: over protected rows they are denied, since a window copies one
// row's value into others, and a set operation compares rows with each other.

var windowCalls = map[string]string{
	"WINDOW_ROW_NUMBER": "row_number", "WINDOW_RANK": "rank", "WINDOW_RANK_DENSE": "dense_rank",
	"WINDOW_PERCENT_RANK": "percent_rank", "WINDOW_CUME_DIST": "cume_dist", "WINDOW_NTILE": "ntile", "WINDOW_LEAD": "lead",
	"WINDOW_LAG": "lag", "WINDOW_FIRST_VALUE": "first_value", "WINDOW_LAST_VALUE": "last_value", "WINDOW_NTH_VALUE": "nth_value",
}

func (c *checker) window(n *node) (*relation, error) {
	in, err := c.child(n)
	if err != nil {
		return nil, err
	}
	list, err := n.exprs()
	if err != nil {
		return nil, problem.New("guard.unknown-plan", "what", "window").Because(err)
	}
	if in.kind == protected {
		var at *expr
		if len(list) > 0 {
			at = list[0]
		}
		return nil, c.deny(at, "guard.window")
	}
	w, _ := c.wrap(in)
	for _, e := range list {
		sql, err := c.windowSQL(e, w)
		if err != nil {
			return nil, err
		}
		w.cols = append(w.cols, value{sql: sql, typ: e.Return, sort: freeValue, name: "window", key: -1})
	}
	closed, _ := c.wrap(w) // a window may not stand in a WHERE
	return closed, nil
}

func (c *checker) windowSQL(e *expr, in *relation) (string, error) {
	name := windowCalls[e.Type]
	switch {
	case e.Class != "BOUND_WINDOW":
		return "", c.orUnknown(e, nil)
	case e.Type == "WINDOW_AGGREGATE" && aggregateVerdict(e.Name) >= afterAggregate && len(e.OriginalArgs) <= len(e.Children):
		name = quoteName(e.Name)
		if e.Name == "count_star" {
			name = "count"
		}
	case name == "":
		return "", c.deny(e, "guard.aggregate", "function", strings.ToLower(strings.TrimPrefix(e.Type, "WINDOW_")))
	}
	args, err := c.values(e, append(append([]*expr{}, e.Children...), present(e.OffsetExpr, e.DefaultExpr)...), in)
	if err != nil {
		return "", err
	}
	inside := strings.Join(sqlOf(args), ", ")
	if e.Name == "count_star" {
		inside = "*"
	}
	if e.DistinctAgg {
		inside = "DISTINCT " + inside
	}
	if len(e.ArgOrders) > 0 {
		terms, err := c.orderTerms(e.ArgOrders, in)
		if err != nil {
			return "", err
		}
		inside += " ORDER BY " + terms
	}
	if e.IgnoreNulls {
		inside += " IGNORE NULLS"
	}
	sql := name + "(" + inside + ")"
	if e.Filters != nil {
		f, err := c.values(e, []*expr{e.Filters}, in)
		if err != nil {
			return "", err
		}
		sql += " FILTER (WHERE " + f[0].sql + ")"
	}
	over, err := c.overClause(e, in)
	return sql + " OVER (" + over + ")", err
}

func (c *checker) overClause(e *expr, in *relation) (string, error) {
	var parts []string
	if len(e.Partitions) > 0 {
		p, err := c.values(e, e.Partitions, in)
		if err != nil {
			return "", err
		}
		parts = append(parts, "PARTITION BY "+strings.Join(sqlOf(p), ", "))
	}
	if len(e.Orders) > 0 {
		terms, err := c.orderTerms(e.Orders, in)
		if err != nil {
			return "", err
		}
		parts = append(parts, "ORDER BY "+terms)
	}
	start, unitS, err := c.bound(e, e.Start, e.StartExpr, in)
	if err != nil {
		return "", err
	}
	end, unitE, err := c.bound(e, e.End, e.EndExpr, in)
	if err != nil {
		return "", err
	}
	unit := max(unitS, unitE) // ROWS and RANGE are not mixed by the engine; an unbounded side has none
	if unit == "" {
		unit = "ROWS"
	}
	exclude, ok := map[string]string{"NO_OTHER": "", "CURRENT_ROW": " EXCLUDE CURRENT ROW", "GROUP": " EXCLUDE GROUP", "TIES": " EXCLUDE TIES"}[e.Exclude]
	if !ok {
		return "", c.deny(e, "guard.unknown-expression", "what", "window frame")
	}
	if e.Type == "WINDOW_AGGREGATE" || strings.HasSuffix(e.Type, "_VALUE") {
		parts = append(parts, fmt.Sprintf("%s BETWEEN %s AND %s%s", unit, start, end, exclude))
	}
	return strings.Join(parts, " "), nil
}

// bound renders one end of a window frame. The engine has added a RANGE offset to the order key already; there
// the offset itself is its second argument.
func (c *checker) bound(e *expr, kind string, at *expr, in *relation) (text, unit string, err error) {
	switch kind {
	case "UNBOUNDED_PRECEDING", "UNBOUNDED_FOLLOWING":
		return strings.ReplaceAll(kind, "_", " "), "", nil
	case "CURRENT_ROW_ROWS":
		return "CURRENT ROW", "ROWS", nil
	case "CURRENT_ROW_RANGE":
		return "CURRENT ROW", "RANGE", nil
	case "CURRENT_ROW_GROUPS":
		return "CURRENT ROW", "GROUPS", nil
	}
	for _, unit := range []string{"ROWS", "RANGE", "GROUPS"} {
		for _, side := range []string{"PRECEDING", "FOLLOWING"} {
			if kind != "EXPR_"+side+"_"+unit || at == nil {
				continue
			}
			if unit == "RANGE" {
				if len(at.Children) != 2 {
					return "", "", c.deny(e, "guard.unknown-expression", "what", "window frame")
				}
				at = at.Children[1]
			}
			v, err := c.values(e, []*expr{at}, in)
			if err != nil {
				return "", "", err
			}
			return v[0].sql + " " + side, unit, nil
		}
	}
	return "", "", c.deny(e, "guard.unknown-expression", "what", "window frame")
}

func present(list ...*expr) []*expr {
	var out []*expr
	for _, e := range list {
		if e != nil {
			out = append(out, e)
		}
	}
	return out
}

func (c *checker) setOperation(n *node) (*relation, error) {
	word := map[string]string{"LOGICAL_UNION": "UNION", "LOGICAL_EXCEPT": "EXCEPT", "LOGICAL_INTERSECT": "INTERSECT"}[n.Type]
	if len(n.Children) < 2 {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
	}
	if n.SetopAll || n.Type == "LOGICAL_UNION" {
		word += " ALL" // the engine puts a DISTINCT of its own above a UNION
	}
	out := &relation{kind: openData}
	var parts []string
	for i, child := range n.Children {
		r, err := c.relation(child)
		if err != nil {
			return nil, err
		}
		if r.kind == protected {
			return nil, c.deny(nil, "guard.set-operation", "operator", strings.ToLower(word))
		}
		if i > 0 && len(r.cols) != len(out.cols) {
			return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
		}
		w, _ := c.wrap(r)
		parts = append(parts, "("+w.selectSQL(nil)+")")
		out.kind = max(out.kind, r.kind)
		out.reads, out.data = union(out.reads, w.reads), union(out.data, w.data)
		if i == 0 {
			out.cols = w.cols
		}
	}
	out.from = "(" + strings.Join(parts, " "+word+" ") + ") AS " + c.alias()
	return c.realias(out.copyOf()), nil
}
