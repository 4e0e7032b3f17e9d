package guard

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"weir/internal/problem"
	"weir/policy"
)

// aggregate types an aggregation. Over open and released relations it is post-processing. Over Protected(K) it is
// a per-unit fact when every key of K is among the groups, since then each group holds one unit's own data; any
// other aggregation is where a release happens, with the guard at that very operator.
func (c *checker) aggregate(n *node) (*relation, error) {
	in, err := c.child(n)
	if err != nil {
		return nil, err
	}
	list, err := n.exprs()
	if err != nil {
		return nil, problem.New("guard.unknown-plan", "what", "aggregate").Because(err)
	}
	if len(n.GroupingSets) > 1 || len(n.GroupingFns) > 0 {
		return c.groupingSets(in, n, list)
	}
	if len(n.GroupingSets) == 1 && len(n.GroupingSets[0]) != len(n.Groups) {
		return nil, problem.New("guard.unknown-plan", "what", "grouping")
	}
	return c.grouping(in, n.Groups, list)
}

// grouping types one grouping of a relation.
func (c *checker) grouping(in *relation, by []*expr, list []*expr) (*relation, error) {
	for _, e := range list {
		if err := c.wordsOfExpr(e); err != nil {
			return nil, err
		}
	}
	var groups []value
	in.since = len(c.atoms)
	for _, e := range by {
		v, err := c.expr(e, in)
		if err != nil {
			return nil, err
		}
		groups = append(groups, v)
	}
	if in.kind != protected {
		return c.aggregateAfter(in, by, groups, list)
	}
	if perUnit(in, groups) { // its groups are rows that are counted later on, so they tell nothing apart
		in.weighted = in.weighted || in.fansOut() && in.manyRows()
		return c.aggregatePerUnit(in, by, groups, list)
	}
	told := in
	if c.mode != policy.Private { // there, what a unit gives to all groups together is bounded
		known, _ := in.tied()
		in = in.toldApart(groups, func(s *side) bool { return known[s] })
		told = in.toldApart(groups, func(s *side) bool { return !known[s] })
	}
	for _, r := range []*relation{in, told} {
		r.weighted = r.weighted || r.fansOut() && r.manyRows()
	}
	atoms := slices.Clone(c.atoms)
	r, err := c.guarded(in, by, groups, list)
	var p *problem.Problem
	if told != in && errors.As(err, &p) && p.Code == "guard.fan-out" {
		c.atoms = atoms
		return c.guarded(told, by, groups, list)
	}
	return r, err
}

// distinct is an aggregation without aggregates.
func (c *checker) distinct(n *node) (*relation, error) {
	in, err := c.child(n)
	if err != nil {
		return nil, err
	}
	switch {
	case n.Distinct == "DISTINCT_ON":
		return c.firstOfEach(n, in)
	case in.kind != protected:
		return c.under(c.wrap(in.forget()), "DISTINCT ", ""), nil
	case n.OrderBy != nil || len(n.Targets) != len(in.cols):
		return nil, c.deny(nil, "guard.operator", "operator", "distinct")
	case perUnit(in, in.cols):
		return c.aggregatePerUnit(in, nil, in.cols, nil)
	}
	in.since = len(c.atoms)
	return c.guarded(in, n.Targets, in.cols, nil)
}

// firstOfEach types DISTINCT ON: the first row of each group. Over protected rows the groups must hold the unit keys,
// so that each unit's first row is chosen among its own; and whichever rows the order leaves equal are told apart by
// all that they hold, so that the same question has one answer.
func (c *checker) firstOfEach(n *node, in *relation) (*relation, error) {
	w := c.wrap(in)
	var targets []value
	var by []string
	for _, e := range n.Targets {
		v, err := c.expr(e, w)
		if err != nil {
			return nil, err
		}
		targets = append(targets, v)
		by = append(by, v.sql)
	}
	if len(targets) == 0 {
		return nil, problem.New("guard.unknown-plan", "what", "distinct on")
	}
	var orders []order
	if n.OrderBy != nil {
		orders = n.OrderBy.Orders
	}
	terms, ordered, err := c.ordering(orders, w)
	if err != nil {
		return nil, err
	}
	distinct := "DISTINCT ON (" + strings.Join(by, ", ") + ") "
	switch {
	case w.kind == protected && !perUnit(w, targets):
		return nil, c.deny(nil, "guard.distinct-on")
	case w.kind != protected && len(terms) == 0:
		return c.under(w, distinct, ""), nil
	case w.kind != protected:
		return c.under(w, distinct, " ORDER BY "+strings.Join(terms, ", ")), nil
	}
	sensitive := false
	for _, v := range append(ordered, targets...) {
		if v.sort == textValue || v.sort == identifierValue {
			return nil, c.denyValue(nil, v)
		}
		sensitive = sensitive || v.sensitive
	}
	for _, k := range w.keys {
		by = append(by, k.sql)
	}
	distinct = "DISTINCT ON (" + strings.Join(by, ", ") + ") "
	r := c.under(w, distinct, " ORDER BY "+strings.Join(append(terms, sqlOf(w.cols)...), ", "))
	r.chosen(targets, sensitive)
	return r, nil
}

