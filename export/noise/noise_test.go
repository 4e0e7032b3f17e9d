package noise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func seeded(n byte) io.Reader { return Seeded([32]byte{'n', 'o', 'i', 's', 'e', n}) }

// fits compares frequencies with probabilities by Pearson's chi-square. Classes in which fewer than ten are expected
// are joined. Seeds are fixed, so it either always passes or always fails; a right sampler fails for one seed in a
// thousand.
func fits(t *testing.T, observed []int, probability []float64) {
	t.Helper()
	n := 0
	for _, o := range observed {
		n += o
	}
	statistic, classes, restO, restE := 0.0, 0, 0.0, 0.0
	for i, p := range probability {
		restO, restE = restO+float64(observed[i]), restE+p*float64(n)
		if restE >= 10 {
			statistic += (restO - restE) * (restO - restE) / restE
			classes, restO, restE = classes+1, 0, 0
		}
	}
	if restO > 10*max(1, restE) {
		t.Errorf("%v draws where %.3g are expected", restO, restE)
	}
	if classes < 2 {
		t.Fatalf("%d classes: the test says nothing", classes)
	}
	if p := (distuv.ChiSquared{K: float64(classes - 1)}).Survival(statistic); p < 1e-3 {
		t.Errorf("chi-square %.1f with %d classes: p = %.2g", statistic, classes, p)
	}
}

