package sandbox

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/internal/problem"
)

// kinds are the faults that a planner may find in a text. Another word of its is "other".
var kinds = []string{
	"syntax", "unknown-table", "unknown-column", "unknown-function", "unknown-type", "wrong-type", "ambiguous-column", "not-grouped",
	"aggregate-place", "set-width", "files", "not-a-select", "several-statements", "parameter", "too-large", "other",
}

// Place gives line and column, in characters, of the place that has the given number of bytes before it. The
// positions in a plan are such numbers. A number outside the text gives no place.
func Place(sql string, bytes int) problem.Position {
	if bytes < 0 || bytes > len(sql) {
		return problem.Position{}
	}
	before := sql[:bytes]
	start := strings.LastIndexByte(before, '\n') + 1
	return problem.Position{
		Line:   strings.Count(before, "\n") + 1,
		Column: utf8.RuneCountInString(before[start:]) + 1,
	}
}

// checkText refuses what is no text of reasonable size, before any process sees it. A NUL would end the text for
// one part of the engine and not for another.
func checkText(sql string) *problem.Problem {
	if len(sql) > MaxText {
		return tooLarge(nil)
	}
	if !utf8.ValidString(sql) {
		return problem.New("sql.not-text")
	}
	for i, r := range sql {
		if unicode.IsControl(r) && !strings.ContainsRune("\t\n\r", r) {
			return problem.New("sql.not-text").Place(Place(sql, i))
		}
	}
	return nil
}

func tooLarge(cause error) *problem.Problem { return problem.New("sql.too-large").Because(cause) }

// ownWord gives the name if it is one that the text holds, on one line and at most 64 characters long.
func ownWord(sql, name string) string {
	if name == "" || !strings.Contains(strings.ToLower(sql), strings.ToLower(name)) {
		return "?"
	}
	runes := []rune(name)
	if slices.ContainsFunc(runes, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "?"
	}
	return string(runes[:min(len(runes), 64)])
}
