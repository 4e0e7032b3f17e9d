package guard

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir/policy"
)

// In private mode a unit's contribution to an aggregation is bounded here, before noise is added to it: to so many
// groups, to so many rows in each, and to values between the bounds that the provider declared. What exceeds a
// bound is left out, or moved to it, by rules that look at the one unit's rows alone (Wilson et al., Differentially
// private SQL with bounded user contribution, PoPETs 2020).

// The bounds of a unit with many rows. Where a unit has one row, it adds one row to one group.
const (
	UnitGroups = 4
	UnitRows   = 10
)

// Range is the values that a number is held to.
type Range struct{ Least, Most float64 }

// Reach is the greatest size of a value in it.
func (r Range) Reach() float64 { return math.Max(math.Abs(r.Least), math.Abs(r.Most)) }

// Middle is the value that figures are taken from, since noise then scales with half the range's width.
func (r Range) Middle() float64 { return (r.Least + r.Most) / 2 }

// Half is half the range's width.
func (r Range) Half() float64 { return (r.Most - r.Least) / 2 }

func (r Range) scaled(by float64) Range {
	a, b := r.Least*by, r.Most*by
	return Range{math.Min(a, b), math.Max(a, b)}
}

func (r Range) plus(other Range) Range { return Range{r.Least + other.Least, r.Most + other.Most} }

func (r Range) times(other Range) Range {
	products := []float64{r.Least * other.Least, r.Least * other.Most, r.Most * other.Least, r.Most * other.Most}
	p := Range{math.Inf(1), math.Inf(-1)}
	for _, x := range products {
		p.Least, p.Most = math.Min(p.Least, x), math.Max(p.Most, x)
	}
	return p
}

// inverse is 1/x over the range; there is none where x may be zero.
func (r Range) inverse() (Range, bool) {
	if r.Least <= 0 && r.Most >= 0 {
		return Range{}, false
	}
	return Range{1 / r.Most, 1 / r.Least}, true
}

// hull is the least range that holds both.
func hull(a, b *Range) *Range {
	if a == nil || b == nil {
		return nil
	}
	return &Range{math.Min(a.Least, b.Least), math.Max(a.Most, b.Most)}
}

// rangeOf is what a provider declared of a measure; nil where a bound is missing.
func rangeOf(b *policy.Bounds) *Range {
	if b == nil || b.Min == nil || b.Max == nil || !(*b.Min <= *b.Max) || math.IsInf(*b.Max-*b.Min, 0) {
		return nil
	}
	return &Range{*b.Min, *b.Max}
}

// within is the range of the polynomial's values; nil where one of its measures has no bounds, or nothing follows
// from them.
func (p polynomial) within() *Range {
	sum := Range{}
	for _, t := range p.terms {
		product := Range{1, 1}
		for id, exponent := range t.exponents {
			bound := p.known[id].within
			if bound == nil {
				return nil
			}
			factor := *bound
			if exponent < 0 {
				var ok bool
				if factor, ok = factor.inverse(); !ok {
					return nil
				}
			}
			for range max(exponent, -exponent) {
				product = product.times(factor)
			}
		}
		sum = sum.plus(product.scaled(t.coefficient))
	}
	if math.IsInf(sum.Reach(), 0) || math.IsNaN(sum.Reach()) {
		return nil
	}
	return &sum
}

// withinUnit is the range of a fact about one unit. A sum over its rows is held to what its most rows can make.
func withinUnit(function string, args []value) *Range {
	switch function {
	case "count_star":
		return &Range{0, UnitRows}
	case "min", "max", "avg", "mean":
		return args[0].poly.within()
	case "sum", "sum_no_overflow":
		if one := args[0].poly.within(); one != nil {
			return hull(&Range{}, &Range{one.Least * UnitRows, one.Most * UnitRows})
		}
	}
	return nil
}

// hold gives cells the ranges that private mode holds their arguments to, and refuses what has none.
func (c *checker) hold(e *expr, in *relation, cells []cell) error {
	if c.mode != policy.Private {
		return nil
	}
	if len(in.keys) != 1 {
		return c.deny(e, "guard.private-units")
	}
	for i := range cells {
		a := &cells[i]
		if a.Kind == Quantile || a.Kind == CountDistinct {
			return c.deny(e, "guard.private-aggregate", "function", a.Function)
		}
		if a.Kind == CountRows || a.Kind == CountUnits {
			continue
		}
		for _, v := range a.args {
			r := v.poly.within()
			if r == nil {
				return c.deny(e, "guard.private-bounds", "function", a.Function)
			}
			a.Ranges = append(a.Ranges, *r)
		}
	}
	return nil
}

