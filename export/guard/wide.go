package guard

import (
	"slices"
)

// Arithmetic is computed in types in which no result can be too large. The engine computes INTEGER * INTEGER as
// INTEGER and fails where that overflows; failing would be an answer, and giving NULL instead would drop rows out of
// figures unseen: a sum would be wrong, and which rows it lacks would tell of their values. So results take the next
// wider type whose range, by interval arithmetic over the ranges of the arguments' types, holds them all.
//
// The plan's own types stay narrow. Where a wide value goes to a function that is made for the plan's type alone, it
// is brought back to it.

// bits are how many bits a whole number's size takes in each integer type.
var bits = map[string]int{
	"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63, "HUGEINT": 127,
	"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64, "UHUGEINT": 128,
}

// decimalDigits are how many decimal digits a whole number of each type takes.
var decimalDigits = map[string]int{
	"TINYINT": 3, "SMALLINT": 5, "INTEGER": 10, "BIGINT": 19, "HUGEINT": 39,
	"UTINYINT": 3, "USMALLINT": 5, "UINTEGER": 10, "UBIGINT": 20, "UHUGEINT": 39,
}

const (
	maxDecimal   = 38 // digits of the widest decimal
	wideDecimal  = 19 // from which the engine computes decimals in 128 bits
	signOfUpward = 1  // what a sum needs besides the wider of its parts
)

var doubleType = typ{ID: "DOUBLE"}

func decimalType(width, scale int) typ {
	return typ{ID: "DECIMAL", Info: &typeInfo{Kind: "DECIMAL_TYPE_INFO", Width: width, Scale: scale}}
}

// integerOf is the signed type for whole numbers whose size is less than 2^n, or 2^n itself below zero.
func integerOf(n int) typ {
	for _, id := range []string{"INTEGER", "BIGINT", "HUGEINT"} {
		if n <= bits[id] {
			return typ{ID: id}
		}
	}
	return doubleType
}

// holds reports whether every number of one type is one of the other.
func (t typ) holds(u typ) bool {
	switch {
	case t.ID == "DOUBLE":
		return u.numeric()
	case t.ID == "FLOAT":
		return u.ID == "FLOAT"
	case t.integer() && u.integer():
		signed := t.ID[0] != 'U'
		return bits[t.ID] >= bits[u.ID] && (signed || u.ID[0] == 'U')
	case t.ID == "DECIMAL" && u.integer():
		return t.Info.Width-t.Info.Scale >= decimalDigits[u.ID]
	case t.ID == "DECIMAL" && u.ID == "DECIMAL":
		return t.Info.Scale >= u.Info.Scale && t.Info.Width-t.Info.Scale >= u.Info.Width-u.Info.Scale
	}
	return false
}

// roomFor is a type that a number of type u is cast to where the text casts it to t: t if it has room for it, and
// otherwise one of its kind that has. What lies between two digits of t is rounded, as ever.
func (t typ) roomFor(u typ) typ {
	switch {
	case !t.numeric() || !u.numeric() || t.holds(u) || t.ID == "DOUBLE" || t.ID == "FLOAT" || u.ID == "DOUBLE" || u.ID == "FLOAT":
		return t
	case t.integer() && u.integer():
		if u.ID[0] == 'U' {
			return integerOf(max(bits[u.ID], bits[t.ID]))
		}
		return integerOf(max(bits[u.ID], bits["INTEGER"]))
	case t.integer(): // of a decimal
		if n := u.Info.Width - u.Info.Scale + 1; n > decimalDigits[t.ID]-1 {
			return integerOf(min(4*n, bits["HUGEINT"]))
		}
		return t
	}
	whole := decimalDigits[u.ID]
	if u.ID == "DECIMAL" {
		if whole = u.Info.Width - u.Info.Scale; u.Info.Scale > t.Info.Scale {
			whole++ // rounding up may take one more
		}
	}
	switch width := max(whole, t.Info.Width-t.Info.Scale) + t.Info.Scale; {
	case width <= t.Info.Width:
		return t
	case width <= maxDecimal:
		return decimalType(width, t.Info.Scale)
	}
	return doubleType
}

// arithmeticSQL renders arithmetic on whole and decimal numbers in a type in which it cannot overflow. ok is false for
// anything else: there the engine's own type stays, and what it cannot hold is NULL. Figures that were released, and
// open data, keep the engine's types where no exact one is wider; over protected rows a product may be a DOUBLE.
func arithmeticSQL(name string, args []value, to typ, k kind) (sql string, t typ, ok bool) {
	op := map[string]string{"+": "+", "add": "+", "-": "-", "subtract": "-", "*": "*", "multiply": "*"}[name]
	if op == "" || len(args) == 0 || len(args) > 2 || len(args) == 1 && op != "-" || !to.numeric() {
		return "", typ{}, false
	}
	if to.ID == "DOUBLE" || to.ID == "FLOAT" {
		return "", typ{}, false
	}
	inexact := k == protected && op == "*"
	a := args[0]
	if len(args) == 1 {
		t := a.typ
		if t.integer() {
			t = integerOf(bits[t.ID] + signOfUpward)
		}
		return "(-" + a.as(t) + ")", t, t.integer() || t.ID == "DECIMAL"
	}
	b := args[1]
	switch {
	case a.typ.integer() && b.typ.integer():
		n := max(bits[a.typ.ID], bits[b.typ.ID]) + signOfUpward
		if op == "*" {
			n = bits[a.typ.ID] + bits[b.typ.ID] + signOfUpward // both may be the least there is
		}
		t = integerOf(n)
		return "(" + a.as(t) + " " + op + " " + b.as(t) + ")", t, t.integer() || inexact
	case a.typ.ID == "DECIMAL" && b.typ.ID == "DECIMAL":
		return decimalSQL(op, a, b, inexact)
	}
	// One of them became a DOUBLE for being too wide.
	return "(" + a.as(doubleType) + " " + op + " " + b.as(doubleType) + ")", doubleType, a.typ.numeric() && b.typ.numeric()
}

