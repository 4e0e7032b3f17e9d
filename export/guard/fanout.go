package guard

import "strings"

// A join with open or released rows can give each protected row a weight of the analyst's choosing: joined with
// range(100000) on i = 0 OR job = 'miller', every miller counts 100 000 times, and the low digits of one count say
// whether somebody else is in it. Units are counted and not rows, so nobody is shown alone; yet the figure carries a
// message. So where rows are counted or summed, such a join must multiply every protected row alike: it finds at
// most one partner, which is proved on the other side when the query runs, or it has no condition at all and none
// that is made of both sides follows.

// side is a relation without protected rows that was joined to protected ones.
type side struct{ from string }

// joinSide marks the columns of the side that is joined to a protected one.
func joinSide(other *relation) *side {
	if other.single {
		for i := range other.cols {
			other.cols[i].fixed = true
		}
		return nil // one row multiplies nothing
	}
	s := &side{from: other.from}
	for i := range other.cols {
		other.cols[i].sides = []*side{s}
	}
	return s
}

// prove notes that a side gives each protected row one partner at most if its values are unique, and how to see so.
func (r *relation) prove(s *side, values []string) {
	if r.proven[s] {
		return
	}
	proven := map[*side]bool{s: true}
	for known := range r.proven {
		proven[known] = true
	}
	r.proven = proven
	r.proofs = append(r.proofs[:len(r.proofs):len(r.proofs)],
		"(SELECT COALESCE(max(n), 0) <= 1 FROM (SELECT count(*) AS n FROM "+s.from+" GROUP BY "+strings.Join(values, ", ")+"))")
}

// weighs reports whether a value over a relation is made of protected rows and of a side that may multiply them.
func (r *relation) weighs(v value) bool {
	if r.kind != protected || v.sort != plainValue {
		return false
	}
	for _, s := range v.sides {
		if !r.proven[s] {
			return true
		}
	}
	return false
}

// lookUp recognises an equality of a protected value with one of a side's: how a comma join says what a join says.
func (c *checker) lookUp(r *relation, e *expr) {
	if r.kind != protected || e.Class != "BOUND_COMPARISON" || e.Type != "COMPARE_EQUAL" {
		return
	}
	left, errL := c.expr(e.Left, r)
	right, errR := c.expr(e.Right, r)
	if errL != nil || errR != nil {
		return
	}
	for _, pair := range [][2]value{{left, right}, {right, left}} {
		if of, by := pair[0], pair[1]; of.sort == freeValue && len(of.sides) == 1 && len(by.sides) == 0 && by.sort != constantValue {
			r.prove(of.sides[0], []string{of.sql})
		}
	}
}

// sidesOf joins the sides that values were made of.
func sidesOf(from []value) []*side {
	var all []*side
	for _, f := range from {
		for _, s := range f.sides {
			known := false
			for _, have := range all {
				known = known || have == s
			}
			if !known {
				all = append(all, s)
			}
		}
	}
	return all
}
