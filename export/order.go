package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/export/guard"
	"weir/sandbox"
)

// The order of rows is a channel: the engine's hash tables give groups in an order that follows from single rows, so
// two worlds that differ in one person's secret could differ in the order alone. Cells are put in the order of their
// group values before anything looks at them.

// inOrder gives the cells of a release in the order of their groups, whatever order they came in. Rows that have no
// group values to tell them apart, which are never shown, are ordered by all that they hold.
func inOrder(r guard.Release, cells sandbox.Table) sandbox.Table {
	var by []int
	for i := range r.Groups {
		if at := place(cells, "g"+strconv.Itoa(i)); at >= 0 {
			by = append(by, at)
		}
	}
	cells.Rows = slices.Clone(cells.Rows)
	slices.SortStableFunc(cells.Rows, func(a, b []any) int {
		for _, at := range by {
			if at >= len(a) || at >= len(b) {
				return cmp.Compare(len(a), len(b)) // a row that is not whole, which the judging refuses
			}
			if c := compareValues(a[at], b[at]); c != 0 {
				return c
			}
		}
		return slices.CompareFunc(a, b, compareValues)
	})
	return cells
}

// compareValues orders values of one column: NULL last, numbers by size, all else by how it is written.
func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	x, isNumber := a.(json.Number)
	y, also := b.(json.Number)
	if isNumber && also {
		f, errF := x.Float64()
		g, errG := y.Float64()
		if errF == nil && errG == nil && f != g {
			return cmp.Compare(f, g)
		}
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}
