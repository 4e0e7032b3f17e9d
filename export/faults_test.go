package export

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/internal/problem"
	"weir/policy"
)

// odd are wards of fifty: in W0 nobody is ill, in W1 three are, in W2 twenty-five, in W3 forty-seven, in W4 all. One
// debt in each ward is far greater than the others, and one profit in W0 and W1 dominates.
func odd(r *rand.Rand) (rows []record) {
	ill := []int{0, 3, 25, 47, 50}
	for ward := range ill {
		for i := range 50 {
			p := record{
				"oid": fmt.Sprintf("O%d-%02d", ward, i), "ward": fmt.Sprintf("W%d", ward), "born": fmt.Sprintf("19%02d-%02d-%02d", 30+r.IntN(70), 1+r.IntN(12), 1+r.IntN(28)),
				"ill": float64(bit(i < ill[ward])), "pay": float64(1000 + r.IntN(9000)), "debt": float64(1 + r.IntN(20_000)), "fee": float64(1+r.IntN(1000)) / 4,
				"hours": float64(1 + r.IntN(2000)), "rate": float64(1+r.IntN(100)) / 4, "profit": float64(90 + r.IntN(20)),
			}
			if p["diag"] = "none"; i < ill[ward] {
				p["diag"] = "flu"
			}
			switch {
			case i == 49:
				p["debt"], p["fee"] = 1_900_000_000.0, 9_999_999_999.0
			case i == 0 && ward < 2:
				p["profit"] = 1_000_000.0
			}
			rows = append(rows, p)
		}
	}
	return rows
}

// byWard asks for one figure by ward and gives it by ward; nil where it was withheld or the ward is not there.
func (w *world) byWard(t *testing.T, figure string) map[string]any {
	t.Helper()
	got, err := w.ask(t.Context(), "", "SELECT ward, "+figure+" FROM odd GROUP BY ward", policy.Exact, loose)
	if err != nil {
		t.Fatalf("%s: %v", figure, err)
	}
	figures := map[string]any{}
	for _, row := range got.rows {
		figures[fmt.Sprint(row[0])] = row[1]
	}
	return figures
}

// A row drops out of a figure because the figure's arithmetic has no value for it: the figure is then one under a
// condition, and is shown only where the condition's own count is.
func TestNoRowDropsOutUnseen(t *testing.T) {
	w := newWorld(t)
	plain := w.byWard(t, "count(*) FILTER (WHERE ill = 1)")
	if plain["W2"] == nil || plain["W0"] != nil || plain["W1"] != nil || plain["W3"] != nil || plain["W4"] != nil {
		t.Fatalf("the ill by ward: %v", plain)
	}
	for _, figure := range []string{
		"sum(pay / ill) / avg(pay / ill)", "avg(pay / ill)", "sum(pay / ill)", "sum((pay + 1) / ill)", "sum(pay / (2 * ill))", "stddev(pay / ill)",
		"sum(x) FILTER (WHERE TRUE)",
	} {
		of := figure
		if figure == "sum(x) FILTER (WHERE TRUE)" { // through a subquery
			got, err := w.ask(t.Context(), "", "SELECT ward, sum(x) FROM (SELECT ward, pay / ill AS x FROM odd) GROUP BY ward", policy.Exact, loose)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range got.rows {
				if (plain[fmt.Sprint(row[0])] == nil) != (row[1] == nil) {
					t.Errorf("through a subquery: %v", got.rows)
				}
			}
			continue
		}
		for ward, v := range w.byWard(t, of) {
			if (plain[ward] == nil) != (v == nil) {
				t.Errorf("%s in %s: %v, and its condition's count %v", figure, ward, v, plain[ward])
			}
		}
	}
	// Which of the debts are too large for a type must not be seen: none is, whatever it is multiplied by.
	for _, figure := range []string{
		"round(sum(debt * 100000) / avg(debt * 100000))", "round(sum(debt * debt) / avg(debt * debt))", "round(sum(hours * 1000) / avg(hours * 1000))",
		"round(sum(debt * 1e25) / avg(debt * 1e25))", "round(sum(fee * fee) / avg(fee * fee))", "round(sum(fee * 99999999.99) / avg(fee * 99999999.99))",
		"round(sum(debt::DECIMAL(5,2)) / avg(debt::DECIMAL(5,2)))", "round(sum(debt::SMALLINT) / avg(debt::SMALLINT))",
		"round(sum(debt * 100000000000000000000000000) / avg(debt * 100000000000000000000000000))",
	} {
		rules := loose
		rules.DominanceShare, rules.DominanceP = 100, 0 // which would withhold it for another reason
		got, err := w.ask(t.Context(), "", "SELECT ward, "+figure+" FROM odd GROUP BY ward", policy.Exact, rules)
		if err != nil {
			t.Errorf("%s: %v", figure, err)
			continue
		}
		for _, row := range got.rows {
			if row[1] != nil && number(t, row[1]) != 50 {
				t.Errorf("%s: %v", figure, row)
			}
		}
	}
	// What floating point loses is a condition of its own.
	if got := w.byWard(t, "sum(rate * 1e30) / 1e30"); len(got) != 5 {
		t.Errorf("a product that is finite for all: %v", got)
	}
}

