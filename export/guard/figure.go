package guard

import (
	"strings"
	"unicode"

	"weir/policy"
)

// A figure of a release: one aggregate over protected rows, which the guard can hold to evidence.

// cell types one aggregate over protected rows.
func (c *checker) cell(e *expr, in *relation) (cell, error) {
	if e.Class != "BOUND_AGGREGATE" || aggregateVerdict(e.Name) < releaseAggregate {
		return cell{}, c.deny(e, "guard.aggregate", "function", e.Name)
	}
	t, err := e.Return.sql()
	if err != nil || e.OrderBys != nil && len(e.OrderBys.Orders) > 0 {
		return cell{}, c.denyBecause(e, err, "guard.aggregate", "function", e.Name)
	}
	weighted := in.weighted
	a := cell{Cell: Cell{Function: e.Name, Type: t, Single: in.oneRowAUnit()}}
	if e.Filter != nil {
		f, err := c.values(e, []*expr{e.Filter}, in)
		if err != nil {
			return cell{}, err
		}
		a.restrict(f[0].sql, f[0].secret)
		weighted = weighted || in.weighs(f[0])
	}
	var args []value
	for _, child := range e.Children {
		v, err := c.expr(child, in)
		if err != nil {
			return cell{}, err
		}
		weighted = weighted || in.weighs(v)
		args = append(args, v)
	}
	if weighted && !(e.Name == "count" && e.AggregateType == "DISTINCT") {
		return cell{}, c.deny(e, "guard.fan-out")
	}
	if in.lonely && !passesOverNobody(e, args) {
		return cell{}, c.deny(e, "guard.nobody", "function", e.Name)
	}
	switch {
	case e.Name == "count_star" || e.Name == "count" && len(args) == 0:
		a.Kind = CountRows
		return a, nil
	case e.Name == "count" && len(args) == 1:
		return c.count(e, a, args[0])
	case e.AggregateType == "DISTINCT":
		return cell{}, c.deny(e, "guard.distinct-aggregate", "function", e.Name)
	}
	return c.measured(e, a, args)
}

// passesOverNobody reports whether an aggregate leaves out the rows that belong to nobody. Else the figure would say of
// everybody that nobody was found, and no unit would stand for it. A measure is NULL in such rows, and so is a column of
// protected data; a measure that is zero where it is missing adds nothing to a sum, and is there for anything else.
func passesOverNobody(e *expr, args []value) bool {
	for _, v := range args {
		zero := v.poly.orZero()
		if v.cond != nil {
			zero, v = v.cond.elseZero, v.cond.then
		}
		if (v.sort == measureValue || v.strict && e.Name == "count") && (!zero || e.Name == "sum") {
			return true
		}
	}
	return false
}

// restrict adds a condition to the rows that take part, and says whether it looks at something sensitive.
func (a *cell) restrict(condition string, secret bool) {
	a.Conditional, a.Secret = true, a.Secret || secret
	if a.filter != "" {
		condition = "(" + a.filter + " AND " + condition + ")"
	}
	a.filter, a.where = condition, condition
}

func (c *checker) count(e *expr, a cell, v value) (cell, error) {
	present := "(" + v.sql + " IS NOT NULL)"
	if e.AggregateType == "DISTINCT" {
		switch v.sort {
		case keyValue:
			a.Kind, a.Unit, a.Single = CountUnits, v.key, true
			if v.nullable {
				a.restrict(present, false)
			}
			return a, nil
		case identifierValue:
			if v.name == "rowid" {
				return a, c.denyValue(e, v)
			}
			a.Kind, a.args, a.Terms = CountDistinct, []value{v}, []Term{{Name: "distinct " + v.name, Coefficient: 1}}
			a.restrict(present, false)
			return a, nil
		}
		return a, c.deny(e, "guard.count-distinct", "column", v.name)
	}
	a.Kind = CountRows
	constant := e.Children[0].Class == "BOUND_CONSTANT" && !e.Children[0].Value.Null
	if constant || v.present || v.sort == keyValue && !v.nullable {
		return a, nil
	}
	a.restrict(present, v.secret) // to be there is a condition like any other: what lacks the value is its complement
	return a, nil
}

