package noise

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// Tested is what a statistical test found out about two worlds that differ in one unit.
type Tested struct {
	Epsilon float64 // at least this, with the confidence that was asked for; 0 where the worlds look alike
	Event   []string
	In      [2]int // how often the event came in each world
	Draws   int    // of each world, in the second half
}

// Test looks for an event that tells two worlds apart, and says how large ε must be at least for it to be as frequent
// as it is: StatDP (Ding, Wang, Wang, Zhang & Kifer, CCS 2018) and DP-Sniper (Bichsel, Steffen, Bogunovic & Vechev, S&P 2021)
// do it so. If M is (ε, δ) differentially private, P(M(a) ∈ E) <= e^ε·P(M(b) ∈ E) + δ for every event E, so
//
//	ε >= ln((P(M(a) ∈ E) - δ) / P(M(b) ∈ E)).
//
// first and second draw one outcome each, of the mechanism in one of the worlds; an outcome is a name, such as the digits
// of a rounded figure, of which there should be far fewer than draws. Half of the draws choose E: the outcomes that are
// most typical of one world, by their ratio of frequencies, as many as do best. The other half measure it, so the choice
// does not flatter the result, by exact bounds (Clopper & Pearson 1934): a mechanism that keeps its promise is found to
// exceed it with a probability of at most 1 - confidence.
func Test(first, second func(io.Reader) (string, error), source io.Reader, draws int, delta, confidence float64) (Tested, error) {
	if draws < 100 || !(delta >= 0 && delta < 1) || !(confidence > 0 && confidence < 1) {
		return Tested{}, fmt.Errorf("noise: no test with %d draws, delta %v and confidence %v", draws, delta, confidence)
	}
	worlds := [2]func(io.Reader) (string, error){first, second}
	var chosen, measured [2]map[string]int
	for w, draw := range worlds {
		for half, counts := range []*map[string]int{&chosen[w], &measured[w]} {
			*counts = map[string]int{}
			for range draws / 2 {
				outcome, err := draw(source)
				if err != nil {
					return Tested{}, fmt.Errorf("noise: draw %d of world %d: %w", half, w, err)
				}
				(*counts)[outcome]++
			}
		}
	}
	if len(chosen[0]) == 0 || len(chosen[1]) == 0 {
		return Tested{}, errors.New("noise: a test without outcomes")
	}
	best := Tested{Draws: draws / 2}
	each := 1 - (1-confidence)/4 // two directions, two bounds
	for direction := range 2 {
		a, b := direction, 1-direction
		event := typical(chosen[a], chosen[b], draws/2, delta, each)
		inA, inB := count(measured[a], event), count(measured[b], event)
		if e := least(inA, inB, draws/2, delta, each); e > best.Epsilon {
			best.Epsilon, best.Event = e, event
			best.In[a], best.In[b] = inA, inB
		}
	}
	return best, nil
}

// typical chooses the event: of all outcomes, ordered by how much more frequent they are in a than in b, the first
// ones, as many as give the largest ε.
func typical(a, b map[string]int, n int, delta, confidence float64) []string {
	outcomes := make([]string, 0, len(a))
	for outcome := range a {
		outcomes = append(outcomes, outcome)
	}
	ratio := func(outcome string) float64 { return float64(a[outcome]) / (float64(b[outcome]) + 1) }
	slices.SortFunc(outcomes, func(x, y string) int {
		switch rx, ry := ratio(x), ratio(y); {
		case rx > ry:
			return -1
		case rx < ry:
			return 1
		case x < y:
			return -1
		}
		return 1
	})
	best, most := 0, 0.0
	inA, inB := 0, 0
	for i, outcome := range outcomes {
		inA, inB = inA+a[outcome], inB+b[outcome]
		if e := least(inA, inB, n, delta, confidence); e > most {
			best, most = i+1, e
		}
	}
	return outcomes[:best]
}

func count(counts map[string]int, event []string) int {
	n := 0
	for _, outcome := range event {
		n += counts[outcome]
	}
	return n
}

// least is the lower bound of ε from an event that came inA and inB times in n draws.
func least(inA, inB, n int, delta, confidence float64) float64 {
	if inA == 0 {
		return 0
	}
	low := mathext.InvRegIncBeta(float64(inA), float64(n-inA+1), 1-confidence)
	high := 1.0
	if inB < n {
		high = mathext.InvRegIncBeta(float64(inB+1), float64(n-inB), confidence)
	}
	if !(low > delta) || !(high > 0) {
		return 0
	}
	return max(0, math.Log((low-delta)/high))
}
