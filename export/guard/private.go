package guard

import (
	"math"
	"strconv"

	"weir/policy"
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
		return &Range{0, unstatedRows}
	case "min", "max", "avg", "mean":
		return args[0].poly.within()
	case "sum", "sum_no_overflow":
		if one := args[0].poly.within(); one != nil {
			return hull(&Range{}, &Range{one.Least * unstatedRows, one.Most * unstatedRows})
		}
	}
	return nil
}

func double(x float64) string { return "CAST('" + strconv.FormatFloat(x, 'g', -1, 64) + "' AS DOUBLE)" }
