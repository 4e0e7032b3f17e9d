package export

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// noiseOf judges the same cells under many keys, and gives for each column of the only row what was added.
func (w *world) noiseOf(t *testing.T, sql string, keys int, rules policy.Rules) (exact []float64, noisy [][]float64) {
	t.Helper()
	ctx := context.Background()
	bound, err := w.planning.Bind(ctx, sql)
	if err != nil {
		t.Fatal(err)
	}
	program, err := guard.Check(sql, bound, w.schema, rules, policy.Perturbed)
	if err != nil {
		t.Fatal(err)
	}
	release := program.Releases[0]
	cells, err := w.session.Query(ctx, sandbox.Query{SQL: release.SQL})
	if err != nil {
		t.Fatal(err, unwrapAll(err))
	}
	if len(cells.Rows) != 1 {
		t.Fatalf("%d rows", len(cells.Rows))
	}
	for i := range release.Cells {
		for c, column := range cells.Columns {
			if column.Name == fmt.Sprintf("v%d", i) {
				exact = append(exact, number(t, cells.Rows[0][c]))
			}
		}
	}
	noisy = make([][]float64, len(release.Cells))
	for n := range keys {
		filter, err := New([]byte(fmt.Sprintf("%032d", n)), w.queue)
		if err != nil {
			t.Fatal(err)
		}
		assessment, err := filter.Begin("noise", program, policy.Decision{Mode: policy.Perturbed, Rules: rules})
		if err != nil {
			t.Fatal(err)
		}
		if err := assessment.Admit(ctx, release, cells); err != nil {
			t.Fatal(err, unwrapAll(err))
		}
		row := assessment.released[0].Table.Rows[0]
		for i := range release.Cells {
			noisy[i] = append(noisy[i], number(t, row[len(release.Groups)+i]))
		}
	}
	return exact, noisy
}

// moment checks that noise has no bias and the declared standard deviation. At 5 standard errors, a wrong scale of
// a tenth cannot pass with the number of keys that the tests take, and a right one fails once in a million runs.
func checkMoments(values []float64, exact, sd float64) error {
	n := float64(len(values))
	var mean, square float64
	for _, v := range values {
		mean += (v - exact) / n
	}
	for _, v := range values {
		square += (v - exact - mean) * (v - exact - mean) / (n - 1)
	}
	if math.Abs(mean) > 5*sd/math.Sqrt(n) {
		return fmt.Errorf("the mean of the noise is %v, its standard error %v", mean, sd/math.Sqrt(n))
	}
	if found := math.Sqrt(square); math.Abs(found/sd-1) > 5/math.Sqrt(2*n) {
		return fmt.Errorf("the standard deviation of the noise is %v, want %v", found, sd)
	}
	return nil
}

const noiseKeys = 6000

func TestNoiseIsUnbiasedAndOfTheDeclaredScale(t *testing.T) {
	w := newWorld(t)
	// The largest contribution of a unit, from the rows.
	largest := func(table, key, column string) float64 {
		units := map[any]float64{}
		for _, row := range w.rows[table] {
			switch v, _ := row[column].(float64); {
			case column == "":
				units[row[key]]++
			default:
				units[row[key]] += v
			}
		}
		most := 0.0
		for _, v := range units {
			most = math.Max(most, v)
		}
		return most
	}
	rounded := func(sd float64) float64 { return math.Sqrt(sd*sd + 1.0/12) } // what is shown as a whole number
	// Where the noise is small beside the figure, it scales with what one unit has at most in the data set.
	bound := func(contribution float64) float64 { return noiseSD * boundSpread * guard.RoundedUp(contribution) }
	cases := []struct {
		sql string
		sd  []float64
	}{
		{"SELECT count(*), sum(stops::DOUBLE), sum(fare), count(DISTINCT rider) FROM trips",
			[]float64{rounded(bound(largest("trips", "rider", ""))), bound(largest("trips", "rider", "stops")), bound(largest("trips", "rider", "fare")), rounded(noiseSD)}},
		{"SELECT sum(3 * stops::DOUBLE - fare + 2) FROM trips",
			[]float64{math.Sqrt(math.Pow(3*bound(largest("trips", "rider", "stops")), 2) + math.Pow(bound(largest("trips", "rider", "fare")), 2) + math.Pow(2*bound(largest("trips", "rider", "")), 2))}},
		{"SELECT count(*), sum(hours::DOUBLE), sum(hours), count(DISTINCT pid) FROM people",
			[]float64{rounded(noiseSD), bound(largest("people", "pid", "hours")), rounded(bound(largest("people", "pid", "hours"))), rounded(noiseSD)}},
		{"SELECT count(*), sum(cost::DOUBLE), count(DISTINCT patient) FROM events",
			[]float64{rounded(noiseSD * largest("events", "patient", "")), noiseSD * largest("events", "patient", "cost"), rounded(noiseSD)}},
		{"SELECT count(*), sum(hours::DOUBLE) FROM people, range(4)",
			[]float64{rounded(4 * noiseSD), 4 * noiseSD * largest("people", "pid", "hours")}},
		{"SELECT count(*), sum(price::DOUBLE) FROM sales",
			[]float64{rounded(bound(math.Max(largest("sales", "buyer", ""), largest("sales", "seller", "")))),
				bound(math.Max(largest("sales", "buyer", "price"), largest("sales", "seller", "price")))}},
		{"SELECT sum(2 * hours::DOUBLE + 1) FROM people",
			[]float64{math.Hypot(2*bound(largest("people", "pid", "hours")), noiseSD)}},
	}
	for _, c := range cases {
		t.Run(c.sql, func(t *testing.T) {
			exact, noisy := w.noiseOf(t, c.sql, noiseKeys, loose)
			for i := range c.sd {
				if err := checkMoments(noisy[i], exact[i], c.sd[i]); err != nil {
					t.Errorf("column %d: %v", i, err)
				}
				// The control: noise of another scale, or with a bias, would be found.
				for _, wrong := range []func(float64) float64{
					func(e float64) float64 { return 1.1 * e }, func(e float64) float64 { return 0.9 * e }, func(e float64) float64 { return e + c.sd[i]/5 },
				} {
					var changed []float64
					for _, v := range noisy[i] {
						changed = append(changed, exact[i]+wrong(v-exact[i]))
					}
					if checkMoments(changed, exact[i], c.sd[i]) == nil {
						t.Errorf("column %d: noise of a wrong scale or with a bias passes", i)
					}
				}
			}
		})
	}
}

