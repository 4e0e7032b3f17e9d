package export

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"weir/policy"
)

// TestErrorBounds: what is published beside noisy values holds. Each of many questions is asked under several keys of
// the noise; at least as many of its values as are claimed lie within their bounds of the engine's own, and none is
// farther away than noise reaches at all.
func TestErrorBounds(t *testing.T) {
	w := newWorld(t)
	rules := loose
	rules.K, rules.Digits = 2, 12
	inside, all, unknown := 0, 0, 0
	tight := 0.0
	for _, c := range engineQuestions {
		t.Run(c.sql, func(t *testing.T) {
			plain, err := w.plain(t.Context(), c.sql)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string][]any{}
			for _, row := range plain.Rows {
				want[key(row[:c.groups])] = row
			}
			before := all
			for n := range 6 {
				got := w.underKey(t, fmt.Sprintf("%032d", n), c.sql, rules)
				for at, row := range got.rows {
					peer, ok := want[key(row[:c.groups])]
					if !ok {
						continue // an order or a choice that fell otherwise
					}
					for i := c.groups; i < len(row); i++ {
						v, isNumber := row[i].(json.Number)
						p, also := peer[i].(json.Number)
						if !isNumber || !also {
							continue
						}
						bound, known := got.errors[at][i].(json.Number)
						off := math.Abs(number(t, v) - number(t, p))
						if !known {
							unknown++
							continue
						}
						all++
						if e := number(t, bound); off <= e {
							inside++
							if e > 0 {
								tight += off / e
							}
						} else if off > 3*e+1e-9 {
							t.Errorf("%v: column %d is %v, and %v without noise, which is farther than noise reaches: its bound is %v", row[:c.groups], i, v, p, bound)
						}
					}
				}
			}
			if all == before {
				t.Logf("no value of it has a bound: %s", c.sql)
			}
		})
	}
	t.Logf("%d of %d values are within their bounds, at %.2f of them on average; of %d no bound is known", inside, all, tight/float64(inside), unknown)
	if float64(inside) < confidence*float64(all) {
		t.Errorf("only %d of %d values are within their bounds", inside, all)
	}
}

// underKey asks under another key of the noise.
func (w *world) underKey(t *testing.T, key, sql string, rules policy.Rules) releasedTable {
	t.Helper()
	filter, err := New([]byte(key), w.queue)
	if err != nil {
		t.Fatal(err)
	}
	old := w.filter
	w.filter = filter
	defer func() { w.filter = old }()
	got, err := w.ask(t.Context(), "", sql, policy.Perturbed, rules)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestTwoDigits: a bound is shown with two digits and never made smaller by that.
func TestTwoDigits(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 6: "6", 0.057: "0.057", 5.0001: "5.1", 6.9: "6.9", 12.01: "13", 99.5: "100", 590000: "590000", 123456789012: "130000000000"} {
		if got := twoDigits(f); got != json.Number(want) {
			t.Errorf("%v is shown as %v, want %s", f, got, want)
		}
	}
}
