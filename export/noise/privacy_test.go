package noise

import (
	"math"
	"testing"
)

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestRhoOfAFigure(t *testing.T) {
	near(t, "Rho(1, 1)", Rho(1, 1), 0.5, 0)
	near(t, "Rho(3, 2)", Rho(3, 2), 1.125, 1e-15)
	near(t, "Rho of its own Sigma", Rho(5, Sigma(5, 0.3)), 0.3, 1e-15)
}

// TestAdvantage has the figures of the design, and those of the best guess in a game that is computed exactly.
func TestAdvantage(t *testing.T) {
	for rho, want := range map[float64]float64{0: 0.5, 0.25: 0.638, 1: 0.760, 2.56: 0.871} {
		near(t, "Advantage", Advantage(rho), want, 5e-4)
	}
	const sigma, width = 40.0, 30
	p := density(sigma, 600)
	right := 0.0 // the likelier of two worlds, each true half of the time
	for x := -570; x <= 570; x++ {
		right += max(p[x+600], p[x-width+600]) / 2
	}
	near(t, "the best guess", right, Advantage(Rho(width, sigma)), 1e-3)
}

// TestEpsilon has the parameters of the 2020 census of the United States (ρ = 2.56 as ε = 17.14 at δ = 10^-10), the
// simple bound that the tight one must be below, and the exact figure of one Gaussian that it must be above.
func TestEpsilon(t *testing.T) {
	near(t, "persons", Epsilon(2.56, 1e-10), 17.14, 0.05)
	for _, rho := range []float64{1e-9, 1e-3, 0.1, 1, 2.56, 50} {
		for _, delta := range []float64{1e-12, 1e-6, 1e-2} {
			tight, simple := Epsilon(rho, delta), rho+2*math.Sqrt(rho*math.Log(1/delta))
			if !(tight > 0 || rho < 1e-3) || tight > simple {
				t.Errorf("Epsilon(%v, %v) is %v; the simple bound is %v", rho, delta, tight, simple)
			}
			if exact := gaussianDelta(rho, tight); exact > delta*(1+1e-9) {
				t.Errorf("Epsilon(%v, %v) is %v, where one Gaussian has δ = %v", rho, delta, tight, exact)
			}
			if next := Epsilon(rho*1.1, delta); next < tight {
				t.Errorf("Epsilon falls from %v to %v as rho grows from %v", tight, next, rho)
			}
		}
	}
	if Epsilon(0, 1e-6) != 0 || !math.IsInf(Epsilon(1, 0), 1) {
		t.Error("nothing spent means something, or δ = 0 means nothing")
	}
}

// gaussianDelta is the exact δ at ε of one Gaussian answer (Balle & Wang 2018, theorem 8).
func gaussianDelta(rho, epsilon float64) float64 {
	mu := math.Sqrt(2 * rho)
	return normal(mu/2-epsilon/mu) - math.Exp(epsilon+math.Log(normal(-mu/2-epsilon/mu)))
}

func TestBoundHoldsNinetyFiveOfAHundred(t *testing.T) {
	inside := func(p []float64, b int) float64 {
		sum, middle := 0.0, len(p)/2
		for x := -b; x <= b; x++ {
			sum += p[middle+x]
		}
		return sum
	}
	for _, sigma := range []float64{0.1, 0.3, 0.5, 0.51, 1, 1.3, 2, 9.9, 63.9, 64, 64.3, 100, 500.5} {
		p, b := density(sigma, int(20*sigma)+5), int(Bound(sigma))
		if got := inside(p, b); got < 0.95-1e-12 {
			t.Errorf("Bound(%v) = %d holds %.4f of the draws", sigma, b, got)
		}
		if spare := 1 + int(sigma/64); b >= spare && inside(p, b-spare) >= 0.95 {
			t.Errorf("Bound(%v) = %d is wider than it must be", sigma, b)
		}
	}
	near(t, "Bound(1e9)", Bound(1e9), 1.959963985e9, 1)
	if Bound(0) != 0 || Bound(math.NaN()) != 0 {
		t.Error("no noise has a bound")
	}
}

// TestThreshold adds up the tail: a group of one unit shows up in at most δ of all draws, over all groups it can be in.
func TestThreshold(t *testing.T) {
	for _, sigma := range []float64{0.5, 1, 3, 10.7, 100} {
		for _, values := range []float64{1, 12, 4000} {
			threshold := Threshold(sigma, values)
			p := density(sigma, int(40*sigma)+40)
			tail := 0.0
			for x := len(p) - 1; float64(x-len(p)/2)+1 > threshold; x-- {
				tail += p[x]
			}
			if tail*values > ThresholdDelta*(1+1e-6) {
				t.Errorf("Threshold(%v, %v) = %v lets %.3g through", sigma, values, threshold, tail*values)
			}
			if tail*values < ThresholdDelta/1e5 && sigma >= 3 {
				t.Errorf("Threshold(%v, %v) = %v lets only %.3g through: it is too high", sigma, values, threshold, tail*values)
			}
		}
	}
}
