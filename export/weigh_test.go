package export

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// gives is what each unit of a block gives to a sum.
type gives map[string]float64

// masses is what the parts give to a sum over a set of units, as a worker says it, and the whole of it.
func (b blocks) masses(set string, of gives) (text string, w weight) {
	sums := map[int]uint64{}
	for _, block := range strings.Split(set, "") {
		r := rand.New(rand.NewPCG(uint64(block[0]), 9))
		for range b[block] {
			sums[r.IntN(guard.FingerprintParts)] += uint64(1024 * of[block])
			_ = r.Uint32()
		}
	}
	for _, given := range sums {
		w.count(float64(given))
	}
	return base64.StdEncoding.EncodeToString(written(sums)), w
}

// weighed puts masses, and the evidence for dominance, into a table of sums.
func (b blocks) weighed(r guard.Release, t *sandbox.Table, of gives, sets []string) {
	r.Prints[1].Weighs = []bool{true}
	t.Columns = append(t.Columns, sandbox.Column{Name: "M1_0"})
	number := func(f float64) json.Number { return json.Number(fmt.Sprint(f)) }
	for i, set := range sets {
		text, w := b.masses(set, of)
		t.Rows[i] = append(t.Rows[i], text)
		for column, f := range map[string]float64{"t0_0": w.greatest, "u0_0": w.second, "s0_0": w.total} {
			t.Rows[i][place(*t, column)] = number(f)
		}
	}
}

// Through the engine: whatever is asked for first, what a total leaves beside the groups that are shown is no sum of too few, nor
// one that is mostly one or two people's; and a total that leaves nothing like it is shown.
func TestDominanceOfDifferences(t *testing.T) {
	w := newWorld(t)
	rules := policy.DefaultRules
	shown, hidden := 0, 0
	for i, by := range []string{"city", "ward", "sex"} {
		for age := 20; age < 80; age += 6 {
			where := fmt.Sprintf(" FROM people WHERE age >= %d", age)
			groups, total := "SELECT "+by+", sum(pay)"+where+" GROUP BY 1", "SELECT NULL, sum(pay)"+where
			for order, questions := range [][]string{{groups, total}, {total, groups}, {"SELECT " + by + ", sum(pay)" + where + " GROUP BY ROLLUP (1)"}} {
				var rows [][]any
				for _, sql := range questions {
					got, err := w.ask(t.Context(), fmt.Sprint("weighs", i, age, order), sql, policy.Exact, rules)
					if err != nil {
						t.Fatal(sql, err)
					}
					rows = append(rows, got.rows...)
				}
				rest, units, complete := w.left(by, age, rows)
				few := rest.total > 0 && (units < rules.K || (&judging{Assessment: &Assessment{rules: rules}}).dominates(rest.greatest, rest.second, rest.total))
				switch {
				case complete && few:
					t.Errorf("%q: %d units are left, of whom the greatest gives %v of %v", questions, units, rest.greatest, rest.total)
				case complete:
					shown++
				case few:
					hidden++
				case order != 1:
					t.Errorf("%q: the total is withheld, of which nothing is left but %d units, of whom the greatest gives %v of %v", questions, units, rest.greatest, rest.total)
				}
			}
		}
	}
	if shown < 20 || hidden < 20 {
		t.Errorf("%d totals were shown and %d withheld", shown, hidden)
	}
}

// left is what the groups that are not among the rows pay those who are so old, and whether the total is among the rows.
func (w *world) left(by string, age int, rows [][]any) (rest weight, units int, total bool) {
	named := map[any]bool{}
	for _, row := range rows {
		if row[1] != nil {
			named[row[0]] = true
		}
	}
	for _, p := range w.rows["people"] {
		years, _ := p["age"].(float64)
		pay, earns := p["pay"].(float64)
		if earns && pay != 0 && years >= float64(age) && p["age"] != nil && !named[p[by]] {
			rest.count(math.Abs(pay))
			units++
		}
	}
	return rest, units, named[nil]
}
