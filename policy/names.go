package policy

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// nameLimit is the greatest length of an organisation's name in bytes.
const nameLimit = 200

// scripts are those in which an organisation's name may be written: Chinese characters, Latin letters, and the scripts of
// the country's other languages. Scripts whose letters look like Latin ones are not among them.
var scripts = map[string]*unicode.RangeTable{
	"Han": unicode.Han, "Latin": unicode.Latin, "Tibetan": unicode.Tibetan, "Mongolian": unicode.Mongolian,
	"Arabic": unicode.Arabic, "Hangul": unicode.Hangul, "Yi": unicode.Yi,
}

// punctuation is what may stand in a name beside letters and digits. Dashes, dots and quotes that only look like these
// are not among it.
const punctuation = " -._()&'/,·"

// Tidy is a name as it is written: one form for what different keyboards send for it (NFKC), no spaces around it and
// single ones inside.
func Tidy(name string) string { return strings.Join(strings.Fields(norm.NFKC.String(name)), " ") }

// canonical is what two names share if a person would take one for the other.
func canonical(name string) string { return norm.NFKC.String(cases.Fold().String(Tidy(name))) }

// legible reports whether a tidy name can be taken for no other: letters of one script, Latin ones beside Chinese
// characters excepted (Unicode Technical Standard 39, "highly restrictive"), and nothing that is invisible.
func legible(name string) bool {
	if name == "" || len(name) > nameLimit || !utf8.ValidString(name) {
		return false
	}
	var used []string
	for _, r := range name {
		script := ""
		for candidate, table := range scripts {
			if unicode.Is(table, r) && (unicode.IsLetter(r) || unicode.IsMark(r) || unicode.Is(unicode.Nl, r)) {
				script = candidate
			}
		}
		switch {
		case script != "":
			if !slices.Contains(used, script) {
				used = append(used, script)
			}
		case r >= '0' && r <= '9', strings.ContainsRune(punctuation, r):
		default:
			return false
		}
	}
	slices.Sort(used)
	return len(used) == 1 || slices.Equal(used, []string{"Han", "Latin"})
}