// decimalSQL renders arithmetic on decimals. The engine cuts a result at 18 digits where both arguments have no more,
// so one of them is made wider than that.
func decimalSQL(op string, a, b value, inexact bool) (string, typ, bool) {
	x, y := a.typ.Info, b.typ.Info
	width, scale := x.Width+y.Width, x.Scale+y.Scale
	if op != "*" {
		scale = max(x.Scale, y.Scale)
		width = max(x.Width-x.Scale, y.Width-y.Scale) + scale + signOfUpward
	}
	if width > maxDecimal || scale > maxDecimal {
		return "(" + a.as(doubleType) + " " + op + " " + b.as(doubleType) + ")", doubleType, inexact
	}
	left, right := a.sql, b.sql
	if op != "*" { // of one type, so that the engine has no type of its own to find
		left, right = a.as(decimalType(width, scale)), b.as(decimalType(width, scale))
	} else if x.Width < wideDecimal && y.Width < wideDecimal && width >= wideDecimal {
		left = a.as(decimalType(wideDecimal, x.Scale))
	}
	sum := "(" + left + " " + op + " " + right + ")"
	if t := decimalType(width, scale); width < maxDecimal {
		return "CAST(" + sum + " AS " + mustSQL(t) + ")", t, true
	}
	return sum, decimalType(width, scale), true
}

// as renders a value in a type that holds it.
func (v value) as(t typ) string {
	if from, err := v.typ.sql(); err == nil && from == mustSQL(t) {
		return v.sql
	}
	return "CAST(" + v.sql + " AS " + mustSQL(t) + ")"
}

// mustSQL writes a numeric type.
func mustSQL(t typ) string {
	sql, err := t.sql()
	if err != nil {
		panic(err) // only numbers are computed with
	}
	return sql
}

// veryWide are whole numbers of which the engine cannot form every sum.
var veryWide = set("HUGEINT", "UHUGEINT")

// ofAny are functions that take numbers of any whole type and give one of the same.
var ofAny = set("greatest", "least", "%", "mod", "//", "divide")

// narrowed brings wide arguments back to the types that the plan calls a function with.
func narrowed(e *expr, args []value) []value {
	if ofAny[e.Name] {
		return args
	}
	out := slices.Clone(args)
	for i := range out {
		if i >= len(e.Children) {
			break
		}
		to := e.Children[i].Return
		if v := &out[i]; v.typ.numeric() && to.numeric() && !to.holds(v.typ) {
			v.sql, v.typ, v.cond = "TRY_CAST("+v.sql+" AS "+mustSQL(to)+")", to, nil
			if v.sort == measureValue {
				v.sort, v.poly = plainValue, polynomial{}
			}
		}
	}
	return out
}

// common is the type that holds values which the plan gives one type, where some are wider than it says.
func (t typ) common(of ...value) typ {
	for _, v := range of {
		if t.numeric() && v.typ.numeric() && !t.holds(v.typ) {
			t = t.with(v.typ)
		}
	}
	return t
}

// returned is the type of an aggregate or a window, which the plan may give the type of its argument.
func returned(e *expr, args []value) typ {
	if len(args) == 0 || len(e.Children) == 0 || !e.Return.numeric() || !e.Return.holds(e.Children[0].Return) || !e.Children[0].Return.holds(e.Return) {
		return e.Return
	}
	return e.Return.common(args[0])
}

// with is a type that holds the numbers of both.
func (t typ) with(u typ) typ {
	switch {
	case t.ID == "FLOAT" && u.integer(), t.ID == "DOUBLE":
		return t
	case t.integer() && u.integer():
		return t.roomFor(u)
	case t.ID == "DECIMAL" && (u.ID == "DECIMAL" || u.integer()):
		scale := t.Info.Scale
		if u.ID == "DECIMAL" {
			scale = max(scale, u.Info.Scale)
		}
		return decimalType(max(t.Info.Width-t.Info.Scale+scale, scale), scale).roomFor(u)
	}
	return doubleType
}

// hugeFigure is the size below which arithmetic in floating point, and sums of it, stay finite.
const hugeFigure = 1e28

// mayLose reports whether a value over measures may be NULL although they are all there: after a division by zero, or
// where a number gets too large. Declared ranges say where that cannot be.
func mayLose(v value, args []value, wide bool) bool {
	if slices.ContainsFunc(args, func(a value) bool { return a.partial }) {
		return true
	}
	if wide && v.typ.ID != "DOUBLE" {
		return false
	}
	within := v.poly.within()
	return within == nil || max(-within.Least, within.Most) > hugeFigure
}

// divides reports whether a measure is in a denominator.
func (p polynomial) divides() bool {
	for _, t := range p.terms {
		for _, e := range t.exponents {
			if e < 0 {
				return true
			}
		}
	}
	return false
}

// there is the condition that arithmetic lost no value: it is there, or one of the measures that it is made of is not.
// Rows in which it is not true would drop out of a figure unseen, so it is guarded like a FILTER.
func (v value) there(sql string) string {
	condition := "(" + sql + " IS NOT NULL"
	for _, a := range v.poly.atoms() {
		condition += " OR " + a.sql + " IS NULL"
	}
	return condition + ")"
}

// asPlain takes from a measure what makes it one, where it goes on as a column that does not show which rows it lost.
func (v *value) asPlain() {
	if v.partial && v.sort == measureValue {
		v.sort, v.poly, v.cond = plainValue, polynomial{}, nil
	}
}
