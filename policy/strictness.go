package policy

import (
	"cmp"
	"math"
	"slices"
)

// Weakening is one way in which a declaration protects less than another one, or cannot be compared with it.
type Weakening struct {
	What   WeakeningKind `json:"what"`
	Column string        `json:"column,omitempty"` // the column or unit key that it is about; empty: the whole data set
}

// WeakeningKind names what became weaker.
type WeakeningKind string

// The kinds of weakening.
const (
	WeakerFirst      WeakeningKind = "first"      // nothing was approved that it could be compared with
	WeakerOpen       WeakeningKind = "open"       // nobody is protected any more
	WeakerMembership WeakeningKind = "membership" // made public
	WeakerFrame      WeakeningKind = "frame"      // another one, or none
	WeakerSize       WeakeningKind = "size"       // another one, or told for the first time
	WeakerUnit       WeakeningKind = "unit"       // a unit key is gone, or names units of another domain
	WeakerProtection WeakeningKind = "protection" // less of a unit is protected
	WeakerRows       WeakeningKind = "rows"       // a unit counts for fewer rows
	WeakerColumn     WeakeningKind = "column"     // a column that nobody reviewed
	WeakerType       WeakeningKind = "type"       // another one
	WeakerClass      WeakeningKind = "class"      // further right in Classes
	WeakerPublic     WeakeningKind = "public"     // a column made public
	WeakerMeasure    WeakeningKind = "measure"    // it can be summed now
	WeakerRange      WeakeningKind = "range"      // bounds that are narrower, so that less noise is added
	WeakerCap        WeakeningKind = "cap"        // a unit counts for less, so that less noise is added
	WeakerValues     WeakeningKind = "values"     // another list, or one for the first time
	WeakerNoFrame    WeakeningKind = "no-frame"   // its frame is not one, see IsFrameOf; found where the frame is known
)

// WeakeningKinds lists every kind.
var WeakeningKinds = []WeakeningKind{
	WeakerFirst, WeakerOpen, WeakerMembership, WeakerFrame, WeakerSize, WeakerUnit, WeakerProtection, WeakerRows, WeakerColumn,
	WeakerType, WeakerClass, WeakerPublic, WeakerMeasure, WeakerRange, WeakerCap, WeakerValues, WeakerNoFrame,
}

// Weakenings lists where a declaration is not as strict as the one that was approved, which is nil where none was. A
// version whose list is empty needs no review; every other waits for one. What is neither stricter nor weaker for certain
// is listed.
//
// Bounds and caps set the noise, so a wide range and a large cap are the strict ones, and none at all, with which nothing
// is summed, is the strictest. Where intake proposed a cap, that is what was reviewed and what is compared.
func Weakenings(approved *Dataset, next Dataset) []Weakening {
	if approved == nil {
		return []Weakening{{What: WeakerFirst}}
	}
	var found []Weakening
	add := func(weaker bool, what WeakeningKind, column string) {
		if weaker {
			found = append(found, Weakening{what, column})
		}
	}
	add(next.Open && !approved.Open, WeakerOpen, "")
	add(next.PublicMembership() && !approved.PublicMembership(), WeakerMembership, "")
	add(next.Frame != approved.Frame, WeakerFrame, "")
	add(next.Size != 0 && next.Size != approved.Size, WeakerSize, "")
	for _, was := range approved.Units {
		weakerUnit(was, next.Units, add)
	}
	for _, c := range next.Columns {
		was, known := approved.Column(c.Name)
		if !known {
			add(true, WeakerColumn, c.Name)
			continue
		}
		weakerColumn(was, c, approved.Open, add)
		if c.IsMeasure() && was.IsMeasure() {
			add(weakerCap(*approved, next, was, c), WeakerCap, c.Name)
		}
	}
	return found
}

func weakerUnit(was Unit, next []Unit, add func(bool, WeakeningKind, string)) {
	i := slices.IndexFunc(next, func(u Unit) bool { return u.Key == was.Key && u.Domain == was.Domain })
	if i < 0 {
		add(true, WeakerUnit, was.Key)
		return
	}
	rank := func(u Unit) int { return rankIn(Protections, u.Protection()) }
	add(rank(next[i]) > rank(was), WeakerProtection, was.Key)
	rows := func(u Unit) float64 { return orEndless(cmp.Or(u.RowCap.Most, float64(u.Rows))) }
	add(rows(next[i]) < rows(was), WeakerRows, was.Key)
}

// weakerCap compares the caps of a measure for each unit key that both have; where there is none, as they are declared.
func weakerCap(approved, next Dataset, was, c Column) bool {
	if len(approved.Units) == 0 || len(next.Units) == 0 {
		return orEndless(c.Cap) < orEndless(was.Cap)
	}
	applied := func(u Unit, c Column) float64 { return orEndless(cmp.Or(u.Caps[c.Name].Most, c.Cap)) }
	return slices.ContainsFunc(approved.Units, func(u Unit) bool {
		i := slices.IndexFunc(next.Units, func(o Unit) bool { return o.Key == u.Key && o.Domain == u.Domain })
		return i >= 0 && applied(next.Units[i], c) < applied(u, was)
	})
}

// weakerColumn compares two declarations of a column. In an open data set every column was public before.
func weakerColumn(was, c Column, wasOpen bool, add func(bool, WeakeningKind, string)) {
	add(c.Type != was.Type, WeakerType, c.Name)
	add(rankIn(Classes, c.Class) > rankIn(Classes, was.Class), WeakerClass, c.Name)
	add(c.Public && !was.Public && !wasOpen, WeakerPublic, c.Name)
	add(c.IsMeasure() && !was.IsMeasure(), WeakerMeasure, c.Name)
	if c.IsMeasure() && was.IsMeasure() {
		least, most := c.span()
		wasLeast, wasMost := was.span()
		add(least > wasLeast || most < wasMost, WeakerRange, c.Name)
	}
	add(!sameValues(c.Values, was.Values), WeakerValues, c.Name)
}

// rankIn is the place in a list that has the strictest first; a word that is not in it is weaker than every other.
func rankIn[T comparable](list []T, word T) int {
	if i := slices.Index(list, word); i >= 0 {
		return i
	}
	return len(list)
}

// orEndless reads a limit that is not stated as one that nothing reaches.
func orEndless(limit float64) float64 { return cmp.Or(limit, math.Inf(1)) }

// span gives the column's bounds, without end where none is stated.
func (c Column) span() (least, most float64) {
	least, most = math.Inf(-1), math.Inf(1)
	if c.Bound != nil && c.Bound.Min != nil {
		least = *c.Bound.Min
	}
	if c.Bound != nil && c.Bound.Max != nil {
		most = *c.Bound.Max
	}
	return least, most
}

func sameValues(a, b []string) bool {
	return (a == nil) == (b == nil) && slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// IsFrameOf reports whether sizes of groups of another data set may be taken from this one: its membership is public,
// and both have units of one domain.
func (d Dataset) IsFrameOf(other Dataset) bool {
	return !d.Open && d.PublicMembership() && slices.ContainsFunc(d.Units, func(u Unit) bool {
		return slices.ContainsFunc(other.Units, func(o Unit) bool { return o.Domain == u.Domain })
	})
}