// privateSQL renders the query of a release in private mode. Its columns are the groups, the proofs, n0 (units in
// the group), and for each aggregate a n<a>_0 (units with a row in it) and d<a>_<j>, the figures that Cell.Figures
// describes. That nothing is brought of groups, and of conditions, with fewer than k units is the first part of the
// filter's selection, which never keeps them.
func (g *guardedQuery) privateSQL() string {
	by := numbered("g", len(g.groups))
	inner := append(append([]string{}, by...), g.units("")+" AS n0")
	outer := append([]string{}, by...)
	from := "cells"
	q := "WITH base AS (" + g.base(g.rows()) + "), bounded AS (SELECT * FROM base WHERE k0 IS NOT NULL" + g.boundedRows(by) + ")"
	if len(g.in.proofs) > 0 {
		var proofs []string
		for j, proof := range g.in.proofs {
			proofs = append(proofs, fmt.Sprintf("%s AS p%d", proof, j))
			outer = append(outer, fmt.Sprintf("p%d", j))
		}
		q += ", proofs AS (SELECT " + strings.Join(proofs, ", ") + ")"
		from += " CROSS JOIN proofs"
	}
	outer = append(outer, "n0")
	for i, a := range g.cells {
		among := fmt.Sprintf(" FILTER (WHERE f%d)", i)
		inner = append(inner, fmt.Sprintf("%s AS n%d_0", g.units(among), i))
		outer = append(outer, fmt.Sprintf("n%d_0", i))
		for j, sql := range g.figures(i, a, among) {
			name := fmt.Sprintf("d%d_%d", i, j)
			inner = append(inner, sql+" AS "+name)
			if a.Conditional {
				name = fmt.Sprintf("CASE WHEN n%d_0 >= %d THEN %s END AS %s", i, g.rules.K, name, name)
			}
			outer = append(outer, name)
		}
	}
	return q + ", cells AS (" + grouped(inner, "bounded", by) + ") SELECT " + strings.Join(outer, ", ") + " FROM " + from + " WHERE n0 >= " + itoa(g.rules.K)
}

func (g *guardedQuery) units(among string) string {
	if g.in.oneRowAUnit() {
		return "count(*)" + among
	}
	return "count(DISTINCT k0)" + among
}

// boundedRows keeps of each unit UnitGroups groups and UnitRows rows in each, chosen by a hash.
func (g *guardedQuery) boundedRows(by []string) string {
	if g.in.oneRowAUnit() {
		return ""
	}
	own := append([]string{"k0"}, by...)
	conditions := []string{fmt.Sprintf("row_number() OVER (PARTITION BY %s ORDER BY hash(base)) <= %d", strings.Join(own, ", "), UnitRows)}
	if len(by) > 0 {
		conditions = append(conditions, fmt.Sprintf("dense_rank() OVER (PARTITION BY k0 ORDER BY hash(%s), %s) <= %d",
			strings.Join(own, ", "), strings.Join(by, ", "), UnitGroups))
	}
	return " QUALIFY " + strings.Join(conditions, " AND ")
}

// figures are the sums that a cell is computed from, each of which gets noise of its own. Sums of measures are
// taken from the middle of their range where their number is known too.
func (g *guardedQuery) figures(i int, a cell, among string) []string {
	count := "count(*)" + among
	sum := func(x string) string { return "COALESCE(sum(" + x + ")" + among + ", 0)" }
	held := make([]string, len(a.args))
	for j := range a.args {
		r := a.Ranges[j]
		held[j] = fmt.Sprintf("greatest(least(CAST(p%d_%d AS DOUBLE), %s), %s)", i, j, double(r.Most), double(r.Least))
		if a.Kind != Sum {
			held[j] = "(" + held[j] + " - " + double(r.Middle()) + ")"
		}
	}
	switch a.Kind {
	case CountRows:
		return []string{count}
	case CountUnits:
		return []string{g.units(among)}
	case Sum:
		return []string{sum(held[0])}
	case Average:
		return []string{count, sum(held[0])}
	}
	list := []string{count, sum(held[0]), sum(held[0] + " * " + held[0])}
	if len(held) == 2 {
		list = append(list, sum(held[1]), sum(held[1]+" * "+held[1]), sum(held[0]+" * "+held[1]))
	}
	return list
}

func double(x float64) string { return "CAST('" + strconv.FormatFloat(x, 'g', -1, 64) + "' AS DOUBLE)" }

// Figures gives for each figure of the cell, in the order of the columns d<a>_<j>, how much one row can change it.
func (c Cell) Figures() []float64 {
	switch c.Kind {
	case CountRows, CountUnits:
		return []float64{1}
	case Sum:
		return []float64{c.Ranges[0].Reach()}
	case Average:
		return []float64{1, c.Ranges[0].Half()}
	case Moment:
		x := c.Ranges[0].Half()
		list := []float64{1, x, x * x}
		if len(c.Ranges) == 2 {
			y := c.Ranges[1].Half()
			list = append(list, y, y*y, x*y)
		}
		return list
	}
	return nil
}
