package main

import (
	"fmt"
	"io"
	"strings"

	"weir/internal/problem"
)

type docsCommand struct {
	Errors docsErrorsCommand `cmd:"" help:"Write the page of messages."`
}

type docsErrorsCommand struct{}

// Run writes the page of every message that a person can meet, from the rooms' own catalogues.
func (d *docsErrorsCommand) Run(t *terminal) error { return writeMessages(t.out) }

func writeMessages(w io.Writer) error {
	var page strings.Builder
	page.WriteString(`# Messages · 消息

Every error that Weir shows a person has a code that stays the same, says what was wrong, and says what to do instead.
Words in braces stand for names and limits. This page is made by ` + "`make docs`" + ` from the catalogues of the rooms.

`)
	codes, entries := problem.Codes()
	for _, code := range codes {
		fmt.Fprintf(&page, "- [`%s`](#%s) %s · %s\n", code, anchor(code), entries[code].English.Title, entries[code].Chinese.Title)
	}
	for _, code := range codes {
		e := entries[code]
		fmt.Fprintf(&page, "\n## `%s`\n\n**%s · %s** (HTTP %d)\n", code, e.English.Title, e.Chinese.Title, e.Status)
		fmt.Fprintf(&page, "\n%s %s\n\n%s%s\n", e.English.Detail, e.English.Help, e.Chinese.Detail, e.Chinese.Help)
		if e.Example != "" {
			fmt.Fprintf(&page, "\n```sql\n%s\n```\n", strings.TrimSpace(e.Example))
		}
		if e.Instead != "" {
			fmt.Fprintf(&page, "\nInstead · 可改为\n\n```sql\n%s\n```\n", strings.TrimSpace(e.Instead))
		}
	}
	_, err := io.WriteString(w, page.String())
	return err
}

// anchor is the fragment that a Markdown renderer gives to a heading with the code in it.
func anchor(code string) string {
	return strings.ReplaceAll(code, ".", "")
}
