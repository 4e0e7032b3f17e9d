package main

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"weir/internal/problem"
)

// figures are what was released, or is to be: rows with every digit as the platform wrote it.
type figures struct {
	Columns  []string            `json:"columns"`
	Types    []string            `json:"types,omitempty"`
	Rows     [][]json.RawMessage `json:"rows"`
	Errors   [][]json.RawMessage `json:"errors,omitempty"`
	Withheld bool                `json:"withheld"`
	Sources  []string            `json:"sources,omitempty"`
}

// print shows the rows to a person, or to a program as CSV, and beside them what must be known of them.
func (f *figures) print(t *terminal, format string) error {
	for _, row := range f.Rows {
		if len(row) != len(f.Columns) {
			return problem.New("cli.strange-answer")
		}
	}
	if err := f.placeErrors(format != "csv"); err != nil {
		return err
	}
	write := f.writeTable
	if format == "csv" {
		write = f.writeCSV
	}
	if err := write(t.out); err != nil {
		return err
	}
	if len(f.Errors) > 0 && format != "csv" {
		t.note("± says how far noise may have moved a figure, in 95 of 100 cases.")
	}
	if f.Withheld {
		t.note("Something was withheld, because it would have shown too few units.")
	}
	if len(f.Sources) > 0 {
		t.note("Source: %s", strings.Join(f.Sources, "; "))
	}
	return nil
}

// placeErrors adds a column of error bounds for each column that carries noise: for a person right behind it, for a
// program behind all others, so that these keep their places.
func (f *figures) placeErrors(behind bool) error {
	if len(f.Errors) == 0 {
		return nil
	}
	if len(f.Errors) != len(f.Rows) {
		return problem.New("cli.strange-answer")
	}
	noisy := make([]bool, len(f.Columns))
	for _, bounds := range f.Errors {
		if len(bounds) != len(f.Columns) {
			return problem.New("cli.strange-answer")
		}
		for i, bound := range bounds {
			noisy[i] = noisy[i] || string(bound) != "0"
		}
	}
	with := figures{Rows: make([][]json.RawMessage, len(f.Rows))}
	column := func(name string, from [][]json.RawMessage, i int) {
		with.Columns = append(with.Columns, name)
		for at := range from {
			with.Rows[at] = append(with.Rows[at], from[at][i])
		}
	}
	for _, bounds := range f.Errors {
		for i, bound := range bounds {
			if behind && string(bound) == "null" {
				bounds[i] = json.RawMessage("?") // stands to the right, as a number would
			}
		}
	}
	for i, name := range f.Columns {
		if column(name, f.Rows, i); noisy[i] && behind {
			column("±", f.Errors, i)
		}
	}
	for i, name := range f.Columns {
		if noisy[i] && !behind {
			column("±"+name, f.Errors, i)
		}
	}
	f.Columns, f.Rows = with.Columns, with.Rows
	return nil
}

// writeTable sets a column to the right when every value in it is a number.
func (f *figures) writeTable(w io.Writer) error {
	rows := table{head: f.Columns, numeric: slices.Repeat([]bool{len(f.Rows) > 0}, len(f.Columns))}
	for _, row := range f.Rows {
		cells := make([]string, len(row))
		for i, value := range row {
			shown, isNumber := cell(value)
			cells[i] = shown
			rows.numeric[i] = rows.numeric[i] && isNumber
		}
		rows.add(cells...)
	}
	return rows.write(w)
}

// cell gives a JSON value as a person reads it, and whether it is set to the right: a number is, and so is the
// absence of one.
func cell(value json.RawMessage) (string, bool) {
	text := string(value)
	if text == "null" {
		return "NULL", true
	}
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s, false
	}
	return text, text != "true" && text != "false"
}

// writeCSV writes RFC 4180. A text that a spreadsheet would take for a formula is kept from being one.
func (f *figures) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	header := make([]string, len(f.Columns))
	for i, name := range f.Columns {
		header[i] = problem.PlainCell(name)
	}
	if err := out.Write(header); err != nil {
		return err
	}
	for _, row := range f.Rows {
		record := make([]string, len(row))
		for i, value := range row {
			shown, isNumber := cell(value)
			switch {
			case shown == "NULL" && isNumber:
				shown = ""
			case !isNumber:
				shown = problem.PlainCell(shown)
			}
			record[i] = shown
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
