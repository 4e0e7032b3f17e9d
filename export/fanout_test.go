package export

import (
	"testing"

	"weir/internal/problem"
	"weir/policy"
)

// TestRowsOfAUnitAreNotToldApart: a table that looks up several rows of it for some people gives them weight once rows are
// counted by unit and by what tells its rows apart, so it must find one row of each.
func TestRowsOfAUnitAreNotToldApart(t *testing.T) {
	w := newWorld(t)
	rules := loose
	rules.K = 5
	const overlapping = "(VALUES (0, 200, 'all'), (40, 40, 'b'), (40, 40, 'c')) b(low, high, band) ON age BETWEEN low AND high"
	const apart = "(VALUES (0, 39, 'young'), (40, 200, 'old')) b(low, high, band) ON age BETWEEN low AND high"
	const twice = "(VALUES ('c0', 1), ('c0', 2), ('c1', 3)) b(place, band) ON city = place"
	const once = "(VALUES ('c0', 1), ('c1', 3)) b(place, band) ON city = place"
	for _, c := range []struct{ sql, plain string }{
		{"SELECT count(*) FROM (SELECT pid, band FROM people JOIN " + overlapping + " GROUP BY ALL)", ""},
		{"SELECT sum(pay) FROM (SELECT pid, band, sum(pay) AS pay FROM people JOIN " + overlapping + " GROUP BY ALL)", ""},
		{"SELECT count(*) FROM (SELECT pid, band FROM people JOIN " + twice + " GROUP BY ALL)", ""},
		{"SELECT band, count(*) FROM (SELECT pid, band FROM people JOIN " + twice + " GROUP BY ALL) GROUP BY ALL", ""},
		{"SELECT count(*) FROM people JOIN " + twice, ""},
		{"SELECT count(*) FROM (SELECT pid, band FROM people JOIN " + apart + " GROUP BY ALL)", "SELECT count(*) FROM people"},
		{"SELECT count(*) FROM (SELECT pid, band FROM people JOIN " + once + " GROUP BY ALL)", "SELECT count(*) FROM people WHERE city IN ('c0', 'c1')"},
		{"SELECT band, count(*) AS n FROM people JOIN " + twice + " GROUP BY ALL HAVING band = 1", "SELECT 1, count(*) FROM people WHERE city = 'c0'"},
		{"SELECT band, count(*) AS n FROM people JOIN " + overlapping + " GROUP BY ALL HAVING band = 'all'", "SELECT 'all', count(*) FROM people"},
	} {
		got, err := w.ask(t.Context(), "", c.sql, policy.Exact, rules)
		if c.plain == "" {
			if problem.Of(err).Code != "export.fan-out" {
				t.Errorf("%s: %v, %v", c.sql, got.rows, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		want, err := w.plain(t.Context(), c.plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.rows) != 1 || key(got.rows[0]) != key(want.Rows[0]) {
			t.Errorf("%s: %v, want %v", c.sql, got.rows, want.Rows)
		}
	}
}
