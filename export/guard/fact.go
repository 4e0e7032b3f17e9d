package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A number about a unit is a measure, and what it is made of decides two things. It never equals another number by its
// name alone: the greatest of a unit's rows less the least of them is not nothing. And its noise is drawn for the
// measures in it, in whatever way they were added up: where a unit has one row, its sum, its mean, its median and the
// product of its rows are the same number, and if each had a draw of its own, their mean would have hardly any noise.

// drawnForFact is the name under which the noise of a number about a unit is drawn.
func drawnForFact(function string, args []value) string {
	var names []string
	for _, a := range args {
		name, _ := bareMeasure(a.poly)
		names = append(names, name)
	}
	switch function {
	case "count_star", "count", "regr_count":
		return RowsTerm
	case "regr_avgx":
		return names[1]
	case "regr_avgy", "sum", "sum_no_overflow", "avg", "mean", "min", "max", "median":
		return names[0]
	}
	slices.Sort(names)
	inside := strings.TrimSuffix(strings.Join(slices.Compact(names), ","), "^1")
	if strings.HasPrefix(inside, function+"(") {
		return inside + "^1"
	}
	return function + "(" + inside + ")^1"
}

// computed names a fact that is no measure, for it was made of arithmetic.
const computed = "(…)"

// computable renders an argument of an aggregate without the values that the engine would fail on: it does on a sum that
// overflows, and on a variance that is no number. No TRY can be put around an aggregate, and a failure would be an answer.
func computable(function string, v value) string {
	within := func(digits int) string {
		return fmt.Sprintf("CASE WHEN TRY(abs(%s)) < 1e%d THEN %s END", v.sql, digits, v.sql)
	}
	switch floats := v.typ.ID == "DOUBLE" || v.typ.ID == "FLOAT"; {
	case floats && adds[function]:
		return within(100)
	case floats && (squares[function] || strings.HasPrefix(function, "quantile")):
		return within(60) // squares, products and quotients of them are formed
	case !adds[function]:
	case v.typ.ID == "HUGEINT" || v.typ.ID == "UHUGEINT":
		return within(28) // of which 2^33 make a sum
	case v.typ.ID == "DECIMAL" && v.typ.Info.Width > 18:
		return within(28 - v.typ.Info.Scale)
	}
	return v.sql
}

var adds, squares = set("sum", "sum_no_overflow", "avg", "mean"), set("stddev", "stddev_samp", "stddev_pop", "variance", "var_samp", "var_pop", "corr",
	"covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2", "regr_count", "regr_avgx", "regr_avgy", "regr_sxx", "regr_syy", "regr_sxy",
	"median")

func set(names ...string) map[string]bool {
	all := map[string]bool{}
	for _, name := range names {
		all[name] = true
	}
	return all
}

// bareMeasures reports whether all values are measures as they are.
func bareMeasures(list []value) bool {
	return !slices.ContainsFunc(list, func(v value) bool {
		_, bare := bareMeasure(v.poly)
		return v.sort != measureValue || !bare
	})
}

// linear reports whether a fact is a sum or a mean of arithmetic over measures, so that it is the same arithmetic over
// their own sums and means. Were sum(x + 1) a measure of its own, so would be sum(x + 2), and each had other noise.
func linear(e *expr, args []value) bool {
	if len(args) != 1 || e.AggregateType == "DISTINCT" || args[0].poly.isZero() || args[0].poly.column == "" && bareMeasures(args) {
		return false
	}
	switch e.Name {
	case "sum", "sum_no_overflow", "avg", "mean":
		return args[0].sort == measureValue || args[0].sort == constantValue
	}
	return false
}

