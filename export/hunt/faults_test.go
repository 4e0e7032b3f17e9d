package hunt

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/uptrace/bun"

	"weir/export/noise"
	"weir/export/noised"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// forgetting keeps no answers, so the same question is drawn again.
type forgetting struct{ *record }

func (f forgetting) Find(ctx context.Context, digest [sha256.Size]byte) ([]byte, bool, error) {
	_, _, err := f.record.Find(ctx, digest)
	return nil, false, err
}

func (f forgetting) Keep(ctx context.Context, db bun.IDB, digest [sha256.Size]byte, answer []byte) ([]byte, error) {
	at := f.place(digest)
	if f.stands[at] = nil; f.other != nil && f.drew[at] != nil {
		return answer, nil
	}
	return f.record.Keep(ctx, db, digest, answer)
}

// sticky draws the same noise wherever the figures are the same.
type sticky struct {
	*player
	sum    [sha256.Size]byte
	source io.Reader
}

func (s *sticky) Read(p []byte) (int, error) {
	text, err := json.Marshal(s.last.Rows)
	if err != nil {
		return 0, err
	}
	if sum := sha256.Sum256(text); s.source == nil || sum != s.sum {
		s.sum, s.source = sum, noise.Seeded(sum)
	}
	return s.source.Read(p)
}

// faults are what the first design did, and what a mistake could bring back.
var faults = map[string]fault{
	"noise follows the figures": {randomOf: func(p *player) io.Reader { return &sticky{player: p} }},
	"one noise for all answers": {randomOf: func(p *player) io.Reader { return again1(p) }},
	"answers are drawn again":   {answersOf: func(p *player) noised.Answers { return forgetting{p.record} }},
	"a refusal reads a secret": {refusal: func(_ *player, s secret) error {
		for _, row := range s.truth.Rows {
			if n := number(row[len(row)-1]); n > 0 && n < 3 {
				return problem.New("export.fan-out")
			}
		}
		return nil
	}},
	"rows come as the worker brings them": {shown: func(p *player, t sandbox.Table) sandbox.Table {
		place := func(row []any) int {
			return slices.IndexFunc(p.last.Rows, func(of []any) bool { return fmt.Sprint(of[0]) == fmt.Sprint(row[0]) })
		}
		t.Rows = slices.Clone(t.Rows)
		slices.SortStableFunc(t.Rows, func(a, b []any) int { return place(a) - place(b) })
		return t
	}},
	"groups are shown by their size": {shown: func(p *player, t sandbox.Table) sandbox.Table {
		t.Rows = slices.DeleteFunc(slices.Clone(t.Rows), func(row []any) bool {
			return slices.ContainsFunc(p.last.Rows, func(of []any) bool {
				return fmt.Sprint(of[0]) == fmt.Sprint(row[0]) && number(of[len(of)-1]) < 4
			})
		})
		return t
	}},
	"half of the charge is missing": {priceOf: func(p noised.Price) noised.Price {
		p.Rho /= 8
		return p
	}},
	"a threshold is not charged": {priceOf: func(p noised.Price) noised.Price {
		p.Delta = 0
		return p
	}},
}

// again1 begins its draws anew for each answer.
func again1(p *player) io.Reader { return &repeating{p: p, at: -1} }

type repeating struct {
	p      *player
	at     int
	source io.Reader
}

func (r *repeating) Read(b []byte) (int, error) {
	if r.at != r.p.record.answers {
		r.at, r.source = r.p.record.answers, noise.Seeded([32]byte{r.p.record.seed})
	}
	return r.source.Read(b)
}

// mostPairs is within how many pairs of worlds of each family a fault must be found.
const mostPairs = 3

// TestHunterFinds brings old faults back, one at a time, and has the hunter find each.
func TestHunterFinds(t *testing.T) {
	list := families(t)
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			var hunters []*hunter
			for n := range mostPairs {
				for i, of := range list {
					if n == 0 {
						h := newHunter(t, of, 11)
						h.faulty, h.mode = f, policy.Perturbed
						hunters = append(hunters, h)
					}
					c, err := hunters[i].pair(t.Context(), stories)
					if err != nil {
						t.Fatal(err)
					}
					if c != nil {
						t.Logf("pair %d, family %s: %s", n+1, of.name, c.found.Kind)
						return
					}
				}
			}
			t.Errorf("the hunter does not find it in %d pairs of worlds of each family", mostPairs)
		})
	}
}
