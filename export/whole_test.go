package export

import (
	"fmt"
	"slices"
	"testing"

	"weir/policy"
)

// In city c3 everybody has illness i0. That must not follow from others either, whatever is asked for and in whichever order, and
// also if the platform was started anew in between. Of c0 and c1 something follows, but not of each person there.
func TestEverybodyAndNobodyOfDifferences(t *testing.T) {
	w := newWorld(t)
	of := "SELECT count(*) FROM people WHERE illness %s AND city IN %s"
	for i, c := range []struct {
		sql  []string
		e4   []int // by question
		both bool  // in perturbed mode as well
	}{
		{[]string{fmt.Sprintf(of, "= 'i0'", "('c3')")}, []int{1}, true},
		{[]string{fmt.Sprintf(of, "= 'i0'", "('c0')")}, []int{0}, true},
		{[]string{"SELECT city, avg(hours) FROM people WHERE illness = 'i0' AND city IN ('c0', 'c3') GROUP BY 1"}, []int{1}, true},
		{[]string{fmt.Sprintf(of, "= 'i0'", "('c0', 'c3')"), fmt.Sprintf(of, "= 'i0'", "('c0')")}, []int{0, 1}, false},
		{[]string{fmt.Sprintf(of, "= 'i0'", "('c0')"), fmt.Sprintf(of, "= 'i0'", "('c0', 'c3')")}, []int{0, 1}, false},
		{[]string{fmt.Sprintf(of, "<> 'i0'", "('c0')"), fmt.Sprintf(of, "<> 'i0'", "('c0', 'c3')")}, []int{0, 1}, false},
		{[]string{fmt.Sprintf(of, "= 'i0'", "('c0')"), fmt.Sprintf(of, "= 'i0'", "('c0', 'c1')")}, []int{0, 0}, false},
		{[]string{"SELECT count(*) FILTER (WHERE illness = 'i0') FROM people WHERE city <> 'c3'", "SELECT count(*) FILTER (WHERE illness = 'i0') FROM people"}, []int{0, 1}, false},
		{[]string{"SELECT count(*) FILTER (WHERE illness = 'i0') FROM people WHERE city <> 'c0'", "SELECT count(*) FILTER (WHERE illness = 'i0') FROM people"}, []int{0, 0}, false},
		{[]string{"SELECT avg(hours) FROM people WHERE illness <> 'i0' AND city <> 'c3'", "SELECT sum(age) FROM people WHERE illness <> 'i0'"}, []int{0, 1}, false},
		{[]string{"SELECT city, illness = 'i0' AS i, count(*) FROM people WHERE city IN ('c0', 'c1', 'c3') GROUP BY CUBE (1, 2)"}, []int{3}, false},
		{[]string{"SELECT city, illness = 'i0' AS i, count(*) FROM people WHERE city IN ('c0', 'c1') GROUP BY CUBE (1, 2)"}, []int{0}, false},
	} {
		for _, mode := range []policy.Mode{policy.Exact} {
			var e4 []int
			for _, sql := range c.sql {
				var err error
				if w.filter, err = New(slices.Repeat([]byte("k"), 32), w.queue); err != nil {
					t.Fatal(err)
				}
				got, err := w.ask(t.Context(), fmt.Sprint("whole", i), sql, mode, policy.DefaultRules)
				if err != nil {
					t.Fatal(sql, err)
				}
				e4 = append(e4, got.failed("E4"))
			}
			if !slices.Equal(e4, c.e4) {
				t.Errorf("%s %q: E4 withheld %v and not %v", mode, c.sql, e4, c.e4)
			}
		}
	}
}
