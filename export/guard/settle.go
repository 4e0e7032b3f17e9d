package guard

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"weir/policy"
)

// MostSettled is the most groups whose bounds are looked at; a table of more is cut off and settles nothing.
const MostSettled = 100_000

// bounds notes what is known of the greatest part that a unit can have in a cell's rows and terms.
func (g *guardedQuery) bounds(a *cell) {
	rows := g.in.rows()
	if g.mode == policy.Private || !rows.known() {
		return
	}
	if rows.Data >= leastMany && a.Kind != CountUnits && a.Kind != CountDistinct {
		a.Rows = rows
	}
	if a.Kind != Sum && a.Kind != Average {
		return
	}
	a.atoms = make([]atom, len(a.Terms))
	for j, name := range a.args[0].poly.measures() {
		t := a.args[0].poly.terms[name]
		for id, exponent := range t.exponents {
			from := a.args[0].poly.known[id]
			if len(t.exponents) == 1 && exponent == 1 && from.bound.known() && from.block == g.in.keys[0].block {
				a.Terms[j].Bound, a.Terms[j].Digits, a.atoms[j] = from.bound, from.digits, from
			}
		}
	}
}

// wholes are the terms that have a bound, as whole numbers; the others are empty.
func (g *guardedQuery) wholes(a cell) []string {
	var list []string
	if g.mode != policy.Perturbed {
		return nil
	}
	for j := range a.atoms {
		list = append(list, "")
		if a.Terms[j].Bound.known() {
			list[j] = a.atoms[j].wholeSQL()
		}
	}
	return list
}

// hashBits is how many bits of a unit's hash are added up for rows, and for sizes that are so small that a product
// with them is.
const hashBits = 30

// hashSQL renders the leading bits of the hash of key k's units.
func hashSQL(k, bits int) string { return fmt.Sprintf("CAST(k%d >> %d AS BIGINT)", k, 64-bits) }

// weighted is the product of a term's size and the hash of a unit of key k. It has as many bits of the hash as leave
// the product of the data set's bound room in 64 bits, so that every query uses the same; where a join has made the
// bound greater, or hardly any bits were left, the product is formed in 128.
func (t Term) weighted(term string, k int) string {
	size := func(most float64) int { return int(math.Ceil(math.Log2(math.Max(2, most*math.Pow10(t.Digits))))) }
	bits, wide := min(hashBits, 61-size(t.Bound.Data)), false
	if bits < 20 {
		bits, wide = hashBits, true
	}
	if wide || size(t.Bound.Most)+bits > 62 {
		term = "CAST(" + term + " AS HUGEINT)"
	}
	return term + " * " + hashSQL(k, bits)
}

// namesRows reports whether the number of rows is part of the figure.
func (a cell) namesRows() bool { return a.Rows.known() && (a.Kind != Sum || a.Constant != 0) }

// isSize reports whether the value is the total of its only term, which need not be formed again.
func (a cell) isSize() bool {
	return a.Kind == Sum && a.Bare && a.args[0].typ.integer() && a.atoms[0].whole != ""
}

// hashes renders what names the rows behind a cell and how they weigh: for each key the sum of the units' hashes over
// the rows, and over each term.
func (g *guardedQuery) hashes(i int, a cell) []string {
	var list []string
	rows := ""
	if a.filter != "" {
		rows = fmt.Sprintf(" FILTER (WHERE f%d)", i)
	}
	for k := range g.in.keys {
		if a.namesRows() {
			list = append(list, fmt.Sprintf("sum(%s)%s AS h%d_%d", hashSQL(k, hashBits), rows, i, k))
		}
		for j, t := range a.Terms {
			if t.Bound.known() {
				list = append(list, fmt.Sprintf("sum(%s)%s AS weight%d_%d_%d", t.weighted(fmt.Sprintf("whole%d_%d", i, j), k), a.among(i), i, k, j))
			}
		}
	}
	for j, t := range a.Terms {
		if t.Bound.known() && !a.isSize() {
			list = append(list, fmt.Sprintf("sum(whole%d_%d)%s AS size%d_%d", i, j, a.among(i), i, j))
		}
	}
	return list
}

