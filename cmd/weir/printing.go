package main

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"path/filepath"

	"weir/internal/problem"
)

// printing is how a command prints what it found.
type printing struct {
	Format string `enum:"table,json,csv" default:"table" help:"How the result is printed: table, json or csv."`
	Output string `short:"o" placeholder:"FILE" help:"Write it into this file; one that is there is replaced."`
	BOM    bool   `name:"bom" help:"Begin CSV with a byte order mark, by which spreadsheets know UTF-8."`
}

// run has something printed where it is wanted. A file is replaced in one step, and only by something: what came to
// nothing leaves the old one. Only its owner may read it.
func (p *printing) run(t *terminal, print func() error) (err error) {
	screen := t.out
	defer func() { t.out = screen }()
	var file *os.File
	if p.Output != "" {
		if file, err = os.CreateTemp(filepath.Dir(p.Output), ".weir-*"); err != nil {
			return problem.New("cli.cannot-write").Because(err)
		}
		defer os.Remove(file.Name())
		t.out = file
	}
	if p.BOM && p.Format == "csv" {
		t.out = &marked{to: t.out}
	}
	err = print()
	var said status
	if file == nil || err != nil && !errors.As(err, &said) {
		return err
	}
	info, wrong := file.Stat()
	if wrong = errors.Join(wrong, file.Sync(), file.Close()); wrong == nil && info.Size() > 0 {
		wrong = os.Rename(file.Name(), p.Output)
	}
	if wrong != nil {
		return problem.New("cli.cannot-write").Because(wrong)
	}
	return err
}

// list prints a list: what the platform said as JSON, or a table of it.
func (p *printing) list(t *terminal, said any, shown table) error {
	return p.run(t, func() error {
		switch p.Format {
		case "json":
			return writeJSON(t.out, said)
		case "csv":
			return shown.writeCSV(t.out)
		}
		return shown.write(t.out)
	})
}

// marked writes a byte order mark before the first byte.
type marked struct {
	to    io.Writer
	begun bool
}

// Write writes on, after the mark.
func (m *marked) Write(text []byte) (int, error) {
	if !m.begun && len(text) > 0 {
		m.begun = true
		if _, err := io.WriteString(m.to, "\ufeff"); err != nil {
			return 0, err
		}
	}
	return m.to.Write(text)
}

func (t *table) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	for _, row := range append([][]string{t.head}, t.rows...) {
		record := make([]string, len(row))
		for i, cell := range row {
			record[i] = problem.PlainCell(cell)
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
