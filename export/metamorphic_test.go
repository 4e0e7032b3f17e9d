package export

import (
	"fmt"
	"math"
	"testing"

	"weir/policy"
)

// Spellings of one question. However it is spelled it is answered, with the same exact values, and in perturbed
// mode with the same noise: the noise belongs to the set of units, and averaging over spellings gains nothing.
// slack is how far values may lie apart where one of the spellings is rounded before it is divided.
var spellings = []struct {
	name  string
	slack float64
	sql   []string
}{
	{"count", 0, []string{
		"SELECT sex, count(*) AS n FROM people WHERE age > 30 AND city = 'c0' GROUP BY sex",
		"select\tp.sex ,count( * )\nfrom people as p where (p.age>30)and(((p.city='c0')))group by 1 -- a comment",
		"SELECT /* max(age) */ x.s, count(*) FROM (SELECT sex AS s, city AS c FROM people WHERE age > 30) x WHERE c = 'c0' GROUP BY x.s",
		"WITH w AS (SELECT * FROM people WHERE city = 'c0'), v AS (SELECT sex, age FROM w) SELECT sex, count(*) FROM v WHERE age > 30 GROUP BY sex",
		"WITH w AS MATERIALIZED (SELECT * FROM people WHERE city = 'c0') SELECT sex, count(*) FROM w WHERE NOT (age <= 30) GROUP BY sex",
		"SELECT sex, count(*) FILTER (WHERE age > 30) FROM people WHERE city = 'c0' AND age > 30 GROUP BY sex",
		"SELECT sex, count(*) FROM people WHERE city IN ('c0') AND age BETWEEN 31 AND 1000 GROUP BY sex",
		"SELECT sex, count(1) FROM people WHERE 30 < age AND 'c0' = city GROUP BY sex",
		"SELECT sex, sum(1) FROM people WHERE age > 30 AND city = 'c0' GROUP BY sex",
		"SELECT sex, count(pid) FROM people WHERE age > 30 AND city = 'c0' GROUP BY sex",
		"SELECT sex, count(age) FROM people WHERE age > 30 AND city = 'c0' GROUP BY sex",
		"SELECT sex, count(CASE WHEN age > 30 THEN 1 END) FROM people WHERE city = 'c0' AND age >= 31 GROUP BY sex",
		"SELECT sex, count(DISTINCT pid) FROM people WHERE age > 30 AND city = 'c0' GROUP BY sex",
		"SELECT sex, n FROM (SELECT city, sex, count(*) AS n FROM people WHERE age > 30 AND city = 'c0' GROUP BY ALL)",
		"SELECT a.sex, count(*) FROM people a JOIN people b USING (pid) WHERE a.age > 30 AND b.city = 'c0' GROUP BY 1",
		"SELECT a.sex, count(*) FROM people a, people b WHERE b.pid = a.pid AND a.age > 30 AND b.city = 'c0' GROUP BY 1",
		"SELECT sex, count(*) FROM people WHERE age > 30 AND pid IN (SELECT pid FROM people WHERE city = 'c0') GROUP BY 1",
		"SELECT sex, count(*) FROM (SELECT pid, sex FROM people WHERE age > 30 AND city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, count(*) FROM (SELECT DISTINCT pid, sex FROM people WHERE age > 30 AND city = 'c0') GROUP BY 1",
		"SELECT sex, sum(n) FROM (SELECT pid, sex, regr_count(hours, age) AS n FROM people WHERE age > 30 AND city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(n) FROM (SELECT sex, count(age) OVER (PARTITION BY pid) AS n FROM people WHERE age > 30 AND city = 'c0') GROUP BY 1",
		"SELECT sex, sum(a - b) FROM (SELECT pid, sex, sum(5) AS a, sum(4) AS b FROM people WHERE age > 30 AND city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(a - b) FROM (SELECT pid, sex, sum(hours + 8) AS a, sum(hours + 7) AS b FROM people WHERE age > 30 AND city = 'c0' GROUP BY ALL) GROUP BY 1",
	}},
	{"count, fanned out", 1, []string{
		"SELECT sex, count(*) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, count(*) / 3 FROM people, range(3) WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, count(*) / 7 FROM people, (VALUES (1), (1), (1), (1), (1), (1), (1)) v WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(3) / 3 FROM people WHERE city = 'c0' GROUP BY sex",
	}},
	{"sum", 1e-6, []string{
		"SELECT sex, sum(hours::DOUBLE) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(hours * 2::DOUBLE) / 2 FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(hours::DOUBLE * 3) / 3 FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, -sum(-hours::DOUBLE) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(hours::DOUBLE + age) - sum(age::DOUBLE) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, (sum(2 * hours::DOUBLE + 1) - sum(1::DOUBLE)) / 2 FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(hours::DOUBLE) FILTER (WHERE city = 'c0') FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(CASE WHEN city = 'c0' THEN hours::DOUBLE ELSE 0 END) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(CASE WHEN city <> 'c0' THEN NULL ELSE hours::DOUBLE END) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(hours::DOUBLE) / 5 FROM people, range(5) WHERE city = 'c0' GROUP BY sex",
		"SELECT a.sex, sum(b.hours::DOUBLE) FROM people a JOIN people b USING (pid) WHERE a.city = 'c0' GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) FROM (SELECT pid, sex, sum(hours) AS h FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) FROM (SELECT pid, sex, max(hours) AS h FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) FROM (SELECT pid, sex, median(hours) AS h FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) FROM (SELECT pid, sex, regr_avgx(age, hours) AS h FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) FROM (SELECT sex, sum(hours) OVER (PARTITION BY pid) AS h FROM people WHERE city = 'c0') GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) FROM (SELECT sex, max(h) OVER (PARTITION BY pid) AS h FROM (SELECT pid, sex, sum(hours) OVER (PARTITION BY pid) AS h FROM people WHERE city = 'c0')) GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) / 2 FROM (SELECT pid, sex, sum(2 * hours) AS h FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(h::DOUBLE) - sum(1::DOUBLE) * 7 FROM (SELECT pid, sex, sum(hours + 7) AS h FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(s - m::DOUBLE) FROM (SELECT pid, sex, sum(hours) AS s, max(hours) AS m FROM people, range(2) WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT a.sex, sum(2 * a.hours - b.hours::DOUBLE) FROM people a JOIN people b USING (pid) WHERE a.city = 'c0' GROUP BY 1",
	}},
	{"rows that add nothing", 1e-6, []string{
		"SELECT sum(hours::DOUBLE) FROM people WHERE city = 'c0'",
		"SELECT sum(hours::DOUBLE) FROM people WHERE city = 'c0' AND hours <> 0",
		"SELECT sum(hours::DOUBLE) FROM people WHERE city = 'c0' AND (hours > 0 OR ward < 'w12')",
		"SELECT sum(hours::DOUBLE) FILTER (WHERE hours > 0 OR sex = 'F') FROM people WHERE city = 'c0'",
		"SELECT sum(CASE WHEN hours > 0 OR age > 40 THEN hours::DOUBLE ELSE 0 END) FROM people WHERE city = 'c0'",
		"SELECT sum(hours * 2::DOUBLE) / 2 FROM people WHERE city = 'c0' AND (hours > 0 OR sex = 'M')",
		"SELECT sum(hours + age::DOUBLE) - sum(age::DOUBLE) FROM people WHERE city = 'c0'",
	}},
	{"a union of which one side has no rows", 1e-6, []string{
		"SELECT city, sum(hours::DOUBLE) FROM people GROUP BY 1",
		"SELECT city, sum(x::DOUBLE) FROM (SELECT pid, city, hours AS x FROM people UNION ALL SELECT rider, line, stops FROM trips WHERE line = 'none') GROUP BY 1",
		"SELECT city, sum(x::DOUBLE) FROM (SELECT pid, city, hours AS x FROM people UNION ALL SELECT rider, line, 3 * stops + 1 FROM trips WHERE FALSE) GROUP BY 1",
		"SELECT line, sum(x::DOUBLE) FROM (SELECT rider, line, stops * stops AS x FROM trips WHERE line = 'none' UNION ALL SELECT pid, city, hours FROM people) GROUP BY 1",
		"SELECT city, sum(s::DOUBLE) FROM (SELECT pid, city, sum(x) AS s FROM (SELECT pid, city, hours AS x FROM people UNION ALL SELECT rider, line, stops FROM trips WHERE line = 'none') GROUP BY ALL) GROUP BY 1",
		"SELECT city, sum(x::DOUBLE) - sum(1::DOUBLE) FROM (SELECT pid, city, hours + 1 AS x FROM people UNION ALL SELECT rider, line, fare FROM trips WHERE line = 'none') GROUP BY 1",
	}},
	{"covariance", 1e-6, []string{
		"SELECT sex, covar_pop(age, hours) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, covar_pop(hours, age) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT a.sex, covar_pop(b.hours, a.age) FROM people a JOIN people b USING (pid) WHERE a.city = 'c0' GROUP BY 1",
	}},
	{"products", 1e-6, []string{
		"SELECT sex, sum(age * hours::DOUBLE) FROM people WHERE city = 'c0' GROUP BY sex",
		"SELECT sex, sum(f::DOUBLE) FROM (SELECT pid, sex, sum(age * hours) AS f FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(f::DOUBLE) FROM (SELECT pid, sex, max(age * hours) AS f FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT sex, sum(f::DOUBLE) FROM (SELECT pid, sex, age * hours AS f FROM people WHERE city = 'c0' GROUP BY ALL) GROUP BY 1",
		"SELECT a.sex, sum(a.age * b.hours::DOUBLE) FROM people a JOIN people b USING (pid) WHERE a.city = 'c0' GROUP BY 1",
	}},
	{"many rows a person", 1e-6, []string{
		"SELECT kind, sum(cost::DOUBLE), count(*) FROM events WHERE cost > 10 GROUP BY kind",
		"SELECT kind, sum(cost::DOUBLE), count(cost) FROM events WHERE cost > 10 GROUP BY kind",
		"SELECT kind, sum(cost::DOUBLE), count(*) FROM people JOIN events ON pid = patient WHERE cost > 10 GROUP BY kind",
		"SELECT kind, sum(cost::DOUBLE), count(*) FROM events JOIN people ON pid = patient WHERE cost > 10 GROUP BY kind",
		"SELECT kind, sum(cost::DOUBLE), count(*) FROM events, people WHERE patient = pid AND cost > 10 GROUP BY kind",
		"SELECT kind, sum(cost::DOUBLE), count(*) FROM (SELECT * FROM events WHERE cost > 10) JOIN (SELECT pid FROM people) ON pid = patient GROUP BY kind",
		"SELECT kind, sum(cost::DOUBLE), count(*) FROM events LEFT JOIN people ON patient = pid WHERE cost > 10 GROUP BY kind",
		"SELECT kind, sum(s::DOUBLE), sum(n) FROM (SELECT patient, kind, sum(cost) AS s, count(*) AS n FROM events WHERE cost > 10 GROUP BY ALL) GROUP BY kind",
		"SELECT kind, sum(s::DOUBLE), sum(n) FROM (SELECT patient, room, kind, sum(cost) AS s, count(*) AS n FROM events WHERE cost > 10 GROUP BY ALL) GROUP BY kind",
		"SELECT kind, sum(s::DOUBLE), sum(n) FROM (SELECT patient, kind, sum(s) AS s, sum(n) AS n FROM (SELECT patient, room, kind, sum(cost) AS s, count(*) AS n FROM events WHERE cost > 10 GROUP BY ALL) GROUP BY ALL) GROUP BY kind",
	}},
	{"many rows a person, by bounds", 1e-6, []string{
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips, people WHERE pid = rider GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM people JOIN trips ON pid = rider GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips LEFT JOIN people ON pid = rider GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips WHERE rider IN (SELECT pid FROM people) GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips JOIN (VALUES ('p0'), ('p1'), ('p2')) v(p) ON purpose = p GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips, (VALUES ('p0'), ('p1'), ('p2')) v(p) WHERE purpose = p GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips WHERE fare > 0 OR fare = 0 OR fare IS NULL GROUP BY purpose",
		"SELECT purpose, sum(fare), count(*), avg(stops) FROM trips GROUP BY purpose HAVING median(stops) > 0 AND count(DISTINCT rider) > 5",
	}},
	{"many rows a person, added up before", 1e-6, []string{
		"SELECT purpose, sum(fare::DOUBLE) FROM trips GROUP BY purpose",
		"SELECT purpose, sum(3 * fare::DOUBLE) / 3 FROM trips GROUP BY purpose",
		"SELECT purpose, sum(fare::DOUBLE) FROM trips WHERE fare IS NOT NULL GROUP BY purpose",
		"SELECT purpose, sum(f::DOUBLE) FROM (SELECT rider, purpose, sum(fare) AS f FROM trips GROUP BY ALL) GROUP BY purpose",
		"SELECT purpose, sum(f::DOUBLE) FROM (SELECT rider, line, purpose, sum(fare) AS f FROM trips GROUP BY ALL) GROUP BY purpose",
		"SELECT purpose, sum(f::DOUBLE) FROM (SELECT rider, purpose, sum(f) AS f FROM (SELECT rider, line, purpose, sum(fare) AS f FROM trips GROUP BY ALL) GROUP BY ALL) GROUP BY purpose",
	}},
	{"rows of many a person, counted before", 0, []string{
		"SELECT purpose, count(*) FROM trips GROUP BY purpose",
		"SELECT purpose, sum(1) FROM trips GROUP BY purpose",
		"SELECT purpose, count(stops) FROM trips GROUP BY purpose",
		"SELECT purpose, sum(n) FROM (SELECT rider, purpose, count(*) AS n FROM trips GROUP BY ALL) GROUP BY purpose",
		"SELECT purpose, sum(n) FROM (SELECT rider, line, purpose, count(*) AS n FROM trips GROUP BY ALL) GROUP BY purpose",
		"SELECT purpose, sum(n) FROM (SELECT rider, purpose, sum(n) AS n FROM (SELECT rider, line, purpose, count(*) AS n FROM trips GROUP BY ALL) GROUP BY ALL) GROUP BY purpose",
	}},
	{"rows that contribute nothing", 1e-6, []string{ // another set of people; the figure rests on the same
		"SELECT purpose, sum(fare::DOUBLE) FROM trips WHERE purpose <> 'p2' GROUP BY purpose",
		"SELECT purpose, sum(fare::DOUBLE) FROM trips WHERE purpose <> 'p2' AND (fare <> 0 OR line = 'l1') GROUP BY purpose",
		"SELECT purpose, sum(CASE WHEN fare <> 0 THEN fare::DOUBLE END) FROM trips WHERE purpose <> 'p2' GROUP BY purpose",
	}},
	{"distinct values of an identifier", 0, []string{
		"SELECT sex, count(DISTINCT phone) FROM people GROUP BY sex",
		"SELECT sex, count(DISTINCT phone) FROM people, range(1) GROUP BY sex",
	}},
	{"two keys", 0, []string{
		"SELECT district, count(*) FROM sales GROUP BY 1",
		"SELECT district, count(*) FROM sales JOIN people ON buyer = pid GROUP BY 1",
		"SELECT district, count(*) FROM people JOIN sales ON pid = buyer GROUP BY 1",
		"SELECT district, count(*) FROM people s, sales, people b WHERE s.pid = seller AND buyer = b.pid GROUP BY 1",
	}},
}