// sumOfFacts gives the arithmetic over sums or means that a linear fact is, and the columns that it speaks of: the
// closed relation has them under names that begin with at.
func (c *checker) sumOfFacts(e *expr, arg value, w *relation, closed string, at int) (p polynomial, columns []string) {
	p = constantPolynomial(0)
	among := " FILTER (WHERE " + arg.sql + " IS NOT NULL) AS "
	column := func(sql string, fact atom, coefficient float64) {
		place := "x" + itoa(at+len(columns))
		columns = append(columns, sql+among+place)
		fact.sql = "CAST(" + closed + "." + place + " AS DOUBLE)"
		scaled, _ := constantPolynomial(coefficient).times(c.measure(fact))
		p = p.plus(scaled, 1)
	}
	for _, name := range slices.Sorted(maps.Keys(arg.poly.terms)) {
		t := arg.poly.terms[name]
		switch of := value(arg); {
		case name == "" && strings.HasPrefix(e.Name, "sum"):
			column("count(*)", atom{of: RowsTerm, within: withinUnit("count_star", nil), reach: w.reachOfFact("count_star", nil), bound: w.rows().ofMany()}, t.coefficient)
		case name == "":
			p = p.plus(constantPolynomial(t.coefficient), 1)
		default:
			of.poly = polynomial{terms: map[string]term{name: {1, t.exponents}}, known: arg.poly.known}
			fact := atom{of: of.poly.drawnFor(t), within: withinUnit(e.Name, []value{of}), reach: w.reachOfFact(e.Name, []value{of})}
			if w.ofRows(e.Name) {
				fact = fact.like(of, 0)
			}
			column(strings.TrimSuffix(e.Name, "_no_overflow")+"("+computable("sum", value{sql: arg.poly.termSQL(t), typ: typ{ID: "DOUBLE"}})+")", fact, t.coefficient)
		}
	}
	return p, columns
}

// apart gives the measures of a relation names of their own, before it is joined to another one, which may have the same
// of other rows.
func (c *checker) apart(r *relation) {
	names := map[string]string{}
	renamed := func(id string) string {
		if names[id] == "" {
			c.measures++
			names[id] = "x" + itoa(c.measures)
		}
		return names[id]
	}
	for i := range r.cols {
		p := &r.cols[i].poly
		if len(p.known) == 0 {
			continue
		}
		own := polynomial{terms: map[string]term{}, known: map[string]atom{}, column: p.column}
		for _, id := range slices.Sorted(maps.Keys(p.known)) {
			a := p.known[id]
			a.id = renamed(id)
			own.known[a.id] = a
		}
		for _, t := range p.terms {
			of := term{t.coefficient, map[string]int{}}
			for id, e := range t.exponents {
				of.exponents[renamed(id)] = e
			}
			own.terms[of.name()] = of
		}
		*p = own
	}
}

