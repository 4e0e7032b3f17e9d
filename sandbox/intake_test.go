package sandbox

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"

	"weir/internal/problem"
	"weir/policy"
)

// intakeCase is a case of testdata/intake/*.yaml: a file, made as the case says, and what must come of it.
type intakeCase struct {
	What     string
	Manifest *string  // whole; without it, the usual one
	Read     string   // what it says about how the file is read
	Encoding string   // declared in the usual manifest
	Types    []string // of columns c0, c1, … that replace n and s in the usual manifest
	Format   string   // the file's extension; csv without it
	Content  string   // of the file,
	RowText  string   `yaml:"row text"` // and after it this, with a counter,
	Times    int      // so often,
	Tail     string   // and this;
	As       string   // in this encoding
	Parquet  string   // or a file of testdata/intake,
	Cut      *int     // cut to so many bytes

	Code   string // the problem, with what it names
	Row    int
	Line   int
	Column string

	Rows       int64 // or what was taken in
	Undeclared int
	Unique     []bool
	Hash       string // cases with the same word here have the same content
	Values     [][]any
}

func (c intakeCase) write(t *testing.T, dir string) (manifest string) {
	t.Helper()
	format := c.Format
	if format == "" {
		format = "csv"
	}
	content := []byte(c.Content)
	for i := range c.Times {
		if strings.Contains(c.RowText, "%d") {
			content = fmt.Appendf(content, c.RowText, i)
		} else {
			content = append(content, c.RowText...)
		}
	}
	content = bytes.ReplaceAll(append(content, c.Tail...), []byte("¿"), []byte("\xFF"))
	var err error
	switch c.As {
	case "gb18030":
		content, err = simplifiedchinese.GB18030.NewEncoder().Bytes(content)
	case "big5":
		content, err = traditionalchinese.Big5.NewEncoder().Bytes(content)
	case "latin-1":
		content, err = charmap.ISO8859_1.NewEncoder().Bytes(content)
	case "utf-16":
		content, err = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Bytes(content)
	}
	if c.Parquet != "" {
		content, err = os.ReadFile(filepath.Join("testdata/intake", c.Parquet))
	}
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case strings.HasSuffix(format, ".gz"):
		content = compressed(t, content)
	case format == "xlsx":
		content = spreadsheet(t, string(content))
	}
	if c.Cut != nil {
		content = content[:*c.Cut]
	}
	text := c.usual(format)
	if c.Manifest != nil {
		text = *c.Manifest
	}
	manifest = filepath.Join(dir, "t.yaml")
	for name, content := range map[string][]byte{manifest: []byte(text), filepath.Join(dir, "data."+format): content} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return manifest
}

func (c intakeCase) usual(format string) string {
	columns := "  - {name: n, type: INTEGER, class: quasi, measure: {min: 0, max: 50000}}\n  - {name: s, type: text, class: open}\n"
	if c.Types != nil {
		columns = ""
		for i, name := range c.Types {
			columns += fmt.Sprintf("  - {name: c%d, type: \"%s\", class: quasi}\n", i, name)
		}
	}
	return "name: t\nfile: data." + format + "\nencoding: \"" + c.Encoding + "\"\nread: {" + c.Read + "}\nunits: [{domain: person, key: id}]\n" +
		"columns:\n  - {name: id, type: text, class: identifier}\n" + columns
}