// A measure that one unit dominates is dominated whatever is added to it.
func TestDominanceOfEachMeasure(t *testing.T) {
	w := newWorld(t)
	plain := w.byWard(t, "avg(profit)")
	if plain["W0"] != nil || plain["W1"] != nil || plain["W2"] == nil {
		t.Fatalf("mean profits: %v", plain)
	}
	for _, figure := range []string{
		"avg(profit + 1000000) - 1000000", "sum(profit + 1000000) - 1000000 * count(*)", "avg(1000000 - profit)", "avg(2 * profit + 5000000)", "sum(profit + 1000 * hours)",
		"sum(profit + 1000000) FILTER (WHERE hours >= 0)", "sum(1000000 + profit) - sum(1000000)", "avg(profit * 3 + pay * 1000)",
	} {
		for ward, v := range w.byWard(t, figure) {
			if (v == nil) != (plain[ward] == nil) {
				t.Errorf("%s in %s: %v, and avg(profit) %v", figure, ward, v, plain[ward])
			}
		}
	}
}

// Products and sums are those of numbers without end, in figures, conditions and groups.
func TestWideArithmetic(t *testing.T) {
	w := newWorld(t)
	sum := func(of func(p record) float64, where func(p record) bool) (s float64) {
		for _, p := range w.rows["odd"] {
			if where == nil || where(p) {
				s += of(p)
			}
		}
		return s
	}
	rules := loose
	rules.DominanceShare, rules.DominanceP = 100, 0
	one := func(record) float64 { return 1 }
	for sql, want := range map[string]float64{
		"SELECT sum(debt * 1000) FROM odd":                                                          sum(func(p record) float64 { return 1000 * p["debt"].(float64) }, nil),
		"SELECT sum(hours * 1000) FROM odd":                                                         sum(func(p record) float64 { return 1000 * p["hours"].(float64) }, nil),
		"SELECT sum(debt + debt) FROM odd":                                                          sum(func(p record) float64 { return 2 * p["debt"].(float64) }, nil),
		"SELECT sum(-debt - 2000000000) FROM odd":                                                   sum(func(p record) float64 { return -p["debt"].(float64) - 2e9 }, nil),
		"SELECT count(*) FROM odd WHERE hours * 1000 > 500000":                                      sum(one, func(p record) bool { return p["hours"].(float64) > 500 }),
		"SELECT count(*) FROM odd WHERE debt * 500 < 5000000":                                       sum(one, func(p record) bool { return p["debt"].(float64) < 10000 }),
		"SELECT count(*) FILTER (WHERE debt * 500 < 5000000) FROM odd":                              sum(one, func(p record) bool { return p["debt"].(float64) < 10000 }),
		"SELECT sum(n) FROM (SELECT hours * 1000 > 900000 AS h, count(*) AS n FROM odd GROUP BY 1)": 250,
	} {
		got, err := w.ask(t.Context(), "", sql, policy.Exact, rules)
		if err != nil || len(got.rows) != 1 || got.rows[0][0] == nil {
			t.Errorf("%s: %v %v %v", sql, got.rows, got.checks, err)
			continue
		}
		if have := number(t, got.rows[0][0]); have != want {
			t.Errorf("%s: %v, want %v", sql, have, want)
		}
	}
}

// A constant that is no value of its type stops a query before anything is run.
func TestConstantsOverTheWorld(t *testing.T) {
	w := newWorld(t)
	for sql, code := range map[string]string{
		"SELECT count(*) FROM odd WHERE born > '1990-06-31'": "guard.constant",
		"SELECT count(*) FROM odd WHERE pay > '5,000'":       "guard.constant",
		"SELECT count(*) FROM odd WHERE born > '1960-06-30'": "",
	} {
		_, err := w.ask(t.Context(), "", sql, policy.Exact, loose)
		if got := problem.Of(err); code == "" && err != nil || code != "" && got.Code != code {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
