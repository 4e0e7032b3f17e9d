package noise

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
)

// figure draws a count with noise, or without where sigma is 0.
func figure(truth int64, sigma float64) func(io.Reader) (string, error) {
	return func(source io.Reader) (string, error) {
		if sigma == 0 {
			return strconv.FormatInt(truth, 10), nil
		}
		x, err := Gaussian(source, sigma)
		return strconv.FormatInt(truth+x, 10), err
	}
}

// TestTestedEpsilon: what keeps its promise passes, and its nearest neighbours that break it do not.
func TestTestedEpsilon(t *testing.T) {
	const draws, delta, confidence = 40_000, 1e-6, 0.999
	tests := []struct {
		name          string
		first, second func(io.Reader) (string, error)
		rho           float64 // that was charged
		breaks        bool
		least         float64 // that the test must find, or it could not find anything
	}{
		{"ρ = 1/2", figure(10, 1), figure(11, 1), Rho(1, 1), false, 1.5},
		{"ρ = 1/8", figure(10, 2), figure(11, 2), Rho(1, 2), false, 0.5},
		{"the same world", figure(10, 2), figure(10, 2), 1e-9, false, 0},
		{"twice the width that was charged", figure(10, 1), figure(12, 1), Rho(1, 6), true, 1},
		{"no noise", figure(10, 0), figure(11, 0), Rho(1, 1), true, 5},
		{"a group that is there or not", figure(0, 0), func(source io.Reader) (string, error) {
			x, err := Gaussian(source, 1)
			if x > 2 {
				return "shown", err
			}
			return "0", err
		}, Rho(1, 6), true, 0.9},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Test(tt.first, tt.second, seeded(byte(i)), draws, delta, confidence)
			if err != nil {
				t.Fatal(err)
			}
			promised := Epsilon(tt.rho, delta)
			if tt.breaks != (got.Epsilon > promised) || got.Epsilon < tt.least {
				t.Errorf("ε of at least %.3f by %v (%v of %d), promised %.3f, to be found %v", got.Epsilon, got.Event, got.In, got.Draws, promised, tt.least)
			}
		})
	}
}

// TestTestedEpsilonIsRarelyTooLarge: over many seeds, a mechanism at the very limit is hardly ever found to break it. Its
// exact ε at δ = 0 is ln 3: an answer that is right three times in four (Warner 1965).
func TestTestedEpsilonIsRarelyTooLarge(t *testing.T) {
	answer := func(truth string, lie string) func(io.Reader) (string, error) {
		return func(source io.Reader) (string, error) {
			c := &coins{source: source}
			if c.less(3, 4) {
				return truth, c.err
			}
			return lie, c.err
		}
	}
	const runs, ln3 = 200, 1.0986122886681098
	exceeded, sum := 0, 0.0
	for i := range runs {
		got, err := Test(answer("yes", "no"), answer("no", "yes"), seeded(byte(i)), 4000, 0, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		if sum += got.Epsilon; got.Epsilon > ln3 {
			exceeded++
		}
	}
	if exceeded > runs/20 || sum/runs < 0.9 {
		t.Errorf("%d of %d runs find more than ln 3, and the mean is %.3f", exceeded, runs, sum/runs)
	}
}

func TestTestRefuses(t *testing.T) {
	lost := errors.New("lost")
	broken := func(io.Reader) (string, error) { return "", lost }
	if _, err := Test(figure(1, 1), broken, seeded(0), 1000, 1e-6, 0.99); !errors.Is(err, lost) {
		t.Errorf("a world that cannot be drawn: %v", err)
	}
	for _, c := range []struct {
		draws             int
		delta, confidence float64
	}{{10, 0, 0.9}, {1000, -1, 0.9}, {1000, 1, 0.9}, {1000, 0, 1}, {1000, 0, 0}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			if _, err := Test(figure(1, 1), figure(2, 1), seeded(0), c.draws, c.delta, c.confidence); err == nil {
				t.Error("tested")
			}
		})
	}
}
