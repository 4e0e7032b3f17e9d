package guard

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/internal/problem"
	"weir/sandbox"
)

// deny makes a refusal with its place in the analyst's text: the one that the engine recorded for the expression,
// or, since it records none for columns and aggregates, the first place where a word stands that the refusal is about.
func (c *checker) deny(at *expr, code string, args ...string) *problem.Problem {
	named := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		named[args[i]] = args[i+1]
	}
	function := named["function"]
	switch {
	case code == "guard.aggregate" && function == "first" && !c.written(function): // the engine's own, around a subquery
		code, at, args, named = "guard.subquery-value", nil, nil, nil
	case code == "guard.function-after" && function == "struct_pack" && !c.written(function) && !c.written("{"): // a whole row as one value
		code, at, args, named = "guard.raw-rows", nil, nil, nil
	case code == "guard.aggregate":
		args = append(args, "instead", nearest(function))
	}
	p := problem.New(code, args...)
	words := c.placeOfWord([]string{strings.ReplaceAll(function, "count_star", "count"), named["column"], named["operator"], named["kind"]})
	if offset, ok := offsetOf(at); ok && offset <= uint64(len(c.sql)) && (words.Line == 0 || !ordinal(c.sql[offset:])) {
		return p.Place(sandbox.Place(c.sql, int(offset)))
	}
	if words.Line == 0 {
		return c.placed(p)
	}
	return p.Place(words)
}

func (c *checker) denyBecause(at *expr, why error, code string, args ...string) *problem.Problem {
	return c.deny(at, code, args...).Because(why)
}

// placed gives a refusal that has no place yet the place of the first word that brings its code about, or the text's
// beginning.
func (c *checker) placed(p *problem.Problem) *problem.Problem {
	if p.At.Line > 0 {
		return p
	}
	if at := c.placeOfWord(wordsOf[p.Code]); at.Line > 0 {
		return p.Place(at)
	}
	return p.Place(problem.Position{Line: 1, Column: 1})
}

// ordinal reports whether a text begins with a number: then it is the 1 of GROUP BY 1, and not what was refused.
func ordinal(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }

// nearest is what to write in place of an aggregate that cannot be released.
func nearest(function string) string {
	switch function {
	case "max", "arg_max", "argmax", "max_by":
		return "quantile_cont(x, 0.95)"
	case "min", "arg_min", "argmin", "min_by":
		return "quantile_cont(x, 0.05)"
	case "bool_or", "bool_and":
		return "count(*) FILTER (WHERE …)"
	case "approx_count_distinct":
		return "count(DISTINCT key)"
	case "approx_quantile", "quantile_cont", "quantile_disc", "quantile", "mad":
		return "quantile_cont(x, 0.5)"
	case "fsum", "favg", "sumkahan", "kahan_sum":
		return "sum(x), avg(x)"
	case "sem", "skewness", "kurtosis", "kurtosis_pop":
		return "avg(x), stddev(x), count(x)"
	}
	return "SELECT x, count(*) … GROUP BY x"
}

// wordsOf are the words of SQL that bring about a refusal whose subject has no expression of its own, or none that is
// written.
var wordsOf = map[string][]string{
	"guard.limit-of-rows":      {"LIMIT", "OFFSET", "EXISTS"},
	"guard.limit-not-constant": {"LIMIT", "OFFSET"},
	"guard.too-many-groupings": {"CUBE", "ROLLUP", "GROUPING"},
	"guard.window":             {"OVER"},
	"guard.steering-subquery":  {"IN", "EXISTS", "SEMI", "ANTI", "ANY", "ALL", "SOME", "(SELECT"},
	"guard.subquery-value":     {"(SELECT"},
	"guard.join":               {"JOIN"},
	"guard.fan-out":            {"JOIN", "UNION", "FROM"},
	"guard.operator":           {"TABLESAMPLE", "SAMPLE", "RECURSIVE", "LATERAL", "ASOF", "POSITIONAL", "DISTINCT", "UNNEST"},
	"guard.set-operation":      {"UNION", "INTERSECT", "EXCEPT"},
	"guard.else-zero":          {"ELSE"},
	"guard.quantile":           {"quantile_cont", "quantile_disc", "quantile", "percentile_cont", "percentile_disc"},
	"guard.quantile-step":      {"quantile_cont", "quantile_disc", "quantile", "percentile_cont", "percentile_disc"},
	"guard.identifier-used":    {"NATURAL", "USING"},
	"guard.unit-key-used":      {"NATURAL", "USING"},
	"guard.table-function":     {"information_schema", "pg_catalog", "FROM"},
	"guard.unknown-type":       {"COLLATE"},
	"guard.column-name":        {`"`},
}

// written reports whether a word stands in the text.
func (c *checker) written(word string) bool { return c.placeOfWord([]string{word}).Line > 0 }

// placeOfWord finds the first of the words that the text holds outside its strings and comments.
func (c *checker) placeOfWord(words []string) problem.Position {
	text := masked(c.sql)
	for _, w := range words {
		if w == "" {
			continue
		}
		pattern := regexp.QuoteMeta(w)
		if first, _ := utf8.DecodeRuneInString(w); unicode.IsLetter(first) {
			pattern = `(?:^|[^\pL\pN_])(` + pattern + `)(?:$|[^\pL\pN_])`
		} else {
			pattern = "(" + pattern + ")"
		}
		if found := regexp.MustCompile(`(?i)` + pattern).FindStringSubmatchIndex(text); found != nil {
			return sandbox.Place(c.sql, found[2])
		}
	}
	return problem.Position{}
}

var notCode = regexp.MustCompile(`'(?:[^']|'')*'|--[^\n]*|/\*(?s:.*?)\*/`)

// masked blanks out strings and comments and keeps every place.
func masked(sql string) string {
	return notCode.ReplaceAllStringFunc(sql, func(s string) string { return strings.Repeat(" ", len(s)) })
}

// offsetOf finds the first place in an expression that the engine recorded, in bytes.
func offsetOf(e *expr) (uint64, bool) {
	if e == nil {
		return 0, false
	}
	if e.Location != unset && e.Location != 0 {
		return e.Location, true
	}
	inside := append([]*expr{e.Child, e.Left, e.Right, e.Input, e.Filter, e.Else}, e.Children...)
	for _, ch := range e.Checks {
		inside = append(inside, ch.When, ch.Then)
	}
	for _, i := range inside {
		if at, ok := offsetOf(i); ok {
			return at, true
		}
	}
	return 0, false
}
