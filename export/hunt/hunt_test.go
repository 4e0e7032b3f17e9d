package hunt

import (
	"context"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"weir/policy"
)

var (
	minutes = flag.Float64("minutes", 0, "how long to hunt beyond the pairs of every test")
	seed    = flag.Uint64("seed", 1, "seed of the worlds and stories")
)

// pairs is how many pairs of worlds each family gets in every test, and stories how many are asked in each.
const (
	pairs   = 1
	stories = 12
)

// hunter goes from pair to pair.
type hunter struct {
	ground  *ground
	rand    *rand.Rand
	faulty  fault
	mode    policy.Mode // "" for any
	asked   int
	answers int
	codes   map[string]int
}

func newHunter(t testing.TB, f family, seed uint64) *hunter {
	return &hunter{ground: newGround(t, f), rand: rand.New(rand.NewPCG(seed, uint64(len(f.name))<<8+uint64(f.name[0]))), codes: map[string]int{}}
}

// pair makes two worlds and asks so many stories in both. It gives the first find.
func (h *hunter) pair(ctx context.Context, stories int) (*caught, error) {
	c := &caught{ground: h.ground, faulty: h.faulty, first: h.ground.family.generate(h.rand)}
	c.second, c.change = h.ground.family.neighbour(h.rand, c.first)
	a, b, err := c.worlds(ctx)
	if err != nil {
		return nil, err
	}
	defer a.close()
	defer b.close()
	for range stories {
		c.seed, c.mode = byte(h.rand.Uint32()), h.mode
		if c.mode == "" {
			c.mode = []policy.Mode{policy.Perturbed, policy.Perturbed, policy.Private, policy.Exact}[h.rand.IntN(4)]
		}
		c.story = asker{h.rand, h.ground.family}.story()
		heard, err := c.play(ctx, a, b)
		if err != nil {
			return nil, err
		}
		for _, q := range heard {
			h.asked++
			h.codes[q.Code]++
			if q.Code == "" {
				h.answers++
			}
		}
		if c.found != nil {
			return c, nil
		}
	}
	return nil, nil
}

// TestHunt hunts from a fixed seed, and with -minutes for longer.
func TestHunt(t *testing.T) {
	until := time.Now().Add(time.Duration(*minutes * float64(time.Minute)))
	var hunters []*hunter
	for _, f := range families(t) {
		hunters = append(hunters, newHunter(t, f, *seed))
	}
	for n := 0; n < pairs || time.Now().Before(until); n++ {
		for _, h := range hunters {
			c, err := h.pair(t.Context(), stories)
			if err != nil {
				t.Fatal(h.ground.family.name, err)
			}
			if c != nil {
				t.Errorf("family %s: %v\n%s", h.ground.family.name, c.found, c.smaller(t.Context(), t.Logf).file())
			}
		}
	}
	for _, h := range hunters {
		t.Logf("%s: %d questions in two worlds, %d answered: %v", h.ground.family.name, h.asked, h.answers, h.codes)
		if h.answers*10 < h.asked {
			t.Errorf("%s: only %d of %d questions are answered, so little is known", h.ground.family.name, h.answers, h.asked)
		}
	}
}
