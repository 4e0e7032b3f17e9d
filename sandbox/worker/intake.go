package worker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/sandbox/wire"
)

// newIntake serves a process that parses one provider's file into a new database: every declared column under its
// own name, and a hidden column for each unit key.
func newIntake() handler {
	done := false
	return func(request wire.Request) (wire.Reply, int64) {
		if done || request.Intake == nil {
			return failed(errProtocol), smallReply
		}
		done = true
		taken, err := take(context.Background(), *request.Intake)
		var fault *badFile
		switch {
		case errors.As(err, &fault):
			return wire.Reply{Failure: &wire.Failure{Class: "file", Intake: &fault.BadFile}}, smallReply
		case err != nil:
			return failed(err), smallReply
		}
		body, size, err := takeOut(request.Intake.Output)
		if err != nil {
			return failed(err), smallReply
		}
		taken.Bytes = size
		return wire.Reply{Taken: taken, Body: body}, smallReply
	}
}

// badFile is a fault of the file. It holds no value of it.
type badFile struct{ wire.BadFile }

func (e *badFile) Error() string { return "file: " + e.Kind }

func bad(kind string) *badFile { return &badFile{wire.BadFile{Kind: kind}} }

// source gives the rows of a file, as values in the order of the declared columns. A value is nil, bool, string,
// json.Number, or one of the engine's. It ends with io.EOF; the slice is valid until the next call.
type source interface {
	next() ([]any, error)
	line() int64     // of the row that next gave, where the file has lines
	undeclared() int // columns that were left out; known after the last row
}

// flushEvery is a row group of the engine.
const flushEvery = 122_880

func take(ctx context.Context, request wire.Intake) (*wire.Taken, error) {
	connector, err := duckdb.NewConnector(request.Output, nil)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	e := &engine{conn: conn}
	statements := append(append([]string{}, extensionsOff...), limits(request.Memory, request.Threads)...)
	statements = append(statements,
		fmt.Sprintf("SET allowed_paths = [%s, %s]", literal(inputPath), literal(request.Output+".wal")),
		"SET enable_external_access = false",
		"SET lock_configuration = true",
		createData(request), "BEGIN")
	if err := e.run(ctx, statements...); err != nil {
		return nil, err
	}
	// The first connection is busy with the appender while the second reads.
	reading, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	input, err := os.Open(inputPath)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	rows, err := open(ctx, reading, input, request)
	if err != nil {
		return nil, err
	}
	taken, err := fillData(conn, request, readAhead(rows))
	if err != nil {
		return nil, err
	}
	if err := e.run(ctx, "COMMIT"); err != nil {
		return nil, err
	}
	if taken.Units, err = weighUnits(ctx, conn, request, taken.Rows); err != nil {
		return nil, err
	}
	if taken.Full, err = fullColumns(ctx, conn, request); err != nil {
		return nil, err
	}
	if err := quality(ctx, conn, request, taken); err != nil {
		return nil, err
	}
	if err := e.run(ctx, "CHECKPOINT"); err != nil {
		return nil, err
	}
	return taken, errors.Join(reading.Close(), conn.Close(), db.Close())
}

func createData(request wire.Intake) string {
	var columns []string
	for _, c := range request.Columns {
		columns = append(columns, quote(c.Name)+" "+c.Type)
	}
	for i := range request.Units {
		columns = append(columns, fmt.Sprintf("__unit_%d UBIGINT NOT NULL", i), fmt.Sprintf("__short_%d INTEGER NOT NULL", i))
	}
	return "CREATE TABLE data (" + strings.Join(columns, ", ") + ")"
}

func open(ctx context.Context, conn *sql.Conn, input *os.File, request wire.Intake) (source, error) {
	switch request.Format {
	case "csv":
		return openCSV(input, request)
	case "json":
		return openJSON(input, request)
	case "parquet":
		if err := checkPages(input); err != nil {
			return nil, err
		}
		return openParquet(ctx, conn, request)
	case "xlsx":
		return openSheet(input, request)
	}
	return nil, errProtocol
}

