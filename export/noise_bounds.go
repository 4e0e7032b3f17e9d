package export

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"weir/export/guard"
)

// Noise from bounds. Where intake knows how much one unit has at most, and that is little beside the figure, the noise
// scales with it, and no look at single units is needed. The draw depends on the mean of the units' hashes, weighted
// by what each has in the figure: a fraction of two whole numbers, so that it is the same in whatever order the rows
// are read, when they are added up by unit before, and when rows are added that contribute nothing.

const (
	// boundShare is how large the noise may be beside the figure. Where it would be larger, the largest single unit is
	// looked for.
	boundShare = 0.1
	// boundSpread makes up for further draws. A bound is rounded up to a power of two, so the draws that can be had of
	// one set of rows, over versions of the data and ways of joining, have scales that double: 1 + 1/4 + 1/16 + … = 4/3.
	boundSpread = 1.1547005383792517 // √(4/3)

	// Where a unit has one row of a measure in the data set, its largest part is mostly far below the bound, so the noise
	// must be less beside the figure. Rows that are told by their units alone can besides be told by their values, after
	// they were added up by unit: twice as many draws.
	singleShare = 0.02
	evenSpread  = 1.632993161855452 // √(8/3)
)

// fromBounds draws the noise of a figure, if it can be drawn from bounds. size is the figure, weights for each key its
// sum of products with the units' hashes; both are whole numbers, in units of 10^-digits.
func (j *judging) fromBounds(t guard.Term, size *big.Int, weight func(key int) (*big.Int, error)) (e float64, ok bool, err error) {
	b, share, spread := t.Bound, boundShare, spreadOf(t)
	if t.Single {
		share = singleShare
	}
	if b.Most <= 0 || b.Data <= 0 || size.Sign() == 0 {
		return 0, false, nil
	}
	exact, _ := new(big.Float).SetInt(size).Float64()
	whole := math.Abs(exact) / math.Pow10(t.Digits)
	if noiseSD*spread*guard.RoundedUp(b.Data) > share*whole {
		return 0, false, nil
	}
	scale := guard.RoundedUp(b.Most)
	var parts []string
	for key, domain := range j.release.Keys {
		w, err := weight(key)
		if err != nil {
			return 0, false, err
		}
		mean := new(big.Rat).SetFrac(w, size)
		parts = append(parts, domain+" "+mean.String()+" "+strconv.FormatFloat(whole/scale, 'g', 9, 64))
	}
	slices.Sort(parts)
	return noiseSD * spread * scale * j.filter.noise.draw("bounds", t.Name, strings.Join(parts, " ")), true, nil
}

// spreadOf is by how much the noise of a term is wider than one draw would need.
func spreadOf(t guard.Term) float64 {
	if t.Even {
		return evenSpread
	}
	return boundSpread
}

// rowsFromBounds draws the noise of the number of rows behind a cell.
func (j *judging) rowsFromBounds(i int, c guard.Cell) (float64, bool, error) {
	if !c.ManyRows() {
		return 0, false, nil
	}
	rows, err := j.integer(fmt.Sprintf("b%d", i))
	if err != nil {
		return 0, false, err
	}
	return j.fromBounds(guard.Term{Name: guard.RowsTerm, Bound: c.Rows}, rows, func(key int) (*big.Int, error) { return j.integer(fmt.Sprintf("h%d_%d", i, key)) })
}

// termFromBounds draws the noise of a term of a sum's argument, for a coefficient of one.
func (j *judging) termFromBounds(i int, c guard.Cell, t int) (float64, bool, error) {
	term := c.Terms[t]
	if term.Bound.Most <= 0 {
		return 0, false, nil
	}
	total := fmt.Sprintf("size%d_%d", i, t)
	if _, apart := j.index[total]; !apart && c.Bare { // the value is the term's total
		total = fmt.Sprintf("v%d", i)
	}
	size, err := j.integer(total)
	if err != nil {
		return 0, false, err
	}
	return j.fromBounds(term, size, func(key int) (*big.Int, error) {
		return j.integer(fmt.Sprintf("weight%d_%d_%d", i, key, t))
	})
}

// integer reads a whole number of any size.
func (j *judging) integer(name string) (*big.Int, error) {
	r, err := rational(j.value(name))
	if err != nil || !r.IsInt() {
		return nil, fmt.Errorf("evidence %s is no whole number", name)
	}
	return r.Num(), nil
}
