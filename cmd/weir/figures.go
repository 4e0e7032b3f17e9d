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
	write := f.writeTable
	if format == "csv" {
		write = f.writeCSV
	}
	if err := write(t.out); err != nil {
		return err
	}
	if f.Withheld {
		t.note("Something was withheld, because it would have shown too few units.")
	}
	if len(f.Sources) > 0 {
		t.note("Source: %s", strings.Join(f.Sources, "; "))
	}
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
	if err := out.Write(f.Columns); err != nil {
		return err
	}
	for _, row := range f.Rows {
		record := make([]string, len(row))
		for i, value := range row {
			shown, isNumber := cell(value)
			if shown == "NULL" && isNumber {
				shown = ""
			}
			if !isNumber && shown != "" && strings.ContainsRune("=+-@\t\r", rune(shown[0])) {
				shown = "'" + shown
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
