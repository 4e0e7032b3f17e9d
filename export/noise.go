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

// draw gives a value of a standard normal distribution that depends on the seed alone.
func (n noise) draw(seed ...string) float64 {
	mac := hmac.New(sha256.New, n.key)
	for _, s := range seed {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		mac.Write(length[:])
		mac.Write([]byte(s))
	}
	u := (float64(binary.BigEndian.Uint64(mac.Sum(nil))>>11) + 0.5) / (1 << 53)
	return math.Max(-5, math.Min(5, math.Sqrt2*math.Erfinv(2*u-1)))
}

// perturb gives the cell's value with noise. Counts are never shown below k.
func (j *judging) perturb(i int, c guard.Cell, v any) (any, error) {
	switch c.Kind {
	case guard.CountRows, guard.CountUnits, guard.CountDistinct:
		exact, err := rational(v)
		if err != nil {
			return nil, err
		}
		e, err := j.countNoise(i, c)
		if err != nil {
			return nil, err
		}
		return count(exact, e, j.rules.K), nil
	case guard.Sum:
		e, err := j.sumNoise(i, c)
		if err != nil {
			return nil, err
		}
		return plus(v, e, c.Type)
	case guard.Average:
		return j.noisyAverage(i, c)
	case guard.Quantile:
		return j.noisyQuantile(i, c, v)
	case guard.Moment:
		return j.noisyMoment(i, c)
	}
	return nil, fmt.Errorf("no noise for %s", c.Kind)
}

func count(exact *big.Rat, e float64, k int) any {
	noisy := new(big.Rat).Add(exact, new(big.Rat).SetInt64(int64(math.Round(e))))
	if least := new(big.Rat).SetInt64(int64(k)); noisy.Cmp(least) < 0 {
		noisy = least
	}
	return json.Number(noisy.FloatString(0))
}

// set names the set of units behind a cell, for each key: the fingerprint of the units and how the whole compares
// with the largest unit's part of it. Both stay the same when every row is multiplied, when keys change places, and
// when a figure is put together from the units' own figures.
func (j *judging) set(i int, c guard.Cell, part func(key int) (largest, whole float64, err error)) (string, error) {
	var parts []string
	for key, domain := range j.release.Keys {
		if c.Kind == guard.CountUnits && key != c.Unit {
			continue
		}
		units, ok := j.value(fmt.Sprintf("x%d_%d", i, key)).(json.Number)
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
	return j.set(i, c, func(key int) (largest, whole float64, err error) {
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
		set, err := j.set(i, c, func(key int) (one, all float64, err error) {
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
func (j *judging) noisyAverage(i int, c guard.Cell) (any, error) {
	sum, err := j.number("sum", i)
	if err != nil {
		return nil, err
	}
	e, err := j.sumNoise(i, c)
	if err != nil {
		return nil, err
	}
	rows, err := j.noisyRows(i, c)
	if err != nil {
		return nil, err
	}
	return floating((sum + e) / rows), nil
}

func (j *judging) noisyRows(i int, c guard.Cell) (float64, error) {
	rows, err := j.number("b", i)
	if err != nil {
		return 0, err
	}
	e, err := j.countNoise(i, c)
	return math.Max(float64(j.rules.K), rows+math.Round(e)), err
}

// noisyQuantile moves an order statistic about as far as k units could.
func (j *judging) noisyQuantile(i int, c guard.Cell, v any) (any, error) {
	set, err := j.rows(i, c)
	if err != nil {
		return nil, err
	}
	rows, err := j.noisyRows(i, c)
	if err != nil {
		return nil, err
	}
	most, err := j.mostRows(i, c)
	if err != nil {
		return nil, err
	}
	variance, err := j.number("m0_var", i)
	if err != nil {
		return nil, err
	}
	z := j.filter.noise.draw("quantile", set, c.Terms[0].Name, strconv.FormatFloat(c.Fraction, 'g', 9, 64))
	return plus(v, z*math.Sqrt(variance)*float64(j.rules.K)*most/rows, c.Type)
}

// moments of a cell, each with noise.
type moments struct{ n, mx, my, sxx, syy, sxy float64 }

// noisyMoment computes variances, correlations and regressions from noisy central moments. By SQL's convention
// the first argument of a regression is y, the second x.
func (j *judging) noisyMoment(i int, c guard.Cell) (any, error) {
	m, err := j.noisyMoments(i, c)
	if err != nil {
		return nil, err
	}
	return floating(m.statistic(c.Function)), nil
}

func (j *judging) noisyMoments(i int, c guard.Cell) (moments, error) {
	set, err := j.rows(i, c)
	if err != nil {
		return moments{}, err
	}
	rows, err := j.number("b", i)
	if err != nil {
		return moments{}, err
	}
	most, err := j.mostRows(i, c)
	if err != nil {
		return moments{}, err
	}
	var mean, square, reach [2]float64
	for a := range c.Terms {
		var x [4]float64
		for s, name := range []string{"avg", "var", "min", "max"} {
			if x[s], err = j.number(fmt.Sprintf("m%d_%s", a, name), i); err != nil {
				return moments{}, err
			}
		}
		name := c.Terms[a].Name
		reach[a] = math.Max(x[3]-x[0], x[0]-x[2])
		mean[a] = x[0] + noiseSD*most*reach[a]/rows*j.filter.noise.draw("mean", set, name)
		square[a] = math.Max(0, rows*x[1]+noiseSD*most*reach[a]*reach[a]*j.filter.noise.draw("square", set, name))
	}
	m := moments{mx: mean[0], sxx: square[0]}
	if m.n, err = j.noisyRows(i, c); err != nil || len(c.Terms) == 1 {
		return m, err
	}
	covariance, err := j.number("cov", i)
	if err != nil {
		return m, err
	}
	product := rows*covariance + noiseSD*most*reach[0]*reach[1]*j.filter.noise.draw("product", set, c.Terms[0].Name, c.Terms[1].Name)
	return moments{n: m.n, my: mean[0], mx: mean[1], syy: square[0], sxx: square[1], sxy: product}, nil
}

func (m moments) statistic(function string) float64 {
	slope := m.sxy / m.sxx
	r := math.Max(-1, math.Min(1, m.sxy/math.Sqrt(m.sxx*m.syy)))
	switch function {
	case "var_pop":
		return m.sxx / m.n
	case "variance", "var_samp":
		return m.sxx / (m.n - 1)
	case "stddev_pop":
		return math.Sqrt(m.sxx / m.n)
	case "stddev", "stddev_samp":
		return math.Sqrt(m.sxx / (m.n - 1))
	case "covar_pop":
		return m.sxy / m.n
	case "covar_samp":
		return m.sxy / (m.n - 1)
	case "corr":
		return r
	case "regr_r2":
		return r * r
	case "regr_slope":
		return slope
	case "regr_intercept":
		return m.my - slope*m.mx
	case "regr_count":
		return m.n
	case "regr_avgx":
		return m.mx
	case "regr_avgy":
		return m.my
	case "regr_sxx":
		return m.sxx
	case "regr_syy":
		return m.syy
	case "regr_sxy":
		return m.sxy
	}
	return math.NaN()
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
	var width, scale int
	if n, _ := fmt.Sscanf(sqlType, "DECIMAL(%d,%d)", &width, &scale); n != 2 {
		scale = 0
	}
	return json.Number(exact.Add(exact, shift).FloatString(scale)), nil
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
