package worker

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"weir/sandbox/wire"
)

// messages maps how the engine begins its message to a kind, where it gives no structured reason. They are of the
// pinned version; the tests hold each of them. What is not listed is "other", which says less but nothing wrong.
var messages = []struct{ begins, kind string }{
	{"memory exhausted", "too-large"},
	{"Max expression depth", "too-large"},
	{"Maximum grouping set count", "too-large"},
	{"pattern too large", "too-large"},
	{"Ambiguous reference", "ambiguous-column"},
	{"Ambiguous column", "ambiguous-column"},
	{"No function matches", "wrong-type"},
	{"Could not choose a best candidate", "wrong-type"},
	{"Cannot mix", "wrong-type"},
	{"Cannot compare", "wrong-type"},
	{"Could not convert", "wrong-type"},
	{"Referenced table", "unknown-table"},
	{"Table with name", "unknown-table"},
	{"Catalog \"", "unknown-table"},
	{"Referenced column", "unknown-column"},
	{"Values list", "unknown-column"},
	{"Set operations can only apply", "set-width"},
	{"GROUP BY clause cannot contain", "aggregate-place"},
	{"WHERE clause cannot contain", "aggregate-place"},
	{"JOIN condition cannot contain", "aggregate-place"},
	{"aggregate function calls cannot be nested", "aggregate-place"},
}

// kinds maps the engine's error types to a kind.
var kinds = map[string]string{
	"parser":        "syntax",
	"conversion":    "wrong-type",
	"mismatch type": "wrong-type",
	"out of memory": "too-large",
	"permission":    "files",
	"io":            "files",

	"extension autoloading": "files",
	"missing extension":     "files",
}

// refusal turns the engine's answer into what may be said: a kind, a place, and the person's own word.
func (s serialized) refusal(text string) wire.Refusal {
	return wire.Refusal{Kind: s.kind(), Name: s.word(), Offset: s.offset(text)}
}

func (s serialized) kind() string {
	for _, m := range messages {
		if strings.HasPrefix(s.Message, m.begins) {
			return m.kind
		}
	}
	switch {
	case strings.HasPrefix(s.Message, `Table "`) && strings.Contains(s.Message, "does not have a column named"):
		return "unknown-column"
	case strings.HasPrefix(s.Message, `Column "`) && strings.Contains(s.Message, "side of join"):
		return "unknown-column"
	case strings.Contains(s.Message, "but it exists in the"): // an extension that nobody may load
		return "files"
	case strings.Contains(s.Message, "expression depth"):
		return "too-large"
	case strings.Contains(s.Message, "must appear in the GROUP BY clause"):
		return "not-grouped"
	case s.Subtype == "COLUMN_NOT_FOUND":
		return "unknown-column"
	case s.Subtype == "MISSING_ENTRY" && strings.Contains(s.Entry, "Function"):
		return "unknown-function"
	case s.Subtype == "MISSING_ENTRY" && s.Entry == "Type":
		return "unknown-type"
	}
	if kind, ok := kinds[s.Type]; ok {
		return kind
	}
	return "other"
}

// word is the name that is at fault: the structured one, the function of a call that does not fit, or a name in double
// quotes: behind the words that say of what it is a column, or else the first. The platform uses it only where the
// person's text holds it.
func (s serialized) word() string {
	if s.Name != "" {
		return s.Name
	}
	if function, _, ok := strings.Cut(s.Call, "("); ok {
		return function
	}
	message := s.Message
	if _, column, ok := strings.Cut(message, "does not have a column named "); ok {
		message = column
	}
	if _, rest, ok := strings.Cut(message, `"`); ok {
		if word, _, ok := strings.Cut(rest, `"`); ok {
			return word
		}
	}
	return ""
}

// offset counts the bytes before the fault. The engine's grammar counts characters, all that comes after it counts
// bytes.
func (s serialized) offset(text string) int {
	n, err := strconv.Atoi(s.Position)
	if err != nil || n < 0 {
		return -1
	}
	if s.Type != "parser" || s.Subtype != "SYNTAX_ERROR" {
		return min(n, len(text))
	}
	for place := range text {
		if n == 0 {
			return place
		}
		n--
	}
	return len(text)
}

// plainSpaces writes every other kind of space, such as the wide one of Chinese keyboards, as so many plain ones as
// it has bytes. The engine does the same with one plain space for each, which would shift all places after it.
// Spaces in quotes stay; a text with backslashes or dollars, by which quotes can be written in other ways, stays
// as it is.
func plainSpaces(text string) string {
	if strings.ContainsAny(text, `\$`) {
		return text
	}
	var plain strings.Builder
	quote := rune(0)
	for _, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case unicode.Is(unicode.Zs, r) || r >= '\u200B' && r <= '\u200D' || r == '\u2060' || r == '\uFEFF':
			plain.WriteString(strings.Repeat(" ", utf8.RuneLen(r)))
			continue
		}
		plain.WriteRune(r)
	}
	return plain.String()
}
