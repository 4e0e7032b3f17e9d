package export

import (
	"encoding/json"
	"fmt"
	"testing"

	"weir/policy"
)

// What the guard renders computes what the engine computes: in exact mode every released value equals the engine's
// own answer to the same text on the same data. groups is how many columns in front name the row.
var engineQuestions = []struct {
	groups int
	sql    string
}{
	{0, "SELECT count(*), count(pay), count(1), sum(1), sum(pay), avg(pay), stddev(pay), variance(hours), count(DISTINCT pid) FROM people WHERE pay < 20000"},
	{1, "SELECT sex, corr(age, hours), covar_pop(age, hours), covar_samp(pay, hours), stddev_pop(age), var_pop(hours) FROM people WHERE pay < 20000 GROUP BY sex"},
	{1, "SELECT sex, regr_slope(hours, age), regr_intercept(hours, age), regr_r2(hours, age), regr_count(hours, age), regr_avgx(hours, age), regr_avgy(hours, age), regr_sxx(hours, age), regr_syy(hours, age), regr_sxy(hours, age) FROM people GROUP BY sex"},
	{1, "SELECT sex, median(age), quantile_cont(hours, 0.9), quantile_disc(age, 0.25), quantile_cont(pay, 0.5) FROM people GROUP BY 1"},
	{2, "SELECT sex, CASE WHEN age < 30 THEN 'young' WHEN age < 60 THEN 'middle' ELSE 'old' END AS band, count(*), avg(hours) FROM people GROUP BY ALL"},
	{1, "SELECT CAST((age // 10) * 10 AS VARCHAR) AS decade, count(*) AS n FROM people GROUP BY 1 ORDER BY n DESC LIMIT 3"},
	{1, "SELECT upper(city) || '!' AS c, count(*) FROM people WHERE ward LIKE 'w1%' OR ward NOT LIKE 'w%' OR length(ward) = 2 GROUP BY 1"},
	{1, "SELECT city, count(*) FILTER (WHERE sex = 'F') * 100.0 / count(*) AS share FROM people GROUP BY 1"},
	{1, "SELECT city, sum(hours - age), sum(2 * hours + 1), avg(hours / 7), sum(-hours), sum(hours * 1.5), sum(hours * age) FROM people GROUP BY 1"},
	{1, "SELECT sex, sum(CASE WHEN age > 40 THEN hours ELSE 0 END), sum(CASE WHEN age > 40 THEN 0 ELSE hours END), avg(CASE WHEN age > 40 THEN hours END), count(CASE WHEN age > 40 THEN pay END) FROM people GROUP BY 1"},
	{1, "SELECT sex, count(DISTINCT pid), count(DISTINCT phone), count(phone) FROM people GROUP BY 1"},
	{1, "SELECT sex, avg(hours) - (SELECT avg(hours) FROM people) FROM people GROUP BY 1"},
	{1, "WITH w AS (SELECT city, count(*) AS n FROM people GROUP BY 1) SELECT city, n FROM w WHERE n > (SELECT avg(n) / 10 FROM w)"},
	{0, "SELECT count(*), sum(n), max(n), avg(n) FROM (SELECT sex, count(*) AS n FROM people GROUP BY sex)"},
	{1, "SELECT sex, n, sum(n) OVER (ORDER BY sex), rank() OVER (ORDER BY n DESC), lag(n) OVER (ORDER BY sex) IS NULL FROM (SELECT sex, count(*) AS n FROM people GROUP BY 1)"},
	{1, "SELECT 'sex ' || sex AS v, count(*) FROM people GROUP BY 1 UNION ALL SELECT 'kind ' || kind, count(*) FROM events GROUP BY 1"},
	{1, "SELECT kind, count(*), sum(cost), avg(cost), count(DISTINCT patient) FROM events WHERE cost BETWEEN 10 AND 900 GROUP BY 1"},
	{1, "SELECT sex, count(*), count(DISTINCT pid), sum(cost), sum(hours) FROM people JOIN events ON pid = patient GROUP BY 1"},
	{1, "SELECT sex, count(*), sum(cost) FROM people a, events b WHERE a.pid = b.patient AND kind = 'k1' GROUP BY 1"},
	{1, "SELECT sex, count(*), count(patient), count(DISTINCT patient), sum(cost) FROM people LEFT JOIN events ON pid = patient AND kind = 'k1' GROUP BY 1"},
	{1, "SELECT a.sex, count(*), sum(b.hours) FROM people a JOIN people b USING (pid) GROUP BY 1"},
	{1, "SELECT a.sex, count(*) FROM people a JOIN people b ON a.city = b.city AND a.age < b.age GROUP BY 1"},
	{1, "SELECT sex, count(*) FROM people WHERE pid IN (SELECT patient FROM events WHERE kind = 'k1') GROUP BY 1"},
	{1, "SELECT sex, count(*) FROM people WHERE pid NOT IN (SELECT patient FROM events WHERE kind = 'k1') GROUP BY 1"},
	{1, "SELECT sex, count(*) FROM people SEMI JOIN events ON pid = patient GROUP BY 1"},
	{1, "SELECT b.sex, count(*), sum(price), avg(price), count(DISTINCT buyer), count(DISTINCT seller) FROM sales JOIN people b ON buyer = b.pid GROUP BY 1"},
	{2, "SELECT b.sex, s.sex, count(*) FROM sales JOIN people b ON buyer = b.pid JOIN people s ON seller = s.pid GROUP BY ALL"},
	{1, "SELECT band, count(*), avg(n) FROM (SELECT patient, CASE WHEN sum(cost) > 500 THEN 'much' ELSE 'little' END AS band, count(*) AS n FROM events WHERE cost IS NOT NULL GROUP BY 1) WHERE n < 50 GROUP BY 1"},
	{1, "SELECT sex, avg(m), sum(m), count(m) FROM people JOIN (SELECT patient, max(cost) AS m FROM events GROUP BY 1) ON pid = patient GROUP BY 1"},
	{1, "SELECT sex, count(*) FROM people, range(7) GROUP BY 1"},
	{1, "SELECT g, count(*) FROM people JOIN (VALUES ('c0', 'north'), ('c1', 'north'), ('c2', 'south')) v(c, g) ON city = c GROUP BY 1"},
	{1, "SELECT sex, count(*) FROM people WHERE TRY_CAST(ward AS INTEGER) IS NULL AND TRY(ln(age)) > 2 AND substr(city, 2)::INT >= 0 GROUP BY 1"},
	{2, "SELECT sex, city, count(*), GROUPING(sex, city) FROM people GROUP BY ROLLUP (sex, city)"},
	{1, "SELECT side, count(*) FILTER (WHERE x = 3.5), sum(y + 1) FROM (SELECT pid, 'p' AS side, cast(pay AS DECIMAL(10, 2)) AS x, hours AS y FROM people UNION ALL SELECT rider, 't', fare, stops FROM trips) GROUP BY side"},
	{2, "SELECT sex AS a, sex AS b, count(*), sum(hours), avg(pay) FROM people GROUP BY a, b"},
	{2, "SELECT kind AS a, kind AS b, count(*), sum(cost) FROM events GROUP BY a, b"},
	{1, "SELECT sex, count(*), sum(hours) FROM people GROUP BY ALL HAVING sex = 'F'"},
	{1, "SELECT illness, count(*) FROM people WHERE city <> 'c3' GROUP BY ALL HAVING illness = 'i0'"},
	{2, "SELECT DISTINCT sex, city FROM people"},
	{2, "SELECT sex, city FROM people GROUP BY CUBE (sex, city)"},
	{2, "SELECT sex, city, regr_slope(hours, age), regr_intercept(hours, age), regr_r2(hours, age), regr_avgx(hours, age), regr_avgy(hours, age), regr_sxx(hours, age), regr_syy(hours, age), regr_sxy(hours, age), stddev(age), avg(age), sum(age) FROM people GROUP BY CUBE (sex, city)"},
	{1, "SELECT city, count(*), avg(hours) AS h FROM people GROUP BY 1 HAVING count(*) > 20 ORDER BY h LIMIT 4"},
}

