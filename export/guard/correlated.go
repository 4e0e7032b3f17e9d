package guard

import (
	"slices"
	"strings"

	"weir/internal/problem"
)

// correlated types a correlated subquery. The engine joins the outer relation with the subquery, in which a special
// scan stands for the distinct values of the outer columns that it refers to. Over protected rows those must be unit
// keys: then each row gets what belongs to its own unit, and one unit's data cannot steer another's rows. With all
// unit keys among them, other columns may be referred to as well. By values of other columns a subquery may be asked that
// gives figures, which enough units stand for. Over open and released relations any column may be
// referred to, as the subquery is typed by the ordinary rules.
func (c *checker) correlated(n *node) (*relation, error) {
	if len(n.Children) != 2 || len(n.LeftProjection) > 0 || len(n.RightProjection) > 0 || n.DelimFlipped || n.Predicate != nil || len(n.Duplicate) == 0 {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
	}
	left, err := c.relation(n.Children[0])
	if err != nil {
		return nil, err
	}
	j := &joining{checker: c, node: n}
	j.left = c.wrap(left)
	outer, err := c.outerValues(n, j.left)
	if err != nil {
		return nil, err
	}
	c.outer = append(c.outer, outer)
	right, err := c.relation(n.Children[1])
	c.outer = c.outer[:len(c.outer)-1]
	if err != nil {
		return nil, err
	}
	if right.kind == protected && outer.kind == released { // what was asked for each value must be a figure
		return nil, c.deny(nil, "guard.steering-subquery")
	}
	j.right = c.wrap(right)
	return j.typed()
}

// outerValues is the relation of the distinct outer values. Where all of them come from one relation that the outer one
// was made of, its values will do, which are the same and perhaps some more: what belongs to the others is not looked
// up. So a part that is looked up by its open number may be asked about as any open one. Values of protected rows are
// released, those that enough units share: a figure for each of them is one that could be asked for and joined.
func (c *checker) outerValues(n *node, left *relation) (*relation, error) {
	of, list := c.originOf(n, left)
	if of != nil {
		if r, err := c.distinctValues(&node{Type: n.Type, Duplicate: list}, of); err == nil {
			return r, nil
		}
	}
	r, err := c.distinctValues(n, left)
	if err == nil || left.kind != protected {
		return r, err
	}
	if of == nil || of.kind != protected {
		of, list = left.copyOf(), n.Duplicate
	}
	shared, failed := c.grouping(of, list, nil)
	if failed != nil || shared.kind != released {
		return nil, err
	}
	return shared, nil
}

// originOf gives the relation of which all outer values are columns, and where they stand in it; nil if there is none.
func (c *checker) originOf(n *node, left *relation) (*relation, []*expr) {
	var of *relation
	var list []*expr
	for _, e := range n.Duplicate {
		v, err := c.expr(e, left)
		if err != nil || v.origin == nil || of != nil && v.origin.of != of {
			return nil, nil
		}
		of = v.origin.of
		list = append(list, &expr{Class: "BOUND_REF", Type: "BOUND_REF", Index: uint64(v.origin.at), Return: v.typ})
	}
	if of == nil || of.tail != "" {
		return nil, nil
	}
	return c.wrap(of), list
}

// distinctValues renders them.
func (c *checker) distinctValues(n *node, left *relation) (*relation, error) {
	alias := c.alias()
	out := &relation{kind: left.kind, reads: left.reads, data: left.data, told: left.told, thinned: true, with: left.with}
	var list []string
	var keys []int
	whole := c.namesAllKeys(n, left)
	for i, e := range n.Duplicate {
		v, err := c.expr(e, left)
		if err != nil {
			return nil, err
		}
		ownKey := v.sort == keyValue && v.key >= 0 && !v.nullable && !left.keys[v.key].nullable
		if left.kind == protected && !ownKey && (!whole || v.sort >= textValue) {
			return nil, c.deny(nil, "guard.steering-subquery")
		}
		place := "c" + itoa(i)
		list = append(list, v.sql+" AS "+place)
		if left.kind == protected && v.sort == keyValue {
			at := slices.Index(keys, v.key)
			if at < 0 {
				at = len(keys)
				keys = append(keys, v.key)
			}
			v.key = at
		}
		v.sql, v.cond, v.poly, v.ofSide, v.margin = alias+"."+place, nil, polynomial{}, "", v.margin.gone()
		if v.sort == measureValue {
			v.sort = plainValue
		}
		out.cols = append(out.cols, v)
	}
	for i, k := range keys {
		place := "k" + itoa(i)
		list = append(list, left.keys[k].sql+" AS "+place)
		key := unitKey{domain: left.keys[k].domain, sql: alias + "." + place}
		if len(keys) == 1 && len(n.Duplicate) == 1 {
			key.rows = onlyOne
		}
		out.keys = append(out.keys, key)
	}
	out.from = "(SELECT DISTINCT " + strings.Join(list, ", ") + " FROM " + left.from + ") AS " + alias
	return out, nil
}

// namesAllKeys reports whether every unit key of the outer relation is among what the subquery refers to.
func (c *checker) namesAllKeys(n *node, left *relation) bool {
	named := map[int]bool{}
	for _, e := range n.Duplicate {
		if v, err := c.expr(e, left); err == nil && v.sort == keyValue && v.key >= 0 && !v.nullable && !left.keys[v.key].nullable {
			named[v.key] = true
		}
	}
	return len(named) == len(left.keys)
}

// outerScan is the scan that stands for the outer values.
func (c *checker) outerScan(n *node) (*relation, error) {
	if len(c.outer) == 0 || len(c.outer[len(c.outer)-1].cols) != len(n.ChunkTypes) {
		return nil, problem.New("guard.unknown-plan", "what", "correlated subquery")
	}
	w := c.wrap(c.outer[len(c.outer)-1])
	return w, nil
}
