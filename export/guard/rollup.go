package guard

import (
	"fmt"
	"slices"
	"strings"

	"weir/internal/problem"
)

// maxGroupingSets bounds how many groupings one query may ask for at once.
const maxGroupingSets = 32

// groupingSets types ROLLUP, CUBE and GROUPING SETS: every grouping is an aggregation of its own, and the result
// is their union. The finest comes first, so that the export filter knows its cells when it judges the totals.
func (c *checker) groupingSets(in *relation, n *node, list []*expr) (*relation, error) {
	if len(n.GroupingSets) > maxGroupingSets {
		return nil, c.deny(nil, "guard.too-many-groupings", "limit", itoa(maxGroupingSets))
	}
	sets := slices.Clone(n.GroupingSets)
	if len(sets) == 0 {
		sets = [][]uint64{nil}
	}
	slices.SortStableFunc(sets, func(a, b []uint64) int { return len(b) - len(a) })
	out := &relation{}
	var parts []string
	var figures []margin // of the aggregates, the same in every grouping
	for i, set := range sets {
		part, sql, err := c.groupingSet(in, n, set, list)
		if err != nil {
			return nil, err
		}
		if part.kind == protected {
			return nil, c.deny(nil, "guard.operator", "operator", "grouping sets")
		}
		for at := range list {
			m := part.cols[len(set)+at].margin
			if i == 0 {
				figures = append(figures, m)
			} else if figures[at].none != m.none || figures[at].known() != m.known() {
				return nil, problem.New("guard.unknown-plan", "what", "grouping")
			}
		}
		parts = append(parts, sql)
		out.kind = max(out.kind, part.kind)
		out.reads, out.data = union(out.reads, part.reads), union(out.data, part.data)
	}
	alias := c.alias()
	out.from = "(" + strings.Join(parts, " UNION ALL ") + ") AS " + alias
	column := func(name string, t typ) {
		out.cols = append(out.cols, value{sql: alias + ".c" + itoa(len(out.cols)), typ: t, sort: freeValue, name: name, key: -1})
	}
	for _, g := range n.Groups {
		v, err := c.expr(g, in)
		if err != nil {
			return nil, err
		}
		column(v.name, v.typ)
		out.cols[len(out.cols)-1].margin = v.margin.gone()
	}
	for at, e := range list {
		column(e.Name, e.Return)
		v := &out.cols[len(out.cols)-1]
		if v.margin = figures[at].gone(); figures[at].sql != "" {
			v.margin.sql = alias + ".m" + itoa(len(out.cols)-1)
		}
	}
	for range n.GroupingFns {
		column("grouping", typ{ID: "BIGINT"})
	}
	return out, nil
}

// groupingSet types one of the groupings and renders it with the columns of the whole: those that it does not
// group by are NULL, and GROUPING says which those are.
func (c *checker) groupingSet(in *relation, n *node, set []uint64, list []*expr) (*relation, string, error) {
	var by []*expr
	place := map[uint64]int{}
	for _, g := range set {
		if g >= uint64(len(n.Groups)) {
			return nil, "", problem.New("guard.unknown-plan", "what", "grouping")
		}
		place[g] = len(by)
		by = append(by, n.Groups[g])
	}
	r, err := c.grouping(in.copyOf(), by, list)
	if err != nil {
		return nil, "", err
	}
	var columns []string
	for i, g := range n.Groups {
		if at, ok := place[uint64(i)]; ok {
			columns = append(columns, r.cols[at].sql)
			continue
		}
		v, err := c.expr(g, in)
		if err != nil {
			return nil, "", err
		}
		t, err := v.typ.sql() // a comparison says nothing of its own type
		if err != nil {
			return nil, "", c.denyBecause(g, err, "guard.unknown-type", "type", v.typ.ID)
		}
		columns = append(columns, "CAST(NULL AS "+t+")")
	}
	for i := range list {
		columns = append(columns, r.cols[len(by)+i].sql)
	}
	for _, function := range n.GroupingFns {
		columns = append(columns, fmt.Sprintf("CAST(%d AS BIGINT)", groupingBits(function, place)))
	}
	for i := range columns {
		columns[i] += " AS c" + itoa(i)
	}
	for i := range list {
		if r.carriesMargin(len(by) + i) {
			columns = append(columns, r.cols[len(by)+i].margin.sql+" AS m"+itoa(len(n.Groups)+i))
		}
	}
	return r, "(SELECT " + strings.Join(columns, ", ") + " FROM " + r.from + ")", nil
}

// groupingBits is SQL's GROUPING: a bit for each argument, the first the highest, set where the grouping leaves it out.
func groupingBits(arguments []uint64, place map[uint64]int) int64 {
	var bits int64
	for _, g := range arguments {
		bits <<= 1
		if _, grouped := place[g]; !grouped {
			bits |= 1
		}
	}
	return bits
}