func (g *guardedQuery) hashColumns(i int, a cell) []string {
	var list []string
	for k := range g.in.keys {
		if a.namesRows() {
			list = append(list, fmt.Sprintf("h%d_%d", i, k))
		}
		for j, t := range a.Terms {
			if t.Bound.known() {
				list = append(list, fmt.Sprintf("weight%d_%d_%d", i, k, j))
			}
		}
	}
	for j, t := range a.Terms {
		if t.Bound.known() && !a.isSize() {
			list = append(list, fmt.Sprintf("size%d_%d", i, j))
		}
	}
	return list
}

// settledByBounds reports whether bounds can settle every cell, its noise or its fingerprints included.
func (g *guardedQuery) settledByBounds() bool {
	if g.in.rows().Data < leastMany || g.in.oneRowAUnit() {
		return false
	}
	for _, a := range g.cells {
		if a.Kind != CountRows && (a.Kind != Sum && a.Kind != Average || a.Most() == 0) {
			return false
		}
	}
	return true
}

// Most is how much of a count of rows, or of a sum's argument, a unit has at most; 0 where that is not known.
func (c Cell) Most() float64 {
	if c.Kind == CountRows {
		return c.Rows.Most
	}
	sum := math.Abs(c.Constant) * c.Rows.Most
	for _, t := range c.Terms {
		if !t.Bound.known() {
			return 0
		}
		sum += math.Abs(t.Coefficient) * t.Bound.Most
	}
	return sum * (1 + 1e-9) // for what adding up rounds away
}

// boundsSQL renders one pass over the rows: how many there are, and how much. What that says of units, with what one
// unit has at most, the export filter knows.
func (g *guardedQuery) boundsSQL() string {
	by := numbered("g", len(g.groups))
	list := append(append([]string{}, by...), g.values()...)
	list = append(list, "count(*) AS n")
	for i, a := range g.cells {
		if a.Kind == Average && g.mode == policy.Exact { // in perturbed mode it is there for the noise
			list = append(list, fmt.Sprintf("%s AS sum%d", g.total(i, a), i))
		}
		if a.Conditional {
			list = append(list, fmt.Sprintf("count(*) FILTER (WHERE o%d) AS out%d", i, i))
		}
	}
	for k := range g.in.keys {
		list = append(list, g.printed(k, false)...)
	}
	q := "WITH base AS (" + g.base() + "), vals AS (" + grouped(list, "base", by) + ")"
	from := "vals"
	if proofs := g.proofs(); proofs != "" {
		q += ", proofs AS (" + proofs + ")"
		from += " CROSS JOIN proofs"
	}
	enough := fmt.Sprintf("n >= %d", g.rules.K)
	out := g.groupColumns("vals", enough)
	out = append(out, "n")
	for i, a := range g.cells {
		out = append(out, g.boundColumns(i, a)...)
	}
	out = append(out, g.printColumns()...)
	return g.audited(q + " SELECT " + strings.Join(out, ", ") + " FROM " + from + " QUALIFY " + enough + fmt.Sprintf(" LIMIT %d", MostSettled+1))
}

func (g *guardedQuery) boundColumns(i int, a cell) []string {
	list := []string{fmt.Sprintf("val%d AS v%d", i, i), fmt.Sprintf("b%d", i)}
	if a.Kind == Average {
		list = append(list, fmt.Sprintf("sum%d", i))
	}
	if a.Conditional {
		list = append(list, fmt.Sprintf("out%d", i))
	}
	if g.mode != policy.Perturbed {
		return list
	}
	return append(list, g.hashColumns(i, a)...)
}

// openGroups is the condition that a row is of a group in the table Open.
func openGroups(groups int) string {
	var parts []string
	for i := range groups {
		parts = append(parts, fmt.Sprintf("every.g%d IS NOT DISTINCT FROM o.c%d", i, i))
	}
	return strings.Join(parts, " AND ")
}

// exactType is a type whose values come back as they went.
var exactType = regexp.MustCompile(`^(U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|BOOLEAN|VARCHAR|DATE|DECIMAL\(\d+,\d+\))$`)

// namable reports whether groups can be told apart by a table of their values.
func namable(groups []Group) bool {
	for _, g := range groups {
		if !exactType.MatchString(g.Type) {
			return false
		}
	}
	return len(groups) > 0
}
