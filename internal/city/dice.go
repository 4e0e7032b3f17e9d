package city

import (
	"math"
	"math/rand/v2"
	"sort"
)

// dice is a reproducible source of chance.
type dice struct{ *rand.Rand }

func newDice(seed, stream uint64) dice { return dice{rand.New(rand.NewPCG(seed, stream))} }

// chance is true with probability p.
func (d dice) chance(p float64) bool { return d.Float64() < p }

// between is a whole number from lo to hi, both included.
func (d dice) between(lo, hi int) int { return lo + d.IntN(hi-lo+1) }

// normal is normally distributed between lo and hi. What falls outside is drawn again, so that no value piles up at
// the bounds; after a few draws it is clamped, which bounds that lie far from the mean need.
func (d dice) normal(mean, deviation, lo, hi float64) float64 {
	x := lo
	for range 16 {
		x = mean + float64(d.NormFloat64()*deviation)
		if x >= lo && x <= hi {
			return x
		}
	}
	return min(max(x, lo), hi)
}

// factor is lognormal with median 1; deviation is that of its logarithm.
func (d dice) factor(deviation float64) float64 { return math.Exp(d.NormFloat64() * deviation) }

// pick draws an index from cumulative weights.
func (d dice) pick(cumulative []float64) int {
	x := d.Float64() * cumulative[len(cumulative)-1]
	return min(sort.SearchFloat64s(cumulative, x), len(cumulative)-1)
}

// cumulate turns weights into the form that pick takes.
func cumulate(weights ...float64) []float64 {
	sums := make([]float64, len(weights))
	sum := 0.0
	for i, w := range weights {
		sum += w
		sums[i] = sum
	}
	return sums
}
