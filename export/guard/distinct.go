package guard

import (
	"strings"

	"weir/internal/problem"
)

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
	if c.noised() {
		return c.noisedAggregation(in, n.Targets, in.cols, nil)
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
				r.keys[i].rows, r.keys[i].most = onlyOne, 1
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
