package guard

import (
	"slices"
	"strings"
)

// A side is looked up, too, where a value lies between two of its columns, as an age between those of a band, if no two
// of its rows overlap. That is proved on the side when the query runs, like the uniqueness of values.

// sideBound is a comparison of a side's value with one that is made of other sides, or of none.
type sideBound struct {
	of     *side
	value  string // SQL over the side alone
	typ    string
	what   string // SQL of what it bounds
	by     []*side
	upper  bool
	closed bool // what it bounds may be equal to it
}

// reversed are the comparisons with their sides exchanged.
var reversed = map[string]string{
	"COMPARE_LESSTHAN": "COMPARE_GREATERTHAN", "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
	"COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}

// bounds notes what a comparison of two values says of sides, for those of which it decides.
func (r *relation) bounds(comparison string, left, right value, decides func(*side) bool) {
	if reversed[comparison] == "" {
		return
	}
	r.bound(comparison, left, right, decides)
	r.bound(reversed[comparison], right, left, decides)
}

// bound notes that what compares with a side's value as is said.
func (r *relation) bound(comparison string, what, of value, decides func(*side) bool) {
	t, err := of.typ.sql()
	if err != nil || of.ofSide == "" || len(of.sides) != 1 || !decides(of.sides[0]) || what.sort == constantValue || slices.Contains(what.sides, of.sides[0]) {
		return
	}
	b := sideBound{of: of.sides[0], value: of.ofSide, typ: t, what: what.sql, by: what.sides}
	b.upper = strings.HasPrefix(comparison, "COMPARE_LESSTHAN")
	b.closed = strings.HasSuffix(comparison, "OREQUALTO")
	r.limits = append(r.limits[:len(r.limits):len(r.limits)], b)
}

// interval finds two bounds of a side between which one value lies, if all that it is made of is looked up already.
func (r *relation) interval(of *side, known map[*side]bool) (low, high sideBound, ok bool) {
	for _, low := range r.limits {
		for _, high := range r.limits {
			if low.of == of && high.of == of && !low.upper && high.upper && low.what == high.what && low.typ == high.typ &&
				!slices.ContainsFunc(low.by, func(s *side) bool { return !known[s] }) {
				return low, high, true
			}
		}
	}
	return low, high, false
}

// apart is SQL that is true when no two rows of a side that have the same values overlap: each ends before the next begins.
func apart(low, high sideBound, values []string) string {
	empty, before := "<", "<="
	if low.closed && high.closed {
		empty, before = "<=", "<"
	}
	of, by := "", "PARTITION BY TRUE"
	for i, v := range values {
		of += ", " + v + " AS v" + itoa(i)
		by += ", v" + itoa(i)
	}
	return "(SELECT COALESCE(bool_and(high " + before + " next), TRUE) FROM (SELECT high, lead(low) OVER (" + by + " ORDER BY low) AS next FROM (SELECT " +
		low.value + " AS low, " + high.value + " AS high" + of + " FROM " + low.of.from + ") WHERE low " + empty + " high))"
}

// betweens notes the bounds that a condition says, of which all parts must hold.
func (c *checker) betweens(r, in *relation, e *expr, decides func(*side) bool) {
	note := func(comparison string, left, right *expr) {
		l, errL := c.expr(left, in)
		q, errR := c.expr(right, in)
		if errL == nil && errR == nil {
			r.bounds(comparison, l, q, decides)
		}
	}
	switch {
	case e.Class == "BOUND_COMPARISON":
		note(e.Type, e.Left, e.Right)
	case e.Type == "CONJUNCTION_AND":
		for _, part := range e.Children {
			c.betweens(r, in, part, decides)
		}
	case e.Class == "BOUND_BETWEEN":
		orEqual := map[bool]string{true: "OREQUALTO"}
		note("COMPARE_GREATERTHAN"+orEqual[e.LowerInc], e.Input, e.Lower)
		note("COMPARE_LESSTHAN"+orEqual[e.UpperInc], e.Input, e.Upper)
	}
}

// toldApart gives a relation in which some sides are looked up by values that the groups have: whatever chooses among
// their rows, each group has one of them, and so each protected row once at most. A group that is secret is none, since
// public parts leave it out.
func (r *relation) toldApart(groups []value, which func(*side) bool) *relation {
	n := r.copyOf()
	n.ties = slices.Clone(r.ties)
	for _, g := range groups {
		if g.ofSide != "" && len(g.sides) == 1 && which(g.sides[0]) && !g.secret && !g.semi && !g.raw && !g.sensitive {
			n.ties = append(n.ties, tie{of: g.sides[0], value: g.ofSide})
		}
	}
	if len(n.ties) == len(r.ties) {
		return r
	}
	n.overlap = true
	return n
}
