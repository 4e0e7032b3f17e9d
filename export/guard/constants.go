package guard

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"weir/internal/problem"
	"weir/sandbox"
)

// A constant that is no value of the type that it is taken for, as in born > '1990-06-31', is an error of the text. The
// engine finds that when the first row comes by, and what it would fail on is rendered as NULL here: the answer would
// be another one than was asked for, without a word. Only the engine knows what it reads as a date, so it is asked, in
// the process that has no data.

// Constants are the casts of constants in a query of which the engine must be asked.
type Constants []constantCast

// constantCast is one of them.
type constantCast struct {
	fits  string // SQL that is true when the constant is a value of the type
	fault *problem.Problem
}

// Asked is what can run a query without data: a planner's process.
type Asked interface {
	Finish(ctx context.Context, q sandbox.Query) (sandbox.Table, error)
}

// mostConstants is how many are looked at in one query of the engine.
const mostConstants = 200

// Hold asks whether the constants are values of their types. The error is a problem with the first one's place that is
// not.
func (all Constants) Hold(ctx context.Context, engine Asked) error {
	for len(all) > 0 {
		some := all[:min(len(all), mostConstants)]
		all = all[len(some):]
		var list []string
		for i, c := range some {
			list = append(list, c.fits+" AS c"+itoa(i))
		}
		table, err := engine.Finish(ctx, sandbox.Query{SQL: "SELECT " + strings.Join(list, ", ")})
		if err != nil {
			return err
		}
		if len(table.Rows) != 1 || len(table.Rows[0]) != len(some) {
			return problem.New("internal").Because(errors.New("constants were not looked at"))
		}
		for i, c := range some {
			if table.Rows[0][i] != true {
				return c.fault
			}
		}
	}
	return nil
}

// casts notes the cast of a constant, unless it is plain that it holds.
func (c *checker) casts(at *expr, v value, to typ) {
	if v.literal == "" || c.assumed != nil || plainly(at.Child, to) {
		return
	}
	t, err := to.sql()
	if err != nil {
		return // which is refused elsewhere
	}
	cast := "TRY_CAST(" + v.literal + " AS " + t + ")"
	if !to.plain() {
		cast = "TRY(" + cast + ")"
	}
	written := v.literal
	if at.Child.Class == "BOUND_CONSTANT" {
		if text, err := at.Child.Value.text(); err == nil {
			written = text
		}
	}
	fault := c.deny(at, "guard.constant", "value", cut(written), "type", strings.ToLower(t))
	if fault.At.Line <= 1 && fault.At.Column <= 1 { // the engine does not say where a constant stands that it casts itself
		for _, form := range []string{quoteText(written), written} {
			if offset := strings.Index(c.sql, form); offset >= 0 {
				fault = fault.Place(sandbox.Place(c.sql, offset))
				break
			}
		}
	}
	fits := "(" + v.literal + " IS NULL OR " + cast + " IS NOT NULL)"
	for _, known := range c.program.Constants {
		if known.fits == fits {
			return
		}
	}
	c.program.Constants = append(c.program.Constants, constantCast{fits, fault})
}

var shortNumber = regexp.MustCompile(`^-?[0-9]{1,9}$`)

// plainly reports whether a constant is a value of the type as everybody writes it: most are, and need not be asked
// about.
func plainly(e *expr, to typ) bool {
	if e.Class != "BOUND_CONSTANT" {
		return false
	}
	if e.Value.Null || e.Value.Type.numeric() && to.holds(e.Value.Type) || to.ID == "VARCHAR" && to.Info == nil {
		return true
	}
	text, err := e.Value.text()
	if err != nil {
		return false
	}
	switch to.ID {
	case "DATE", "TIMESTAMP":
		day, err := time.Parse(time.DateOnly, text)
		return err == nil && day.Year() > 0
	case "INTEGER", "BIGINT", "HUGEINT", "DOUBLE":
		return shortNumber.MatchString(text)
	case "DECIMAL":
		return e.Value.Type.integer() && len(strings.TrimPrefix(text, "-")) <= to.Info.Width-to.Info.Scale
	}
	return false
}

// cut shortens what is shown of a constant.
func cut(text string) string {
	if short := []rune(text); len(short) > 40 {
		return string(short[:40]) + "…"
	}
	return text
}
