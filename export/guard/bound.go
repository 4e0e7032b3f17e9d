package guard

import (
	"fmt"
	"maps"
	"math"

	"weir/policy"
)

// What a unit can have at most is known from intake, by key: so many rows, so much of each measure. Carried through
// the plan, it settles the checks of most cells in one pass over the rows, with no look at single units: a cell of r
// rows has r/M units at least where no unit has more than M. Filters keep such a bound; a join on a unit key multiplies
// it by what the other side has of that unit; whatever has no rule here loses it, and then everything is looked at.

// Bound is how much one unit can have at most. The zero value is no bound.
type Bound struct {
	Most float64 // in this relation
	Data float64 // in the data set that it comes from, which no way of writing a query changes
}

var onlyOne = Bound{1, 1}

// leastMany is from how many rows a unit on a data set's bound is worth anything. With fewer, what comes from the
// units themselves must not be told from two sides; see docs/design/guard.md, "Noise from bounds".
const leastMany = 3

func (b Bound) known() bool { return b.Most > 0 }

// ofMany is the bound on a number of rows that noise may be drawn by. Where a unit has one row, their number is that of
// the units, which has one draw already.
func (b Bound) ofMany() Bound {
	if b.Data < leastMany {
		return Bound{}
	}
	return b
}

// times is the bound where each row meets up to n others.
func (b Bound) times(n float64) Bound { return Bound{b.Most * n, b.Data} }

// both is the bound where two hold of the same rows.
func (b Bound) both(o Bound) Bound {
	least := math.Min(b.Most, o.Most)
	if least == 0 {
		least = math.Max(b.Most, o.Most)
	}
	return Bound{least, math.Max(b.Data, o.Data)}
}

// greater is the bound of either of two things, which have none where one has none.
func (b Bound) greater(o Bound) Bound {
	if !b.known() || !o.known() {
		return Bound{}
	}
	return Bound{math.Max(b.Most, o.Most), math.Max(b.Data, o.Data)}
}

func rowsOf(u policy.Unit) Bound {
	if u.Unique {
		return onlyOne
	}
	return Bound{float64(u.Most), float64(u.Most)}
}

// bounded adds to a column's atom how much of it a unit of any key has in the data set.
func (a atom) bounded(d policy.Dataset, col policy.Column, sql string, t typ) atom {
	whole := t.integer() && t.ID != "HUGEINT" && t.ID != "UHUGEINT" && t.ID != "UBIGINT"
	if t.ID == "DECIMAL" {
		a.digits = t.Info.Scale
	} else if !whole {
		return a
	}
	most, rows := 0.0, int64(0)
	for _, u := range d.Units {
		total, known := u.Totals[col.Name]
		if !known {
			return a
		}
		most, rows = math.Max(most, total), max(rows, u.Most)
	}
	if rows > 1 && rows < leastMany || most == 0 || most*math.Pow10(a.digits) > 1<<52 {
		return a
	}
	a.bound = Bound{most, most}
	a.single = rows == 1
	a.even, a.present = a.single && col.Full, col.Full
	if whole {
		a.whole = "CAST(" + sql + " AS BIGINT)"
	}
	return a
}

// ofRows reports whether a fact about a unit has no greater size than its rows in the data set have in all. Its sum has,
// its mean, its extremes; not its variance, and not the sum of rows that a join gives several times.
func (r *relation) ofRows(function string) bool {
	switch function {
	case "sum", "sum_no_overflow", "avg", "mean", "min", "max", "median":
		return !r.weighted && !r.fansOut()
	}
	return false
}

// like gives a per-unit fact the bound of the one measure that it is made of: a unit's sums of its rows, or its
// means, extremes or different values, have no greater total than its rows.
func (a atom) like(of value, block int) atom {
	if from, alone := of.poly.onlyAtom(); alone { // a product has no bound from its factors
		a.bound, a.block, a.digits, a.single = from.bound, block, from.digits, from.single
	}
	return a
}

