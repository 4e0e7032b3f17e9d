package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxSQL bounds what one query may be rendered to, since a projection over projections repeats its text.
const maxSQL = 1 << 18

// expr types an expression over a relation and renders it. Whatever may fail on data is rendered so that it
// gives NULL instead: a failure that depends on data would be an answer.
func (c *checker) expr(e *expr, in *relation) (value, error) {
	if err := c.wordsOfExpr(e); err != nil {
		return value{}, err
	}
	since := len(c.atoms)
	v, err := c.exprOf(e, in)
	if err == nil {
		err = c.spend(v.bytes())
	}
	if err == nil && in.kind == protected {
		v = c.setApart(v, since)
	}
	switch {
	case err != nil:
		return v, err
	case len(v.sql) > maxSQL:
		return v, c.deny(e, "guard.too-complex")
	case v.typ.use() == typeDenied, in.kind == protected && !v.typ.passing():
		return v, c.deny(e, "guard.unknown-type", "type", v.typ.ID)
	}
	return v, nil
}

func (c *checker) exprOf(e *expr, in *relation) (value, error) {
	switch e.Class {
	case "BOUND_REF":
		if e.Index >= uint64(len(in.cols)) {
			return value{}, c.deny(e, "guard.unknown-plan", "what", "column reference")
		}
		return in.cols[e.Index], nil
	case "BOUND_CONSTANT":
		return c.constant(e)
	case "BOUND_CAST":
		return c.cast(e, in)
	case "BOUND_COMPARISON":
		return c.comparison(e, in)
	case "BOUND_CONJUNCTION":
		return c.conjunction(e, in)
	case "BOUND_OPERATOR":
		return c.operator(e, in)
	case "BOUND_BETWEEN":
		return c.between(e, in)
	case "BOUND_CASE":
		return c.caseWhen(e, in)
	case "BOUND_FUNCTION":
		return c.function(e, in)
	}
	return value{}, c.deny(e, "guard.unknown-expression", "what", strings.ToLower(strings.TrimPrefix(e.Class, "BOUND_")))
}

func (c *checker) constant(e *expr) (value, error) {
	sql, err := e.Value.sql()
	if err != nil {
		return value{}, c.denyBecause(e, err, "guard.unknown-type", "type", e.Value.Type.ID)
	}
	v := value{sql: sql, literal: sql, typ: e.Value.Type, sort: constantValue, name: "constant", key: -1, margin: noMargin, once: true, null: e.Value.Null}
	if !e.Value.Null {
		text, _ := e.Value.text()
		c.literal(text)
		if e.Value.Type.numeric() {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return value{}, c.denyBecause(e, err, "guard.unknown-type", "type", e.Value.Type.ID)
			}
			v.poly, v.within = constantPolynomial(number), &Range{number, number}
		}
	}
	return v, nil
}

func (c *checker) cast(e *expr, in *relation) (value, error) {
	v, err := c.expr(e.Child, in)
	if err != nil {
		return v, err
	}
	to, err := e.Return.sql()
	if err != nil {
		return v, c.denyBecause(e, err, "guard.unknown-type", "type", e.Return.ID)
	}
	from, _ := v.typ.sql()
	if from == to && e.Child.Class != "BOUND_CONSTANT" {
		return v, nil // the engine casts to the same type now and then
	}
	if v.sort >= textValue && in.kind == protected {
		return v, c.denyValue(e, v)
	}
	target := e.Return
	if !e.TryCast && v.sort != constantValue {
		target = target.roomFor(v.typ)
		if to, err = target.sql(); err != nil {
			return v, c.denyBecause(e, err, "guard.unknown-type", "type", e.Return.ID)
		}
	}
	if from == to && e.Child.Class != "BOUND_CONSTANT" {
		return v, nil
	}
	if v.sort == constantValue && !e.TryCast {
		c.casts(e, v, target)
	}
	if v.literal != "" {
		v.literal = "TRY_CAST(" + v.literal + " AS " + to + ")"
	}
	v.margin = castMargin(v, target)
	v.within, v.listed = rangeOfCast(v, target), nil
	v.sql = "TRY_CAST(" + v.sql + " AS " + to + ")"
	if !target.plain() {
		v.sql = "TRY(" + v.sql + ")" // between some types the engine's own TRY_CAST fails
	}
	v.origin, v.present = nil, false
	if v.ofSide != "" {
		v.ofSide = "TRY_CAST(" + v.ofSide + " AS " + to + ")"
	}
	// Narrowing a measure would be a way to compute on it; widening is what the engine itself inserts.
	if v.sort == measureValue && !widens(v.typ, target) {
		v.sort, v.poly = plainValue, polynomial{}
	}
	if v.sort == constantValue && !target.keeps(v.poly) {
		v.poly = polynomial{}
	}
	if v.cond != nil && !widens(v.typ, target) {
		v.cond = nil
	}
	if v.cond != nil {
		then := *v.cond
		then.then.sql = "TRY_CAST(" + then.then.sql + " AS " + to + ")"
		then.then.typ = target
		v.cond = &then
	}
	v.typ = target
	return v, nil
}

