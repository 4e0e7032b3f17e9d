package export

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/export/noise"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// replaced are questions whose figures one unit must not move by more than is charged. Some are meant to: they multiply
// rows by secrets, let a fact about a unit choose its group, or put everything that somebody has into one sum.
var replaced = []string{
	"SELECT count(*), sum(pay), avg(hours), stddev(pay), count(DISTINCT pid) FROM people",
	"SELECT city, count(*), sum(pay), avg(pay), corr(pay, hours) FROM people GROUP BY 1",
	"SELECT illness = 'i1' AND age > 40, sum(pay * (illness = 'i1')::INT) FROM people GROUP BY 1",
	"SELECT count(*), sum(pay) FROM people, range(1000) r(i) WHERE i = 0 OR illness = 'i1'",
	"SELECT room, kind, count(*), sum(cost), avg(cost), stddev(cost), count(DISTINCT patient) FROM events GROUP BY 1, 2",
	"SELECT count(*), count(*) FILTER (WHERE kind = 'k0'), sum(2 * cost + 1), sum(-cost), sum(cost - 500) FROM events",
	"SELECT kind, avg(n), sum(s) FROM (SELECT patient, kind, count(*) AS n, sum(cost) AS s FROM events GROUP BY 1, 2) GROUP BY 1",
	"SELECT n, count(*) FROM (SELECT patient, count(*) AS n FROM events GROUP BY 1) GROUP BY 1",
	"SELECT p.city, e.room, count(*), sum(p.pay), sum(e.cost - p.age) FROM people p JOIN events e ON p.pid = e.patient GROUP BY 1, 2",
	"SELECT p.city, count(*), count(DISTINCT p.pid) FROM people p LEFT JOIN events e ON p.pid = e.patient AND kind = 'k1' GROUP BY 1",
	"SELECT city, count(*) FROM people WHERE pid NOT IN (SELECT patient FROM events WHERE cost > 100) GROUP BY 1",
	"SELECT a.kind, count(*), sum(a.cost * b.cost) FROM events a JOIN events b ON a.patient = b.patient GROUP BY 1",
	"SELECT room, avg(d), count(d) FROM (SELECT room, cost - lag(cost) OVER (PARTITION BY patient ORDER BY cost, room, kind) AS d FROM events) GROUP BY 1",
	"SELECT x, count(*) FROM (SELECT pid, city AS x FROM people UNION ALL SELECT patient, room FROM events) GROUP BY 1",
	"SELECT DISTINCT city, illness FROM people",
	"SELECT city, count(*) FROM people GROUP BY ROLLUP (1)",
	"SELECT a.city, count(*) FROM people a, people b WHERE a.pid = b.pid AND a.illness <= b.illness GROUP BY 1",
	"SELECT r, sum(c) FROM (SELECT patient, max(room) AS r, sum(cost) AS c FROM events GROUP BY 1) GROUP BY 1",
}

// TestReplacement gives one person the rows of another, who has fewer, more, or none, and holds what moves to what is
// charged: the square of the distance of the two vectors of a figure, over all groups, is Width2 at most.
func TestReplacement(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(5, 8))
	moved := 0
	for _, sql := range replaced {
		bound, err := w.planning.Bind(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		program, err := guard.Check(sql, bound, w.schema, loose, policy.Perturbed)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		for _, release := range program.Releases {
			truth := w.figures(t, release.SQL, release)
			for range 12 {
				who, as := w.somebody(r), w.somebody(r)
				other := w.figures(t, w.becoming(t, release.SQL, who, as), release)
				for i, f := range release.Noised.Figures {
					distance := 0.0
					for group := range union(truth, other) {
						d := at(truth, group, i) - at(other, group, i)
						distance += d * d
					}
					if distance > 0 {
						moved++
					}
					if distance > f.Width2*(1+1e-9) {
						t.Errorf("%s\nfigure %d (%s) moves by %v, and %v is charged, where %s becomes %s",
							sql, i, f.Of, math.Sqrt(distance), math.Sqrt(f.Width2), who, as)
					}
				}
			}
		}
	}
	if moved < 500 {
		t.Errorf("only %d figures moved, so nothing is known of the others", moved)
	}
}

// somebody is one of the people, often one with very many events.
func (w *world) somebody(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		return w.rows["events"][r.IntN(len(w.rows["events"]))]["patient"].(string)
	}
	return w.rows["people"][r.IntN(len(w.rows["people"]))]["pid"].(string)
}

// becoming renders a query over the data in which somebody has the rows of somebody else.
func (w *world) becoming(t *testing.T, sql, who, as string) string {
	t.Helper()
	for _, table := range []struct{ name, key string }{{"people", "pid"}, {"events", "patient"}} {
		data := fmt.Sprintf(`"ds_%s"."main"."data"`, table.name)
		units := w.rowsOf(t, fmt.Sprintf(`SELECT any_value(__unit_0) AS u FROM %s WHERE %s = '%s'`, data, table.key, who))
		unit := "0"
		if units[0]["u"] != nil {
			unit = fmt.Sprint(units[0]["u"])
		} else if table.name == "events" { // who has no events has a name all the same
			unit = fmt.Sprint(w.rowsOf(t, fmt.Sprintf(`SELECT any_value(__unit_0) AS u FROM "ds_people"."main"."data" WHERE pid = '%s'`, who))[0]["u"])
		}
		sql = strings.ReplaceAll(sql, data, fmt.Sprintf(`(SELECT * FROM %[1]s WHERE %[2]s <> '%[3]s' UNION ALL SELECT * REPLACE ('%[3]s' AS %[2]s, %[4]s::UBIGINT AS __unit_0) FROM %[1]s WHERE %[2]s = '%[5]s')`,
			data, table.key, who, unit, as))
	}
	return sql
}

