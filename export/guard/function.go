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
	if e.Return.use() == typeDenied {
		return value{}, c.deny(e, "guard.unknown-type", "type", e.Return.ID)
	}
	if err := c.checkArguments(e, args); err != nil {
		return value{}, err
	}
	sql, to, wide := arithmeticSQL(e.Name, args, e.Return, in.kind)
	if !wide {
		args = narrowed(e, args)
		if to = e.Return; ofAny[e.Name] {
			to = to.common(args...)
		}
		if sql, err = c.call(e, args, in); err != nil {
			return value{}, err
		}
	}
	c.makesLong(sql, e, args)
	if !wide && e.Name != "error" && !total[e.Name] {
		sql = "TRY(" + sql + ")"
	}
	v := derived(sql, to, e.Name, args...)
	v.margin, v.within = marginOfCall(e.Name, args, to), rangeOfCall(e, args)
	if in.kind == protected {
		c.arithmetic(e, args, &v)
		v.partial = v.sort == measureValue && mayLose(v, args, wide)
	}
	return v, nil
}

// call renders the call itself.
func (c *checker) call(e *expr, args []value, in *relation) (string, error) {
	list := sqlOf(args)
	switch {
	case e.Name == "error": // the engine's own, for a subquery of several rows: failing would be an answer
		return "NULL", nil
	case nullary[e.Name]:
		return e.Name, nil
	case lambdas[e.Name]:
		return c.lambdaCall(e, args, in)
	case len(e.OriginalArgs) > len(e.Children):
		return "", c.deny(e, "guard.function", "function", e.Name) // the engine keeps an argument where no rule finds it
	case e.Name == "array_slice" || e.Name == "list_slice":
		return slice(e, list), nil
	case listAggregates[e.Name]:
		constant, err := c.listAggregate(e, args)
		list = append(list, constant...)
		if err != nil {
			return "", err
		}
	case named[e.Name]:
		for i := range list {
			if name := e.Children[i].Alias; i > 0 || e.Name == "struct_pack" || e.Name == "union_value" {
				list[i] = quoteName(name) + " := " + list[i]
			}
		}
	case !unbound(e.Function) && !keepsData[e.Name]:
		return "", c.deny(e, "guard.function", "function", e.Name)
	}
	return quoteName(e.Name) + "(" + strings.Join(list, ", ") + ")", nil
}

// unbound reports whether the engine kept nothing about a call besides its arguments.
func unbound(data []byte) bool {
	text := strings.TrimSpace(string(data))
	return text == "" || text == "null" || text == "{}"
}

// keepsData are the functions about which the engine keeps no more than what follows from the types of the arguments.
var keepsData = map[string]bool{"+": true, "-": true, "*": true, "add": true, "subtract": true, "multiply": true, "row": true}

// named functions make structures, whose members are called like their arguments.
var named = map[string]bool{"struct_pack": true, "struct_insert": true, "struct_update": true, "union_value": true}

// slice renders a part of a list or a text. A bound that was left out is an empty list in the plan.
func slice(e *expr, list []string) string {
	for i := range list {
		if e.Children[i].Class == "BOUND_CONSTANT" && e.Children[i].Value.Type.ID == "LIST" && i > 0 {
			list[i] = ""
		}
	}
	if len(list) < 3 {
		list = append(list, "", "")[:3]
	}
	end, step := list[2], ""
	if len(list) > 3 {
		if step = ":" + list[3]; end == "" {
			end = "-"
		}
	}
	return "(" + list[0] + ")[" + list[1] + ":" + end + step + "]"
}

// listAggregates run an aggregate over each list. Its name is an argument.
var listAggregates = map[string]bool{"list_aggregate": true, "list_aggr": true, "array_aggregate": true, "array_aggr": true, "aggregate": true}

// listAggregate checks the aggregate, and gives the constant argument that the engine took out, if there is one.
func (c *checker) listAggregate(e *expr, args []value) ([]string, error) {
	var data struct {
		Bound struct {
			Type      typ   `json:"stype"`
			Aggregate *expr `json:"aggr_expr"`
		} `json:"bind_data"`
	}
	err := decodeStrict(e.Function, &data)
	if err == nil {
		err = data.Bound.Aggregate.whole()
	}
	if err != nil || len(args) != 2 || args[1].sort != constantValue || aggregateVerdict(data.Bound.Aggregate.Name) < afterAggregate {
		return nil, c.denyBecause(e, err, "guard.function", "function", e.Name)
	}
	of := data.Bound.Aggregate
	if len(of.OriginalArgs) <= len(of.Children) {
		return nil, nil
	}
	constant, err := boundConstant(of)
	if err != nil {
		return nil, c.denyBecause(e, err, "guard.aggregate", "function", of.Name)
	}
	return []string{constant}, nil
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
	if strings.HasSuffix(e.Name, "_escape") && !escapes(e) {
		return c.deny(e, "guard.pattern-from-data", "function", e.Name)
	}
	for _, a := range args {
		if a.typ.ID == "INTERVAL" && !ofInterval(e) {
			return c.deny(e, "guard.function", "function", e.Name)
		}
	}
	return nil
}

// What the engine refuses as not implemented or not well written, it refuses when the first row comes by, and no TRY
// takes that for NULL. Such calls are not rendered, or failing would say that there is such a row.

// notOfInterval are the parts of a date that an interval does not have.
var notOfInterval = map[string]bool{
	"week": true, "weekofyear": true, "weekday": true, "dayofweek": true, "dayofyear": true, "dayofmonth": true, "isodow": true, "isoyear": true,
	"yearweek": true, "era": true, "julian": true, "last_day": true, "dayname": true, "monthname": true,
}

// partsOfInterval are those that it has, as date_part calls them.
var partsOfInterval = map[string]bool{
	"year": true, "quarter": true, "month": true, "day": true, "hour": true, "minute": true, "second": true, "millisecond": true, "microsecond": true,
	"decade": true, "century": true, "millennium": true, "epoch": true,
}

// ofInterval reports whether a call can be made of an interval.
func ofInterval(e *expr) bool {
	switch e.Name {
	case "date_part", "datepart", "date_trunc", "datetrunc":
		part, ok := textOf(e.Children[0])
		return ok && partsOfInterval[strings.ToLower(part)]
	}
	return !notOfInterval[e.Name]
}

// textOf is the text of a constant.
func textOf(e *expr) (string, bool) {
	if e.Class != "BOUND_CONSTANT" || e.Value.Null || e.Value.Type.ID != "VARCHAR" {
		return "", false
	}
	text, err := e.Value.text()
	return text, err == nil
}

// escapes reports whether the pattern of a LIKE … ESCAPE is well written: nothing that is escaped is missing.
func escapes(e *expr) bool {
	if len(e.Children) != 3 {
		return false
	}
	pattern, ok := textOf(e.Children[1])
	escape, also := textOf(e.Children[2])
	if !ok || !also || len(escape) > 1 {
		return false
	}
	for i := 0; i < len(pattern) && escape != ""; i++ {
		if pattern[i] == escape[0] {
			if i++; i == len(pattern) {
				return false
			}
		}
	}
	return true
}

// arithmetic keeps a measure a measure through + - * /, and nothing else.
func (c *checker) arithmetic(e *expr, args []value, v *value) {
	measures := 0
	for _, a := range args {
		if a.sort != measureValue && (a.sort != constantValue || a.poly.isZero()) || a.poly.orZero() {
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