func TestSpellings(t *testing.T) {
	w := newWorld(t)
	rules := loose
	rules.K = 5
	for _, mode := range []policy.Mode{policy.Exact} {
		for _, s := range spellings {
			var first map[string][]any
			for i, sql := range s.sql {
				t.Run(fmt.Sprintf("%s/%s/%d", mode, s.name, i), func(t *testing.T) {
					got, err := w.ask(t.Context(), "", sql, mode, rules)
					if err != nil {
						t.Fatalf("a spelling turned allow into deny: %s\n%v", sql, err)
					}
					rows := map[string][]any{}
					for _, row := range got.rows {
						rows[key(row[:1])] = row
					}
					if i == 0 {
						if first = rows; len(rows) == 0 {
							t.Fatal("nothing was released")
						}
						return
					}
					for name, want := range first {
						have := rows[name]
						for c := 1; c < len(want); c++ {
							if len(have) != len(want) || want[c] == nil || have[c] == nil {
								t.Errorf("%s\n%s: %v, want %v (%v)", sql, name, have, want, got.checks)
								break
							}
							slack := s.slack
							if mode == policy.Exact {
								slack = 1e-9
							}
							if x, y := number(t, have[c]), number(t, want[c]); math.Abs(x-y) > slack*math.Max(1, math.Abs(y)*min(s.slack, 1e-9)+1) {
								t.Errorf("%s\n%s: column %d is %v, want %v", sql, name, c, have[c], want[c])
							}
						}
					}
				})
			}
		}
	}
}