// measured types an aggregate whose arguments must be measures.
func (c *checker) measured(e *expr, a cell, args []value) (cell, error) {
	switch e.Name {
	case "sum", "sum_no_overflow":
		a.Kind = Sum
	case "avg", "mean":
		a.Kind = Average
	case "median", "quantile", "quantile_cont", "quantile_disc":
		a.Kind = Quantile
		text, err := quantileOf(e)
		if err != nil {
			return a, err
		}
		if a.Fraction, err = parseFraction(text); err != nil {
			return a, c.denyBecause(e, err, "guard.quantile")
		}
	default:
		a.Kind = Moment
	}
	for i, v := range args {
		if v.cond != nil {
			if v.cond.elseZero && a.Kind != Sum {
				return a, c.deny(e, "guard.else-zero", "function", e.Name)
			}
			a.restrict(v.cond.when, v.cond.secret)
			v = v.cond.then
		}
		switch {
		case v.sort == measureValue, v.sort == constantValue && a.Kind == Sum && !v.poly.isZero():
		default:
			return a, c.denyArgument(e, v)
		}
		args[i] = v
	}
	if len(args) == 0 || len(args) > 2 || (a.Kind != Moment && len(args) != 1) {
		return a, c.deny(e, "guard.aggregate", "function", e.Name)
	}
	for i, v := range args {
		v.sql = c.asPolynomial(v)
		if c.mode == policy.Exact && a.Kind != Quantile && veryWide[v.typ.ID] {
			v.sql, v.typ = v.as(doubleType), doubleType // of which sums and squares can be formed
			args[i].typ = v.typ
		}
		args[i].sql = computable(e.Name, v)
		if c.mode == policy.Exact && v.partial {
			a.restrict(v.there(args[i].sql), v.secret && v.poly.divides())
		}
		a.filter = and(a.filter, takesPart(args[i], a.Kind))
	}
	a.args = args
	if a.Kind == Quantile {
		a.Type = mustSQL(returned(e, args))
	}
	if a.Kind == Moment || a.Kind == Quantile {
		for _, v := range args {
			name, bare := bareMeasure(v.poly)
			if !bare {
				return a, c.deny(e, "guard.bare-measure", "function", e.Name)
			}
			a.Terms = append(a.Terms, Term{Name: name, Coefficient: 1})
		}
		return a, nil
	}
	if a.Kind == Sum || a.Kind == Average {
		a.Constant = args[0].poly.terms[""].coefficient
		for _, name := range args[0].poly.measures() {
			t := args[0].poly.terms[name]
			a.Terms = append(a.Terms, Term{Name: args[0].poly.drawnFor(t), Coefficient: t.coefficient})
			a.terms = append(a.terms, computable(e.Name, value{sql: args[0].poly.termSQL(t), typ: typ{ID: "DOUBLE"}}))
		}
	}
	return a, nil
}

// share takes avg(CASE WHEN c THEN x ELSE 0 END) and avg(COALESCE(x, 0)) apart into the two figures that they are: a sum
// of some rows, over the number of rows. It gives nil where the aggregate is something else.
func (c *checker) share(e *expr, in *relation) ([]cell, error) {
	if e.Class != "BOUND_AGGREGATE" || e.Name != "avg" && e.Name != "mean" || e.AggregateType == "DISTINCT" || len(e.Children) != 1 || e.OrderBys != nil {
		return nil, nil
	}
	v, err := c.expr(e.Children[0], in)
	if err != nil || (v.cond == nil || !v.cond.elseZero) && (v.sort != measureValue || !v.poly.orZero()) {
		return nil, err
	}
	switch {
	case in.weighted || in.weighs(v):
		return nil, c.deny(e, "guard.fan-out")
	case in.lonely:
		return nil, c.deny(e, "guard.nobody", "function", e.Name)
	}
	single := in.oneRowAUnit()
	sum := cell{Cell: Cell{Function: "sum", Type: "DOUBLE", Single: single}}
	rows := cell{Cell: Cell{Kind: CountRows, Function: "count", Type: "BIGINT", Single: single}}
	if e.Filter != nil {
		f, err := c.values(e, []*expr{e.Filter}, in)
		if err != nil {
			return nil, err
		}
		if in.weighs(f[0]) {
			return nil, c.deny(e, "guard.fan-out")
		}
		sum.restrict(f[0].sql, f[0].secret)
		rows.restrict(f[0].sql, f[0].secret)
	}
	if present := "(" + v.sql + " IS NOT NULL)"; v.cond != nil && v.cond.elseNull {
		rows.restrict(present, v.secret)
	} else {
		rows.filter = and(rows.filter, present)
	}
	of := &v
	if v.cond != nil {
		of = &v.cond.then
	}
	of.sql, of.typ = "CAST("+of.sql+" AS DOUBLE)", typ{ID: "DOUBLE"}
	as := *e
	as.Name = "sum"
	if sum, err = c.measured(&as, sum, []value{v}); err != nil {
		return nil, err
	}
	return []cell{sum, rows}, nil
}

func (c *checker) denyGroup(at *expr, g value) error {
	if g.sort == textValue {
		return c.deny(at, "guard.text-used", "column", g.name)
	}
	return c.deny(at, "guard.identifier-group", "column", g.name)
}

func (c *checker) denyArgument(e *expr, v value) error {
	switch v.sort {
	case identifierValue, keyValue, textValue:
		return c.denyValue(e, v)
	case plainValue:
		if v.typ.numeric() && strings.ContainsFunc(v.name, unicode.IsLetter) && len(e.Children) > 0 && isColumn(e.Children[0]) {
			return c.deny(e, "guard.not-a-measure", "column", v.name, "function", e.Name)
		}
	}
	return c.deny(e, "guard.not-arithmetic", "function", e.Name)
}

// bareMeasure tells what the noise of a polynomial is drawn for, if it is just one measure or product of measures.
func bareMeasure(p polynomial) (string, bool) {
	if p.column != "" {
		return p.column, true
	}
	names := p.measures()
	if len(names) != 1 || len(p.terms) != 1 || p.terms[names[0]].coefficient != 1 {
		return "", false
	}
	return p.drawnFor(p.terms[names[0]]), true
}

func isColumn(e *expr) bool { return e.Class == "BOUND_REF" }

func and(a, b string) string {
	if a == "" {
		return b
	}
	return "(" + a + " AND " + b + ")"
}
