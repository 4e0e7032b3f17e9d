// Package export decides what leaves.
//
// Cells come in from a workspace beside the evidence for them; the Filter checks the evidence again, withholds
// what fails, perturbs where the grant says so, and makes the one value that may be shown to an analyst: a
// Released. In exact mode that value waits in the Queue until an officer, who never belongs to an operator, has
// released it (order 286 of Jinan, art. 15; implementation plan of Jilin City, s. 8(3)).
//
// It must never show which cells were withheld or how many, never let a value through whose evidence is missing,
// and never make a Released before its outcome is on the log.
package export

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"weir/internal/problem"
	"weir/sandbox"
)

// State is where a result stands.
type State string

// The states of a result. The empty state is not one of them and encodes as denied.
const (
	StateReleased State = "released"
	StateWaiting  State = "waiting" // for an officer
	StateDenied   State = "denied"
	StateFailed   State = "failed"
)

// LogIndex is the place of a job's outcome on the audit log. Having one is the condition for a release.
type LogIndex int64

// Released is what an analyst may see of a query. Only this package can make one that holds a table: its fields
// are unexported, and the zero value is a denial.
type Released struct {
	id       string
	state    State
	code     string
	reason   *problem.Problem
	names    []string
	types    []string
	rows     [][]any
	errors   [][]any // an error bound for each value; nil where the values are exact
	noisy    []bool  // by column
	withheld bool
	sources  []string
	log      LogIndex
	took     time.Duration
	lang     problem.Lang
}

// Denied is the result of a query that was refused or failed. It never holds a table.
func Denied(id string, why error, took time.Duration) Released {
	p := problem.Of(why)
	state := StateDenied
	if p.Status() >= 500 || p.Code == "sandbox.job-failed" {
		state = StateFailed
	}
	return Released{id: id, state: state, code: p.Code, reason: p, took: took}
}

// ID is the job's number.
func (r Released) ID() string { return r.id }

// State is where the result stands. The zero value is denied.
func (r Released) State() State {
	if r.state == "" {
		return StateDenied
	}
	return r.state
}

// In gives the same result with its messages in another language.
func (r Released) In(lang problem.Lang) Released { r.lang = lang; return r }

// Page gives one of the pages of so many rows that a released table has, and how many there are. They are counted from
// 1; one beyond the last has no rows. The order of rows is the one in which they were released.
func (r Released) Page(number, rows int) (page Released, pages int) {
	pages = max(1, (len(r.rows)+rows-1)/rows)
	if number > pages {
		r.rows, r.errors = nil, nil
		return r, pages
	}
	begin, end := (number-1)*rows, min(number*rows, len(r.rows))
	r.rows = r.rows[begin:end]
	if r.errors != nil {
		r.errors = r.errors[begin:end]
	}
	return r, pages
}

// Withheld reports whether something was left out; never what.
func (r Released) Withheld() bool { return r.withheld }

// encoded is the result as a machine reads it.
type encoded struct {
	ID       string    `json:"id,omitempty"`
	State    State     `json:"state"`
	Code     string    `json:"code,omitempty"`
	Message  string    `json:"message,omitempty"`
	Help     string    `json:"help,omitempty"`
	Line     int       `json:"line,omitempty"`
	Column   int       `json:"column,omitempty"`
	Columns  []string  `json:"columns"`
	Types    []string  `json:"types"`
	Rows     [][]any   `json:"rows"`
	Errors   [][]any   `json:"errors,omitempty"` // for each value, how far it may be off in 95 of 100 cases; null: not known
	Withheld bool      `json:"withheld"`
	Sources  []string  `json:"sources,omitempty"` // products name the source of their data
	Log      *LogIndex `json:"log,omitempty"`
	MS       int64     `json:"ms"`
}

// MarshalJSON encodes the result. Without a state it is a denial, and only a released one has rows.
func (r Released) MarshalJSON() ([]byte, error) {
	e := encoded{ID: r.id, State: r.State(), Code: r.code, Columns: []string{}, Types: []string{}, Rows: [][]any{}, MS: r.took.Milliseconds()}
	reason := r.reason
	if r.state == "" {
		e.Code, reason = "export.denied", problem.New("export.denied")
	}
	if reason != nil {
		text := reason.In(r.lang)
		e.Message, e.Help, e.Line, e.Column = text.Detail, text.Help, reason.At.Line, reason.At.Column
	}
	if r.state == StateReleased {
		e.Columns, e.Types, e.Withheld, e.Sources = r.names, r.types, r.withheld, r.sources
		if len(r.rows) > 0 {
			e.Rows, e.Errors = r.rows, r.errors
		}
		e.Log = &r.log
	}
	return json.Marshal(e)
}

// WriteCSV writes a released table as CSV (RFC 4180) with a header; NULL is an empty field. The error bounds of columns
// that carry noise follow behind all columns, as ±name; an empty one is not known. Cells that a
// spreadsheet would take for a formula are set off by an apostrophe.
func (r Released) WriteCSV(w io.Writer) error {
	if r.state != StateReleased {
		return problem.New("export.not-released")
	}
	out := csv.NewWriter(w)
	noisy := r.noisyColumns()
	header := make([]string, 0, len(r.names)+len(noisy))
	for _, name := range r.names { // one may begin with a minus, as the expression that it stands for
		header = append(header, cellText(name))
	}
	for _, i := range noisy {
		header = append(header, "±"+r.names[i])
	}
	if err := out.Write(header); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	for at, row := range r.rows {
		line := make([]string, len(row), len(header))
		for i, v := range row {
			line[i] = cellText(v)
		}
		for _, i := range noisy {
			line = append(line, cellText(r.errors[at][i]))
		}
		if err := out.Write(line); err != nil {
			return fmt.Errorf("write row: %w", err)
		}
	}
	out.Flush()
	return out.Error()
}

// noisyColumns are the columns that carry noise.
func (r Released) noisyColumns() (list []int) {
	for i, noisy := range r.noisy {
		if noisy {
			list = append(list, i)
		}
	}
	return list
}

func cellText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return problem.PlainCell(v)
	default:
		return fmt.Sprint(v)
	}
}

// stored is a result as it is kept.
type stored struct {
	Names    []string `json:"names"`
	Types    []string `json:"types"`
	Rows     [][]any  `json:"rows"`
	Errors   [][]any  `json:"errors,omitempty"`
	Noisy    []bool   `json:"noisy,omitempty"`
	Withheld bool     `json:"withheld"`
	Sources  []string `json:"sources"`
	Log      LogIndex `json:"log"`
	TookMS   int64    `json:"took_ms"`
}

func columnsOf(names []string, t sandbox.Table) (types []string) {
	for i := range names {
		types = append(types, t.Columns[i].Type)
	}
	return types
}