func (w *world) rowsOf(t *testing.T, sql string) []map[string]any {
	t.Helper()
	table, err := w.session.Query(t.Context(), sandbox.Query{SQL: sql})
	if err != nil {
		t.Fatal(err, unwrapAll(err), sql)
	}
	var rows []map[string]any
	for _, values := range table.Rows {
		row := map[string]any{}
		for i, column := range table.Columns {
			row[column.Name] = values[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// figures gives the figures of each group as they are.
func (w *world) figures(t *testing.T, sql string, r guard.Release) map[string][]float64 {
	t.Helper()
	all := map[string][]float64{}
	for _, row := range w.rowsOf(t, sql) {
		var group []any
		for i := range r.Groups {
			group = append(group, row[fmt.Sprintf("g%d", i)])
		}
		values := make([]float64, len(r.Noised.Figures))
		for i := range values {
			values[i] = number(t, row[fmt.Sprintf("f%d", i)])
		}
		all[key(group)] = values
	}
	return all
}

func union(a, b map[string][]float64) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

func at(of map[string][]float64, group string, i int) float64 {
	if v, ok := of[group]; ok {
		return v[i]
	}
	return 0
}

// TestErrorBounds: what is published beside noisy values holds, over everything that is shown. The draws are fixed, so
// the test does not hang on chance.
func TestErrorBounds(t *testing.T) {
	w := newWorld(t)
	w.filter.WithRandom(noise.Seeded([32]byte{1}))
	rules := loose
	rules.K, rules.Digits = 2, 12
	inside, all := 0, 0
	for _, c := range engineQuestions {
		if strings.Contains(c.sql, "sales") || strings.Contains(c.sql, "trips") || strings.Contains(c.sql, "events") {
			continue // capped, or without a bound
		}
		plain, err := w.plain(t.Context(), c.sql)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]any{}
		for _, row := range plain.Rows {
			want[key(row[:c.groups])] = row
		}
		got, err := w.ask(t.Context(), "", c.sql, policy.Perturbed, rules)
		if err != nil {
			if code := problem.Of(err).Code; code != "guard.count-distinct" && code != "guard.no-bound" {
				t.Errorf("%s: %v", c.sql, err)
			}
			continue
		}
		for n, row := range got.rows {
			peer, ok := want[key(row[:c.groups])]
			if !ok {
				continue // an order or a choice that fell otherwise
			}
			for i := c.groups; i < len(row); i++ {
				v, isNumber := row[i].(json.Number)
				p, also := peer[i].(json.Number)
				if !isNumber || !also || got.errors == nil {
					continue
				}
				bound, known := got.errors[n][i].(json.Number)
				if !known {
					continue
				}
				if all++; math.Abs(number(t, v)-number(t, p)) <= number(t, bound) {
					inside++
				} else {
					t.Logf("%s: %v: column %d is %v ± %v, and was %v", c.sql, row[:c.groups], i, v, bound, p)
				}
			}
		}
	}
	t.Logf("%d of %d values are within their bounds", inside, all)
	if all < 100 || float64(inside) < 0.95*float64(all) {
		t.Errorf("only %d of %d values are within their bounds", inside, all)
	}
}

// The same question has the same answer and costs nothing, whoever asks; another version of it is drawn anew.
func TestAnswersAreKept(t *testing.T) {
	w := newWorld(t)
	ask := func(operator, sql string) ([][]any, float64) {
		t.Helper()
		before := w.spent
		got, err := w.ask(t.Context(), operator, sql, policy.Perturbed, loose)
		if err != nil {
			t.Fatal(err)
		}
		return got.rows, w.spent - before
	}
	const first = "SELECT sex, count(*), avg(hours) FROM people GROUP BY 1 ORDER BY 1"
	rows, price := ask("one", first)
	if price <= 0 {
		t.Fatalf("the first answer cost %v", price)
	}
	again, free := ask("another", first)
	if free != 0 || key([]any{rows}) != key([]any{again}) {
		t.Errorf("the second answer cost %v: %v and %v", free, rows, again)
	}
	if _, price := ask("one", "SELECT sex, count(*), avg(hours) FROM people WHERE age > 0 GROUP BY 1 ORDER BY 1"); price <= 0 {
		t.Errorf("another question cost %v", price)
	}
	if _, more := ask("one", "SELECT sex, count(*), avg(hours), sum(pay) FROM people GROUP BY 1 ORDER BY 1"); more <= 0 || more >= price {
		t.Errorf("one figure more cost %v, and all of the first %v", more, price)
	}
}
