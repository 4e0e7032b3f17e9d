package guard

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/internal/problem"
)

const (
	maxName       = 64 // characters of a name that the analyst wrote
	maxExpression = 60 // of an expression that stands for a name
)

// columnNames settles what the result's columns are called: an alias, a column of the data set, or the expression as the
// engine prints it, which follows from the text alone. An alias is short and plain, or the analyst's text could carry a
// message of its own through the header, and one that is not is refused.
func columnNames(sql string, names []string, columns map[string]bool) ([]string, error) {
	out := make([]string, len(names))
	seen := map[string]int{}
	for i, name := range names {
		switch {
		case plainName(name), columns[name] && printable(name):
		case writtenByAnalyst(sql, name):
			return nil, problem.New("guard.column-name", "number", itoa(i+1))
		default:
			name = shortened(name)
		}
		seen[name]++
		if n := seen[name]; n > 1 {
			name += "_" + itoa(n)
		}
		out[i] = name
	}
	return out, nil
}

// plainName accepts letters, digits, signs of units and money, and few marks, none of them at the beginning where a
// spreadsheet would take the name for a formula.
func plainName(s string) bool {
	if s == "" || utf8.RuneCountInString(s) > maxName || strings.ContainsRune("-+=@", rune(s[0])) {
		return false
	}
	for _, r := range s {
		if !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.So, unicode.Sc) && !strings.ContainsRune("_ %（）()/-.·、：:<>≤≥～~°‰#&+", r) {
			return false
		}
	}
	return true
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.In(r, unicode.Zl, unicode.Zp) })
}

// shortened is an expression as a name: on one line, and cut.
func shortened(s string) string {
	one := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if runes := []rune(one); len(runes) > maxExpression {
		one = string(runes[:maxExpression])
	}
	if one == "" {
		return "_"
	}
	return one
}

// writtenByAnalyst reports whether the name stands between quotes in the text, as only an alias can.
func writtenByAnalyst(sql, name string) bool {
	return strings.Contains(sql, quoteName(name)) || strings.Contains(sql, quoteText(name))
}

func itoa(n int) string { return strconv.Itoa(n) }