// density of N_Z(0, σ²) on -reach … reach.
func density(sigma float64, reach int) []float64 {
	out, total := make([]float64, 2*reach+1), 0.0
	for i := range out {
		x := float64(i-reach) / sigma
		out[i] = math.Exp(-x * x / 2)
		total += out[i]
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

func TestGaussianHasItsDistribution(t *testing.T) {
	for i, sigma := range []float64{0.3, 0.5, 0.7, 1, 1.0000000000000002, math.Sqrt2, 2.5, 3, 7.99, 20, 63.3} {
		t.Run(fmt.Sprint(sigma), func(t *testing.T) {
			source, reach := seeded(byte(i)), int(12*sigma)+2
			observed := make([]int, 2*reach+1)
			for range 20_000 {
				x, err := Gaussian(source, sigma)
				if err != nil {
					t.Fatal(err)
				}
				observed[int(x)+reach]++
			}
			fits(t, observed, density(sigma, reach))
		})
	}
}

// TestWideGaussianHasItsDistribution compares wide noise with the continuous one: they differ by a part in σ².
func TestWideGaussianHasItsDistribution(t *testing.T) {
	const classes = 64
	for i, sigma := range []float64{1e4, 123_456.789, 1e9, 1e12, 1 << 50} {
		t.Run(fmt.Sprint(sigma), func(t *testing.T) {
			source, observed, even := seeded(byte(i)), make([]int, classes), make([]float64, classes)
			parity := 0
			for range 20_000 {
				x, err := Gaussian(source, sigma)
				if err != nil {
					t.Fatal(err)
				}
				observed[min(classes-1, int(normal(float64(x)/sigma)*classes))]++
				parity += int(x & 1)
			}
			for c := range even {
				even[c] = 1.0 / classes
			}
			fits(t, observed, even)
			if math.Abs(float64(parity)-10_000) > 300 { // four standard deviations
				t.Errorf("%d of 20000 draws are odd", parity)
			}
		})
	}
}

func TestGaussianRefusesWhatItDoesNotHave(t *testing.T) {
	for _, sigma := range []float64{0, -1, 1e-9, 1 << 51, math.Inf(1), math.NaN()} {
		if x, err := Gaussian(seeded(0), sigma); err == nil {
			t.Errorf("a draw with σ = %v gave %d", sigma, x)
		}
	}
}

type constant byte

func (c constant) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

// TestBrokenRandomnessGivesNoValue: randomness that ends, fails or repeats itself is an error, not noise of zero.
func TestBrokenRandomnessGivesNoValue(t *testing.T) {
	lost := errors.New("lost")
	sources := map[string]func() io.Reader{
		"empty":        func() io.Reader { return bytes.NewReader(nil) },
		"short":        func() io.Reader { return io.LimitReader(seeded(1), 100) },
		"failing":      func() io.Reader { return io.MultiReader(io.LimitReader(seeded(1), 100), failing{lost}) },
		"all zeros":    func() io.Reader { return constant(0) },
		"ends in zero": func() io.Reader { return io.MultiReader(io.LimitReader(seeded(12), 128), constant(0)) },
	}
	for name, source := range sources {
		for _, sigma := range []float64{0.5, 3, 1e9} {
			t.Run(fmt.Sprint(name, sigma), func(t *testing.T) {
				s := source()
				for range 3 { // one buffer may be enough for a draw
					if x, err := Gaussian(s, sigma); err != nil {
						if x != 0 || name == "failing" && !errors.Is(err, lost) {
							t.Errorf("got %d, %v", x, err)
						}
						return
					}
				}
				t.Error("three draws from it")
			})
		}
	}
	if _, err := Quantile(io.LimitReader(seeded(1), 100), []int64{1, 2}, 0.5, 1, 1); err == nil {
		t.Error("a quantile without randomness")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestCoinsReadOnWhileDigitsAgree follows the digits of 1/3 further than one word.
func TestCoinsReadOnWhileDigitsAgree(t *testing.T) {
	const third = 0x5555555555555555
	tests := []struct {
		name  string
		words []uint64
		want  bool
	}{
		{"below at once", []uint64{third - 1}, true},
		{"above at once", []uint64{third + 1}, false},
		{"below in the second word", []uint64{third, third - 1}, true},
		{"above in the second word", []uint64{third, third + 1}, false},
		{"below in the fourth word", []uint64{third, third, third, 0}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := script(tt.words).less(1, 3); got != tt.want {
				t.Errorf("less is %v", got)
			}
			if got := script(tt.words).lessBig(big.NewInt(1), big.NewInt(3)); got != tt.want {
				t.Errorf("lessBig is %v", got)
			}
		})
	}
	half := []uint64{1 << 63} // U = 1/2 to the last digit
	if script(half).less(1, 2) || script(half).lessBig(big.NewInt(1), big.NewInt(2)) {
		t.Error("1/2 is less than 1/2")
	}
}

// script gives coins that show these words first, and zeros after.
func script(words []uint64) *coins {
	c := &coins{source: constant(0)}
	for _, w := range words {
		c.left += 8
		binary.LittleEndian.PutUint64(c.buffer[8*len(words)-c.left:], w)
	}
	return c
}

func TestCoinsHaveTheirProbability(t *testing.T) {
	tests := []struct {
		num, den uint64
	}{{0, 1}, {1, 1}, {1, 2}, {2, 3}, {1, 1 << 40}, {1<<40 - 1, 1 << 40}, {7, 2}, {5, 1}}
	for i, tt := range tests {
		want := math.Exp(-float64(tt.num) / float64(tt.den))
		throws := map[string]func(*coins) bool{
			"big": func(c *coins) bool {
				return c.expBig(new(big.Int).SetUint64(tt.num), new(big.Int).SetUint64(tt.den))
			},
		}
		if tt.num <= tt.den {
			throws["small"] = func(c *coins) bool { return c.exp(tt.num, tt.den) }
		}
		for name, throw := range throws {
			t.Run(fmt.Sprintf("%s exp(-%d/%d)", name, tt.num, tt.den), func(t *testing.T) {
				const n = 100_000
				c, hits := &coins{source: seeded(byte(i))}, 0
				for range n {
					if throw(c) {
						hits++
					}
				}
				if far := math.Abs(float64(hits) - n*want); far > 4*math.Sqrt(n*want*(1-want))+1e-3 {
					t.Errorf("%d of %d, want %.0f", hits, n, n*want)
				}
			})
		}
	}
}

func FuzzGaussian(f *testing.F) {
	f.Add(1.0, []byte("seed"))
	f.Add(0.1, []byte{})
	f.Add(1e12, bytes.Repeat([]byte{0xff}, 4000))
	f.Add(math.Nextafter(2, 1), bytes.Repeat([]byte{1, 2, 3}, 700))
	f.Fuzz(func(t *testing.T, sigma float64, random []byte) {
		x, err := Gaussian(bytes.NewReader(random), sigma)
		if err != nil && x != 0 {
			t.Errorf("%d beside %v", x, err)
		}
		if err == nil && math.Abs(float64(x)) > (never+2)*(sigma+1) {
			t.Errorf("%d with σ = %v", x, sigma)
		}
	})
}

func BenchmarkGaussian(b *testing.B) {
	for _, sigma := range []float64{0.5, 3, 1234.5, 1e6, 1e9 + 0.1, 1e12} {
		for name, source := range map[string]io.Reader{"system": System, "seeded": seeded(0)} {
			b.Run(fmt.Sprintf("%s/%g", name, sigma), func(b *testing.B) {
				for b.Loop() {
					if _, err := Gaussian(source, sigma); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "draws/s")
			})
		}
	}
}
