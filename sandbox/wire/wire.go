// Package wire is what the platform and its worker processes say to each other: a request in a frame, then a
// reply in a frame, over two pipes that nobody else holds.
//
// It stands apart from the sandbox because the worker links it too, and the worker must link neither the store
// nor anything else of the platform. Each side treats the other as hostile: a frame has a size limit before it
// is read, JSON that holds more than it should is an error, and what a reply claims is checked by its reader.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	strict "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// File descriptors of the worker: requests come in, replies go out.
const (
	RequestFD = 3
	ReplyFD   = 4
)

// The modes of a worker: a process has one for its whole life.
const (
	ModePlan   = "plan"   // reads people's text, holds no data
	ModeJob    = "job"    // holds granted data, reads no people's text
	ModeIntake = "intake" // parses one provider's file
)

// Exit statuses of a worker that entered and could not go on. What it could not say cannot be told in another way.
const (
	EndMode     = 3 + iota // it was to serve in a mode that it does not know
	EndProgress            // it could not tell how far it is
	EndReply               // it could not reply
	EndBody                // it could not send what was to follow its reply
	EndBuild               // the platform is of another build
)

// Ends says what the statuses mean, for the operation log.
var Ends = map[int]string{
	EndMode: "an unknown mode", EndProgress: "its progress could not be sent", EndReply: "its reply could not be sent",
	EndBody: "what follows its reply could not be sent", EndBuild: "the platform is of another build",
}

// MaxRequest is the most bytes that a request may have.
const MaxRequest = 64 << 20

// ErrTooLarge is a frame that is larger than its reader or writer allows.
var ErrTooLarge = errors.New("frame too large")

// Column is a column of a table, with the engine's name for its type.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Table is a result. A value is nil, bool, string or json.Number.
type Table struct {
	Columns []Column `json:"columns"`
	Rows    [][]any  `json:"rows"`
}

// Named is a table under the name by which a query reads it.
type Named struct {
	Name  string `json:"name"`
	Table Table  `json:"table"`
}

// Check reports whether the table is what a table must be: rows as wide as its columns, plain values in them.
func (t Table) Check() error {
	for i, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return fmt.Errorf("row %d has %d values for %d columns", i, len(row), len(t.Columns))
		}
		for _, value := range row {
			switch value.(type) {
			case nil, bool, string, json.Number:
			default:
				return fmt.Errorf("row %d holds a %T", i, value)
			}
		}
	}
	return nil
}

// Request is one thing to do. Exactly one field is set.
type Request struct {
	Build  *Build  `json:"build,omitempty"`  // the platform says its build and asks for the worker's
	Open   *Open   `json:"open,omitempty"`   // first of all, for a planner or a job
	Create *Create `json:"create,omitempty"` // planner, once
	Attach *Attach `json:"attach,omitempty"` // job, once
	Bind   *Bind   `json:"bind,omitempty"`   // planner
	Query  *Query  `json:"query,omitempty"`  // planner without data, or job
	Keep   *Keep   `json:"keep,omitempty"`   // job that may make files
	Intake *Intake `json:"intake,omitempty"` // intake, its only request
}

// Open starts the engine.
type Open struct {
	Memory  int64 `json:"memory"` // bytes that the engine may use
	Threads int   `json:"threads"`
	Rows    int   `json:"rows"`            // most rows of a result
	Bytes   int64 `json:"bytes"`           // most bytes of a reply
	Keeps   bool  `json:"keeps,omitempty"` // job: it will make tables, in the memory that it has for files
}

// Create makes the empty tables that a planner knows. It comes apart from Open, so that a planner can be started
// before it is known what for.
type Create struct {
	Tables []Schema `json:"tables"`
}

// Attach opens the files that a job is shown. It comes apart from Open, so that a job can be started before it is known what for.
type Attach struct {
	Files []File `json:"files"`
}

// Schema is a data set as the planner knows it: a name and typed columns, no rows.
type Schema struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"`
}

// File is a data set's file as the job attaches it, by its path in the job's own root.
type File struct {
	Alias string `json:"alias"`
	Path  string `json:"path"`
}

// Bind asks for the bound plan of a text that a person wrote.
type Bind struct {
	SQL string `json:"sql"`
}

// Query is SQL of ours, with the tables that it reads besides.
type Query struct {
	SQL    string  `json:"sql"`
	Tables []Named `json:"tables,omitempty"`
}

// Keep asks to make a table of the result of a query, in a database of its own, of which the bytes follow the reply.
type Keep struct {
	Query Query    `json:"query"`
	Units []string `json:"units,omitempty"` // columns of which the most rows with one value are wanted
}

// Kept is a table that was made.
type Kept struct {
	Bytes    int64    `json:"bytes"` // that follow
	Rows     int64    `json:"rows"`
	Columns  []Column `json:"columns"`
	MostRows []int64  `json:"most_rows"` // for each unit column
}

