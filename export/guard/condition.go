package guard

import (
	"regexp"
	"slices"
)

// A condition inside an aggregate can be written in several ways, and is one thing: a filter.

// filtered gives an aggregate whose condition stands in its argument the form in which it has a FILTER: count_if(c) is
// count(*) FILTER (WHERE c), and count([DISTINCT] CASE WHEN c THEN key END) is count([DISTINCT] key) FILTER (WHERE c).
func filtered(e *expr) *expr {
	if e.Class != "BOUND_AGGREGATE" || len(e.Children) != 1 || e.OrderBys != nil {
		return e
	}
	as, arg := *e, e.Children[0]
	switch {
	case e.AggregateType == "DISTINCT" && e.Name != "count":
		return e
	case e.Name == "count_if" || e.Name == "countif":
		as.Name, as.Children = "count_star", nil
		as.Filter = bothHold(e.Filter, arg)
	case e.Name == "count" && arg.Class == "BOUND_CASE" && len(arg.Checks) == 1 && isColumn(arg.Checks[0].Then) && isNull(arg.Else):
		as.Children = []*expr{arg.Checks[0].Then}
		as.Filter = bothHold(e.Filter, arg.Checks[0].When)
	default:
		return e
	}
	return &as
}

func isNull(e *expr) bool {
	for e != nil && e.Class == "BOUND_CAST" {
		e = e.Child
	}
	return e != nil && e.Class == "BOUND_CONSTANT" && e.Value.Null
}

// bothHold joins two conditions, of which the first may be missing.
func bothHold(a, b *expr) *expr {
	if a == nil {
		return b
	}
	return &expr{Class: "BOUND_CONJUNCTION", Type: "CONJUNCTION_AND", Location: b.Location, Return: typ{ID: "BOOLEAN"}, Children: []*expr{a, b}}
}

// conditionOf recognises a CASE that is one condition around one value: CASE WHEN c THEN x ELSE 0|NULL END, its mirror
// image, and CASEs of several branches of which each gives x, or 0, or NULL.
func conditionOf(when, then []value, other value) *condition {
	if len(when) > maxSecretAtoms {
		return nil
	}
	branches := append(then[:len(then):len(then)], other)
	c := condition{}
	taken := make([]bool, len(branches))
	for i, v := range branches {
		switch {
		case v.sort == constantValue && v.poly.isZero():
			if !nullConstant.MatchString(v.sql) {
				return nil
			}
			c.elseNull = true
		case isZero(v):
			c.elseZero = true
		case v.sort != measureValue && v.sort != constantValue, c.then.sql != "" && c.then.sql != v.sql:
			return nil
		default:
			c.then, taken[i] = v, true
		}
	}
	if c.then.sql == "" || !c.elseZero && !c.elseNull {
		return nil
	}
	for _, v := range when {
		c.secret = c.secret || v.secret
	}
	c.elseNull = c.elseNull && c.elseZero
	switch {
	case len(when) == 1 && taken[0]:
		c.when = "(" + when[0].sql + ")"
	case len(when) == 1:
		c.when = "((" + when[0].sql + ") IS NOT TRUE)"
	default:
		c.when = "(CASE"
		for i, w := range when {
			c.when += " WHEN " + w.sql + " THEN " + truth(taken[i])
		}
		c.when += " ELSE " + truth(taken[len(when)]) + " END)"
	}
	return &c
}

// nullConstant is the SQL of NULL, of whatever type. Constants that are computed of it, as COALESCE(NULL, 5), may be something.
var nullConstant = regexp.MustCompile(`^(TRY_CAST\(|TRY\()*CAST\(NULL AS [A-Z0-9_(), ]+$`)

func truth(b bool) string {
	if b {
		return "TRUE"
	}
	return "FALSE"
}

// orZero types COALESCE(x, 0). It is x where x is there, and adds nothing where it is not, so a sum of it is the sum of
// x, taken of the rows that have it: else rows that give nothing could be chosen, and each choice would draw the noise
// anew. Of arithmetic over measures it is a condition, CASE WHEN x IS NOT NULL THEN x ELSE 0 END.
func (v *value) orZero(args []value) {
	if len(args) != 2 || args[0].sort != measureValue || !isZero(args[1]) {
		return
	}
	x := args[0]
	if !x.poly.isAtom() {
		v.cond = &condition{when: "(" + x.sql + " IS NOT NULL)", secret: x.secret, then: x, elseZero: true}
		return
	}
	for _, a := range x.poly.atoms() {
		if a.within != nil {
			a.within = hull(a.within, &Range{})
		}
		a.orZero = true
		v.poly = polynomialOf(a)
	}
	v.sort, v.present = measureValue, true
}

// orZero reports whether a measure is zero where it was missing.
func (p polynomial) orZero() bool {
	return slices.ContainsFunc(p.atoms(), func(a atom) bool { return a.orZero })
}

// takesPart is SQL for the rows that have something to add to an aggregate of a measure.
func takesPart(v value, kind CellKind) string {
	if kind == Sum && v.poly.orZero() {
		return "(" + v.poly.atoms()[0].sql + " IS NOT NULL AND " + v.sql + " IS NOT NULL)"
	}
	return "(" + v.sql + " IS NOT NULL)"
}
