package noise

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
)

// precision is that of the weights of Quantile, in bits. A weight is the product of at most 64 powers, so its relative
// error is below 2^-245, and the ratio of two probabilities is off by as little: it changes ε in the 70th digit.
const precision = 256

// Quantile draws the place of a quantile among the points of a declared grid: counts[i] is what the data has at the
// i-th point, in the whole units in which ranks are counted. It is the exponential mechanism (McSherry & Talwar 2007).
//
// Point i takes up the ranks from counts[0]+…+counts[i-1] to that sum with counts[i]. Its distance d is how far the
// rank that is wanted, fraction·n rounded, lies outside, so that the point which holds the quantile has 0, however
// heavy it is. A unit that moves, comes or goes moves d by at most sensitivity, which is the most it has in counts.
// Drawing with weights exp(-ε·d/2·sensitivity) is ε-bounded-range, hence ε²/8-zCDP (Cesar & Rogers 2021), so
// ε = √(8ρ).
//
// ε is rounded down, so that the draw costs at most rho. The draw is made by the running sum of the
// weights, compared with a uniform number of 256 bits: a point that is 2^-200 of the whole or less may be drawn a little more or less often. The
// time depends on the length of counts and on little else.
func Quantile(source io.Reader, counts []int64, fraction, rho, sensitivity float64) (int, error) {
	if !(fraction >= 0 && fraction <= 1) || !(rho > 0) || math.IsInf(rho, 1) || !(sensitivity > 0) || math.IsInf(sensitivity, 1) {
		return 0, fmt.Errorf("noise: no quantile %v at rho %v with sensitivity %v", fraction, rho, sensitivity)
	}
	distances, err := distances(counts, fraction)
	if err != nil {
		return 0, err
	}
	// Floats are rounded: a part in 2^48 less than ε makes up for the root and the division.
	weight := powers(math.Sqrt(8*rho) / (2 * sensitivity) * (1 - 0x1p-48))
	running, total := make([]*big.Float, len(distances)), wide()
	for i, d := range distances {
		total = wide().Add(total, weight(d))
		running[i] = total
	}
	c := &coins{source: source}
	u := new(big.Int)
	for range precision / 64 {
		u.Lsh(u, 64).Or(u, new(big.Int).SetUint64(c.word()))
	}
	if c.err != nil {
		return 0, c.err
	}
	at := wide().Mul(total, wide().SetMantExp(wide().SetInt(u), -precision))
	for i, sum := range running {
		if at.Cmp(sum) < 0 {
			return i, nil
		}
	}
	return 0, errors.New("noise: the weights of a quantile do not add up")
}

// distances gives for each point how far the wanted rank lies outside of the ranks that it takes up.
func distances(counts []int64, fraction float64) ([]uint64, error) {
	var n int64
	for _, count := range counts {
		if count < 0 || n > math.MaxInt64-count {
			return nil, errors.New("noise: a quantile of counts that are negative or too large")
		}
		n += count
	}
	if len(counts) == 0 {
		return nil, errors.New("noise: a quantile on a grid with no points")
	}
	rank := rankOf(fraction, n)
	out := make([]uint64, len(counts))
	var before int64
	for i, count := range counts {
		out[i] = uint64(max(0, before-rank, rank-before-count))
		before += count
	}
	return out, nil
}

// rankOf is fraction·n, rounded down, exactly: with one unit more it is the same or one more.
func rankOf(fraction float64, n int64) int64 {
	product := new(big.Rat).SetFloat64(fraction)
	product.Mul(product, new(big.Rat).SetInt64(n))
	return new(big.Int).Quo(product.Num(), product.Denom()).Int64()
}

// powers gives d ↦ exp(-x·d), and 0 where that is below 2^-300.
func powers(x float64) func(uint64) *big.Float {
	base := expNegative(x)
	squares := []*big.Float{base}
	none := 300 * math.Ln2
	return func(d uint64) *big.Float {
		product := wide().SetInt64(1)
		if x*float64(d) > none {
			return wide()
		}
		for j := 0; d > 0; j, d = j+1, d>>1 {
			if j == len(squares) {
				squares = append(squares, wide().Mul(squares[j-1], squares[j-1]))
			}
			if d&1 == 1 {
				product.Mul(product, squares[j])
			}
		}
		return product
	}
}

// expNegative is exp(-x) to the precision of the weights: Taylor's series of exp(-x/2^k) for x/2^k < 2^-16, then k
// squarings, each of which doubles the relative error. The 64 bits to spare are for that.
func expNegative(x float64) *big.Float {
	if x > 400 {
		return wide() // below 2^-577: no other point than those at distance 0 is ever drawn
	}
	_, exponent := math.Frexp(x)
	k := max(0, exponent+16)
	y := wide().SetMantExp(big.NewFloat(-x), -k)
	sum, term := wide().SetInt64(1), wide().SetInt64(1)
	for i := int64(1); i <= 20; i++ { // the 21st is below 2^-400
		term.Mul(term, y).Quo(term, wide().SetInt64(i))
		sum.Add(sum, term)
	}
	for range k {
		sum.Mul(sum, sum)
	}
	return sum
}

// wide is zero with the precision of the weights and room for the squarings.
func wide() *big.Float { return new(big.Float).SetPrec(precision + 64) }
