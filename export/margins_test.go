package export

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// Through the engine: what a worker brings of groups that are nearly large enough, and what becomes of their totals.
func TestMarginsOverTheEngine(t *testing.T) {
	w := newWorld(t)
	byAge := map[float64]int{}
	for _, p := range w.rows["people"] {
		byAge[p["age"].(float64)]++
	}
	pair := func(of func(a, b int) bool) string {
		for age := 18.0; age < 78; age++ { // in order, so that the same world gives the same pair
			for other := age + 1; other < 78; other++ {
				if n, m := byAge[age], byAge[other]; n > 0 && m > 0 && of(n, m) {
					return fmt.Sprintf("age IN (%v, %v)", age, other)
				}
			}
		}
		t.Fatal("the world has no such ages")
		return ""
	}
	// Two units fall into one part of a fingerprint now and then, so neither is at the edge.
	narrow := pair(func(a, b int) bool { return a < 10 && b < 10 && a+b >= 17 })
	wide := pair(func(a, b int) bool { return a < 10 && b < 10 && a+b >= 12 && a+b < 16 })
	every := "SELECT age, count(*) FROM people GROUP BY age"
	for i, c := range []struct {
		before, then string // before: one after the other
		e7           bool
	}{
		{every, "SELECT count(*) FROM people WHERE " + narrow, true},
		{every, "SELECT count(*) FROM people WHERE " + wide, false},
		{"", "SELECT count(*) FROM people WHERE " + narrow, false}, // nothing was withheld before
		{"", "SELECT age, count(*) FROM people WHERE " + narrow + " GROUP BY ROLLUP (age)", true},
		{"", "SELECT age, count(*) FROM people WHERE " + wide + " GROUP BY ROLLUP (age)", false},
		{"", "SELECT age, count(DISTINCT patient) FROM people JOIN events ON pid = patient WHERE " + narrow + " GROUP BY ROLLUP (age)", false}, // fewer have events
		{every, "SELECT avg(hours) FROM people WHERE " + narrow, true},                                                                         // it is of the same rows
		{"SELECT count(*) FROM people WHERE " + narrow + "; " + every, "SELECT count(*) FROM people WHERE " + narrow, false},                   // it was known before
		{"SELECT age, count(*) FILTER (WHERE hours >= 0) FROM people GROUP BY age", "SELECT count(*) FROM people WHERE " + narrow, true},
	} {
		operator := fmt.Sprint("margins", i)
		for before := range strings.SplitSeq(c.before, "; ") {
			if before == "" {
				continue
			}
			if _, err := w.ask(t.Context(), operator, before, policy.Exact, loose); err != nil {
				t.Fatal(err)
			}
		}
		got, err := w.ask(t.Context(), operator, c.then, policy.Exact, loose)
		if err != nil {
			t.Fatal(err)
		}
		if c.e7 != (got.failed("E7") == 1) {
			t.Errorf("%s\nafter %q: %v %+v", c.then, c.before, got.rows, got.checks)
		}
	}
}

// What is left of a group beside a count can be as small.
func TestMarginsOfComplements(t *testing.T) {
	w := newWorld(t)
	// Of two towns all but nine have the condition; that nine people have not, is withheld with the count of the others.
	ages := map[string][]float64{}
	for _, p := range w.rows["people"] {
		ages[p["city"].(string)] = append(ages[p["city"].(string)], p["age"].(float64))
	}
	limit := map[string]float64{} // so many years that nine or eight are older
	for city, list := range ages {
		for years := 18.0; years < 78; years++ {
			older := 0
			for _, a := range list {
				older += bit(a > years)
			}
			if older == 9 && len(list) > 30 {
				limit[city] = years
			}
		}
	}
	var conditions, towns []string
	for _, city := range slices.Sorted(maps.Keys(limit)) {
		if years := limit[city]; len(towns) < 2 {
			towns = append(towns, "'"+city+"'")
			conditions = append(conditions, fmt.Sprintf("city = '%s' AND age <= %v", city, years))
		}
	}
	if len(towns) < 2 {
		t.Fatal("the world has no such towns")
	}
	where, of := " WHERE city IN ("+strings.Join(towns, ", ")+")", "("+strings.Join(conditions, ") OR (")+")"
	groups := "SELECT city, count(*), count(*) FILTER (WHERE " + of + ") FROM people" + where + " GROUP BY city"
	total := "SELECT count(*) FILTER (WHERE " + of + ") FROM people" + where
	for _, before := range []bool{false, true} {
		operator := fmt.Sprint("complements", before)
		if before {
			if got, err := w.ask(t.Context(), operator, groups, policy.Exact, loose); err != nil || got.failed("E5") != 2 {
				t.Fatal(got.checks, err)
			}
		}
		got, err := w.ask(t.Context(), operator, total, policy.Exact, loose)
		if err != nil || before != (got.failed("E7") == 1) {
			t.Errorf("asked for towns before: %v: %v %+v %v", before, got.rows, got.checks, err)
		}
	}
}

// Of a group that is nearly large enough, a worker brings how many units it has and their fingerprints, and nothing else.
func TestNearGroupsAreNameless(t *testing.T) {
	w := newWorld(t)
	for _, sql := range []string{
		"SELECT age, count(*), avg(hours), median(hours), count(*) FILTER (WHERE sex = 'F') FROM people GROUP BY age",
		"SELECT district, seller, count(DISTINCT buyer), sum(price) FROM (SELECT buyer, seller AS s, district, price // 100000 AS seller, price FROM sales) GROUP BY ALL",
	} {
		bound, err := w.planning.Bind(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		program, err := guard.Check(sql, bound, w.schema, loose, policy.Exact)
		if err != nil {
			t.Fatal(err)
		}
		r := program.Releases[0]
		near := 0
		for _, text := range []string{r.SQL, r.Quick} {
			if text == "" {
				continue
			}
			cells, err := w.session.Query(t.Context(), sandbox.Query{SQL: text})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range cells.Rows {
				if row[place(cells, guard.Near)] != true {
					continue
				}
				near++
				for i, c := range cells.Columns {
					switch name := c.Name; {
					case name == "w" || name == guard.Near || name == guard.Fits || name[0] == 'F' || name[0] == 'p':
					case name == "n0" || name == "n1":
						if n, err := row[i].(json.Number).Int64(); err != nil || n < 7 {
							t.Errorf("%s: %v units", sql, row[i])
						}
					case row[i] != nil:
						t.Errorf("%s: a small group comes with %s %v", sql, name, row[i])
					}
				}
			}
		}
		if near == 0 {
			t.Errorf("%s: no group is nearly large enough", sql)
		}
	}
}