// What the engine fails on must be out of its way before it comes to a row: a failure says that there is such a row, even
// of somebody who would not be shown.
func TestAggregatesDoNotFailOnData(t *testing.T) {
	w := newWorld(t)
	one := "FROM events WHERE patient IN (SELECT pid FROM people WHERE age = 30)"
	for _, sql := range []string{
		"SELECT count(*) FROM (SELECT patient, var_pop(CASE WHEN kind = 'a' THEN 0 ELSE cost * 1e200 END) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT patient, stddev(cost * 1e250) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT patient, corr(cost * 1e200, cost * 1e200) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT patient, regr_slope(cost * 1e200, cost * 1e-200) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT patient, sum(CASE WHEN cost >= 0 THEN 170141183460469231731687303715884105727::HUGEINT END) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT patient, avg(CASE WHEN cost >= 0 THEN 170141183460469231731687303715884105727::HUGEINT END) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT patient, sum(CASE WHEN cost >= 0 THEN 99999999999999999999999999999999999999::DECIMAL(38,0) END) AS v " + one + " GROUP BY 1) WHERE v > 0",
		"SELECT count(*) FROM (SELECT sum(CASE WHEN cost >= 0 THEN 170141183460469231731687303715884105727::HUGEINT END) OVER (PARTITION BY patient) AS v " + one + ") WHERE v > 0",
		"SELECT count(*) FROM (SELECT var_pop(cost * 1e250) OVER (PARTITION BY patient) AS v " + one + ") WHERE v > 0",
		"SELECT count(*) FROM (SELECT sum(cost) OVER (PARTITION BY patient ORDER BY CASE WHEN cost > 0 THEN 2147483647 END RANGE BETWEEN CURRENT ROW AND 2147483647 FOLLOWING) AS v " + one + ") WHERE v > 0",
		"SELECT stddev(p), corr(p, p) FROM (SELECT pid, product(pay) AS p FROM people, range(45) GROUP BY pid)",
		"SELECT sum(p) FROM (SELECT pid, product(pay) AS p FROM people, range(200) GROUP BY pid)",
	} {
		for _, mode := range []policy.Mode{policy.Exact} {
			if _, err := w.ask(t.Context(), "", sql, mode, loose); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	}
}

// A product is not bounded by one of its factors, nor is a sum of rows that a join repeats bounded by the rows: both hid from E2 and E3
// that one person makes the figure.
func TestFactsThatHaveNoBound(t *testing.T) {
	w := newWorld(t)
	rules := loose
	rules.K = 5
	few := "WHERE hours = 0 OR pay > 9000000" // of whom hardly any has hours
	for _, sql := range []string{
		"SELECT count(*), sum(hours) FROM people " + few,
		"SELECT count(*), sum(f) FROM (SELECT pid, sum(hours) AS f FROM people " + few + " GROUP BY 1)",
		"SELECT count(*), sum(f) FROM (SELECT pid, sum(hours) AS f FROM people, range(1000) " + few + " GROUP BY 1)",
		"SELECT count(*), sum(f) FROM (SELECT pid, sum(age * hours) AS f FROM people " + few + " GROUP BY 1)",
		"SELECT count(*), sum(f) FROM (SELECT pid, max(age * hours) AS f FROM people " + few + " GROUP BY 1)",
		"SELECT count(*), sum(f) FROM (SELECT pid, product(hours) AS f FROM people, range(3) " + few + " GROUP BY 1)",
		"SELECT count(*), sum(f) FROM (SELECT DISTINCT pid, age * hours AS f FROM people " + few + ")",
	} {
		for _, mode := range []policy.Mode{policy.Exact} {
			got, err := w.ask(t.Context(), "", sql, mode, rules)
			if err != nil || len(got.rows) != 1 || got.rows[0][0] == nil || got.rows[0][1] != nil {
				t.Errorf("%s: %v %v", sql, got.rows, err)
			}
		}
	}
}
