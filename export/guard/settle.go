package guard

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
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
	if (rows.Data >= leastMany || g.in.oneRowAUnit()) && a.Kind != CountUnits && a.Kind != CountDistinct {
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
				a.Terms[j].Single, a.Terms[j].Even = from.single, from.even
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

// A short hash is leading bits of a unit's name around a middle that is far larger, so that the sum over rows names them and
// says how many there are.
const (
	shortBits   = 31 // the leading one included
	shortMiddle = 1 << 30
	shortHalf   = 1 << 15 // it lies no farther from the middle
)

// shortHash renders the short hash of a unit. Intake stores the same as a column.
func shortHash(unit string) string {
	return fmt.Sprintf("CAST((%s >> 48) + %d AS INTEGER)", unit, shortMiddle-shortHalf)
}

// rowsOfUnits renders how many rows of different units a sum of short hashes is of. What the hashes lie off the middle adds up
// to a row only with millions of units, and may then be taken for one in a billion groups.
func rowsOfUnits(sum string) string {
	return fmt.Sprintf("CAST((COALESCE(%s, 0) + %d) // %d AS BIGINT)", sum, shortMiddle/2, shortMiddle)
}

// weighted is the product of a term's size and the hash of a unit of key k. It has as many bits of the hash as leave
// the product of the data set's bound room in 64 bits, so that every query uses the same; where a join has made the
// bound greater, or hardly any bits were left, the product is formed in 128.
func (t Term) weighted(term string, k int) string {
	size := func(most float64) int { return int(math.Ceil(math.Log2(math.Max(2, most*math.Pow10(t.Digits))))) }
	bits, hash := shortBits, fmt.Sprintf("kh%d", k)
	if left := 61 - size(t.Bound.Data); left >= 20 && left < shortBits-1 {
		bits, hash = left, fmt.Sprintf("CAST(k%d >> %d AS BIGINT)", k, 64-left)
	}
	if size(t.Bound.Most)+bits > 62 {
		term = "CAST(" + term + " AS HUGEINT)"
	}
	return term + " * " + hash
}

// ManyRows reports whether the noise of the number of rows may come from bounds. Where a unit has one row, it is that of
// the set of units.
func (c Cell) ManyRows() bool { return c.Rows.Data >= leastMany }

// CountsRows reports whether the number of rows is part of the figure.
func (c Cell) CountsRows() bool { return c.Kind != Sum || c.Constant != 0 }

// namesRows reports whether rows are named by the mean of their units' hashes.
func (a cell) namesRows() bool { return a.ManyRows() && a.CountsRows() }

// weight is what each row adds to the name of a term of the figure.
func (a cell) weight(i, j, k int) string {
	whole := fmt.Sprintf("whole%d_%d", i, j)
	switch {
	case !a.Terms[j].Even:
		return a.Terms[j].weighted(whole, k)
	case a.atoms[j].present:
		return fmt.Sprintf("kh%d", k)
	}
	return fmt.Sprintf("CASE WHEN %s IS NOT NULL THEN kh%d END", whole, k)
}

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
			list = append(list, fmt.Sprintf("sum(kh%d)%s AS h%d_%d", k, rows, i, k))
		}
		for j, t := range a.Terms {
			if t.Bound.known() {
				list = append(list, fmt.Sprintf("sum(%s)%s AS weight%d_%d_%d", a.weight(i, j, k), a.among(i), i, k, j))
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

// settledByBounds reports whether bounds can settle every cell, its noise or its fingerprints included, and spare something.
func (g *guardedQuery) settledByBounds() bool {
	many := g.in.rows().Data >= leastMany
	spares := many
	for _, a := range g.cells {
		if a.Kind != CountRows && (a.Kind != Sum && a.Kind != Average || a.Most() == 0) {
			return false
		}
		spares = spares || a.Kind != CountRows
	}
	return spares && (many || g.in.oneRowAUnit() && g.mode == policy.Perturbed)
}

// named reports whether the noise of a cell's rows is drawn by the name of their units.
func (g *guardedQuery) named(a cell) bool {
	return g.mode == policy.Perturbed && a.CountsRows() && g.in.oneRowAUnit()
}

// full reports whether every row takes part in a cell.
func (a cell) full() bool {
	return a.filter == "" || a.whole() && len(a.atoms) > 0 && !slices.ContainsFunc(a.atoms, func(t atom) bool { return !t.present })
}

// units renders the name of the set of units behind a cell whose units have one row each.
func (a cell) units(i int) string {
	if a.full() {
		return "sum(kh0)"
	}
	return fmt.Sprintf("sum(kh0) FILTER (WHERE f%d)", i)
}

// numberOfRows renders how many rows a group has at least, which the sum of their hashes says well enough, and a condition that holds
// where there may be k. To count them apart would cost as much as to add them up.
func (g *guardedQuery) numberOfRows() (least, enough string) {
	k := g.rules.K
	for i, a := range g.cells {
		if a.Kind == CountRows && a.filter == "" || g.mode != policy.Perturbed {
			break
		}
		if a.full() && len(a.Terms) > 0 && a.Terms[0].Even {
			sum := fmt.Sprintf("weight%d_0_0", i)
			const most = shortMiddle + shortHalf
			return fmt.Sprintf("(%s + %d) // %d", sum, most-1, most), fmt.Sprintf("%s >= %d", sum, k*(shortMiddle-shortHalf))
		}
	}
	return "count(*)", fmt.Sprintf("n >= %d", k)
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
func (g *guardedQuery) boundsSQL() (string, Same) {
	by := numbered("g", len(g.groups))
	list := append(append([]string{}, by...), g.values()...)
	rows, enough := g.numberOfRows()
	if rows == "count(*)" {
		list, rows = append(list, "count(*) AS n"), "n"
	}
	for i, a := range g.cells {
		if a.Kind == Average && g.mode == policy.Exact { // in perturbed mode it is there for the noise
			list = append(list, fmt.Sprintf("%s AS sum%d", g.total(i, a), i))
		}
		if g.named(a) {
			list = append(list, fmt.Sprintf("%s AS x%d_0", a.units(i), i))
		}
		if a.Conditional {
			list = append(list, fmt.Sprintf("count(*) FILTER (WHERE o%d) AS out%d", i, i))
		}
	}
	for k := range g.in.keys {
		list = append(list, g.printed(k, false)...)
	}
	var told []string
	vals := grouped(list, "base", by)
	if g.in.oneRowAUnit() {
		list, told = counted(list)
		vals = groupedUnits(list, told, "base", by)
	}
	q := "WITH base AS (" + g.base(g.rows()) + "), vals AS (" + vals + ")"
	from := "vals"
	if proofs := g.proofs(); proofs != "" {
		q += ", proofs AS (" + proofs + ")"
		from += " CROSS JOIN proofs"
	}
	out := g.groupColumns("vals", enough)
	out = append(out, rows+" AS n")
	for i, a := range g.cells {
		out = append(out, g.boundColumns(i, a)...)
	}
	out, same := brought(out, append(list, told...))
	out = append(out, g.printColumns()...)
	return g.audited(q + " SELECT " + strings.Join(out, ", ") + " FROM " + from + " QUALIFY " + enough + fmt.Sprintf(" LIMIT %d", MostSettled+1)), same
}

func (g *guardedQuery) boundColumns(i int, a cell) []string {
	total, most := fmt.Sprintf("val%d", i), a.Most()
	if a.Kind == Average {
		total = fmt.Sprintf("sum%d", i)
	}
	list := []string{fmt.Sprintf("CASE WHEN abs(%s) >= %s THEN val%d END AS v%d", total, strconv.FormatFloat(float64(g.rules.K)*most, 'f', -1, 64), i, i)}
	if a.CountsRows() || g.mode != policy.Perturbed {
		list = append(list, fmt.Sprintf("b%d", i))
	}
	if a.Alike {
		list = append(list, fmt.Sprintf("alike%d", i))
	}
	if g.named(a) {
		list = append(list, fmt.Sprintf("x%d_0", i))
	}
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