// asColumn keeps what makes a measure whole where it goes on as a column as it is.
func (p polynomial) asColumn(v value, column string) polynomial {
	if v.cond != nil || !v.poly.isAtom() {
		return p
	}
	for id, from := range v.poly.known {
		if from.whole == "CAST("+v.sql+" AS BIGINT)" {
			a := p.known[id]
			a.whole = "CAST(" + column + " AS BIGINT)"
			p.known[id] = a
		}
	}
	return p
}

// sameRow gives a fact about units that have one row each what is known of the row.
func (a atom) sameRow(of value) atom {
	if from, alone := of.poly.onlyAtom(); alone {
		a.even, a.present = from.even, from.present
	}
	return a
}

// anyBlock is the block of a value's measure.
func anyBlock(of value) int {
	for _, a := range of.poly.known {
		return a.block
	}
	return 0
}

// wholeSQL is the atom's value as a whole number, in units of its last digit. It cannot overflow: a unit of
// the data set has less than 2^53 of them in all.
func (a atom) wholeSQL() string {
	if a.whole != "" {
		return a.whole
	}
	return fmt.Sprintf("CAST(%s * %g AS BIGINT)", a.sql, math.Pow10(a.digits))
}

// fansOut reports whether a side was joined that may give protected rows many partners, if all alike.
func (r *relation) fansOut() bool {
	known, _ := r.tied()
	for _, s := range r.with {
		if !known[s] {
			return true
		}
	}
	return false
}

// manyRows reports whether the rows come from a data set whose units have many.
func (r *relation) manyRows() bool {
	for _, k := range r.keys {
		if k.rows.Data >= leastMany {
			return true
		}
	}
	return false
}

// rows is how many rows a unit of any key has in the relation.
func (r *relation) rows() Bound {
	var most Bound
	for i, k := range r.keys {
		if !k.rows.known() || k.nullable || k.block != r.keys[0].block || r.weighted || r.fansOut() {
			return Bound{}
		}
		if most = most.greater(k.rows); i == 0 {
			most = k.rows
		}
	}
	return most
}

// meet notes that rows of the blocks of two keys meet where the keys are equal: each row of one then meets as many as
// its unit has in the other, and the two blocks are one.
func (r *relation) meet(i, k int) {
	if i < 0 || k < 0 || i >= len(r.keys) || k >= len(r.keys) || r.keys[i].block == r.keys[k].block {
		return
	}
	a, b := r.keys[i], r.keys[k]
	factor := map[int]float64{a.block: b.rows.Most, b.block: a.rows.Most}
	for at := range r.keys {
		if n, ok := factor[r.keys[at].block]; ok {
			r.keys[at].rows, r.keys[at].block = r.keys[at].rows.times(n), a.block
		}
	}
	for at := range r.cols {
		r.cols[at].poly = r.cols[at].poly.met(factor, a.block)
	}
}

func (p polynomial) met(factor map[int]float64, block int) polynomial {
	changed := polynomial{terms: p.terms, known: maps.Clone(p.known), column: p.column}
	for id, a := range p.known {
		if n, ok := factor[a.block]; ok {
			a.bound, a.block = a.bound.times(n), block
			changed.known[id] = a
		}
	}
	return changed
}

// otherBlock gives the rows of a relation a block of their own before they are joined to others.
func (c *checker) otherBlock(r *relation) {
	renamed := map[int]int{}
	of := func(block int) int {
		if _, ok := renamed[block]; !ok {
			c.blocks++
			renamed[block] = c.blocks
		}
		return renamed[block]
	}
	for i := range r.keys {
		r.keys[i].block = of(r.keys[i].block)
	}
	for i, v := range r.cols {
		poly := polynomial{terms: v.poly.terms, known: maps.Clone(v.poly.known), column: v.poly.column}
		for id, a := range poly.known {
			a.block = of(a.block)
			poly.known[id] = a
		}
		r.cols[i].poly = poly
	}
}