// chosen notes that of each unit, or of each of its groups, one row was taken. Open values beside it were chosen by
// the unit's own data then, and are facts about it.
func (r *relation) chosen(by []value, sensitive bool) {
	r.thinned = true
	alone := len(by) == len(r.keys)
	if alone {
		for i := range r.keys {
			switch {
			case len(r.keys) == 1:
				r.keys[i].rows = onlyOne
			case r.weighted || r.fansOut():
				r.keys[i].rows.Most = 0
			}
		}
		r.weighted, r.with, r.ties, r.crossings = false, nil, nil, nil
	}
	for i := range r.cols {
		v := &r.cols[i]
		if v.sort == freeValue {
			v.sort = plainValue
		}
		if alone {
			v.sides, v.ofSide = nil, ""
		}
		v.sensitive = v.sensitive || sensitive && v.sort != keyValue
	}
}

// perUnit reports whether the groups hold every unit key that the relation carries.
func perUnit(in *relation, groups []value) bool {
	if len(in.keys) == 0 {
		return false
	}
	for i, k := range in.keys {
		found := false
		for _, g := range groups {
			found = found || g.sort == keyValue && g.key == i && !g.nullable
		}
		if !found || k.nullable {
			return false
		}
	}
	return true
}

// aggregateAfter renders an aggregation over what is already released or open.
func (c *checker) aggregateAfter(in *relation, groupExprs []*expr, groups []value, list []*expr) (*relation, error) {
	w := c.wrap(in)
	out := &relation{kind: in.kind, reads: in.reads, data: in.data, single: len(groupExprs) == 0}
	var cols, by []string
	var after []margin
	for i, e := range groupExprs {
		v, err := c.expr(e, w)
		if err != nil {
			return nil, err
		}
		cols = append(cols, v.sql+" AS c"+itoa(i))
		by = append(by, v.sql)
	}
	for i, e := range list {
		sql, err := c.plainAggregate(e, w, afterAggregate)
		if err != nil {
			return nil, err
		}
		cols = append(cols, sql+" AS c"+itoa(len(groups)+i))
		m, err := c.marginAfter(e, w)
		if err != nil {
			return nil, err
		}
		if m.sql != "" {
			cols = append(cols, m.sql+" AS m"+itoa(len(groups)+i))
		}
		after = append(after, m)
	}
	closed := c.alias()
	sql := "SELECT " + strings.Join(cols, ", ") + " FROM " + w.from
	if len(by) > 0 {
		sql += " GROUP BY " + strings.Join(by, ", ")
	}
	out.from = "(" + sql + ") AS " + closed
	for i, g := range groups {
		out.cols = append(out.cols, value{sql: closed + ".c" + itoa(i), typ: g.typ, sort: freeValue, name: g.name, key: -1, margin: g.margin.gone()})
	}
	for i, e := range list {
		place := itoa(len(groups) + i)
		if after[i].sql != "" {
			after[i].sql = closed + ".m" + place
		}
		out.cols = append(out.cols, value{sql: closed + ".c" + place, typ: e.Return, sort: freeValue, name: e.Name, key: -1, margin: after[i]})
	}
	return out, nil
}

// aggregated types the arguments of an aggregate. Of what names somebody, and of free text, it may be counted how much
// there is.
func (c *checker) aggregated(e *expr, list []*expr, in *relation) ([]value, error) {
	if e.Class != "BOUND_AGGREGATE" || e.Name != "count" || len(list) != 1 || list[0] == nil {
		return c.values(e, list, in)
	}
	v, err := c.expr(list[0], in)
	if err == nil && (v.name == "rowid" || v.sort == textValue && e.AggregateType == "DISTINCT") {
		err = c.denyValue(e, v)
	}
	return []value{v}, err
}

// arguments renders what stands in the parentheses of an aggregate, or of one that is a window.
func (c *checker) arguments(e *expr, list []*expr, distinct bool, orders []order, in *relation) (string, error) {
	args, err := c.aggregated(e, list, in)
	if err != nil {
		return "", err
	}
	texts := sqlOf(args)
	for i, v := range args {
		if in.kind == protected {
			texts[i] = computable(e.Name, v)
		}
	}
	if len(e.OriginalArgs) > len(e.Children) {
		constant, err := boundConstant(e)
		if err != nil {
			return "", c.denyBecause(e, err, "guard.aggregate", "function", e.Name)
		}
		texts = append(texts, constant)
	}
	inside := strings.Join(texts, ", ")
	if e.Name == "count_star" {
		inside = "*"
	}
	if distinct {
		inside = "DISTINCT " + inside
	}
	if len(orders) > 0 {
		terms, err := c.orderTerms(orders, in)
		if err != nil {
			return "", err
		}
		inside += " ORDER BY " + terms
	}
	return inside, nil
}

