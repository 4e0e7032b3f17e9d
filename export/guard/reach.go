package guard

import (
	"math"

	"weir/policy"
)

// How large a contribution can be, as far as it may be published: error bounds rest on it. It never depends on what a
// query chooses, or an analyst could have its steps fall on either side of a figure. It is what the provider declared,
// or what intake found of the whole data set, rounded up to a power of two: within how much the largest unit lies is
// said of each measure once, and no closer than by half.

// RoundedUp is the least power of two that is no less.
func RoundedUp(size float64) float64 { return math.Exp2(math.Ceil(math.Log2(size))) }

// reachOf is how large the values of a measure are.
func reachOf(d policy.Dataset, col policy.Column) float64 {
	least := 0.0
	if r := rangeOf(col.Bound); r != nil {
		least = r.Reach()
	}
	for _, u := range d.Units { // no row has more than its unit has in all
		if total, ok := u.Totals[col.Name]; ok && total > 0 && (least == 0 || RoundedUp(total) < least) {
			least = RoundedUp(total)
		}
	}
	return least
}

func eitherReach(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return math.Max(a, b)
}

// reach is how large the polynomial's values are.
func (p polynomial) reach() float64 {
	sum := 0.0
	for _, t := range p.terms {
		one := p.each(t)
		if one == 0 {
			return 0
		}
		sum += math.Abs(t.coefficient) * one
	}
	return finite(sum)
}

// each is how large the values of a term are, without its coefficient.
func (p polynomial) each(t term) float64 {
	product := 1.0
	for id, exponent := range t.exponents {
		a, factor := p.known[id], p.known[id].reach
		if exponent < 0 {
			if a.within == nil {
				return 0
			}
			inverse, ok := a.within.inverse()
			if !ok {
				return 0
			}
			factor = inverse.Reach()
		}
		product *= math.Pow(factor, math.Abs(float64(exponent)))
	}
	return finite(product)
}

func finite(f float64) float64 {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return 0
	}
	return f
}

// reachOfRows is how many rows of the relation one unit has.
func (r *relation) reachOfRows() float64 {
	if r.oneRowAUnit() {
		return 1
	}
	rows := r.rows()
	if !rows.known() {
		return 0
	}
	return RoundedUp(rows.Most)
}

// reachOfFact is how large a fact about one unit is.
func (r *relation) reachOfFact(function string, args []value) float64 {
	switch function {
	case "count_star":
		return r.reachOfRows()
	case "min", "max", "avg", "mean":
		return args[0].poly.reach()
	case "sum", "sum_no_overflow":
		return finite(args[0].poly.reach() * r.reachOfRows())
	}
	return 0
}

// reaches notes how much one unit can have in a cell.
func (g *guardedQuery) reaches(a *cell) {
	rows := g.in.reachOfRows()
	if a.Reach = rows; a.Kind == CountUnits {
		a.Reach = 1
	}
	at := func(i int, p polynomial, t term) {
		each := p.each(t)
		a.Terms[i].Each, a.Terms[i].Reach = each, finite(each*rows)
		if total := a.Terms[i].Bound.Most; total > 0 && rows > 0 && RoundedUp(total) < a.Terms[i].Reach {
			a.Terms[i].Reach = RoundedUp(total)
		}
	}
	switch a.Kind {
	case Sum, Average:
		for i, name := range a.args[0].poly.measures() {
			at(i, a.args[0].poly, a.args[0].poly.terms[name])
		}
	case Moment, Quantile:
		for i, v := range a.args {
			for _, t := range v.poly.terms {
				at(i, v.poly, t)
			}
			if a.Terms[i].Spread = 2 * a.Terms[i].Each; v.poly.within() != nil {
				a.Terms[i].Spread = 2 * v.poly.within().Half()
			}
		}
	}
}
