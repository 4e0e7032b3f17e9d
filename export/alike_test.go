package export

import (
	"fmt"
	"testing"

	"weir/policy"
)

// A mean of something sensitive says of everybody in a group what it is, where it is one value for all, or one of two for all
// but few (E4).
func TestAlike(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		sql string
		e4  int
	}{
		{"SELECT avg(flag) FROM people WHERE city = 'c1'", 1},
		{"SELECT sum(flag) FROM people WHERE city = 'c1'", 1},
		{"SELECT median(flag), quantile_disc(flag, 0.4) FROM people WHERE city = 'c1'", 2},
		{"SELECT regr_avgx(age, flag), regr_avgy(flag, age) FROM people WHERE city = 'c1'", 2},
		{"SELECT avg(flag) FILTER (WHERE city = 'c1') FROM people", 1},
		{"SELECT sum(CASE WHEN city = 'c1' THEN flag ELSE 0 END) FROM people", 1},
		{"SELECT avg(f) FROM (SELECT pid, max(flag) AS f FROM people WHERE city = 'c1' GROUP BY pid)", 1},
		{"SELECT avg(flag) FROM people WHERE city = 'c2'", 1},
		{"SELECT avg(flag) FROM people WHERE city IN ('c1', 'c0')", 0},
		{"SELECT avg(flag), median(flag) FROM people", 0},
		{"SELECT sex, sum(flag), count(*) FROM people GROUP BY 1", 0},
		{"SELECT avg(hours) FROM people WHERE hours = 7 OR age < 25 AND hours = 7", 0}, // not sensitive
	} {
		for _, mode := range []policy.Mode{policy.Exact} {
			got, err := w.ask(t.Context(), fmt.Sprint("alike", i), c.sql, mode, policy.DefaultRules)
			if err != nil {
				t.Fatal(c.sql, err)
			}
			if got.failed("E4") != c.e4 {
				t.Errorf("%s %s: %v %+v", mode, c.sql, got.rows, got.checks)
			}
		}
	}
}

// Whoever has zero adds nothing to what a variance is made of: few who have more are neither hidden among them in one figure (E2)
// nor in the difference of two (E6).
func TestMomentsOfZeros(t *testing.T) {
	w := newWorld(t)
	few := "age >= 30"
	for older := 33; ; older++ {
		people, gain := 0, 0
		for _, p := range w.rows["people"] {
			age := p["age"].(float64)
			people += bit(age >= 30 && age < float64(older))
			gain += bit(age >= 30 && age < float64(older) && p["gain"] != 0.0)
		}
		if gain > 0 {
			if few = fmt.Sprintf("age >= %d", older); people < 10 || gain > 9 {
				t.Fatalf("the world has %d people of such ages, of whom %d gained", people, gain)
			}
			break
		}
	}
	for i, c := range []struct {
		before, sql string
		check       string
		cells       int
	}{
		{"", "SELECT var_pop(gain), stddev(gain), corr(gain, age), regr_sxy(age, gain) FROM people WHERE city = 'c0'", "E2", 4},
		{"", "SELECT var_pop(gain), stddev(gain), corr(gain, age), regr_sxy(age, gain) FROM people", "E2", 0},
		{"var_pop(gain)", "SELECT var_pop(gain) FROM people WHERE " + few, "E6", 1},
		{"sum(gain)", "SELECT var_pop(gain) FROM people WHERE " + few, "E6", 1},
		{"sum(gain * gain)", "SELECT stddev(gain) FROM people WHERE " + few, "E6", 1},
		{"sum(gain * age)", "SELECT covar_pop(age, gain) FROM people WHERE " + few, "E6", 1},
		{"sum(gain)", "SELECT var_pop(age) FROM people WHERE " + few, "E6", 0},
		{"var_pop(age)", "SELECT var_pop(age) FROM people WHERE " + few, "E6", 0},
	} {
		operator := fmt.Sprint("zeros", i)
		if c.before != "" {
			if _, err := w.ask(t.Context(), operator, "SELECT "+c.before+" FROM people WHERE age >= 30", policy.Exact, policy.DefaultRules); err != nil {
				t.Fatal(err)
			}
		}
		got, err := w.ask(t.Context(), operator, c.sql, policy.Exact, policy.DefaultRules)
		if err != nil {
			t.Fatal(c.sql, err)
		}
		if got.failed(c.check, "E7") != c.cells { // one of few gives most of a difference too
			t.Errorf("%s\nafter %s: %v %+v", c.sql, c.before, got.rows, got.checks)
		}
	}
}
