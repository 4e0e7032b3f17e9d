package guard

import "strings"

// function types a call of an allowed function.
func (c *checker) function(e *expr, in *relation) (value, error) {
	verdict := functionVerdict(e.Name)
	if verdict == denied || in.kind == protected && verdict == afterwards {
		return value{}, c.denyFunction(e, in)
	}
	args, err := c.values(e, e.Children, in)
	if err != nil {
		return value{}, err
	}
	if _, err := e.Return.sql(); err != nil {
		return value{}, c.denyBecause(e, err, "guard.unknown-type", "type", e.Return.ID)
	}
	if err := c.checkArguments(e, args); err != nil {
		return value{}, err
	}
	sql := quoteName(e.Name) + "(" + strings.Join(sqlOf(args), ", ") + ")"
	if nullary[e.Name] {
		sql = e.Name
	}
	if e.Name == "error" { // the engine's own, for a subquery of several rows: failing would be an answer
		sql = "NULL"
	} else if !total[e.Name] {
		sql = "TRY(" + sql + ")"
	}
	v := derived(sql, e.Return, e.Name, args...)
	if in.kind == protected {
		c.arithmetic(e, args, &v)
	}
	return v, nil
}

// checkArguments denies patterns that come from data: they decide how much work a row costs.
func (c *checker) checkArguments(e *expr, args []value) error {
	if constantPattern[e.Name] && len(args) > 1 {
		for _, a := range args[1:] {
			if a.sort != constantValue {
				return c.deny(e, "guard.pattern-from-data", "function", e.Name)
			}
		}
	}
	return nil
}

// arithmetic keeps a measure a measure through + - * /, and nothing else.
func (c *checker) arithmetic(e *expr, args []value, v *value) {
	measures := 0
	for _, a := range args {
		if a.sort != measureValue && (a.sort != constantValue || a.poly.isZero()) {
			return
		}
		if a.sort == measureValue {
			measures++
		}
	}
	var p polynomial
	ok := true
	switch {
	case e.Name == "-" && len(args) == 1:
		p = constantPolynomial(0).plus(args[0].poly, -1)
	case len(args) != 2:
		return
	case e.Name == "+":
		p = args[0].poly.plus(args[1].poly, 1)
	case e.Name == "-":
		p = args[0].poly.plus(args[1].poly, -1)
	case e.Name == "*":
		p, ok = args[0].poly.times(args[1].poly)
	case e.Name == "/":
		p, ok = args[0].poly.over(args[1].poly)
	default:
		return
	}
	if ok && p.bounded() {
		v.poly = p
		if measures > 0 {
			v.sort = measureValue
		}
	}
}

func (c *checker) denyFunction(e *expr, in *relation) error {
	if in.kind == protected && functionVerdict(e.Name) == afterwards {
		return c.deny(e, "guard.function-after", "function", e.Name)
	}
	return c.deny(e, "guard.function", "function", e.Name)
}
