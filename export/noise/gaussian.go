package noise

import (
	"fmt"
	"io"
	"math"
	"math/big"
)

// The widest and the narrowest noise. Draws stay within 1025·2^51 and so in an int64.
const (
	maxSigma = 1 << 50
	minSigma = 1.0 / (1 << 16)
)

// checkSigma refuses noise that the sampler does not have.
func checkSigma(sigma float64) error {
	if !(sigma >= minSigma && sigma <= maxSigma) { // NaN too
		return fmt.Errorf("noise: a standard deviation of %v is not between 2^-16 and 2^50", sigma)
	}
	return nil
}

// Gaussian draws from the discrete Gaussian N_Z(0, σ²), P(x) ∝ exp(-x²/2σ²) on the whole numbers, for σ² exactly
// the square of the float. It is CKS20's algorithm 3: with t = ⌊σ⌋+1, draw y from the discrete Laplace distribution
// P(y) ∝ exp(-|y|/t), and accept it with probability
//
//	exp(-(|y| - σ²/t)²/2σ²) = exp(-y²/2σ²) · exp(|y|/t) · exp(-σ²/2t²).
//
// The last factor does not depend on y, so accepted draws are distributed as exp(-y²/2σ²). Every decision is a
// comparison of whole numbers; there is no rounding in it. About two of three draws are accepted.
func Gaussian(source io.Reader, sigma float64) (int64, error) {
	if err := checkSigma(sigma); err != nil {
		return 0, err
	}
	c := &coins{source: source}
	t := uint64(sigma) + 1
	gamma := newExponent(sigma, t)
	for range never {
		y := c.laplace(t)
		accepted := c.expBig(gamma.of(y))
		if c.err != nil {
			return 0, c.err
		}
		if accepted {
			return y, nil
		}
	}
	return 0, errBroken
}

// laplace draws from P(y) ∝ exp(-|y|/t) (CKS20, algorithm 2). |y| is u + t·v: v is geometric with exp(-1), and u is
// below t with weight exp(-u/t). Zero would have two signs, so one of them is thrown away.
func (c *coins) laplace(t uint64) int64 {
	for range never {
		u := c.below(t)
		if !c.exp(u, t) {
			continue
		}
		v := uint64(0)
		for c.exp(1, 1) {
			if v++; v == never {
				c.fail(errBroken)
			}
		}
		y := int64(u + t*v)
		negative := c.word()&1 == 1
		if c.err != nil {
			return 0
		}
		if negative && y == 0 {
			continue
		}
		if negative {
			return -y
		}
		return y
	}
	c.fail(errBroken)
	return 0
}

// exponent is (|y| - σ²/t)²/2σ² as a fraction of whole numbers. A float is m·2^-k exactly, so σ² is m²/4^k, and the
// fraction is (|y|·t·4^k - m²)² / 2·m²·t²·4^k.
type exponent struct {
	scale  *big.Int // t·4^k
	square *big.Int // m²
	den    *big.Int
	num    big.Int
}

func newExponent(sigma float64, t uint64) *exponent {
	fraction, power := math.Frexp(sigma)
	m := big.NewInt(int64(fraction * (1 << 53)))
	k := 53 - power // at least 2, since σ is at most 2^50
	if zeros := int(m.TrailingZeroBits()); zeros > 0 {
		shift := min(zeros, k)
		m.Rsh(m, uint(shift))
		k -= shift
	}
	e := &exponent{square: new(big.Int).Mul(m, m), scale: new(big.Int).SetUint64(t)}
	e.den = new(big.Int).Mul(e.scale, e.scale)
	e.den.Mul(e.den, e.square).Lsh(e.den, uint(2*k+1))
	e.scale.Lsh(e.scale, uint(2*k))
	return e
}

func (e *exponent) of(y int64) (num, den *big.Int) {
	e.num.SetInt64(y)
	e.num.Abs(&e.num).Mul(&e.num, e.scale).Sub(&e.num, e.square)
	return e.num.Mul(&e.num, &e.num), e.den
}
