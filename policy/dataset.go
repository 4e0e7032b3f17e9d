package policy

import (
	"fmt"
	"slices"
)

// Class says what a column may reveal (disclosure model, "Words"). A column without a class does not exist for
// an analyst: unlabelled means denied.
type Class string

// The classes of columns.
const (
	Identifier Class = "identifier" // names a unit directly: number, name, phone
	Quasi      Class = "quasi"      // helps to single out: birth date, street, occupation
	Sensitive  Class = "sensitive"  // what one must not learn: diagnosis, debt, marital history
	FreeText   Class = "text"       // free text: may be counted and nothing else
	OpenClass  Class = "open"       // no protected meaning
	Measure    Class = "measure"    // a number that may be summed
)

// Classes lists every class, the strictest first.
var Classes = []Class{Identifier, FreeText, Sensitive, Quasi, Measure, OpenClass}

// Membership says whether the world may know of which units a data set has rows. It is meant of rows: where it is public,
// so is how many rows each unit has.
type Membership string

// The memberships of a data set with units. One that is not stated is secret.
const (
	MembershipSecret Membership = "secret" // that a unit is in it tells something: patients, borrowers
	MembershipPublic Membership = "public" // a register of everybody: all residents, all firms
)

// Protection says how much of a unit is protected.
type Protection string

// The protections of a unit, the strictest first. One that is not stated is Protected.
const (
	Protected     Protection = "yes"  // all of it
	ProtectedSize Protection = "size" // its magnitudes alone; presence and activity are public, as of agencies
	Unprotected   Protection = "no"   // nothing: its reviewers say that the domain needs none
)

// Protections lists every protection, the strictest first.
var Protections = []Protection{Protected, ProtectedSize, Unprotected}

// Bounds are the least and greatest value that a measure can take. A missing bound is nil.
type Bounds struct {
	Min *float64 `yaml:"min" json:"min,omitempty"`
	Max *float64 `yaml:"max" json:"max,omitempty"`
}

// Column is one column of a data set as its provider declared it.
type Column struct {
	Name  string  `yaml:"name" json:"name"`
	Type  string  `yaml:"type" json:"type"` // as the engine writes it, e.g. INTEGER, DECIMAL(12,2), VARCHAR, DATE
	Class Class   `yaml:"class" json:"class"`
	Bound *Bounds `yaml:"measure" json:"measure,omitempty"` // set: the column is a measure besides its class
	Title Title   `yaml:"title" json:"title,omitzero"`

	// Source is the column's name in the provider's file, where it is another; in JSON a path of names with points between.
	Source string `yaml:"source" json:"source,omitempty"`

	// Public says that what the column holds of each unit is no secret. Only a column of class quasi or open can be, and
	// where the data set's membership is secret it is of no use: which rows there are is a secret then. See PublicColumn.
	Public bool `yaml:"public" json:"public,omitempty"`

	// Values are all values that the column can have, as the engine writes them; nil where they are not stated.
	Values []string `yaml:"values" json:"values,omitempty"`

	// Cap is the most that one unit counts for in sums of this measure; 0 where it is not stated. The bounds are of one row.
	Cap float64 `yaml:"cap" json:"cap,omitempty"`

	// Found at intake: whether every row has a value, and, of whole and decimal measures, whether none of them is zero either.
	Present bool `yaml:"-" json:"present,omitempty"`
	Full    bool `yaml:"-" json:"full,omitempty"`

	// Origin is set in tables of a workspace: the measure that a column holds, by the name that its noise is drawn under.
	Origin string `yaml:"-" json:"origin,omitempty"`
}

// IsMeasure reports whether the column may be an aggregate's argument.
func (c Column) IsMeasure() bool {
	return c.Class != Identifier && c.Class != FreeText && (c.Class == Measure || c.Bound != nil)
}

