package guard

import (
	"errors"
	"slices"
	"strings"

	"weir/internal/problem"
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
	if c.noised() { // what a unit gives to all groups together is bounded
		return c.noisedAggregation(in, by, groups, list)
	}
	known, _ := in.tied()
	in = in.toldApart(groups, func(s *side) bool { return known[s] })
	told := in.toldApart(groups, func(s *side) bool { return !known[s] })
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
	var types []typ
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
		args, err := c.values(e, e.Children, w)
		if err != nil {
			return nil, err
		}
		types = append(types, returned(e, args))
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
		out.cols = append(out.cols, value{sql: closed + ".c" + place, typ: types[i], sort: freeValue, name: e.Name, key: -1, margin: after[i]})
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
