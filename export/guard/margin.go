package guard

import (
	"strings"

	"weir/policy"
)

// Error bounds of released figures. The export filter puts a column beside each cell that says how far noise may have
// moved it; here that is carried through what is done with the cells afterwards, so that it can be shown beside every
// value that is made of them. Arithmetic adds up the worst cases. Choices are taken as they fell: a bound speaks of
// how far a value is from what the same rows, in the same order, would give with the figures as they are.

// margin says how far a value over released data may be from what it stands for. The zero value: that is not known.
type margin struct {
	sql  string // a DOUBLE, over the relation; NULL where it is not known
	none bool   // not at all: no noise went into it
}

var noMargin = margin{none: true}

// maxMargin bounds the SQL of a margin: products of products repeat their factors.
const maxMargin = 4096

func (m margin) known() bool { return m.none || m.sql != "" }

func (m margin) text() string {
	if m.none {
		return "CAST(0 AS DOUBLE)"
	}
	return m.sql
}

// gone is what is left of a margin where it cannot be carried along.
func (m margin) gone() margin { return margin{none: m.none} }

func marginSQL(sql string) margin {
	if len(sql) > maxMargin {
		return margin{}
	}
	return margin{sql: sql}
}

func asDouble(sql string) string { return "TRY_CAST(" + sql + " AS DOUBLE)" }

// margins gives the margins of values; ok where all are known.
func margins(of []value) (list []string, ok bool) {
	for _, v := range of {
		if !v.margin.known() {
			return nil, false
		}
		list = append(list, v.margin.text())
	}
	return list, true
}

// exact reports whether no noise went into any of the values.
func exact(of []value) bool {
	for _, v := range of {
		if !v.margin.none && v.sort != constantValue {
			return false
		}
	}
	return true
}

// marginOfCall is the margin of a call, where it follows from those of its arguments.
func marginOfCall(name string, args []value, to typ) margin {
	if exact(args) {
		return noMargin
	}
	m, ok := margins(args)
	if !ok || !to.numeric() {
		return margin{}
	}
	switch {
	case len(args) == 2 && (name == "+" || name == "-"):
		return marginSQL("(" + m[0] + " + " + m[1] + ")")
	case len(args) == 2 && name == "*":
		a, b := "abs("+asDouble(args[0].sql)+")", "abs("+asDouble(args[1].sql)+")"
		return marginSQL("TRY(" + a + " * " + m[1] + " + " + b + " * " + m[0] + " + " + m[0] + " * " + m[1] + ")")
	case len(args) == 2 && name == "/":
		return quotientMargin(args[0].sql, args[1].sql, m[0], m[1])
	case len(args) == 1 && (name == "-" || name == "+" || name == "abs" || name == "@"):
		return marginSQL(m[0])
	case len(args) == 1 && name == "round":
		return marginSQL("(" + m[0] + " + 0.5)")
	case len(args) == 2 && name == "round" && args[1].sort == constantValue:
		return marginSQL("(" + m[0] + " + 0.5 * pow(10.0, -" + asDouble(args[1].sql) + "))")
	case len(args) == 1 && (name == "ceil" || name == "ceiling" || name == "floor" || name == "trunc"):
		return marginSQL("(" + m[0] + " + 1.0)")
	case name == "greatest" || name == "least": // which pass over NULLs
		return marginSQL("(CASE WHEN " + strings.Join(m, " IS NOT NULL AND ") + " IS NOT NULL THEN GREATEST(" + strings.Join(m, ", ") + ") END)")
	}
	return margin{}
}

// quotientMargin is that of a/b: (Δa + |a/b| Δb) / (|b| - Δb), as long as b cannot be zero.
func quotientMargin(a, b, ofA, ofB string) margin {
	a, b = "abs("+asDouble(a)+")", "abs("+asDouble(b)+")"
	rest := "(" + b + " - " + ofB + ")"
	return marginSQL("TRY(CASE WHEN " + rest + " > 0 THEN (" + ofA + " + " + a + " / " + b + " * " + ofB + ") / " + rest + " END)")
}

// castMargin is that of a number that was cast: it may have been rounded to its new type's digits.
func castMargin(v value, to typ) margin {
	switch {
	case v.margin.none || v.sort == constantValue:
		return noMargin
	case !v.margin.known() || !v.typ.numeric() || !to.numeric():
		return margin{}
	case to.integer() && !v.typ.integer():
		return marginSQL("(" + v.margin.sql + " + 0.5)")
	case to.ID == "DECIMAL" && !widens(v.typ, to):
		return marginSQL("(" + v.margin.sql + " + 0.5 * pow(10.0, -" + itoa(to.Info.Scale) + "))")
	}
	return v.margin
}

// caseMargin is that of a CASE: the chosen branch's.
func caseMargin(when []string, then []value, to typ) margin {
	if exact(then) {
		return noMargin
	}
	m, ok := margins(then)
	if !ok || !to.numeric() {
		return margin{}
	}
	sql := "(CASE"
	for i, w := range when {
		sql += " WHEN " + w + " THEN " + m[i]
	}
	return marginSQL(sql + " ELSE " + m[len(when)] + " END)")
}

