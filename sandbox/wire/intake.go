package wire

import "fmt"

// Intake asks to read the provider's file, the one that is shown, into a new database.
type Intake struct {
	Format   string         `json:"format"`             // csv, json, parquet or xlsx
	Encoding string         `json:"encoding,omitempty"` // utf-8, gb18030, utf-16, latin-1 or big5; empty: found out
	Gzip     bool           `json:"gzip,omitempty"`     // the file is compressed (RFC 1952)
	Read     Reading        `json:"read"`
	Output   string         `json:"output"` // path of the database to make, in the worker's root; it must not exist
	Memory   int64          `json:"memory"`
	Threads  int            `json:"threads"`
	Secret   []byte         `json:"secret"` // keys the hashes of units
	Columns  []IntakeColumn `json:"columns"`
	Units    []IntakeUnit   `json:"units,omitempty"`
}

// Reading says how the text of a file is to be understood. Its zero value is a table with one line of names, commas between
// fields, points in decimals, and ISO dates.
type Reading struct {
	Delimiter string   `json:"delimiter,omitempty"`  // between the fields of CSV; empty: a comma
	Header    int      `json:"header,omitempty"`     // the row that holds the names, counted from 1; 0: the first
	Decimal   string   `json:"decimal,omitempty"`    // mark in front of a fraction; empty: a point
	Thousands string   `json:"thousands,omitempty"`  // mark between groups of digits; empty: there is none
	Currency  []string `json:"currency,omitempty"`   // signs around numbers that mean nothing
	FullWidth bool     `json:"full_width,omitempty"` // digits and signs of numbers and dates may be full-width
	Nulls     []string `json:"nulls,omitempty"`      // texts that say that there is no value
	Dates     []string `json:"dates,omitempty"`      // forms of dates and times, by YYYY MM M DD D hh mm ss; nil: the usual
	Trim      bool     `json:"trim,omitempty"`       // spaces around a text do not count
	SkipTotal bool     `json:"skip_total,omitempty"` // a last row with totals is no data
	Sheet     string   `json:"sheet,omitempty"`      // of a spreadsheet; empty: the first
	Path      string   `json:"path,omitempty"`       // to the list of rows in JSON, names with points between; empty: the whole
}

// IntakeColumn is a declared column, with its bounds where it is a measure.
type IntakeColumn struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Source string   `json:"source,omitempty"` // its name in the file; empty: the same. In JSON, names with points between
	Min    *float64 `json:"min,omitempty"`
	Max    *float64 `json:"max,omitempty"`

	Values []string `json:"values,omitempty"` // all that it may hold, as the engine writes them; nil: anything
	Cap    float64  `json:"cap,omitempty"`    // the most that one unit counts for in sums of it; 0: not stated

	Measure bool `json:"measure,omitempty"` // a measure: each unit is held to its cap, or to one that is proposed
	Total   bool `json:"total,omitempty"`   // a whole or decimal measure: the greatest total of one unit is wanted
}

// IntakeUnit is a unit key: the column at this place names a unit of this domain.
type IntakeUnit struct {
	Domain string `json:"domain"`
	Column int    `json:"column"`
	Rows   int64  `json:"rows,omitempty"` // the most rows that one unit counts for; 0: not stated

	Protect string `json:"protect"` // yes, size or no

	// Held are the caps that were proposed for an earlier version and approved with it, by measure, or for the number of
	// rows under "". They hold where the manifest states none: a cap that followed the rows of each version would let one
	// unit move the noise of every answer.
	Held map[string]float64 `json:"held,omitempty"`
}

// Protected is the protection of a unit of which everything is protected.
const Protected = "yes"

// Taken is what an intake found.
type Taken struct {
	Bytes      int64       `json:"bytes"` // of the new database; they follow
	Rows       int64       `json:"rows"`
	Hash       string      `json:"hash"`           // SHA-256 of the rows in their order, hex
	Units      []TakenUnit `json:"units"`          // for each unit key
	Present    []bool      `json:"present"`        // for each declared column, whether every row has a value
	Full       []string    `json:"full,omitempty"` // columns whose totals were wanted and that no row leaves out or has a zero in
	Undeclared int         `json:"undeclared"`     // columns of the file that were left out
	Quality    []Quality   `json:"quality"`        // of each declared column
	Duplicates int64       `json:"duplicates"`     // rows that are the same as another, in all declared columns
}

// Quality is what a provider may want to know of a column.
type Quality struct {
	Empty    int64 `json:"empty"`    // rows without a value
	Distinct int64 `json:"distinct"` // different values, about
}

// TakenUnit is what an intake found about the units of one key.
type TakenUnit struct {
	Units  int64              `json:"units"`            // how many there are
	Most   int64              `json:"most"`             // rows of the unit that has most
	Totals map[string]float64 `json:"totals,omitempty"` // by column: the greatest total of one unit's sizes

	Rows Cap            `json:"rows"`           // how many rows a unit counts for
	Caps map[string]Cap `json:"caps,omitempty"` // by measure: how much of it
}

// Cap is what each unit was held to. Where a protected unit is beyond it, the database has a column of weights for its rows.
type Cap struct {
	Most     float64 `json:"most"`
	Beyond   int     `json:"beyond"`   // units beyond it, in per cent, rounded up
	Proposed bool    `json:"proposed"` // the manifest states none
}

// WeightColumn is the name of the column that holds the weights of rows by which the units of a key are held to their cap
// of a measure, or of rows where the measure is empty.
func WeightColumn(key int, measure string) string {
	if measure == "" {
		return fmt.Sprintf("__weight_%d", key)
	}
	return fmt.Sprintf("__weight_%d_%s", key, measure)
}

// BadFile is a fault in a provider's file: where it is and of which kind, and never the value.
type BadFile struct {
	Kind   string `json:"kind"`             // the last part of a code "intake.…"
	Row    int64  `json:"row,omitempty"`    // counted from 1, without the header; 0: no row
	Line   int64  `json:"line,omitempty"`   // line of a text file, counted from 1; 0: not known
	Column string `json:"column,omitempty"` // a declared column

	Count int64     `json:"count,omitempty"` // how many there are of this kind in this column; Row and Line are of the first
	More  []BadFile `json:"more,omitempty"`  // faults of other kinds or columns, in the order in which they were met
}
