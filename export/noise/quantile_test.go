package noise

import (
	"fmt"
	"math"
	"math/big"
	"testing"
)

func TestQuantileHasItsDistribution(t *testing.T) {
	tests := []struct {
		name                       string
		counts                     []int64
		fraction, rho, sensitivity float64
	}{
		{"median of an even grid", []int64{3, 3, 3, 3, 3, 3, 3}, 0.5, 0.02, 1},
		{"a heavy point keeps it", []int64{30, 60, 10}, 0.5, 1e-5, 1},
		{"a lower fraction", []int64{10, 10, 10, 10}, 0.1, 0.003, 1},
		{"units with several rows", []int64{5, 0, 9, 2, 40, 0, 0, 3}, 0.75, 0.05, 4},
		{"nobody", []int64{0, 0, 0}, 0.5, 1, 1},
		{"the ends", []int64{4, 0, 0, 4}, 1, 0.1, 1},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source, observed := seeded(byte(i)), make([]int, len(tt.counts))
			for range 4_000 {
				at, err := Quantile(source, tt.counts, tt.fraction, tt.rho, tt.sensitivity)
				if err != nil {
					t.Fatal(err)
				}
				observed[at]++
			}
			fits(t, observed, mechanism(t, tt.counts, tt.fraction, tt.rho, tt.sensitivity))
		})
	}
}

// mechanism is the distribution of Quantile, in floats.
func mechanism(t *testing.T, counts []int64, fraction, rho, sensitivity float64) []float64 {
	d, err := distances(counts, fraction)
	if err != nil {
		t.Fatal(err)
	}
	out, total := make([]float64, len(d)), 0.0
	for i := range d {
		out[i] = math.Exp(-math.Sqrt(8*rho) * float64(d[i]) / (2 * sensitivity))
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// TestAUnitMovesRanksByItsWeight tries every small histogram, and every way in which one unit's part of it can change.
func TestAUnitMovesRanksByItsWeight(t *testing.T) {
	const most = 3
	fractions := []float64{0, 0.1, 0.25, 1. / 3, 0.5, 0.9, 1}
	for n := range 4 * 4 * 4 {
		others := []int64{int64(n) % 4, int64(n) / 4 % 4, int64(n) / 16}
		for _, fraction := range fractions {
			var seen [][]uint64 // by what the unit has and where
			for has := int64(0); has <= most; has++ {
				for at := range others {
					counts := append([]int64{}, others...)
					counts[at] += has
					d, err := distances(counts, fraction)
					if err != nil {
						t.Fatal(err)
					}
					seen = append(seen, d)
				}
			}
			for _, a := range seen {
				for _, b := range seen {
					for i := range a {
						if moved := int64(a[i]) - int64(b[i]); moved > most || moved < -most {
							t.Fatalf("%v at %v: the distance of point %d moves from %d to %d", others, fraction, i, a[i], b[i])
						}
					}
				}
			}
		}
	}
}

// TestQuantileCostsItsRho computes the Rényi divergences of neighbours from the weights that are drawn with.
func TestQuantileCostsItsRho(t *testing.T) {
	a, b := []int64{3, 4, 2, 6}, []int64{4, 4, 2, 5}
	for _, rho := range []float64{1e-4, 0.1, 1, 5} {
		p, q := mechanism(t, a, 0.5, rho, 1), mechanism(t, b, 0.5, rho, 1)
		for _, alpha := range []float64{1.01, 2, 10, 100} {
			sum := 0.0
			for i := range p {
				sum += math.Exp(alpha*math.Log(p[i]) + (1-alpha)*math.Log(q[i]))
			}
			if divergence := math.Log(sum) / (alpha - 1); divergence > rho*alpha {
				t.Errorf("rho %v, α %v: divergence %v", rho, alpha, divergence)
			}
		}
	}
}

func TestQuantileFindsWhatIsCertain(t *testing.T) {
	counts := make([]int64, 100_000)
	for i := range counts {
		counts[i] = 1000
	}
	at, err := Quantile(seeded(0), counts, 0.25, 0.1, 1)
	if err != nil || at < 24_990 || at > 25_010 {
		t.Errorf("the quarter of an even grid of 100000 points is at %d (%v)", at, err)
	}
	if at, err := Quantile(seeded(0), []int64{5, 90, 5}, 0.5, 1e9, 1); err != nil || at != 1 {
		t.Errorf("with all the budget there is the median is at %d (%v)", at, err)
	}
}

func TestQuantileRefuses(t *testing.T) {
	tests := []struct {
		name                       string
		counts                     []int64
		fraction, rho, sensitivity float64
	}{
		{"no grid", nil, 0.5, 1, 1},
		{"a negative count", []int64{1, -1}, 0.5, 1, 1},
		{"more than can be counted", []int64{math.MaxInt64, 1}, 0.5, 1, 1},
		{"a fraction above 1", []int64{1}, 1.1, 1, 1},
		{"no fraction", []int64{1}, math.NaN(), 1, 1},
		{"no budget", []int64{1}, 0.5, 0, 1},
		{"no sensitivity", []int64{1}, 0.5, 1, 0},
		{"endless sensitivity", []int64{1}, 0.5, 1, math.Inf(1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if at, err := Quantile(seeded(0), tt.counts, tt.fraction, tt.rho, tt.sensitivity); err == nil {
				t.Errorf("drew %d", at)
			}
		})
	}
}

func TestExpNegative(t *testing.T) {
	for _, x := range []float64{0, 1e-12, 0.1, 1, 2.5, 64, 399} {
		got, _ := expNegative(x).Float64()
		near(t, fmt.Sprintf("exp(-%v)", x), got/math.Exp(-x), 1, 1e-13)
	}
	e, _ := new(big.Float).SetPrec(precision).SetString("0.36787944117144232159552377016146086744581113103176783450783680169746149574489980335714727")
	far := new(big.Float).Sub(expNegative(1), e)
	if exponent := far.MantExp(nil); far.Sign() != 0 && exponent > -precision {
		t.Errorf("1/e is off by 2^%d", exponent)
	}
}

func FuzzQuantile(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 0.5, 0.1, 1.0)
	f.Add([]byte{0, 0}, 1.0, 1e-30, 1e30)
	f.Add([]byte{255}, 0.0, 1e30, 1e-30)
	f.Fuzz(func(t *testing.T, sizes []byte, fraction, rho, sensitivity float64) {
		counts := make([]int64, min(len(sizes), 50))
		for i := range counts {
			counts[i] = int64(sizes[i]) * 3
		}
		at, err := Quantile(seeded(0), counts, fraction, rho, sensitivity)
		if err == nil && (at < 0 || at >= len(counts)) {
			t.Errorf("drew %d of %d", at, len(counts))
		}
	})
}

func BenchmarkQuantile(b *testing.B) {
	for _, points := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint(points), func(b *testing.B) {
			counts := make([]int64, points)
			for i := range counts {
				counts[i] = 20
			}
			for b.Loop() {
				if _, err := Quantile(System, counts, 0.5, 0.01, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
