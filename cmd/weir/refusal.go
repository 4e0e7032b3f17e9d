package main

import (
	"fmt"
	"net/http"
	"strings"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

// refusal is a problem that the platform answered with, beside the SQL that it is about, if it is about any.
type refusal struct {
	client.Problem
	sql string
}

func (r *refusal) Error() string { return r.Code + ": " + r.Detail }

// denies reports whether the platform refused what was asked, rather than failing at it or not knowing who asks.
func (r *refusal) denies() bool {
	switch r.Status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// plainProblem gives a problem of our own the form in which a server's arrives.
func plainProblem(p *problem.Problem, lang problem.Lang) client.Problem {
	text := p.In(lang)
	plain := client.Problem{Code: p.Code, Status: p.Status(), Title: text.Title, Detail: text.Detail, Help: text.Help}
	if p.At.Line > 0 {
		plain.Line, plain.Column = &p.At.Line, &p.At.Column
	}
	return plain
}

// explainProblem prints a problem: what kind it is, what was wrong and where, what to do instead, and its code.
func (t *terminal) explainProblem(p client.Problem, sql string) {
	fmt.Fprintln(t.err, printable(p.Title))
	fmt.Fprintln(t.err, "  "+printable(p.Detail))
	if mark := caret(sql, p.Line, p.Column); mark != "" {
		fmt.Fprintln(t.err, mark)
	}
	if p.Help != "" {
		fmt.Fprintln(t.err, "  "+printable(p.Help))
	}
	fmt.Fprintln(t.err, "  ["+printable(p.Code)+"]"+morePages(p.Code))
}

// morePages says how the page of a message is read here, unless the platform has a code that this program does not know.
func morePages(code string) string {
	if _, entries := problem.Codes(); entries[code].Status == 0 {
		return ""
	}
	return " weir docs errors " + code
}

// caret shows a line of the SQL with a mark under one of its characters. Places are counted from 1, columns in
// characters.
func caret(sql string, line, column *int) string {
	if sql == "" || line == nil || column == nil {
		return ""
	}
	text := strings.Split(sql, "\n")
	if *line < 1 || *line > len(text) {
		return ""
	}
	shown := []rune(strings.TrimSuffix(text[*line-1], "\r"))
	if *column < 1 || *column > len(shown)+1 {
		return ""
	}
	before := lines(string(shown[:*column-1]))
	return "    " + lines(string(shown)) + "\n    " + strings.Repeat(" ", cellsOf(before)) + "^"
}
