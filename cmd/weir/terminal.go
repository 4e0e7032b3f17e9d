package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
	"golang.org/x/text/message"

	"weir/internal/problem"
)

// terminal is the person at the other end: what they read, in which language, and where their own files are.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	lang     problem.Lang
	printer  *message.Printer
	getenv   func(string) string
	environ  func() []string
	config   func() (string, error) // the folder for a person's settings
	keyboard func() bool            // whether somebody sits at one
	watched  func() bool            // whether somebody watches what is printed beside the output
	pause    func(context.Context, time.Duration) error
	secret   func() (string, error) // reads a line from the keyboard without showing it
}

func stdio() *terminal {
	return &terminal{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv: os.Getenv, environ: os.Environ, config: os.UserConfigDir,
		keyboard: func() bool { return term.IsTerminal(int(os.Stdin.Fd())) },
		watched:  func() bool { return term.IsTerminal(int(os.Stderr.Fd())) },
		pause:    pause,
		secret: func() (string, error) {
			text, err := term.ReadPassword(int(os.Stdin.Fd()))
			return string(text), err
		},
	}
}

// pause waits, or until it is interrupted.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// speak sets the language of everything that is printed from now on.
func (t *terminal) speak(lang problem.Lang) { t.lang, t.printer = lang, printerFor(lang) }

// say prints a line for the person. The English text is the key to its translation.
func (t *terminal) say(text string, args ...any) { fmt.Fprintln(t.out, t.text(text, args...)) }

// note prints a line beside the output, so that the output stays clean for a program.
func (t *terminal) note(text string, args ...any) { fmt.Fprintln(t.err, t.text(text, args...)) }

func (t *terminal) text(text string, args ...any) string {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = printable(s)
		}
	}
	return t.printer.Sprintf(text, args...)
}

// complain prints an error. What went wrong inside is for the operation log; a person reads the problem.
func (t *terminal) complain(err error) {
	var parse *kong.ParseError
	var answered *refusal
	switch {
	case errors.As(err, &parse):
		fmt.Fprintln(t.err, printable(t.usage(err.Error())))
	case errors.As(err, &answered):
		t.explainProblem(answered.Problem, answered.sql)
	default:
		p := problem.Of(err)
		t.explainProblem(plainProblem(p, t.lang), "")
		if cause := p.Unwrap(); cause != nil {
			fmt.Fprintln(t.err, "  ("+printable(t.cause(cause))+")")
		}
	}
}

// password asks for a secret at the keyboard, or reads one line of standard input where there is none.
func (t *terminal) password(prompt string) (string, error) {
	read := func() (string, error) { return firstLine(t.in) }
	if t.keyboard() {
		fmt.Fprint(t.err, t.text(prompt))
		defer fmt.Fprintln(t.err)
		read = t.secret
	}
	secret, err := read()
	switch {
	case err != nil:
		return "", problem.New("cli.no-password").Because(err)
	case secret == "":
		return "", problem.New("cli.no-password")
	}
	return secret, nil
}

// firstLine reads up to the first line feed and not a byte further.
func firstLine(r io.Reader) (string, error) {
	var line strings.Builder
	for one := make([]byte, 1); line.Len() < 4096; {
		n, err := r.Read(one)
		switch {
		case n == 1 && one[0] == '\n', errors.Is(err, io.EOF) && n == 0:
			return strings.TrimSuffix(line.String(), "\r"), nil
		case err != nil && !errors.Is(err, io.EOF):
			return "", err
		}
		line.Write(one[:n])
	}
	return "", errors.New("the line is too long")
}