// Unit is the person or firm that is protected: a domain of units, and the column that names one of it.
type Unit struct {
	Domain string `yaml:"domain" json:"domain"`
	Key    string `yaml:"key" json:"key"`
	Unique bool   `yaml:"-" json:"unique"` // no unit has two rows; found at intake

	Rows    int64      `yaml:"rows" json:"rows,omitempty"`       // the most rows that one unit counts for; 0 where it is not stated
	Protect Protection `yaml:"protect" json:"protect,omitempty"` // empty: Protected; see Protection

	Hashed bool `yaml:"-" json:"short_hashes,omitempty"` // a column beside the units' names holds the hashes of them that are added up

	// How much one unit has at most, found at intake; 0 where it is not known. They speak of single units, so nobody is shown them.
	Most   int64              `yaml:"-" json:"most,omitempty"`   // rows
	Totals map[string]float64 `yaml:"-" json:"totals,omitempty"` // by whole or decimal measure, the sizes of its values added up

	// What one unit counts for in this version; see CapOf.
	RowCap Cap            `yaml:"-" json:"row_cap,omitzero"`
	Caps   map[string]Cap `yaml:"-" json:"caps,omitempty"` // by measure
}

// Protection gives how much of the unit is protected, all of it unless stated otherwise.
func (u Unit) Protection() Protection {
	if u.Protect == "" {
		return Protected
	}
	return u.Protect
}

// Dataset is one version of a data set, as catalogued and taken into the vault.
type Dataset struct {
	Name     string   `yaml:"name" json:"name"`
	Title    Title    `yaml:"title" json:"title"`
	Provider string   `yaml:"provider" json:"provider"`
	Units    []Unit   `yaml:"units" json:"units,omitempty"`
	Open     bool     `yaml:"open" json:"open"` // declared to hold no protected data
	Columns  []Column `yaml:"columns" json:"columns"`

	Membership Membership `yaml:"membership" json:"membership,omitempty"` // empty: MembershipSecret; see PublicMembership
	Frame      string     `yaml:"frame" json:"frame,omitempty"`           // a data set of public membership that has every unit of this one; empty: none
	Size       int64      `yaml:"size" json:"size,omitempty"`             // how many units it has, as its provider tells everybody, by RoundedDown; 0: untold

	Version int    `yaml:"-" json:"version"`
	Rows    int64  `yaml:"-" json:"-"` // exact, so never shown to an analyst; see ApproximateRows
	Hash    string `yaml:"-" json:"-"` // SHA-256 of the content in the vault, hex

	// Workspace is the grant in whose workspace a table lies; it is empty for the vault's data sets. Sources are then the
	// data sets that the table was made of.
	Workspace string   `yaml:"-" json:"workspace,omitempty"`
	Sources   []string `yaml:"-" json:"sources,omitempty"`
}

// Column finds a column by its name.
func (d Dataset) Column(name string) (Column, bool) {
	i := slices.IndexFunc(d.Columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return d.Columns[i], true
}

// PublicMembership reports whether the world may know of which units the data set has rows, and how many each has.
func (d Dataset) PublicMembership() bool { return d.Open || d.Membership == MembershipPublic }

// PublicColumn reports whether what a column holds of each row is no secret. In a data set of secret membership every
// column is secret.
func (d Dataset) PublicColumn(name string) bool {
	c, ok := d.Column(name)
	return ok && (d.Open || d.PublicMembership() && c.Public)
}

// RoundedDown cuts a count to its first two digits.
func RoundedDown(n int64) int64 {
	step := int64(1)
	for n/step >= 100 {
		step *= 10
	}
	return n / step * step
}

// ApproximateRows is the row count rounded to two digits, since an exact count that is shown is a released cell.
func (d Dataset) ApproximateRows() int64 {
	step := int64(10)
	for d.Rows/step >= 100 {
		step *= 10
	}
	return (d.Rows + step/2) / step * step
}

// Only gives the data set with nothing but the named columns. Unit keys stay known to the guard even where they
// are not granted: they are what it counts.
func (d Dataset) Only(columns []string) (Dataset, error) {
	narrow := d
	narrow.Columns = nil
	for _, name := range columns {
		c, ok := d.Column(name)
		if !ok {
			return Dataset{}, fmt.Errorf("data set %s has no column %s", d.Name, name)
		}
		narrow.Columns = append(narrow.Columns, c)
	}
	return narrow, nil
}