func TestExactEqualsTheEngine(t *testing.T) {
	w := newWorld(t)
	rules := loose
	rules.K = 2
	compared := 0
	for _, c := range engineQuestions {
		t.Run(c.sql, func(t *testing.T) {
			got, err := w.ask(t.Context(), "", c.sql, policy.Exact, rules)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := w.plain(t.Context(), c.sql)
			if err != nil {
				t.Fatalf("the engine itself: %v %v", err, unwrapAll(err))
			}
			want := map[string][]any{}
			for _, row := range plain.Rows {
				want[key(row[:c.groups])] = row
			}
			cells := 0
			for _, row := range got.rows {
				peer, ok := want[key(row[:c.groups])]
				if !ok {
					t.Errorf("row %v is not in the engine's answer", row)
					continue
				}
				for i := c.groups; i < len(row); i++ {
					if row[i] == nil {
						continue
					}
					cells++
					if !sameValue(row[i], peer[i]) {
						t.Errorf("%v: column %d is %v, the engine says %v", row[:c.groups], i, row[i], peer[i])
					}
				}
			}
			if cells == 0 && c.groups < len(plain.Columns) {
				t.Errorf("nothing was released: %v", got.checks)
			}
			if !got.withheld && len(got.rows) != len(plain.Rows) {
				t.Errorf("%d rows and nothing withheld, the engine has %d", len(got.rows), len(plain.Rows))
			}
			compared += cells
		})
	}
	t.Logf("%d cells compared", compared)
}

func key(values []any) string {
	text, err := json.Marshal(values)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func sameValue(a, b any) bool {
	n, okA := a.(json.Number)
	m, okB := b.(json.Number)
	if !okA || !okB {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}
	x, errX := n.Float64()
	y, errY := m.Float64()
	return errX == nil && errY == nil && near(x, y)
}
