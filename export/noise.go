package export

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"weir/export/guard"
)

// Sticky noise (the cell-key method; Fraser & Wooton 2005, Thompson et al. 2013). The noise of a count is drawn
// from a keyed hash of the set of units that it counts and of their shares in it, so that the same set gets the
// same noise however it is asked, and another set gets another. The noise of a sum is drawn for each measure in
// it and scales with the largest single unit's contribution.

// noiseSD is the standard deviation of the noise, in contributions of the largest unit.
const noiseSD = 3

type noise struct{ key []byte }

// uniform gives a value between 0 and 1 that depends on the seed alone.
func (n noise) uniform(seed ...string) float64 {
	mac := hmac.New(sha256.New, n.key)
	for _, s := range seed {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		mac.Write(length[:])
		mac.Write([]byte(s))
	}
	return (float64(binary.BigEndian.Uint64(mac.Sum(nil))>>11) + 0.5) / (1 << 53)
}

// draw gives a value of a standard normal distribution that depends on the seed alone.
func (n noise) draw(seed ...string) float64 {
	u := n.uniform(seed...)
	return math.Max(-5, math.Min(5, math.Sqrt2*math.Erfinv(2*u-1)))
}

// perturb gives the cell's value with noise, and its error bound. Counts are never shown below k.
func (j *judging) perturb(i int, c guard.Cell, v any) (noisy, bounds any, err error) {
	switch c.Kind {
	case guard.CountRows, guard.CountUnits, guard.CountDistinct:
		exact, err := rational(v)
		if err != nil {
			return nil, nil, err
		}
		e, err := j.countNoise(i, c)
		if err != nil {
			return nil, nil, err
		}
		return count(exact, e, j.rules.K), floating(rowsError(c, 1)), nil
	case guard.Sum:
		e, err := j.sumNoise(i, c)
		if err != nil {
			return nil, nil, err
		}
		noisy, err = plus(v, e, c.Type)
		return noisy, floating(sumError(c, 1) + lastDigit(c.Type)), err
	case guard.Average:
		return j.noisyAverage(i, c)
	case guard.Quantile:
		return j.noisyQuantile(i, c, v)
	case guard.Moment:
		return j.noisyMoment(i, c)
	}
	return nil, nil, fmt.Errorf("no noise for %s", c.Kind)
}

func count(exact *big.Rat, e float64, k int) any {
	noisy := new(big.Rat).Add(exact, new(big.Rat).SetInt64(int64(math.Round(e))))
	if least := new(big.Rat).SetInt64(int64(k)); noisy.Cmp(least) < 0 {
		noisy = least
	}
	return json.Number(noisy.FloatString(0))
}

// set names the set of units behind a cell, for each key: the fingerprint of the units, which named says the column of,
// and how the whole compares with the largest unit's part of it. Both stay the same when every row is multiplied, when
// keys change places, and when a figure is put together from the units' own figures; and of a sum, when units join that
// add nothing to it.
func (j *judging) set(i int, c guard.Cell, named func(key int) string, part func(key int) (largest, whole float64, err error)) (string, error) {
	var parts []string
	for key, domain := range j.release.Keys {
		if c.Kind == guard.CountUnits && key != c.Unit {
			continue
		}
		units, ok := j.value(named(key)).(json.Number)
		if !ok {
			return "", fmt.Errorf("the fingerprint of a cell is missing")
		}
		largest, whole, err := part(key)
		if err != nil {
			return "", err
		}
		parts = append(parts, domain+" "+units.String()+" "+strconv.FormatFloat(whole/largest, 'g', 9, 64))
	}
	slices.Sort(parts)
	return strings.Join(parts, " "), nil
}

// rows names the set of a cell by the rows of its units.
func (j *judging) rows(i int, c guard.Cell) (string, error) {
	named := func(key int) string { return fmt.Sprintf("x%d_%d", i, key) }
	return j.set(i, c, named, func(key int) (largest, whole float64, err error) {
		if c.Kind == guard.CountUnits {
			whole, err = j.cellNumber("n", i, key)
			return 1, whole, err
		}
		if whole, err = j.number("b", i); err != nil || c.Single {
			return 1, whole, err
		}
		largest, err = j.cellNumber("rr", i, key)
		return largest, whole, err
	})
}

// countNoise is the noise of the number of rows behind a cell; a unit with many rows moves it by that many.
func (j *judging) countNoise(i int, c guard.Cell) (float64, error) {
	if e, ok, err := j.rowsFromBounds(i, c); err != nil || ok {
		return e, err
	}
	set, err := j.rows(i, c)
	if err != nil {
		return 0, err
	}
	what := guard.RowsTerm
	if c.Kind == guard.CountDistinct {
		what = c.Terms[0].Name
	}
	most, err := j.mostRows(i, c)
	return noiseSD * most * j.filter.noise.draw("sum", what, set), err
}