// fillData converts and checks every row and appends it, as long as there is no fault. All faults are told at once.
func fillData(conn *sql.Conn, request wire.Intake, rows source) (*wire.Taken, error) {
	taken := &wire.Taken{}
	filler := newFiller(request)
	found := &faults{}
	err := conn.Raw(func(c any) error {
		appender, err := duckdb.NewAppender(c.(*duckdb.Conn), "", "", "data")
		if err != nil {
			return err
		}
		defer appender.Close()
		whole := &lastHeld{source: rows, skip: request.Read.SkipTotal, look: request.Format != "parquet"}
		for {
			values, err := whole.next()
			if err == io.EOF {
				break
			}
			taken.Rows++
			if err != nil && !found.add(err, taken.Rows, whole.at) {
				return err
			}
			if err != nil && !ofOneRow(err) {
				break
			}
			if err != nil {
				continue
			}
			for _, fault := range filler.row(values) {
				found.add(fault, taken.Rows, whole.at)
			}
			if found.any() {
				continue // nothing of the file will be taken in; what else is wrong?
			}
			if err := appender.AppendRow(filler.out...); err != nil {
				return err
			}
			if taken.Rows%flushEvery == 0 {
				if err := appender.Flush(); err != nil {
					return err
				}
			}
		}
		if found.any() {
			return nil
		}
		return appender.Flush()
	})
	if err != nil {
		return nil, err
	}
	if found.any() {
		return nil, found.report()
	}
	if taken.Rows == 0 {
		return nil, bad("no-rows")
	}
	taken.Undeclared, taken.Present = rows.undeclared(), filler.present
	taken.Hash = hex.EncodeToString(filler.hash.Sum(nil))
	return taken, nil
}

// filler turns the values of a row into what is appended, and keeps the content's hash.
type filler struct {
	columns []wire.IntakeColumn
	convert []converter
	listed  []map[string]bool // by column, the values that it may hold; nil: any
	reading reading
	units   []unit
	keys    []bool // by column, whether it is a unit key
	out     []driver.Value
	texts   []string
	hash    hash.Hash
	buffer  []byte
	present []bool // by column, whether every row so far has a value
}

func newFiller(request wire.Intake) *filler {
	f := &filler{
		columns: request.Columns,
		out:     make([]driver.Value, len(request.Columns)+2*len(request.Units)),
		texts:   make([]string, len(request.Columns)),
		hash:    sha256.New(),
		present: slices.Repeat([]bool{true}, len(request.Columns)),
		reading: newReading(request.Read),
		keys:    make([]bool, len(request.Columns)),
	}
	for _, c := range request.Columns {
		f.convert = append(f.convert, converterFor(c, f.reading.forms))
		f.listed = append(f.listed, listed(c))
		f.digest(c.Name, true)
		f.digest(c.Type, true)
	}
	for _, u := range request.Units {
		f.units = append(f.units, newUnit(request.Secret, u))
		f.keys[u.Column] = true
	}
	return f
}

func listed(c wire.IntakeColumn) map[string]bool {
	if c.Values == nil {
		return nil
	}
	list := map[string]bool{}
	for _, value := range c.Values {
		list[value] = true
	}
	return list
}

// row converts one row, and gives what is wrong with it. The hash covers each value's one canonical text, with its length, in
// order.
func (f *filler) row(values []any) (found []error) {
	fault := func(kind string, column int) {
		found = append(found, &badFile{wire.BadFile{Kind: kind, Column: f.columns[column].Name}})
	}
	for i, value := range values {
		value = f.reading.value(value, f.columns[i].Type)
		if value == nil {
			f.out[i], f.texts[i], f.present[i] = nil, "", false
			f.digest("", false)
			continue
		}
		typed, text, kind := f.convert[i](value)
		if kind == "" && f.listed[i] != nil && !f.listed[i][text] {
			kind = "not-listed"
		}
		if written, ok := value.(string); ok && f.keys[i] && damagedKey(written) {
			kind = "damaged-key"
		}
		if kind != "" {
			fault(kind, i)
			continue
		}
		f.out[i], f.texts[i] = typed, text
		f.digest(text, true)
	}
	if found != nil {
		return found
	}
	for i, u := range f.units {
		key := ""
		if f.out[u.column] != nil {
			key = normalize(f.texts[u.column])
		}
		if key == "" {
			fault("empty-key", u.column)
			continue
		}
		name := u.of(key)
		f.out[len(values)+2*i], f.out[len(values)+2*i+1] = name, short(name)
	}
	return found
}

func (f *filler) digest(text string, present bool) {
	f.buffer = f.buffer[:0]
	if present {
		f.buffer = binary.AppendUvarint(f.buffer, uint64(len(text))+1)
		f.buffer = append(f.buffer, text...)
	} else {
		f.buffer = append(f.buffer, 0)
	}
	f.hash.Write(f.buffer)
}