// firstMargin is that of COALESCE: of the first value that is there.
func firstMargin(args []value, to typ) margin {
	var when []string
	for _, a := range args[:len(args)-1] {
		when = append(when, "("+a.sql+" IS NOT NULL)")
	}
	return caseMargin(when, args, to)
}

// aggregateMargin is that of an aggregate over released rows. What stands between the parentheses is replaced by its
// margin, with the condition, and the window where there is one, as they are.
func aggregateMargin(name string, args []value, to typ, distinct bool, after string) margin {
	if exact(args) {
		return noMargin
	}
	m, ok := margins(args)
	if !ok || !to.numeric() || distinct || len(args) != 1 {
		return margin{}
	}
	switch name {
	case "count": // of rows that are as they are
		return noMargin
	case "first":
		return marginSQL(quoteName(name) + "(" + m[0] + ")" + after)
	case "sum", "sum_no_overflow", "avg", "mean":
	case "min", "max":
		name = "max"
	default:
		return margin{}
	}
	known := "count(" + args[0].sql + ")" + after + " = count(" + m[0] + ")" + after // else one that is not known would be passed over
	return marginSQL("(CASE WHEN " + known + " THEN " + quoteName(name) + "(" + m[0] + ")" + after + " END)")
}

// marginAfter is the margin of an aggregate over released rows, as plainAggregate renders it.
func (c *checker) marginAfter(e *expr, in *relation) (margin, error) {
	args, err := c.values(e, e.Children, in)
	if err != nil || e.OrderBys != nil && len(e.OrderBys.Orders) > 0 {
		return margin{none: exact(args)}, err
	}
	after := ""
	if e.Filter != nil {
		f, err := c.values(e, []*expr{e.Filter}, in)
		if err != nil {
			return margin{}, err
		}
		after = " FILTER (WHERE " + f[0].sql + ")"
	}
	return aggregateMargin(e.Name, args, e.Return, e.AggregateType == "DISTINCT", after), nil
}

// windowMargin is the margin of a window over released rows, as windowSQL renders it.
func (c *checker) windowMargin(e *expr, in *relation) (margin, error) {
	args, err := c.values(e, append(append([]*expr{}, e.Children...), present(e.DefaultExpr)...), in)
	if err != nil {
		return margin{}, err
	}
	if len(args) == 0 && windowCalls[e.Type] != "" { // a place among others moves when they do
		for _, o := range e.Orders {
			if args, err = c.values(e, []*expr{o.Expression}, in); err != nil || !exact(args) {
				return margin{}, err
			}
		}
		return noMargin, nil
	}
	if exact(args) {
		return noMargin, nil
	}
	if len(e.ArgOrders) > 0 || e.IgnoreNulls || len(args) != 1 || !args[0].margin.known() || !e.Return.numeric() {
		return margin{}, nil
	}
	after, err := c.windowTail(e, in)
	if err != nil {
		return margin{}, err
	}
	switch name := windowCalls[e.Type]; name {
	case "first_value", "last_value":
		return marginSQL(name + "(" + args[0].margin.text() + ")" + after), nil
	case "lag", "lead":
		if e.OffsetExpr != nil {
			offset, err := c.values(e, []*expr{e.OffsetExpr}, in)
			if err != nil {
				return margin{}, err
			}
			return marginSQL(name + "(" + args[0].margin.text() + ", " + offset[0].sql + ")" + after), nil
		}
		return marginSQL(name + "(" + args[0].margin.text() + ")" + after), nil
	case "":
		return aggregateMargin(e.Name, args, e.Return, e.DistinctAgg, after), nil
	}
	return margin{}, nil
}

// forget gives the relation without the margins of its columns, where rows are compared as they are.
func (r *relation) forget() *relation {
	n := r.copyOf()
	for i := range n.cols {
		n.cols[i].margin = n.cols[i].margin.gone()
	}
	return n
}

// carriesMargin reports whether column i has its margin beside it.
func (r *relation) carriesMargin(i int) bool {
	return r.kind != protected && r.cols[i].margin.sql != ""
}

// alignMargins makes the relations' columns, which are one below the other in a union, carry the same margins.
func alignMargins(parts []*relation) {
	for i := range parts[0].cols {
		known, none := true, true
		for _, r := range parts {
			known, none = known && r.cols[i].margin.known() && r.kind != protected, none && r.cols[i].margin.none
		}
		for _, r := range parts {
			m := &r.cols[i].margin
			switch {
			case !known:
				*m = margin{}
			case !none && m.none:
				*m = margin{sql: m.text()}
			}
		}
	}
}

// Where a column of the last query has its error bound. Any other number is the bound's place among the query's columns.
const (
	NoError      = -1 // no noise went into it
	UnknownError = -2 // noise did, and nothing can be said of how much
)

// errors tells of each column of a relation where its error bound stands in its query.
func (r *relation) errors() []int {
	var list []int
	next := len(r.cols)
	for i, v := range r.cols {
		switch {
		case r.carriesMargin(i):
			list, next = append(list, next), next+1
		case v.margin.none:
			list = append(list, NoError)
		default:
			list = append(list, UnknownError)
		}
	}
	return list
}

// cellMargin is the margin of a cell of a released table.
func (c *checker) cellMargin(alias string, cell int) margin {
	if c.mode == policy.Exact {
		return noMargin
	}
	return margin{sql: alias + ".m" + itoa(cell)}
}
