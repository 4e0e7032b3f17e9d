package export

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"weir/export/guard"
	"weir/sandbox"
)

// unitsOf says what numbers of rows and totals mean in units, when no unit has more than so much: at least, or at most,
// whichever the check is about. The columns have the names of the evidence, so what passes every check with them passes
// with the evidence. What cannot be told is NULL, which passes no check.
func (a *Assessment) unitsOf(r guard.Release, quick sandbox.Table) sandbox.Table {
	j := a.judging(r, quick)
	all := sandbox.Table{Columns: append([]sandbox.Column{}, quick.Columns...)}
	add := func(name string, i, key int) {
		all.Columns = append(all.Columns, sandbox.Column{Name: fmt.Sprintf("%s%d_%d", name, i, key), Type: "DOUBLE"})
	}
	for key := range r.Keys {
		all.Columns = append(all.Columns, sandbox.Column{Name: "n" + strconv.Itoa(key), Type: "DOUBLE"})
	}
	for i := range r.Cells {
		for key := range r.Keys {
			for _, name := range []string{"n", "t", "u", "s", "z"} {
				add(name, i, key)
			}
		}
	}
	for _, row := range quick.Rows {
		j.current = row
		bounds := append([]any{}, row...)
		for _, b := range r.Bounds {
			bounds = append(bounds, j.atLeast("n", b.Most))
		}
		for i, c := range r.Cells {
			for _, b := range r.Bounds {
				bounds = append(bounds, j.cellBounds(i, c, b)...)
			}
		}
		all.Rows = append(all.Rows, bounds)
	}
	return all
}

// cellBounds gives n, t, u, s and z of a cell for a key whose units have no more rows than the bound says.
func (j *judging) cellBounds(i int, c guard.Cell, rows guard.Bound) []any {
	most, total := math.Min(c.Most(), rows.Most), "b"+strconv.Itoa(i)
	switch c.Kind {
	case guard.Sum:
		most, total = c.Most(), "v"+strconv.Itoa(i)
	case guard.Average:
		most, total = c.Most(), "sum"+strconv.Itoa(i)
	}
	var outside any
	if c.Conditional {
		if outside = j.atLeast("out"+strconv.Itoa(i), rows.Most); outside == json.Number("0") {
			if n, err := j.read("out" + strconv.Itoa(i)); err != nil || n != 0 {
				outside = json.Number("1") // somebody is outside
			}
		}
	}
	var size any
	if v, err := j.read(total); err == nil {
		size = figure(math.Abs(v))
	}
	return []any{j.atLeast(total, most), figure(most), figure(most), size, outside}
}

// atLeast is how many units a total belongs to, at least, when none has more than so much of it.
func (j *judging) atLeast(total string, most float64) any {
	v, err := j.read(total)
	if err != nil || most <= 0 {
		return nil
	}
	return figure(math.Floor(math.Abs(v) / most))
}

func figure(f float64) json.Number { return json.Number(strconv.FormatFloat(f, 'f', -1, 64)) }
