package policy

import "fmt"

// Cap is how much of a figure one unit counts for in a version of a data set, as intake has applied it: any of the unit's rows,
// scaled by their hidden weights, add up to no more.
type Cap struct {
	Most     float64 `json:"most"`
	Beyond   int     `json:"beyond,omitempty"`   // units that have more, in per cent of all, rounded up
	Proposed bool    `json:"proposed,omitempty"` // the manifest states none: it is the power of two that 99 of 100 units keep to
}

// CapOf gives the cap of rows, where the measure is empty, or of a measure. It is not known of versions that were taken in
// before there were caps, and of what is no measure.
func (u Unit) CapOf(measure string) (Cap, bool) {
	if measure == "" {
		return u.RowCap, u.RowCap.Most > 0
	}
	c, known := u.Caps[measure]
	return c, known
}

// Weighted reports whether the vault has weights for rows, where the measure is empty, or for a measure: some unit is beyond
// the cap. Without, every weight is 1. Units of which only the size is protected, or nothing, have none.
func (u Unit) Weighted(measure string) bool {
	c, _ := u.CapOf(measure)
	return c.Beyond > 0 && u.Protection() == Protected
}

// Capped reports whether the caps of every unit key are known. A version from before there were caps has none until it is
// imported again, and no noise can be sized for it.
func (d Dataset) Capped() bool {
	for _, u := range d.Units {
		if _, known := u.CapOf(""); !known {
			return false
		}
	}
	return true
}

// WeightColumn is the hidden column that holds the weights of rows for a unit key, by its place, and a measure, or for the
// number of rows where the measure is empty; see Unit.Weighted.
func WeightColumn(key int, measure string) string {
	if measure == "" {
		return fmt.Sprintf("__weight_%d", key)
	}
	return fmt.Sprintf("__weight_%d_%s", key, measure)
}