// Reply answers a request. Exactly one field is set, or none where there is nothing to say. Before the answer to a
// query there may be replies with Progress.
type Reply struct {
	Build   *Build   `json:"build,omitempty"`
	Failure *Failure `json:"failure,omitempty"`
	Bound   *Bound   `json:"bound,omitempty"`
	Table   *Table   `json:"table,omitempty"`
	Kept    *Kept    `json:"kept,omitempty"`
	Taken   *Taken   `json:"taken,omitempty"`

	Progress int `json:"progress,omitempty"` // of the query that runs, in percent: from 1 to 100, and each time more

	// Body is what the sender writes after the frame; how long it is stands in the reply.
	Body io.ReadCloser `json:"-"`
}

// Failure is why a request failed. Class is one of a few fixed words and never the engine's own text, which can
// hold values of the data.
type Failure struct {
	Class  string   `json:"class"`
	Text   *Refusal `json:"text,omitempty"`   // the fault lies in the person's text
	Intake *BadFile `json:"intake,omitempty"` // the fault lies in the provider's file
}

// Refusal is a fault in a person's text.
type Refusal struct {
	Kind   string `json:"kind"`           // the last part of a code "sql.…"
	Name   string `json:"name,omitempty"` // the person's own word that is at fault
	Offset int    `json:"offset"`         // bytes before the fault, or -1
}

// Bound is a text as the engine understood it.
type Bound struct {
	Bytes int64    `json:"bytes"` // of the plan, which follows as the engine wrote it
	Names []string `json:"names"`
	Types []string `json:"types"`
}

// Send writes one frame: four bytes of length, most significant first, then JSON.
func Send(w io.Writer, message any, limit int64) error {
	var buffer bytes.Buffer
	buffer.Write(make([]byte, 4))
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	size := int64(buffer.Len() - 4)
	if size > limit || size > 1<<31 {
		return ErrTooLarge
	}
	frame := buffer.Bytes()
	binary.BigEndian.PutUint32(frame, uint32(size))
	_, err := w.Write(frame)
	return err
}

// Stream copies exactly size bytes, which follow a reply that announced them. It uses no more than reading and
// writing: what copies inside the kernel a worker may not call.
func Stream(w io.Writer, r io.Reader, size int64) error {
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{io.LimitReader(r, size)}, make([]byte, max(1, min(size, 1<<20))))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Receive reads one frame of at most limit bytes. It gives io.EOF only where the other side ended between frames.
func Receive(r io.Reader, message any, limit int64) error {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(header[:]))
	if size > limit {
		return ErrTooLarge
	}
	// The buffer grows with what really arrives, so a frame that only claims to be large costs nothing.
	var buffer bytes.Buffer
	if n, err := io.Copy(&buffer, io.LimitReader(r, size)); err != nil {
		return err
	} else if n < size {
		return io.ErrUnexpectedEOF
	}
	if err := strict.Unmarshal(buffer.Bytes(), message, strict.RejectUnknownMembers(true), rows); err != nil {
		return fmt.Errorf("decode frame: %v", err) // not wrapped: an empty frame is not the end
	}
	return nil
}

// rows reads a table's rows: plain values, numbers with all their digits.
var rows = strict.WithUnmarshalers(strict.UnmarshalFromFunc(func(from *jsontext.Decoder, rows *[][]any) error {
	if from.PeekKind() == 'n' { // there are none
		return from.SkipValue()
	}
	if err := begin(from); err != nil {
		return err
	}
	*rows = [][]any{}
	width := 0
	for from.PeekKind() == '[' {
		if err := begin(from); err != nil {
			return err
		}
		row := make([]any, 0, width)
		for from.PeekKind() != ']' {
			v, err := plain(from)
			if err != nil {
				return err
			}
			row = append(row, v)
		}
		if _, err := from.ReadToken(); err != nil {
			return err
		}
		*rows, width = append(*rows, row), len(row)
	}
	end, err := from.ReadToken()
	if err == nil && end.Kind() != ']' {
		err = errTable
	}
	return err
}))

var errTable = errors.New("a table holds what it may not")

// begin reads the beginning of a list.
func begin(from *jsontext.Decoder) error {
	token, err := from.ReadToken()
	if err == nil && token.Kind() != '[' {
		err = errTable
	}
	return err
}

func plain(from *jsontext.Decoder) (any, error) {
	token, err := from.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case jsontext.KindNumber:
		return json.Number(token.String()), nil
	case jsontext.KindString:
		return token.String(), nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return token.Bool(), nil
	case jsontext.KindNull:
		return nil, nil
	}
	return nil, errTable
}

// Classes are the words for a failure; what is not among them is not repeated by the platform.
var Classes = []string{
	"request out of place", TooManyRows, TooLarge, "value of a type that does not travel",
	"malformed table", "out of range", "conversion", "division by zero", "object size", "catalog", "parser",
	"binder", "invalid input", OutOfMemory, "permission", "input or output", "constraint", "internal", "fatal",
	"interrupted", "not implemented", "engine", "worker", "text", "file", NoRoom,
}

// The classes of failures that may be told where no protected data is.
const (
	TooManyRows = "too many rows"
	TooLarge    = "result too large"
	OutOfMemory = "out of memory"
)

// NoRoom is the class of a table to keep that is larger than the memory for it.
const NoRoom = "no room"