// widens reports whether a cast keeps every number as it is.
func widens(from, to typ) bool {
	if to.ID == "DOUBLE" {
		return from.numeric()
	}
	return to.holds(from)
}

var comparisons = map[string]string{
	"COMPARE_EQUAL": "=", "COMPARE_NOTEQUAL": "<>", "COMPARE_LESSTHAN": "<", "COMPARE_GREATERTHAN": ">",
	"COMPARE_LESSTHANOREQUALTO": "<=", "COMPARE_GREATERTHANOREQUALTO": ">=",
	"COMPARE_DISTINCT_FROM": "IS DISTINCT FROM", "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}

func (c *checker) comparison(e *expr, in *relation) (value, error) {
	left, err := c.expr(e.Left, in)
	if err != nil {
		return left, err
	}
	right, err := c.expr(e.Right, in)
	if err != nil {
		return right, err
	}
	return c.compare(e, e.Type, left, right, in.kind)
}

// compare is also what a join condition goes through; where the two sides come from different relations, the
// stricter kind of the two holds.
func (c *checker) compare(at *expr, comparison string, left, right value, k kind) (value, error) {
	op, ok := comparisons[comparison]
	if !ok {
		return left, c.deny(at, "guard.unknown-expression", "what", strings.ToLower(comparison))
	}
	if k == protected {
		if left.sort == keyValue && right.sort == keyValue && left.domain == right.domain && (op == "=" || op == "IS NOT DISTINCT FROM") {
			return value{sql: "(" + left.sql + " " + op + " " + right.sql + ")", typ: typ{ID: "BOOLEAN"}, sort: plainValue, name: "comparison", key: -1}, nil
		}
		for _, v := range []value{left, right} {
			if v.sort >= textValue {
				return v, c.denyValue(at, v)
			}
		}
	}
	return derived("("+left.sql+" "+op+" "+right.sql+")", typ{ID: "BOOLEAN"}, "comparison", left, right), nil
}

func (c *checker) conjunction(e *expr, in *relation) (value, error) {
	word := map[string]string{"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}[e.Type]
	args, err := c.values(e, e.Children, in)
	if err != nil || word == "" || len(args) == 0 {
		return value{}, c.orUnknown(e, err)
	}
	return derived("("+strings.Join(sqlOf(args), word)+")", typ{ID: "BOOLEAN"}, "condition", args...), nil
}

func (c *checker) operator(e *expr, in *relation) (value, error) {
	if e.Type == "OPERATOR_IS_NULL" || e.Type == "OPERATOR_IS_NOT_NULL" {
		return c.nullTest(e, in)
	}
	if e.Type == "OPERATOR_COALESCE" {
		if v, ok := c.eitherKey(e, in); ok {
			return v, nil
		}
	}
	args, err := c.values(e, e.Children, in)
	if err != nil {
		return value{}, err
	}
	list := sqlOf(args)
	var sql string
	switch {
	case e.Type == "OPERATOR_NOT" && len(args) == 1:
		sql = "(NOT " + list[0] + ")"
	case e.Type == "COMPARE_IN" && len(args) > 1:
		sql = "(" + list[0] + " IN (" + strings.Join(list[1:], ", ") + "))"
	case e.Type == "COMPARE_NOT_IN" && len(args) > 1:
		sql = "(" + list[0] + " NOT IN (" + strings.Join(list[1:], ", ") + "))"
	case e.Type == "OPERATOR_COALESCE" && len(args) > 0:
		sql = "COALESCE(" + strings.Join(list, ", ") + ")"
	case e.Type == "OPERATOR_TRY" && len(args) == 1:
		sql = "TRY(" + list[0] + ")"
	case e.Type == "OPERATOR_NULLIF" && len(args) == 2:
		sql = "NULLIF(" + list[0] + ", " + list[1] + ")"
	default:
		return value{}, c.deny(e, "guard.unknown-expression", "what", strings.ToLower(e.Type))
	}
	v := derived(sql, e.Return.common(args...), "expression", args...)
	switch e.Type {
	case "OPERATOR_COALESCE":
		v.within = rangeOfAll(args)
		if len(args) == 2 && isZero(args[1]) {
			v.capped = args[0].capped
		}
		v.margin = firstMargin(args, e.Return)
		if in.kind == protected {
			v.orZero(args)
		}
	case "OPERATOR_TRY", "OPERATOR_NULLIF":
		v.margin, v.within, v.capped = args[0].margin, args[0].within, args[0].capped
	}
	return v, nil
}

// eitherKey recognises COALESCE(a.key, b.key) over a full join on the key, which is what USING says: the row's one key.
// It types columns only: what is nested would be typed twice a level.
func (c *checker) eitherKey(e *expr, in *relation) (value, bool) {
	if len(e.Children) != 2 || !isColumn(e.Children[0]) || !isColumn(e.Children[1]) {
		return value{}, false
	}
	a, errA := c.expr(e.Children[0], in)
	b, errB := c.expr(e.Children[1], in)
	if errA != nil || errB != nil || a.sort != keyValue || b.sort != keyValue || a.key < 0 || a.key != b.key {
		return value{}, false
	}
	a.nullable = a.nullable && b.nullable && (a.half == nil || a.half != b.half || a.sql == b.sql)
	a.sql, a.half = "COALESCE("+a.sql+", "+b.sql+")", nil
	return a, true
}

// isZero reports whether a value is the constant 0.
func isZero(v value) bool {
	t, constant := v.poly.terms[""]
	return v.sort == constantValue && constant && len(v.poly.terms) == 1 && t.coefficient == 0
}

// nullTest lets one ask whether an outer join found the unit: that is an anti join on the unit's key.
func (c *checker) nullTest(e *expr, in *relation) (value, error) {
	if len(e.Children) != 1 {
		return value{}, c.orUnknown(e, nil)
	}
	v, err := c.expr(e.Children[0], in)
	if err != nil {
		return v, err
	}
	if in.kind == protected && (v.sort == identifierValue || v.sort == textValue) {
		return v, c.denyValue(e, v)
	}
	test := " IS NULL)"
	if e.Type == "OPERATOR_IS_NOT_NULL" {
		test = " IS NOT NULL)"
	}
	n := derived("("+v.sql+test, typ{ID: "BOOLEAN"}, "null test", v)
	if v.sort == keyValue {
		n.sort = plainValue
	}
	return n, nil
}

func (c *checker) between(e *expr, in *relation) (value, error) {
	args, err := c.values(e, []*expr{e.Input, e.Lower, e.Upper}, in)
	if err != nil {
		return value{}, err
	}
	low, high := ">", "<"
	if e.LowerInc {
		low = ">="
	}
	if e.UpperInc {
		high = "<="
	}
	s := sqlOf(args)
	return derived(fmt.Sprintf("(%s %s %s AND %s %s %s)", s[0], low, s[1], s[0], high, s[2]), typ{ID: "BOOLEAN"}, "comparison", args...), nil
}

// caseWhen types a CASE. One condition around one measure or constant is kept apart: inside an aggregate it is
// a filter, and is guarded as one.
func (c *checker) caseWhen(e *expr, in *relation) (value, error) {
	if e.Else == nil || len(e.Checks) == 0 {
		return value{}, c.orUnknown(e, nil)
	}
	var args []value
	sql := "CASE"
	for _, ch := range e.Checks {
		pair, err := c.values(e, []*expr{ch.When, ch.Then}, in)
		if err != nil {
			return value{}, err
		}
		sql += " WHEN " + pair[0].sql + " THEN " + pair[1].sql
		args = append(args, pair...)
	}
	other, err := c.values(e, []*expr{e.Else}, in)
	if err != nil {
		return value{}, err
	}
	args = append(args, other...)
	var when, then []value
	for i := 0; i+1 < len(args); i += 2 {
		when, then = append(when, args[i]), append(then, args[i+1])
	}
	v := derived("("+sql+" ELSE "+other[0].sql+" END)", e.Return.common(append(slices.Clone(then), other...)...), "CASE", args...)
	v.margin = caseMargin(sqlOf(when), slices.Concat(then, other), e.Return)
	v.cond = conditionOf(when, then, other[0])
	if v.within = rangeOfAll(append(slices.Clone(then), other...)); len(then) == 1 && (other[0].null || isZero(other[0])) {
		v.capped = then[0].capped
	}
	if len(e.Checks) == 1 {
		if w := e.Checks[0].When; w.Type == "OPERATOR_IS_NULL" && len(w.Children) == 1 && isZero(args[1]) && args[2].sort == measureValue &&
			isColumn(w.Children[0]) && isColumn(e.Else) && w.Children[0].Index == e.Else.Index && strings.HasPrefix(args[2].name, "count") {
			v.sort, v.poly, v.cond = measureValue, args[2].poly, nil // how the engine writes a count that found nothing
		}
	}
	return v, nil
}

// derived is a value made of others. What it is made of decides what may be done with it.
func derived(sql string, t typ, name string, from ...value) value {
	v := value{sql: sql, typ: t, sort: constantValue, name: name, key: -1, once: true}
	for _, f := range from {
		v.once, v.dead = v.once && f.once, v.dead || f.dead
		switch {
		case f.sort == constantValue && !f.public: // an outer join's may be missing
		case f.sort == freeValue:
			v.sort = max(v.sort, freeValue)
		default:
			v.sort = plainValue
		}
		v.sensitive = v.sensitive || f.sensitive
	}
	v.sides = sidesOf(from)
	v.derives(from)
	if exact(from) {
		v.margin = noMargin
	}
	return v
}

// values types several expressions that a function of any kind is applied to: no identifier and no text may be.
func (c *checker) values(at *expr, list []*expr, in *relation) ([]value, error) {
	out := make([]value, len(list))
	for i, e := range list {
		if e == nil {
			return nil, c.orUnknown(at, nil)
		}
		v, err := c.expr(e, in)
		if err != nil {
			return nil, err
		}
		if in.kind == protected && v.sort >= textValue {
			return nil, c.denyValue(at, v)
		}
		out[i] = v
	}
	return out, nil
}

func sqlOf(list []value) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.sql
	}
	return out
}

func (c *checker) denyValue(at *expr, v value) error {
	switch v.sort {
	case textValue:
		return c.deny(at, "guard.text-used", "column", v.name)
	case keyValue:
		return c.deny(at, "guard.unit-key-used", "column", v.name, "domain", v.domain)
	}
	return c.deny(at, "guard.identifier-used", "column", v.name)
}

func (c *checker) orUnknown(e *expr, err error) error {
	if err != nil {
		return err
	}
	return c.deny(e, "guard.unknown-expression", "what", strings.ToLower(e.Type))
}