// A sum is noised by its parts, so that no arithmetic over answers gives a second draw.
func TestNoiseOfSumsIsLinear(t *testing.T) {
	w := newWorld(t)
	_, noisy := w.noiseOf(t, "SELECT sum(2 * hours::DOUBLE + 1), sum(hours::DOUBLE), sum(1::DOUBLE), sum(age::DOUBLE), sum(hours::DOUBLE - 3 * age + 7) FROM people", 200, loose)
	for n := range noisy[0] {
		if want := 2*noisy[1][n] + noisy[2][n]; !near(noisy[0][n], want) {
			t.Fatalf("sum(2x + 1) is %v, 2 sum(x) + sum(1) is %v", noisy[0][n], want)
		}
		if want := noisy[1][n] - 3*noisy[3][n] + 7*noisy[2][n]; !near(noisy[4][n], want) {
			t.Fatalf("sum(x - 3y + 7) is %v, from its parts %v", noisy[4][n], want)
		}
	}
}

// Whole numbers of people below k would say that there are fewer than k.
func TestCountsAreNeverBelowK(t *testing.T) {
	w := newWorld(t)
	rules := loose
	rules.K = 10
	for _, group := range []struct{ ages, sql string }{
		{"few", "SELECT count(*) FROM people WHERE age BETWEEN 30 AND 31"},
		{"units", "SELECT count(DISTINCT pid) FROM people WHERE age BETWEEN 30 AND 31"},
	} {
		exact, noisy := w.noiseOf(t, group.sql, 1000, rules)
		at, below := 0, 0
		for _, v := range noisy[0] {
			if v < float64(rules.K) {
				below++
			}
			if v == float64(rules.K) {
				at++
			}
		}
		if below > 0 {
			t.Errorf("%s: %d of 1000 are below k", group.sql, below)
		}
		if exact[0] < 16 && at == 0 {
			t.Errorf("%s: %v people, and the floor was never met", group.sql, exact[0])
		}
	}
}

// The noise depends on the key and the set alone: not on the order of rows or on how often it is asked.
func TestDrawIsAFunction(t *testing.T) {
	a, b := noise{key: []byte("a")}, noise{key: []byte("b")}
	if a.draw("x", "y") != a.draw("x", "y") {
		t.Error("the same draw twice differs")
	}
	seen := map[float64]bool{}
	for _, v := range []float64{a.draw("x", "y"), b.draw("x", "y"), a.draw("xy"), a.draw("x", "y", ""), a.draw("", "xy"), a.draw("y", "x")} {
		if seen[v] || math.IsNaN(v) || math.Abs(v) > 5 {
			t.Errorf("draw %v", v)
		}
		seen[v] = true
	}
	if v, err := plus(json.Number("12.50"), 0.126, "DECIMAL(10,2)"); err != nil || v != json.Number("12.63") {
		t.Errorf("a noisy decimal keeps its scale: %v %v", v, err)
	}
}
