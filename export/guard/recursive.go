package guard

import (
	"strings"

	"weir/internal/problem"
)

// recursive types a recursive common table expression, over open and released relations: what it computes is
// post-processing, and how long it computes is bounded by the worker's limits. A guarded aggregation inside of it
// would be run once for each round, with other rows each time, so none may read what the rounds produce.
func (c *checker) recursive(n *node) (*relation, error) {
	denied := func() error {
		return c.deny(nil, "guard.recursive")
	}
	if len(n.Children) != 2 || n.RefRecurring {
		return nil, denied()
	}
	first, err := c.relation(n.Children[0])
	if err != nil {
		return nil, err
	}
	if first.kind == protected {
		return nil, denied()
	}
	name := "q" + strings.TrimPrefix(c.alias(), "t")
	round := &relation{kind: released, from: name + " AS " + c.alias(), reads: map[string]bool{name: true}, data: map[string]bool{}}
	round.cols = columnsOf(round.from, first.cols)
	c.ctes[n.TableIndex] = round
	next, err := c.relation(n.Children[1])
	delete(c.ctes, n.TableIndex)
	if err != nil {
		return nil, err
	}
	if next.kind == protected || len(next.cols) != len(first.cols) {
		return nil, denied()
	}
	key, err := c.recursionKey(n, round)
	if err != nil {
		return nil, err
	}
	word := " UNION "
	if n.UnionAll {
		word = " UNION ALL "
	}
	columns := strings.Join(numbered("c", len(first.cols)), ", ")
	r := &relation{kind: max(first.kind, next.kind), reads: union(first.reads, next.reads), data: union(first.data, next.data)}
	delete(r.reads, name)
	r.from = "(WITH RECURSIVE " + name + "(" + columns + ")" + key + " AS ((" + c.wrap(first.forget()).selectSQL(nil) + ")" + word + "(" + c.wrap(next.forget()).selectSQL(nil) +
		")) SELECT * FROM " + name + ") AS " + c.alias()
	r.cols = columnsOf(r.from, first.cols)
	return r, nil
}

// recursionKey renders USING KEY, by which a round replaces rows of those before it.
func (c *checker) recursionKey(n *node, round *relation) (string, error) {
	if len(n.KeyTargets) == 0 {
		return "", nil
	}
	var places []string
	for _, e := range n.KeyTargets {
		if !isColumn(e) || e.Index >= uint64(len(round.cols)) {
			return "", problem.New("guard.unknown-plan", "what", "recursive common table expression")
		}
		places = append(places, "c"+itoa(int(e.Index)))
	}
	return " USING KEY (" + strings.Join(places, ", ") + ")", nil
}

// columnsOf are the columns c0, c1, … of a relation under the alias that its FROM clause ends with.
func columnsOf(from string, like []value) []value {
	alias := from[strings.LastIndexByte(from, ' ')+1:]
	var cols []value
	for i, v := range like {
		cols = append(cols, value{sql: alias + ".c" + itoa(i), typ: v.typ, sort: freeValue, name: v.name, key: -1})
	}
	return cols
}
