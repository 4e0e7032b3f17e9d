package main

import (
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// table prints rows in columns that stand under each other on a terminal, where a Chinese character takes the room
// of two Latin ones (Unicode Standard Annex #11).
type table struct {
	head []string
	rows [][]string
	// numeric says which columns are set to the right.
	numeric []bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.head))
	lines := make([][]string, 0, len(t.rows)+2)
	lines = append(lines, t.head, nil)
	lines = append(lines, t.rows...)
	for n, line := range lines {
		for i := range line {
			lines[n][i] = printable(line[i])
			widths[i] = max(widths[i], cellsOf(line[i]))
		}
	}
	rule := make([]string, len(widths))
	for i, n := range widths {
		rule[i] = strings.Repeat("-", n)
	}
	lines[1] = rule
	var text strings.Builder
	for _, line := range lines {
		text.WriteString(strings.TrimRight(t.join(line, widths), " "))
		text.WriteByte('\n')
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func (t *table) join(line []string, widths []int) string {
	var text strings.Builder
	for i, cell := range line {
		if i > 0 {
			text.WriteString("  ")
		}
		gap := strings.Repeat(" ", widths[i]-cellsOf(cell))
		if i < len(t.numeric) && t.numeric[i] {
			text.WriteString(gap + cell)
		} else {
			text.WriteString(cell + gap)
		}
	}
	return text.String()
}

// cellsOf counts the places that a text takes on a terminal.
func cellsOf(text string) int {
	n := 0
	for _, r := range text {
		switch kind := width.LookupRune(r).Kind(); {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// printable takes out what a terminal would obey instead of show: control characters, and those that turn the
// direction of text. What a server or a file says must not be able to rewrite what a person reads.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// lines is printable for a text of several lines.
func lines(text string) string {
	parts := strings.Split(strings.ReplaceAll(text, "\t", "    "), "\n")
	for i, p := range parts {
		parts[i] = printable(p)
	}
	return strings.Join(parts, "\n")
}
