package guard

import (
	"fmt"
	"strings"

	"weir/internal/problem"
)

// Windows are post-processing. Over protected rows a window is allowed where it is partitioned by every unit key, so
// that it copies values between one unit's own rows alone; everything else compares rows of different units.

var windowCalls = map[string]string{
	"WINDOW_ROW_NUMBER": "row_number", "WINDOW_RANK": "rank", "WINDOW_RANK_DENSE": "dense_rank",
	"WINDOW_PERCENT_RANK": "percent_rank", "WINDOW_CUME_DIST": "cume_dist", "WINDOW_NTILE": "ntile", "WINDOW_LEAD": "lead",
	"WINDOW_LAG": "lag", "WINDOW_FIRST_VALUE": "first_value", "WINDOW_LAST_VALUE": "last_value", "WINDOW_NTH_VALUE": "nth_value",
	"WINDOW_FILL": "fill",
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
	w := c.wrap(in)
	for _, e := range list {
		if err := c.wordsOfExpr(e); err != nil {
			return nil, err
		}
		if e.Return.use() == typeDenied {
			return nil, c.deny(e, "guard.unknown-type", "type", e.Return.ID)
		}
		v := value{typ: e.Return, sort: freeValue, name: "window", key: -1}
		if in.kind == protected {
			if v, err = c.unitWindow(e, w); err != nil {
				return nil, err
			}
		}
		if v.sql, err = c.windowSQL(e, w); err != nil {
			return nil, err
		}
		if in.kind == protected && c.noised() {
			if v.once = false; e.Return.numeric() {
				v.within = c.rangeOfWindow(e, w)
			}
		}
		if in.kind != protected {
			if v.margin, err = c.windowMargin(e, w); err != nil {
				return nil, err
			}
			args, err := c.values(e, e.Children, w)
			if err != nil {
				return nil, err
			}
			v.typ = returned(e, args)
		}
		if v.sort == measureValue {
			v.poly = c.measure(atom{of: v.name, sql: "CAST(" + v.sql + " AS DOUBLE)"})
		}
		w.cols = append(w.cols, v)
	}
	closed := c.wrap(w) // a window may not stand in a WHERE
	return closed, nil
}

// unitWindow types a window over protected rows: a fact about the unit whose rows it runs over.
func (c *checker) unitWindow(e *expr, in *relation) (value, error) {
	var by []value
	for _, p := range e.Partitions {
		v, err := c.expr(p, in)
		if err != nil {
			return value{}, err
		}
		by = append(by, v)
	}
	if !perUnit(in, by) || e.Type == "WINDOW_AGGREGATE" && aggregateVerdict(e.Name) < unitAggregate {
		return value{}, c.deny(e, "guard.window")
	}
	args, err := c.values(e, append(append([]*expr{}, e.Children...), present(e.DefaultExpr, e.Filters)...), in)
	if err != nil {
		return value{}, err
	}
	if counted := map[string]int{"WINDOW_NTILE": 0, "WINDOW_NTH_VALUE": 1}; len(e.Children) > 0 {
		if at, ok := counted[e.Type]; ok && (at >= len(args) || !wholeConstant(args[at], 1)) {
			return value{}, c.deny(e, "guard.window-frame")
		}
	}
	v := derived("", returned(e, args), "window", args...)
	v.sort, v.sides = plainValue, in.with // it may tell the rows of a side apart
	for _, o := range e.Orders {
		of, err := c.values(e, []*expr{o.Expression}, in)
		if err != nil {
			return value{}, err
		}
		v.sensitive = v.sensitive || of[0].sensitive
		v.derives(of)
	}
	v.semi, v.raw = true, true
	if e.Type == "WINDOW_AGGREGATE" && e.Return.numeric() && e.Filters == nil && len(e.Orders) == 0 && len(args) == 1 && args[0].sort == measureValue {
		if v.name = computed; bareMeasures(args) {
			v.sort, v.name = measureValue, drawnForFact(e.Name, args)
		}
	}
	return v, nil
}

func (c *checker) windowSQL(e *expr, in *relation) (string, error) {
	name := windowCalls[e.Type]
	switch {
	case e.Class != "BOUND_WINDOW":
		return "", c.orUnknown(e, nil)
	case e.Type == "WINDOW_AGGREGATE" && aggregateVerdict(e.Name) >= afterAggregate:
		name = quoteName(e.Name)
		if e.Name == "count_star" {
			name = "count"
		}
	case !windows[name]:
		return "", c.deny(e, "guard.aggregate", "function", strings.ToLower(strings.TrimPrefix(e.Type, "WINDOW_")))
	}
	inside, err := c.arguments(e, append(append([]*expr{}, e.Children...), present(e.OffsetExpr, e.DefaultExpr)...), e.DistinctAgg, e.ArgOrders, in)
	if err != nil {
		return "", err
	}
	if e.IgnoreNulls {
		inside += " IGNORE NULLS"
	}
	after, err := c.windowTail(e, in)
	return name + "(" + inside + ")" + after, err
}

// windowTail renders what stands behind the parentheses of a window.
func (c *checker) windowTail(e *expr, in *relation) (string, error) {
	tail := ""
	if e.Filters != nil {
		f, err := c.values(e, []*expr{e.Filters}, in)
		if err != nil {
			return "", err
		}
		tail = " FILTER (WHERE " + f[0].sql + ")"
	}
	over, err := c.overClause(e, in)
	return tail + " OVER (" + over + ")", err
}

func (c *checker) overClause(e *expr, in *relation) (string, error) {
	var parts []string
	if len(e.Partitions) > 0 {
		var by []string
		for _, p := range e.Partitions {
			v, err := c.expr(p, in)
			if err != nil {
				return "", err
			}
			if in.kind == protected && v.sort >= textValue && v.sort != keyValue {
				return "", c.denyValue(e, v)
			}
			by = append(by, v.sql)
		}
		for _, k := range in.keys {
			by = append(by, k.sql)
		}
		parts = append(parts, "PARTITION BY "+strings.Join(by, ", "))
	}
	if len(e.Orders) > 0 {
		terms, err := c.frameOrder(e, in)
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

// frameOrder renders the order of a window. The engine adds the distances of a RANGE frame to the order's value in each row,
// and fails where that overflows: over protected rows it is made a DOUBLE, which does not.
func (c *checker) frameOrder(e *expr, in *relation) (string, error) {
	terms, values, err := c.ordering(e.Orders, in)
	if err != nil || in.kind != protected || !strings.HasSuffix(e.Start, "ING_RANGE") && !strings.HasSuffix(e.End, "ING_RANGE") {
		return strings.Join(terms, ", "), err
	}
	if len(terms) != 1 || !values[0].typ.numeric() {
		return "", c.deny(e, "guard.window-frame")
	}
	return "CAST(" + values[0].sql + " AS DOUBLE)" + strings.TrimPrefix(terms[0], values[0].sql), nil
}

// wholeConstant reports whether a value is a number that the analyst wrote, and no less than that.
func wholeConstant(v value, least float64) bool {
	t, constant := v.poly.terms[""]
	return v.sort == constantValue && constant && t.coefficient >= least && t.coefficient <= 1e15
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
			if in.kind == protected && !wholeConstant(v[0], 0) {
				return "", "", c.deny(e, "guard.window-frame")
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
