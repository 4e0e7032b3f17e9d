package sandbox

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir/internal/problem"
	"weir/sandbox/wire"
)

// readingOptions is what a manifest says about the text of its file; see wire.Reading.
type readingOptions struct {
	Delimiter string   `yaml:"delimiter,omitempty"`
	Header    *int     `yaml:"header,omitempty"`
	Decimal   string   `yaml:"decimal,omitempty"`
	Thousands string   `yaml:"thousands,omitempty"`
	Currency  []string `yaml:"currency,omitempty"`
	FullWidth bool     `yaml:"full_width,omitempty"`
	Nulls     []string `yaml:"nulls,omitempty"`
	Dates     []string `yaml:"dates,omitempty"`
	Trim      bool     `yaml:"trim,omitempty"`
	Total     string   `yaml:"total,omitempty"`
	Sheet     string   `yaml:"sheet,omitempty"`
	Path      string   `yaml:"path,omitempty"`
}

// delimiters are the marks that may stand between the fields of CSV, by their names in a manifest.
var delimiters = map[string]string{"": "", ",": ",", ";": ";", "|": "|", "\t": "\t", "tab": "\t"}

const (
	maxMarks  = 50   // of currencies, of null marks, of forms of dates
	maxMark   = 32   // bytes of one
	maxHeader = 1000 // rows down to the names
)

var (
	dateForm = regexp.MustCompile(`^(?:YYYY|YY|MM?|DD?|hh|mm|ss|[-/. :T年月日时分秒])+$`)
	jsonPath = regexp.MustCompile(`^[^.]+(?:\.[^.]+){0,7}$`)
)

// check holds what is said to what can be meant, and to the format of the file.
func (r *readingOptions) check(format string) *problem.Problem {
	wrong := func(field, allowed string) *problem.Problem {
		return problem.New("intake.bad-reading", "field", "read."+field, "allowed", allowed)
	}
	text := format == "csv" || format == "xlsx"
	_, known := delimiters[strings.ToLower(r.Delimiter)]
	switch {
	case !known || r.Delimiter != "" && format != "csv":
		return wrong("delimiter", `"," ";" "|" tab (CSV)`)
	case r.Header != nil && (*r.Header < 1 || *r.Header > maxHeader || !text):
		return wrong("header", "1–"+strconv.Itoa(maxHeader)+" (CSV, XLSX)")
	case !slices.Contains([]string{"", ".", ","}, r.Decimal):
		return wrong("decimal", `"." ","`)
	case !slices.Contains([]string{"", ".", ",", " ", "'", "\u00a0", "\u202f", "，"}, r.Thousands) || r.Thousands != "" && r.Thousands == r.point():
		return wrong("thousands", `"," "." " " "'"`)
	case !marks(r.Currency) || slices.Contains(r.Currency, ""):
		return wrong("currency", "≤ "+strconv.Itoa(maxMarks))
	case !marks(r.Nulls):
		return wrong("nulls", "≤ "+strconv.Itoa(maxMarks))
	case !marks(r.Dates) || slices.ContainsFunc(r.Dates, func(form string) bool { return !dateForm.MatchString(form) || !strings.Contains(form, "YY") }):
		return wrong("dates", "YYYY YY MM M DD D hh mm ss")
	case r.Total != "" && r.Total != "skip":
		return wrong("total", "skip")
	case r.Sheet != "" && format != "xlsx" || len(r.Sheet) > 4*maxMark:
		return wrong("sheet", "XLSX")
	case r.Path != "" && (format != "json" || len(r.Path) > 512 || !jsonPath.MatchString(r.Path)):
		return wrong("path", "a.b.c (JSON)")
	}
	return nil
}

func (r readingOptions) point() string {
	if r.Decimal == "" {
		return "."
	}
	return r.Decimal
}

func marks(list []string) bool {
	return len(list) <= maxMarks && !slices.ContainsFunc(list, func(s string) bool { return len(s) > maxMark || !utf8.ValidString(s) })
}

func (r readingOptions) wire() wire.Reading {
	w := wire.Reading{
		Delimiter: delimiters[strings.ToLower(r.Delimiter)], Decimal: r.Decimal, Thousands: r.Thousands, Currency: r.Currency,
		FullWidth: r.FullWidth, Nulls: r.Nulls, Dates: r.Dates, Trim: r.Trim, SkipTotal: r.Total == "skip", Sheet: r.Sheet, Path: r.Path,
	}
	if r.Header != nil {
		w.Header = *r.Header
	}
	return w
}
