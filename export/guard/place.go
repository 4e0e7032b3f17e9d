package guard

import (
	"regexp"
	"strings"

	"weir/internal/problem"
	"weir/sandbox"
)

// deny makes a refusal with its place in the analyst's text: the one that the engine recorded for the expression,
// or, since it records none for columns and aggregates, the first place where the word that the refusal is about
// stands.
func (c *checker) deny(at *expr, code string, args ...string) *problem.Problem {
	p := problem.New(code, args...)
	if offset, ok := offsetOf(at); ok && offset <= uint64(len(c.sql)) {
		return p.Place(sandbox.Place(c.sql, int(offset)))
	}
	words := wordsOf[code]
	for i := 0; i+1 < len(args); i += 2 {
		if args[i] == "function" || args[i] == "column" || args[i] == "operator" || args[i] == "kind" {
			words = append(words, strings.ReplaceAll(args[i+1], "count_star", "count"))
		}
	}
	return p.Place(c.placeOfWord(words))
}

func (c *checker) denyBecause(at *expr, why error, code string, args ...string) *problem.Problem {
	return c.deny(at, code, args...).Because(why)
}

// wordsOf are the words of SQL that bring an operator about which has no expression of its own.
var wordsOf = map[string][]string{
	"guard.limit-of-rows":      {"LIMIT", "OFFSET", "EXISTS"},
	"guard.limit-not-constant": {"LIMIT", "OFFSET"},
	"guard.too-many-groupings": {"CUBE", "ROLLUP", "GROUPING"},
	"guard.window":             {"OVER"},
	"guard.steering-subquery":  {"IN", "EXISTS", "SEMI", "ANTI"},
	"guard.join":               {"JOIN"},
	"guard.operator":           {"TABLESAMPLE", "SAMPLE", "RECURSIVE", "LATERAL", "ASOF", "POSITIONAL", "DISTINCT", "UNNEST", "SELECT"},
	"guard.else-zero":          {"ELSE"},
}

// placeOfWord finds the first of the words that the text holds outside its strings and comments.
func (c *checker) placeOfWord(words []string) problem.Position {
	text := masked(c.sql)
	for _, w := range words {
		if w == "" {
			continue
		}
		found := regexp.MustCompile(`(?i)(^|[^\pL\pN_])(` + regexp.QuoteMeta(w) + `)($|[^\pL\pN_])`).FindStringSubmatchIndex(text)
		if found != nil {
			return sandbox.Place(c.sql, found[4])
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