// aggregatePerUnit types facts about single units: they stay protected, and a number about a unit is a measure.
func (c *checker) aggregatePerUnit(in *relation, groupExprs []*expr, groups []value, list []*expr) (*relation, error) {
	for _, g := range groups {
		in.crosses(g)
	}
	in.settle()
	if in.weighted && len(list) > 0 && !c.noised() {
		return nil, c.deny(list[0], "guard.fan-out")
	}
	w := c.wrap(in)
	closed := c.alias()
	var cols, by []string
	out := &relation{kind: protected, reads: in.reads, data: in.data, told: in.told, thinned: true, with: sidesOf(groups), known: in.known, proofs: in.proofs}
	rows := w.rows()
	unique := true
	for i, g := range groups {
		if g.sort == identifierValue || g.sort == textValue {
			return nil, c.denyValue(nil, g)
		}
		g.asPlain()
		v := g
		if groupExprs == nil { // DISTINCT groups by the columns themselves
			v = w.cols[i]
		} else {
			var err error
			if v, err = c.expr(groupExprs[i], w); err != nil {
				return nil, err
			}
		}
		cols = append(cols, v.sql+" AS c"+itoa(i))
		by = append(by, v.sql)
		unique = unique && v.sort == keyValue
		v.sql, v.cond, v.poly = closed+".c"+itoa(i), nil, polynomial{}
		if of, bare := bareMeasure(g.poly); v.sort == measureValue && bare {
			v.poly = c.measure(atom{of: of, sql: "CAST(" + v.sql + " AS DOUBLE)", within: g.poly.within(), reach: g.poly.reach()}.like(g, 0))
		} else if v.sort == measureValue {
			v.sort = plainValue // x + 1, x + 2, … would each have noise of its own
		}
		out.cols = append(out.cols, v)
	}
	out.weighted = in.weighted && !unique
	most := c.rowsOfUnit(w)
	for i, k := range w.keys {
		cols = append(cols, k.sql+" AS k"+itoa(i))
		by = append(by, k.sql)
		key := unitKey{domain: k.domain, sql: closed + ".k" + itoa(i), rows: rows, most: k.most}
		if unique && len(w.keys) == 1 {
			key.rows, key.most = onlyOne, 1
		}
		out.keys = append(out.keys, key)
	}
	for i := range out.cols {
		out.cols[i].once = out.cols[i].once || unique && len(w.keys) == 1
	}
	for i, e := range list {
		sql, v, args, err := c.unitFact(e, w)
		if err != nil {
			return nil, err
		}
		if v.ofSide = ""; len(out.with) == 0 {
			v.sides = nil // one row a group, whatever was joined to it
		}
		place := "c" + itoa(len(groups)+i)
		cols = append(cols, sql+" AS "+place)
		v.sql = closed + "." + place
		v.within, v.once = rangeOfFact(e.Name, args, most), unique && len(w.keys) == 1
		switch {
		case v.sort == measureValue && linear(e, args):
			var parts []string
			v.poly, parts = c.sumOfFacts(e, args[0], w, closed, len(cols))
			cols = append(cols, parts...)
		case v.sort == measureValue:
			fact := atom{of: drawnForFact(e.Name, args), sql: "CAST(" + v.sql + " AS DOUBLE)", within: withinUnit(e.Name, args), reach: w.reachOfFact(e.Name, args)}
			switch {
			case e.Name == "count_star":
				fact.bound = rows.ofMany()
			case len(args) == 1 && w.ofRows(e.Name):
				if fact = fact.like(args[0], 0); in.oneRowAUnit() {
					fact = fact.sameRow(args[0])
				}
			}
			v.poly = c.measure(fact)
		}
		out.cols = append(out.cols, v)
	}
	out.from = "(SELECT " + strings.Join(cols, ", ") + " FROM " + w.from + " GROUP BY " + strings.Join(by, ", ") + ") AS " + closed
	return out, nil
}

// unitFact types one aggregate inside one unit's rows.
func (c *checker) unitFact(e *expr, w *relation) (sql string, v value, args []value, err error) {
	if e.OrderBys != nil || len(e.OriginalArgs) > len(e.Children) {
		return "", value{}, nil, c.deny(e, "guard.aggregate", "function", e.Name)
	}
	defer func(since int) { c.atoms = c.atoms[:since] }(len(c.atoms)) // the fact is a secret as a whole
	sql, err = c.plainAggregate(e, w, unitAggregate)
	if err != nil {
		return "", value{}, nil, err
	}
	args, err = c.aggregated(e, e.Children, w)
	if err != nil {
		return "", value{}, nil, err
	}
	v = derived("", returned(e, args), e.Name, args...)
	v.sort = plainValue
	for _, a := range args {
		if w.weighs(a) && !c.noised() {
			return "", value{}, nil, c.deny(e, "guard.fan-out")
		}
	}
	if e.Filter != nil {
		f, err := c.expr(e.Filter, w)
		if err != nil {
			return "", value{}, nil, err
		}
		v.sensitive = v.sensitive || f.sensitive
		v.derives([]value{f})
	}
	v.semi, v.raw = true, true
	// A condition would make a number of it, and hide from the check of its complement.
	counts := e.Name == "count_star" && e.Filter == nil
	measured := len(args) > 0 && e.Return.numeric() && e.Filter == nil && !strings.HasPrefix(e.Name, "count")
	for _, a := range args {
		measured = measured && !a.partial && (a.sort == measureValue || a.sort == constantValue)
	}
	switch {
	case counts || measured && (bareMeasures(args) || linear(e, args)):
		v.sort = measureValue
	case measured:
		v.name = computed
	}
	return sql, v, args, nil
}
