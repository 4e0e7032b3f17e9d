package guard

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/internal/problem"
)

const maxName = 64 // characters

// columnNames settles what the result's columns are called. A name is short and plain, or the analyst's text
// could carry a message of its own through the header. Names that the engine made up from the text are shortened
// where they are not plain; a name that the analyst wrote is refused.
func columnNames(sql string, names []string) ([]string, error) {
	out := make([]string, len(names))
	seen := map[string]int{}
	for i, name := range names {
		switch {
		case plainName(name):
		case writtenByAnalyst(sql, name):
			return nil, problem.New("guard.column-name", "number", itoa(i+1))
		case plainCall(name):
		default:
			name = "column_" + itoa(i+1)
		}
		seen[name]++
		if n := seen[name]; n > 1 {
			name += "_" + itoa(n)
		}
		out[i] = name
	}
	return out, nil
}

func plainName(s string) bool {
	if s == "" || utf8.RuneCountInString(s) > maxName {
		return false
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_ %（）()/-", r) {
			return false
		}
	}
	return true
}

// plainCall accepts what the engine calls a column like count(*): letters, digits and the signs of a call.
func plainCall(s string) bool {
	if s == "" || utf8.RuneCountInString(s) > maxName {
		return false
	}
	for _, r := range s {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_ ()*+-/,.", r) {
			return false
		}
	}
	return true
}

// writtenByAnalyst reports whether the name stands between quotes in the text, as only an alias can.
func writtenByAnalyst(sql, name string) bool {
	return strings.Contains(sql, quoteName(name)) || strings.Contains(sql, quoteText(name))
}

func itoa(n int) string { return strconv.Itoa(n) }
