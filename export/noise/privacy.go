package noise

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// Rho is what a figure costs a unit that can move it by width: N_Z(x, σ²) and N_Z(x+width, σ²) are (width/σ)²/2
// apart in zCDP (CKS20), as for the continuous Gaussian (Bun & Steinke 2016). The costs
// of several figures add up, whatever the later ones were chosen by.
func Rho(width, sigma float64) float64 {
	ratio := width / sigma
	return ratio * ratio / 2
}

// Sigma is the noise of a figure that may cost a unit rho: Rho solved for σ.
func Sigma(width, rho float64) float64 { return width / math.Sqrt(2*rho) }

// Advantage is how often somebody is right at most who guesses between two equally likely values of one unit's
// secret, knows everything else, and has seen answers that cost the unit rho in all: Φ(√(ρ/2)).
//
// Answers of one width c and noise σ, n of them, are together a Gaussian with √n·c/σ = √(2ρ) standard deviations
// between the two means. The best guess takes the nearer mean, and is right in Φ(half of that). Other divisions of ρ
// are the same (Dong, Roth & Su 2022: Gaussians compose to one Gaussian). It is about Gaussian noise:
// what was spent on the exponential mechanism is bounded by zCDP and ranks below.
func Advantage(rho float64) float64 { return normal(math.Sqrt(rho / 2)) }

// Epsilon says what rho means in (ε, δ) differential privacy. The conversion is CKS20's: ρ-zCDP is
// (α, ρα)-Rényi for every α > 1, and hence (ε, δ) with
//
//	ε = ρα + (ln 1/δ - ln(α-1) + α·ln(1 - 1/α)) / (α-1).
//
// Every α gives a true bound. The best is searched for on a logarithmic scale, where the bound falls and then rises,
// so that a search which stops early costs tightness and no truth. Bun & Steinke's ρ + 2√(ρ·ln 1/δ) is larger.
func Epsilon(rho, delta float64) float64 {
	switch {
	case rho <= 0:
		return 0
	case delta >= 1:
		return 0
	case !(delta > 0) || math.IsInf(rho, 1):
		return math.Inf(1)
	}
	at := func(x float64) float64 { // α = 1 + e^x
		over := math.Exp(x)
		alpha := 1 + over
		// ln(1 - 1/α) = x - ln α
		return rho*alpha + (-math.Log(delta)-x+alpha*(x-math.Log1p(over)))/over
	}
	low, high := -40.0, 40.0
	for range 200 {
		a, b := low+(high-low)/3, high-(high-low)/3
		if at(a) < at(b) {
			high = b
		} else {
			low = a
		}
	}
	return max(0, at((low+high)/2))
}

// coverage is how many of a hundred draws a bound holds in.
const coverage = 0.95

// exactBelow is up to which σ the distribution is added up term by term.
const exactBelow = 64

// Bound is the half-width that holds in 95 of 100 draws: the least whole b with P(|N_Z(0, σ²)| <= b) >= 0.95. From
// σ = 64 on it is ⌈1.96σ⌉, which is never less than that: P(|N_Z| <= b) is Φ's mass of ±(b + 1/2) up to a part
// in σ², and the half is worth more.
func Bound(sigma float64) float64 {
	if sigma >= exactBelow {
		return math.Ceil(-sigma * mathext.NormalQuantile((1-coverage)/2))
	}
	if !(sigma > 0) {
		return 0
	}
	weight := func(x float64) float64 { return math.Exp(-x / sigma * x / sigma / 2) }
	total := 1.0
	for x := math.Ceil(sigma * 40); x >= 1; x-- { // the small terms first
		total += 2 * weight(x)
	}
	b, inside := 0.0, 1.0
	for inside < coverage*total {
		b++
		inside += 2 * weight(b)
	}
	return b
}

// ThresholdDelta is how probable it is at most that Threshold shows any group that is there because of one unit alone.
// It is charged to the account's δ with each question that shows groups by secret values.
const ThresholdDelta = 1e-9

// Threshold is what the noisy number of units of a group must exceed, where groups are made by values that are secret
// and not listed: that such a group is there at all may be because of one unit. values is in how many groups a unit
// can be.
//
// A group of one unit passes if 1 + N_Z(0, σ²) > T. With T = 1 + ⌈σ·z⌉ that is N_Z >= ⌈σ·z⌉ + 1, whose probability is
// at most P(N(0, σ²) >= ⌈σ·z⌉) (CKS20, on tails), at most δ/values for z = Φ⁻¹(1 - δ/values). The union over the
// groups that the unit can be in gives δ. Korolova et al. 2009 and Wilson et al. 2020 use the same idea.
func Threshold(sigma, values float64) float64 {
	return 1 + math.Ceil(-sigma*mathext.NormalQuantile(ThresholdDelta/max(1, values)))
}

func normal(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }
