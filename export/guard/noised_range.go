package guard

import "math"

// Ranges of numbers, by interval arithmetic over what the entry states of measures. A range decides how much noise a
// figure needs. It is no promise: a value outside of it is moved to its end before it is added up.

// heldTo is a declared range as far as a unit's cap goes: what is beyond both is cut in any case, and a range that only
// a few reach makes noise for everybody.
func heldTo(declared *Range, most float64) *Range {
	switch {
	case most <= 0:
		return declared
	case declared == nil:
		return &Range{-most, most}
	}
	held := Range{math.Max(declared.Least, -most), math.Min(declared.Most, most)}
	if held.Least >= held.Most {
		return declared
	}
	return &held
}

// rangeOfCast is the range of a number that was cast to another type.
func rangeOfCast(v value, to typ) *Range {
	switch {
	case v.typ.ID == "BOOLEAN" && to.numeric():
		return &Range{0, 1}
	case v.within == nil || !v.typ.numeric() || !to.numeric():
		return nil
	case to.integer() && !v.typ.integer():
		return &Range{math.Floor(v.within.Least), math.Ceil(v.within.Most)}
	}
	return v.within
}

// partsOfDates are the numbers that a part of a date can be. That of years is a convention.
var partsOfDates = map[string]Range{
	"year": {1900, 2100}, "isoyear": {1900, 2100}, "quarter": {1, 4}, "month": {1, 12}, "week": {1, 53}, "weekofyear": {1, 53}, "day": {1, 31},
	"dayofmonth": {1, 31}, "dayofyear": {1, 366}, "dayofweek": {0, 6}, "weekday": {0, 6}, "isodow": {1, 7}, "hour": {0, 23}, "minute": {0, 59},
	"second": {0, 59}, "decade": {190, 210},
}

// spansOfDates are how far apart two dates can be that a question is likely to compare: a hundred years.
var spansOfDates = map[string]float64{
	"year": 100, "quarter": 400, "month": 1200, "week": 5200, "day": 36525, "hour": 36525 * 24, "minute": 36525 * 1440, "second": 36525 * 86400,
}

// rangeOfCall is the range of a call; nil where none follows.
func rangeOfCall(e *expr, args []value) *Range {
	switch e.Name {
	case "date_diff", "datediff", "date_sub", "datesub":
		if part, ok := textOf(e.Children[0]); ok {
			if most := spansOfDates[part]; most > 0 {
				return &Range{-most, most}
			}
		}
		return nil
	case "date_part", "datepart":
		part, ok := textOf(e.Children[0])
		r, known := partsOfDates[part]
		if !ok || !known {
			return nil
		}
		return &r
	case "length", "len", "strlen", "char_length", "character_length":
		if len(args) == 1 {
			return &Range{0, 256}
		}
	}
	if len(args) == 1 {
		if r, ok := partsOfDates[e.Name]; ok {
			return &r
		}
	}
	if e.Name == "-" && len(args) == 2 && args[0].typ.ID == "DATE" && args[1].typ.ID == "DATE" {
		return &Range{-spansOfDates["day"], spansOfDates["day"]}
	}
	if !e.Return.numeric() {
		return nil
	}
	for _, a := range args {
		if a.within == nil {
			return nil
		}
	}
	return isFinite(arithmeticRange(e.Name, args))
}

func arithmeticRange(name string, args []value) *Range {
	if len(args) == 0 {
		return nil
	}
	a := *args[0].within
	if len(args) == 1 {
		switch name {
		case "-":
			a = a.scaled(-1)
		case "+", "add":
		case "abs", "@":
			a = a.size()
		case "sqrt":
			if a.Least < 0 {
				a.Least = 0
			}
			a = Range{math.Sqrt(a.Least), math.Sqrt(math.Max(0, a.Most))}
		case "ln", "log10", "log2", "log":
			if a.Least <= 0 || name == "log" {
				return nil
			}
			of := map[string]func(float64) float64{"ln": math.Log, "log10": math.Log10, "log2": math.Log2}[name]
			a = Range{of(a.Least), of(a.Most)}
		case "exp":
			a = Range{math.Exp(a.Least), math.Exp(a.Most)}
		case "sign":
			a = Range{-1, 1}
		case "round", "floor", "ceil", "ceiling", "trunc":
			a = Range{math.Floor(a.Least), math.Ceil(a.Most)}
		default:
			return nil
		}
		return &a
	}
	b := *args[1].within
	switch name {
	case "+", "add":
		a = a.plus(b)
	case "-", "subtract":
		a = a.plus(b.scaled(-1))
	case "*", "multiply":
		a = a.times(b)
		if args[0].sql == args[1].sql {
			a.Least = math.Max(0, a.Least) // a square
		}
	case "/", "divide", "//":
		by, ok := b.inverse()
		if !ok {
			return nil
		}
		a = a.times(by)
	case "%", "mod", "fmod":
		most := b.Reach()
		a = Range{math.Max(-most, math.Min(0, a.Least)), math.Min(most, math.Max(0, a.Most))}
	case "pow", "power", "^", "**":
		if b.Least != 2 || b.Most != 2 {
			return nil
		}
		a = a.times(a)
		a.Least = math.Max(0, a.Least)
	case "round", "trunc":
		a = Range{a.Least - 1, a.Most + 1}
	case "greatest":
		for _, x := range args[1:] {
			a = Range{math.Max(a.Least, x.within.Least), math.Max(a.Most, x.within.Most)}
		}
	case "least":
		for _, x := range args[1:] {
			a = Range{math.Min(a.Least, x.within.Least), math.Min(a.Most, x.within.Most)}
		}
	default:
		return nil
	}
	return &a
}

// size is the range of the absolute values.
func (r Range) size() Range {
	if r.Least <= 0 && r.Most >= 0 {
		return Range{0, r.Reach()}
	}
	return Range{math.Min(math.Abs(r.Least), math.Abs(r.Most)), r.Reach()}
}

func isFinite(r *Range) *Range {
	if r == nil || math.IsNaN(r.Least+r.Most) || math.IsInf(r.Reach(), 0) {
		return nil
	}
	return r
}

// rangeOfAll is the least range that holds every value; NULLs do not count.
func rangeOfAll(list []value) *Range {
	var all *Range
	for _, v := range list {
		switch {
		case v.null:
		case v.within == nil:
			return nil
		case all == nil:
			all = v.within
		default:
			all = hull(all, v.within)
		}
	}
	return all
}

// rangeOfFact is the range of a fact about one unit, or of a window over its rows, of which there are so many.
func rangeOfFact(function string, args []value, rows float64) *Range {
	of := func() *Range {
		if len(args) == 0 {
			return nil
		}
		return args[0].within
	}
	switch function {
	case "count_star", "count", "count_if", "countif", "regr_count", "approx_count_distinct":
		return &Range{0, rows}
	case "row_number", "rank", "dense_rank", "ntile":
		return &Range{1, math.Max(1, rows)}
	case "percent_rank", "cume_dist", "bool_and", "bool_or", "corr", "regr_r2":
		least := 0.0
		if function == "corr" {
			least = -1
		}
		return &Range{least, 1}
	case "sum", "sum_no_overflow":
		if r := of(); r != nil {
			return isFinite(hull(&Range{}, &Range{r.Least * rows, r.Most * rows}))
		}
	case "stddev", "stddev_samp", "stddev_pop", "mad":
		if r := of(); r != nil {
			return isFinite(&Range{0, r.Most - r.Least})
		}
	case "min", "max", "avg", "mean", "median", "mode", "any_value", "first", "last", "arbitrary", "arg_min", "arg_max", "argmin", "argmax", "min_by", "max_by",
		"quantile", "quantile_cont", "quantile_disc", "lag", "lead", "first_value", "last_value", "nth_value", "fill":
		return of()
	}
	return nil
}
