package city

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
)

// Manifest describes a data set to the platform's intake. It is read here for the header of the CSV file, and in the
// tests; what a manifest may say is for the intake to judge.
type Manifest struct {
	Name     string   `yaml:"name"`
	Title    string   `yaml:"title"`
	Provider string   `yaml:"provider"`
	File     string   `yaml:"file"` // beside the manifest
	Units    []Unit   `yaml:"units"`
	Open     bool     `yaml:"open"`
	Columns  []Column `yaml:"columns"`

	Membership string `yaml:"membership"`
	Frame      string `yaml:"frame"`
}

// Unit is a kind of person or firm, and the column that names one.
type Unit struct {
	Domain string `yaml:"domain"`
	Key    string `yaml:"key"`

	Protect string `yaml:"protect"`
	Rows    int    `yaml:"rows"`
}

// Column is a column as its provider declares it.
type Column struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"`
	Class   string `yaml:"class"`
	Measure *struct {
		Min float64 `yaml:"min"`
		Max float64 `yaml:"max"`
	} `yaml:"measure"`
	Title  string   `yaml:"title"`
	Public bool     `yaml:"public"`
	Values []string `yaml:"values"`
	Cap    float64  `yaml:"cap"`
}

// ParseManifest reads a manifest and refuses fields that it does not know.
func ParseManifest(text []byte) (Manifest, error) {
	var m Manifest
	err := yaml.UnmarshalWithOptions(text, &m, yaml.Strict())
	return m, err
}

// table is a CSV file that is being written. Its header comes from the manifest, so the two cannot differ.
type table struct {
	ctx   context.Context
	file  *os.File
	bytes *bufio.Writer
	csv   *csv.Writer
	width int
	rows  int
}

func create(ctx context.Context, path string, m Manifest) (*table, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	t := &table{ctx: ctx, file: file, bytes: bufio.NewWriterSize(file, 1<<16), width: len(m.Columns)}
	t.csv = csv.NewWriter(t.bytes)
	header := make([]string, len(m.Columns))
	for i, c := range m.Columns {
		header[i] = c.Name
	}
	if err := t.csv.Write(header); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return t, nil
}

// row writes one row; an empty field is NULL.
func (t *table) row(fields ...string) error {
	if len(fields) != t.width {
		return fmt.Errorf("row has %d fields, the manifest %d columns", len(fields), t.width)
	}
	t.rows++
	if t.rows%4096 == 0 {
		if err := t.ctx.Err(); err != nil {
			return err
		}
	}
	return t.csv.Write(fields)
}

func (t *table) close() error {
	t.csv.Flush()
	return errors.Join(t.csv.Error(), t.bytes.Flush(), t.file.Close())
}

// day is a date, counted in days from 1970-01-01.
type day int32

const secondsPerDay = 24 * 60 * 60

func date(year int, month time.Month, d int) day {
	return day(time.Date(year, month, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

func (d day) time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }
func (d day) year() int       { return d.time().Year() }
func (d day) String() string  { return d.time().Format(time.DateOnly) }

// yearsUntil is the number of whole years from d to later.
func (d day) yearsUntil(later day) int {
	from, to := d.time(), later.time()
	years := to.Year() - from.Year()
	if to.Month() < from.Month() || to.Month() == from.Month() && to.Day() < from.Day() {
		years--
	}
	return years
}

// UnmarshalText reads a date as 2006-01-02.
func (d *day) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return errors.New("a date is written as 2006-01-02")
	}
	*d = day(t.Unix() / secondsPerDay)
	return nil
}

func number[N ~int | ~int32 | ~int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// decimal writes x with the given number of digits after the point.
func decimal(x float64, digits int) string { return strconv.FormatFloat(x, 'f', digits, 64) }