func (j *judging) mostRows(i int, c guard.Cell) (float64, error) {
	most := 1.0
	if c.Single {
		return most, nil
	}
	for key := range j.release.Keys {
		n, err := j.cellNumber("rr", i, key)
		if err != nil {
			return 0, err
		}
		most = math.Max(most, n)
	}
	return most, nil
}

// sumNoise adds up the noise of each measure in the argument, and of its constant part.
func (j *judging) sumNoise(i int, c guard.Cell) (float64, error) {
	var sum float64
	for t, term := range c.Terms {
		e, ok, err := j.termFromBounds(i, c, t)
		if err != nil {
			return 0, err
		}
		if ok {
			sum += term.Coefficient * e
			continue
		}
		var largest float64
		named := func(key int) string { return fmt.Sprintf("xt%d_%d_%d", i, key, t) }
		set, err := j.set(i, c, named, func(key int) (one, all float64, err error) {
			greatest, total := fmt.Sprintf("q%d_%d_%d", i, key, t), fmt.Sprintf("y%d_%d_%d", i, key, t)
			if c.Bare {
				greatest, total = fmt.Sprintf("t%d_%d", i, key), fmt.Sprintf("s%d_%d", i, key)
			}
			if one, err = j.read(greatest); err == nil {
				all, err = j.read(total)
			}
			largest = math.Max(largest, one)
			return one, all, err
		})
		if err != nil {
			return 0, err
		}
		sum += term.Coefficient * noiseSD * largest * j.filter.noise.draw("sum", term.Name, set)
	}
	if c.Constant != 0 {
		rows, err := j.countNoise(i, c)
		if err != nil {
			return 0, err
		}
		sum += c.Constant * rows
	}
	return sum, nil
}

// noisyAverage is the noisy sum over the noisy number of rows.
func (j *judging) noisyAverage(i int, c guard.Cell) (noisy, bounds any, err error) {
	sum, err := j.number("sum", i)
	if err != nil {
		return nil, nil, err
	}
	e, err := j.sumNoise(i, c)
	if err != nil {
		return nil, nil, err
	}
	rows, err := j.noisyRows(i, c)
	if err != nil {
		return nil, nil, err
	}
	average := func(of []float64) float64 { return of[0] / math.Max(float64(j.rules.K), of[1]) }
	figures := []float64{sum + e, rows}
	moved := farthest(figures, []float64{sumError(c, 2), rowsError(c, 2)}, average)
	return floating(average(figures)), floating(moved), nil
}

func (j *judging) noisyRows(i int, c guard.Cell) (float64, error) {
	rows, err := j.number("b", i)
	if err != nil {
		return 0, err
	}
	e, err := j.countNoise(i, c)
	return math.Max(float64(j.rules.K), rows+math.Round(e)), err
}

// plus adds noise to a number of an SQL type and gives it that type's digits.
func plus(v any, e float64, sqlType string) (any, error) {
	if sqlType == "DOUBLE" || sqlType == "FLOAT" {
		n, ok := v.(json.Number)
		if !ok {
			return nil, fmt.Errorf("a value is no number")
		}
		f, err := n.Float64()
		return floating(f + e), err
	}
	exact, err := rational(v)
	if err != nil {
		return nil, err
	}
	shift := new(big.Rat).SetFloat64(e)
	if shift == nil {
		return nil, nil
	}
	return json.Number(exact.Add(exact, shift).FloatString(digitsOf(sqlType))), nil
}

// digitsOf is how many decimal digits an exact type has.
func digitsOf(sqlType string) int {
	var width, scale int
	if n, _ := fmt.Sscanf(sqlType, "DECIMAL(%d,%d)", &width, &scale); n != 2 {
		return 0
	}
	return scale
}

// lastDigit is how far a value may be moved by having its type's digits.
func lastDigit(sqlType string) float64 {
	if sqlType == "DOUBLE" || sqlType == "FLOAT" {
		return 0
	}
	return 0.5 * math.Pow10(-digitsOf(sqlType))
}

func rational(v any) (*big.Rat, error) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, fmt.Errorf("a value is no number")
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil, fmt.Errorf("a value is no number")
	}
	return r, nil
}

// floating gives a number, or NULL where there is none.
func floating(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return json.Number(strconv.FormatFloat(f, 'g', 12, 64))
}