func compressed(t *testing.T, content []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// spreadsheet makes a workbook of lines with fields. A field that is a number becomes one, and one that is a date a day.
func spreadsheet(t *testing.T, lines string) []byte {
	t.Helper()
	book := excelize.NewFile()
	defer book.Close()
	for i, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		for j, field := range strings.Split(line, ",") {
			cell, err := excelize.CoordinatesToCellName(j+1, i+1)
			if err != nil {
				t.Fatal(err)
			}
			var value any = field
			if day, err := time.Parse(time.DateOnly, field); err == nil {
				value = day
			} else if number, err := strconv.ParseFloat(field, 64); err == nil {
				value = number
			} else if field == "" {
				continue
			}
			if err := book.SetCellValue("Sheet1", cell, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	var made bytes.Buffer
	if err := book.Write(&made); err != nil {
		t.Fatal(err)
	}
	return made.Bytes()
}

func TestIntakeCases(t *testing.T) {
	files, err := filepath.Glob("testdata/intake/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	hashes := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []intakeCase
		if err := yaml.UnmarshalWithOptions(content, &cases, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml")+"/"+c.What, func(t *testing.T) {
				v := vault(t)
				taken, err := v.Intake(t.Context(), c.write(t, t.TempDir()))
				if c.Code != "" {
					c.mustRefuse(t, v, err)
					return
				}
				if err != nil {
					t.Fatal(cause(err))
				}
				approve(t, v, taken.Dataset)
				c.mustHold(t, v, taken)
				if c.Hash != "" {
					if known, ok := hashes[c.Hash]; ok && known != taken.Dataset.Hash {
						t.Errorf("hash %s, but %s for the same content elsewhere", taken.Dataset.Hash, known)
					}
					hashes[c.Hash] = taken.Dataset.Hash
				}
			})
		}
	}
}

func (c intakeCase) mustRefuse(t *testing.T, v *Vault, err error) {
	t.Helper()
	p := problem.Of(err)
	if err == nil || p.Code != c.Code {
		t.Fatalf("got %s", cause(err))
	}
	if strings.HasPrefix(p.Code, "intake.bad-yaml") && c.Line > 0 {
		if p.At.Line != c.Line {
			t.Errorf("at %+v", p.At)
		}
		return
	}
	var want []string
	if c.Row > 0 {
		want = append(want, fmt.Sprintf("row %d", c.Row))
	}
	if c.Line > 0 {
		want = append(want, fmt.Sprintf("line %d", c.Line))
	}
	if c.Column != "" {
		want = append(want, `"`+c.Column+`"`)
	}
	if p.Status() == 422 {
		want = append(want, "data.")
	}
	detail := p.In(problem.English).Detail
	for _, words := range want {
		if !strings.Contains(detail, words) && !(strings.HasPrefix(words, "line") && !strings.Contains(detail, "line")) {
			t.Errorf("%q does not name %s", detail, words)
		}
	}
	for _, text := range []string{detail, p.In(problem.Chinese).Detail, cause(err)} {
		if strings.Contains(text, "Geheim") || strings.Contains(text, "{") {
			t.Errorf("a value or a hole in %q", text)
		}
	}
	if rest := left(t, v); len(rest) > 0 {
		t.Errorf("left behind: %q", rest)
	}
	if all, err := v.Datasets(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("visible: %v %v", all, err)
	}
}

func (c intakeCase) mustHold(t *testing.T, v *Vault, taken Intake) {
	t.Helper()
	d := taken.Dataset
	var unique []bool
	for _, u := range d.Units {
		unique = append(unique, u.Unique)
	}
	if d.Rows != c.Rows || taken.Undeclared != c.Undeclared || !slices.Equal(unique, c.Unique) {
		t.Errorf("took %d rows, left %d columns out, unique %v", d.Rows, taken.Undeclared, unique)
	}
	if c.Values == nil {
		return
	}
	s, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	if err != nil {
		t.Fatal(cause(err))
	}
	defer s.Close()
	got, err := s.Query(t.Context(), Query{SQL: `SELECT * EXCLUDE ("__unit_0", "__short_0") FROM "ds_t"."main"."data"`})
	if err != nil {
		t.Fatal(cause(err))
	}
	for i, column := range d.Columns {
		gap := slices.ContainsFunc(got.Rows, func(row []any) bool { return row[i] == nil })
		if column.Present == gap {
			t.Errorf("column %s is said to be present: %v", column.Name, column.Present)
		}
	}
	for _, row := range got.Rows {
		for i, value := range row {
			switch value := value.(type) {
			case bool:
				row[i] = fmt.Sprint(value)
			case json.Number:
				row[i] = value.String()
			}
		}
	}
	if diff := cmp.Diff(c.Values, got.Rows); diff != "" {
		t.Error(diff)
	}
}
