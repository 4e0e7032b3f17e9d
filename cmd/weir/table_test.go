package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTableStandsUnderItself(t *testing.T) {
	for _, c := range []struct {
		name string
		give table
		want string
	}{
		{"Latin and numbers", table{head: []string{"city", "n"}, rows: [][]string{{"Jilin", "12"}, {"Shanghai", "1234"}}, numeric: []bool{false, true}}, `
city         n
--------  ----
Jilin       12
Shanghai  1234
`},
		{"a Chinese character takes two places", table{head: []string{"区", "人数"}, rows: [][]string{{"船营区", "12"}, {"A区", "7"}}, numeric: []bool{false, true}}, `
区      人数
------  ----
船营区    12
A区        7
`},
		{"full-width forms and marks", table{head: []string{"a", "b"}, rows: [][]string{{"Ａ", "x"}, {"e\u0301", "y"}}}, "\na   b\n--  -\nＡ  x\ne\u0301   y\n"},
		{"no rows", table{head: []string{"n"}}, `
n
-
`},
		{"what a terminal would obey is not printed", table{head: []string{"n"}, rows: [][]string{{"\x1b[2Jx\ny\u202e"}}}, `
n
--------
�[2Jx�y�
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var text strings.Builder
			if err := c.give.write(&text); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(c.want, "\n"), text.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCaretStandsUnderThePlace(t *testing.T) {
	for _, c := range []struct {
		name         string
		sql          string
		line, column int
		want         string
	}{
		{"the first character", "SELECT *", 1, 1, "    SELECT *\n    ^"},
		{"a later line", "SELECT *\nFROM t", 2, 6, "    FROM t\n         ^"},
		{"after Chinese text", "SELECT '船营', x", 1, 14, "    SELECT '船营', x\n                   ^"},
		{"after a tab", "\tx", 1, 2, "        x\n        ^"},
		{"the end of the line", "SELECT", 1, 7, "    SELECT\n          ^"},
		{"beyond the line", "SELECT", 1, 8, ""},
		{"beyond the text", "SELECT", 2, 1, ""},
		{"no text", "", 1, 1, ""},
		{"what a terminal would obey", "a\x1bb", 1, 3, "    a�b\n      ^"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, caret(c.sql, &c.line, &c.column)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
