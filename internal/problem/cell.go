package problem

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// PlainCell sets a text of a CSV file off by an apostrophe where a spreadsheet would take it for a formula. Spreadsheets
// pass over space and characters that are not seen, and take full-width signs for their narrow ones.
func PlainCell(text string) string {
	seen := strings.TrimLeftFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	})
	controls := strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "\r") || strings.HasPrefix(text, "\n")
	if controls || seen != "" && strings.ContainsRune("=+-@", []rune(width.Narrow.String(string([]rune(seen)[:1])))[0]) {
		return "'" + text
	}
	return text
}
