package guard

import (
	"maps"
	"slices"
	"strings"
)

// A join with open or released rows can give each protected row a weight of the analyst's choosing: joined with
// range(100000) on i = 0 OR job = 'miller', every miller counts 100 000 times, and the low digits of one count say
// whether somebody else is in it. Units are counted and not rows, so nobody is shown alone; yet the figure carries a
// message. So where rows are counted or summed, such joins must multiply every protected row alike.
//
// A side is tied when its rows are looked up: an equality with a protected value, or with a value of a side that is tied
// already, finds at most one of them, or a value lies between two of its columns (intervals.go). That the values are
// unique, or the intervals apart, is proved on the side when the query runs. A side that
// is not tied has the same rows for everybody, as long as no condition speaks of it and of protected or looked-up
// values at once.

// side is a relation without protected rows that was joined to protected ones.
type side struct{ from string }

// tie is an equality of a side's value with a value that is made of other sides, or of none.
type tie struct {
	of    *side
	value string // SQL over the side alone
	by    []*side
}

// crossing is a condition that speaks of sides, and perhaps of protected values too.
type crossing struct {
	sides []*side
	own   bool // of protected values too
}

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
		other.cols[i].ofSide = other.cols[i].sql
	}
	return s
}

// joins takes over what is known of the sides that another relation was joined with.
func (r *relation) joins(other *relation) {
	r.weighted = r.weighted || other.weighted
	r.with = slices.Concat(r.with, other.with)
	r.ties = slices.Concat(r.ties, other.ties)
	r.limits = slices.Concat(r.limits, other.limits)
	r.crossings = slices.Concat(r.crossings, other.crossings)
	r.proofs = slices.Concat(r.proofs, other.proofs)
	known := maps.Clone(other.known)
	maps.Copy(orEmpty(&known), r.known)
	r.known = known
}

func orEmpty(m *map[*side]bool) map[*side]bool {
	if *m == nil {
		*m = map[*side]bool{}
	}
	return *m
}

// looksUp notes the ties of an equality of two values, for those sides of which it decides.
func (r *relation) looksUp(left, right value, decides func(*side) bool) {
	for _, pair := range [][2]value{{left, right}, {right, left}} {
		of, by := pair[0], pair[1]
		if of.ofSide != "" && len(of.sides) == 1 && decides(of.sides[0]) && by.sort != constantValue && !slices.Contains(by.sides, of.sides[0]) {
			r.ties = append(r.ties[:len(r.ties):len(r.ties)], tie{of: of.sides[0], value: of.ofSide, by: by.sides})
		}
	}
}

// crosses notes a condition that is made of the values.
func (r *relation) crosses(from ...value) {
	if c := crossingOf(from...); len(c.sides) > 0 {
		r.crossings = append(r.crossings[:len(r.crossings):len(r.crossings)], c)
	}
}

func crossingOf(from ...value) crossing {
	c := crossing{sides: sidesOf(from)}
	for _, v := range from {
		c.own = c.own || v.sort != freeValue && (v.sort != constantValue || v.public) // a constant that an outer join may lack is public
	}
	return c
}

// tied are the sides that are looked up, each after what it is looked up by, and the SQL of what that rests on.
func (r *relation) tied() (map[*side]bool, []string) {
	known, proofs := maps.Clone(r.known), slices.Clone(r.proofs)
	orEmpty(&known)
	for again := true; again; {
		again = false
		for _, of := range r.lookedUp() {
			if known[of] {
				continue
			}
			if proof, ok := r.oneOf(of, known); ok {
				known[of], again = true, true
				proofs = append(proofs, proof)
			}
		}
	}
	return known, proofs
}

// lookedUp are the sides of which a tie or a bound speaks.
func (r *relation) lookedUp() []*side {
	var all []*side
	for _, t := range r.ties {
		all = append(all, t.of)
	}
	for _, b := range r.limits {
		all = append(all, b.of)
	}
	return all
}

// oneOf gives SQL that proves of a side that what is known already looks up one of its rows at most.
func (r *relation) oneOf(of *side, known map[*side]bool) (proof string, ok bool) {
	var values []string
	for _, t := range r.ties {
		if t.of == of && !slices.ContainsFunc(t.by, func(s *side) bool { return !known[s] }) {
			values = append(values, t.value)
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if low, high, ok := r.interval(of, known); ok {
		return apart(low, high, values), true
	}
	if len(values) == 0 {
		return "", false
	}
	return "(SELECT COALESCE(max(n), 0) <= 1 FROM (SELECT count(*) AS n FROM " + of.from + " GROUP BY " + strings.Join(values, ", ") + "))", true
}

// settle ends the joining of sides to a relation whose rows are about to be counted: what was tied is proved from here
// on, and what then multiplies rows unevenly stays so.
func (r *relation) settle() {
	r.known, r.proofs = r.tied()
	for _, c := range r.crossings {
		r.weighted = r.weighted || r.uneven(c)
	}
	r.ties, r.limits, r.crossings = nil, nil, nil
}

// weighs reports whether a value would choose among protected rows together with a side that multiplies them.
func (r *relation) weighs(v value) bool { return r.kind == protected && r.uneven(crossingOf(v)) }

// uneven reports whether a condition speaks of a side that is not tied, and of what differs from one protected row to
// another: of their own values, or of a side that is looked up by them.
func (r *relation) uneven(c crossing) bool {
	known, _ := r.tied()
	tied := 0
	for _, s := range c.sides {
		if known[s] {
			tied++
		}
	}
	return tied < len(c.sides) && (c.own || tied > 0)
}

// lookUp recognises equalities: how a comma join says what a join says. Of an OR those count that each of its parts
// says.
func (c *checker) lookUp(r *relation, e *expr) {
	if r.kind != protected {
		return
	}
	for _, pair := range c.equalities(r, e) {
		if told := pair[0].secret || pair[0].semi || pair[1].secret || pair[1].semi; e.Type == "CONJUNCTION_OR" && !told {
			r.where = append(r.where, "("+pair[0].sql+" = "+pair[1].sql+")") // said aloud, so that the engine joins by it
		}
		r.looksUp(pair[0], pair[1], func(*side) bool { return true })
	}
	c.betweens(r, r, e, func(*side) bool { return true })
}

func (c *checker) equalities(r *relation, e *expr) [][2]value {
	switch {
	case e.Class == "BOUND_COMPARISON" && e.Type == "COMPARE_EQUAL":
		left, errL := c.expr(e.Left, r)
		right, errR := c.expr(e.Right, r)
		if errL == nil && errR == nil {
			return [][2]value{{left, right}}
		}
	case e.Type == "CONJUNCTION_AND":
		var all [][2]value
		for _, part := range e.Children {
			all = append(all, c.equalities(r, part)...)
		}
		return all
	case e.Type == "CONJUNCTION_OR" && len(e.Children) > 0:
		common := c.equalities(r, e.Children[0])
		for _, part := range e.Children[1:] {
			here := c.equalities(r, part)
			common = slices.DeleteFunc(common, func(p [2]value) bool {
				return !slices.ContainsFunc(here, func(q [2]value) bool { return p[0].sql == q[0].sql && p[1].sql == q[1].sql })
			})
		}
		return common
	}
	return nil
}

// sidesOf joins the sides that values were made of.
func sidesOf(from []value) []*side {
	var all []*side
	for _, f := range from {
		for _, s := range f.sides {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}