// plainAggregate renders an aggregate without evidence: over released data, or inside one unit's rows.
func (c *checker) plainAggregate(e *expr, in *relation, least aggregateUse) (string, error) {
	if e.Class != "BOUND_AGGREGATE" || aggregateVerdict(e.Name) < least {
		return "", c.deny(e, "guard.aggregate", "function", e.Name)
	}
	if e.Return.use() == typeDenied {
		return "", c.deny(e, "guard.unknown-type", "type", e.Return.ID)
	}
	var orders []order
	if e.OrderBys != nil {
		orders = e.OrderBys.Orders
	}
	inside, err := c.arguments(e, e.Children, e.AggregateType == "DISTINCT", orders, in)
	if err != nil {
		return "", err
	}
	name := map[string]string{"count_star": "count"}[e.Name]
	if name == "" {
		name = quoteName(e.Name)
	}
	sql := name + "(" + inside + ")"
	if e.Filter != nil {
		f, err := c.values(e, []*expr{e.Filter}, in)
		if err != nil {
			return "", err
		}
		sql += " FILTER (WHERE " + f[0].sql + ")"
	}
	return sql, nil
}

// aggregatePerUnit types facts about single units: they stay protected, and a number about a unit is a measure.
func (c *checker) aggregatePerUnit(in *relation, groupExprs []*expr, groups []value, list []*expr) (*relation, error) {
	for _, g := range groups {
		in.crosses(g)
	}
	in.settle()
	if in.weighted && len(list) > 0 {
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
	for i, k := range w.keys {
		cols = append(cols, k.sql+" AS k"+itoa(i))
		by = append(by, k.sql)
		key := unitKey{domain: k.domain, sql: closed + ".k" + itoa(i), rows: rows}
		if unique && len(w.keys) == 1 {
			key.rows = onlyOne
		}
		out.keys = append(out.keys, key)
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
	v = derived("", e.Return, e.Name, args...)
	v.sort = plainValue
	for _, a := range args {
		if w.weighs(a) {
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
		measured = measured && (a.sort == measureValue || a.sort == constantValue)
	}
	switch {
	case counts || measured && (bareMeasures(args) || linear(e, args)):
		v.sort = measureValue
	case measured:
		v.name = computed
	}
	return sql, v, args, nil
}

// boundConstant gives the constant argument that the engine took out of an aggregate's arguments when it bound it.
func boundConstant(e *expr) (string, error) {
	var joined struct {
		Separator *string `json:"separator"`
	}
	if decodeStrict(e.Function, &joined) == nil && joined.Separator != nil {
		return quoteText(*joined.Separator), nil
	}
	var fractions struct {
		Quantiles []jsontext.Value `json:"quantiles"`
	}
	var list []string
	notNumber := func(q jsontext.Value) bool { return q.Kind() != jsontext.KindNumber }
	if decodeStrict(e.Function, &fractions) == nil && !slices.ContainsFunc(fractions.Quantiles, notNumber) {
		for _, q := range fractions.Quantiles {
			list = append(list, q.String())
		}
		return oneOrList(list, e.Return)
	}
	var q quantileData
	if err := decodeStrict(e.Function, &q); err != nil {
		return "", fmt.Errorf("an aggregate has an argument of unknown form")
	}
	for _, fraction := range q.Quantiles {
		text, err := fraction.text()
		if err != nil {
			return "", err
		}
		if q.Descending {
			text = "-" + strings.TrimPrefix(text, "-")
		}
		list = append(list, text)
	}
	return oneOrList(list, e.Return)
}

// oneOrList writes what a quantile is asked for: a list gives a list.
func oneOrList(list []string, of typ) (string, error) {
	switch {
	case of.ID == "LIST":
		return "[" + strings.Join(list, ", ") + "]", nil
	case len(list) == 1:
		return list[0], nil
	}
	return "", fmt.Errorf("a quantile has %d fractions", len(list))
}

// quantileOf reads a bound quantile's fraction: the engine took it out of the arguments.
func quantileOf(e *expr) (string, error) {
	var q quantileData
	if err := decodeStrict(e.Function, &q); err != nil || len(q.Quantiles) != 1 || q.Descending {
		return "", problem.New("guard.quantile").Because(err)
	}
	return q.Quantiles[0].text()
}
