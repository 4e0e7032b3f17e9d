package worker

import (
	"io"
	"slices"
	"strings"

	"weir/sandbox/wire"
)

// named finds the declared columns in the rows of a table of texts, by the row that holds the columns' names.
type named struct {
	columns []wire.IntakeColumn
	places  []int // for each declared column, its place in a row
	width   int   // of the row of names
	extra   int
	values  []any
}

// sourceName is what a column is called in the file.
func sourceName(c wire.IntakeColumn) string {
	if c.Source != "" {
		return c.Source
	}
	return c.Name
}

// name reads up to the row of names and finds the declared columns in it. It gives io.EOF as the fault that there is
// no row.
func name(request wire.Intake, record func() ([]string, error)) (*named, error) {
	var header []string
	for range max(request.Read.Header, 1) {
		var err error
		if header, err = record(); err == io.EOF {
			return nil, bad("no-rows")
		}
		if err != nil {
			return nil, err
		}
	}
	header = slices.Clone(header)
	for i := range header {
		header[i] = strings.TrimSpace(header[i])
	}
	t := &named{columns: request.Columns, values: make([]any, len(request.Columns)), width: len(header)}
	for _, c := range request.Columns {
		place := slices.Index(header, sourceName(c))
		if place < 0 {
			return nil, &badFile{wire.BadFile{Kind: missingColumn, Column: c.Name}}
		}
		if slices.Contains(header[place+1:], sourceName(c)) {
			return nil, &badFile{wire.BadFile{Kind: "duplicate-header", Column: c.Name}}
		}
		t.places = append(t.places, place)
	}
	t.extra = len(header) - len(request.Columns)
	return t, nil
}

// row gives the values of a record in the order of the declared columns. The slice is valid until the next call.
func (t *named) row(record []string) ([]any, error) {
	for i, place := range t.places {
		t.values[i] = nil
		if place >= len(record) || record[place] == "" {
			continue
		}
		if !valid(record[place]) {
			return nil, &badFile{wire.BadFile{Kind: "encoding", Column: t.columns[i].Name}}
		}
		t.values[i] = record[place]
	}
	return t.values, nil
}
