package worker

import (
	"errors"
	"io"
	"slices"

	"weir/sandbox/wire"
)

// missingColumn is the one fault that is of no row.
const missingColumn = "missing-column"

// ofOneRow reports whether a source can go on behind a fault that it found.
func ofOneRow(err error) bool {
	var fault *badFile
	return errors.As(err, &fault) && slices.Contains([]string{"wrong-width", "encoding"}, fault.Kind) && fault.Row == 0
}

// faults are all that is wrong with a file: how often each kind is met in each column, and where first.
type faults struct{ found []wire.BadFile }

// add counts a fault of a file in a row. It reports whether the error is one.
func (f *faults) add(err error, row, line int64) bool {
	var fault *badFile
	if !errors.As(err, &fault) {
		return false
	}
	for i := range f.found {
		if f.found[i].Kind == fault.Kind && f.found[i].Column == fault.Column {
			f.found[i].Count++
			return true
		}
	}
	first := wire.BadFile{Kind: fault.Kind, Column: fault.Column, Count: 1}
	if fault.Kind != missingColumn {
		first.Row, first.Line = row, line
	}
	f.found = append(f.found, first)
	return true
}

func (f *faults) any() bool { return len(f.found) > 0 }

// report gives the faults as one: the first, and the others with it.
func (f *faults) report() error {
	first := f.found[0]
	first.More = f.found[1:min(len(f.found), maxFaults)]
	return &badFile{first}
}

// maxFaults is how many kinds of fault are told, so that the reply stays small.
const maxFaults = 100

// lastHeld gives the rows of a source, and holds each back until it is known whether it is the last one. A last row
// with totals is left out where that is wanted, and a fault otherwise.
type lastHeld struct {
	source source
	skip   bool
	look   bool // rows may be of totals

	held   []any
	fault  error
	line   int64
	loaded bool
	at     int64 // line of the row that next gave
}

func (l *lastHeld) next() ([]any, error) {
	if !l.loaded {
		l.load()
	}
	row, err := l.held, l.fault
	l.at = l.line
	if err != nil && !ofOneRow(err) {
		return nil, err
	}
	l.load()
	if l.fault == io.EOF && l.look && isTotal(row) {
		if l.skip {
			return nil, io.EOF
		}
		return nil, bad("total-row")
	}
	return row, err
}

func (l *lastHeld) load() {
	l.held, l.fault = l.source.next()
	l.line, l.loaded = l.source.line(), true
}
