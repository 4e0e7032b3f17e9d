package guard

import (
	"maps"
	"slices"
	"strings"

	"weir/policy"
)

// A column of a union is one side's measure in some rows and another's in others. Its sum is the sum of both, and noise
// is drawn for each as it is elsewhere. Were it drawn for the two together, a side without rows would bring a new draw of
// the other side's sum with every measure that can be written there.

// asUnion gives a union's measures as sums of each side's terms, and for each side what it selects besides for them: a
// term is nothing in the rows of the other sides. Where that is too much arithmetic, the column is no measure.
func (c *checker) asUnion(out *relation, sides []*relation, alias string) [][]atom {
	hidden := make([][]atom, len(sides))
	for i := range out.cols {
		v := &out.cols[i]
		if v.sort != measureValue {
			continue
		}
		p, terms := polynomial{terms: map[string]term{}}, 0
		for _, side := range sides {
			terms += len(side.cols[i].poly.terms)
		}
		if terms > maxTerms {
			v.sort, v.poly = plainValue, polynomial{}
			continue
		}
		for s, side := range sides {
			of := side.cols[i].poly
			for _, name := range slices.Sorted(maps.Keys(of.terms)) {
				t := of.terms[name]
				a := of.termOfSide(t)
				for other := range sides {
					sql := "CAST(0 AS DOUBLE)"
					if other == s {
						sql = of.termSQL(t)
					}
					hidden[other] = append(hidden[other], atom{sql: sql})
				}
				a.sql = alias + ".a" + itoa(len(hidden[s])-1)
				scaled, _ := constantPolynomial(t.coefficient).times(c.measure(a))
				p = p.plus(scaled, 1)
			}
		}
		if p.column = columnOfUnion(sides, i); !p.bounded() {
			v.sort, p = plainValue, polynomial{}
		}
		v.poly = p
	}
	return hidden
}

// termOfSide is a term of one side's measure, which is nothing in the rows of the others.
func (p polynomial) termOfSide(t term) atom {
	if len(t.exponents) == 0 {
		return atom{of: RowsTerm, reach: 1}
	}
	return atom{of: p.drawnFor(t), reach: p.each(t)}
}

// columnOfUnion is what noise is drawn for of other figures than sums, if each side's measure is one as it is.
func columnOfUnion(sides []*relation, i int) string {
	var names []string
	for _, side := range sides {
		name, bare := bareMeasure(side.cols[i].poly)
		if !bare {
			return ""
		}
		names = append(names, strings.TrimSuffix(name, "^1"))
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), " or ") + "^1"
}

// ofUnion reports whether the relation is a union whose measures are known by side. In private mode noise is never drawn
// twice, so there they are measures of their own.
func (c *checker) ofUnion(n *node, out *relation) bool {
	return n.Type == "LOGICAL_UNION" && out.kind == protected && c.mode != policy.Private
}
