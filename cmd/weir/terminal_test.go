package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"weir/internal/problem"
)

// testing is a terminal whose output a test reads, with a settings folder of its own and nobody at the keyboard.
type recorded struct {
	*terminal
	out, err *bytes.Buffer
}

func testTerminal(t testing.TB, lang problem.Lang) recorded {
	t.Helper()
	folder := t.TempDir()
	out, err := &bytes.Buffer{}, &bytes.Buffer{}
	term := &terminal{
		in: strings.NewReader(""), out: out, err: err,
		getenv:   func(string) string { return "" },
		environ:  func() []string { return nil },
		config:   func() (string, error) { return folder, nil },
		keyboard: func() bool { return false },
		watched:  func() bool { return false },
		pause:    func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	term.speak(lang)
	return recorded{term, out, err}
}
