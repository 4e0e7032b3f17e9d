package export

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"weir/export/guard"
)

// Noise of what is more than a sum: order statistics, and the moments that variances, correlations and regressions are
// made of.

// moments of a cell, each with noise.
type moments struct{ n, mx, my, sxx, syy, sxy float64 }

// noisyMoment computes variances, correlations and regressions from noisy central moments. By SQL's convention
// the first argument of a regression is y, the second x.
func (j *judging) noisyMoment(i int, c guard.Cell) (noisy, bounds any, err error) {
	figures, errors, err := j.noisyMoments(i, c)
	if err != nil {
		return nil, nil, err
	}
	statistic := func(of []float64) float64 { return momentsOf(of, float64(j.rules.K)).statistic(c.Function) }
	return floating(statistic(figures)), floating(farthest(figures, errors, statistic)), nil
}

// momentsOf reads moments from their figures: rows, and for each argument the mean and the sum of squares around it,
// and for two the sum of products.
func momentsOf(of []float64, k float64) moments {
	m := moments{n: math.Max(k, of[0]), mx: of[1], sxx: math.Max(0, of[2])}
	if len(of) == 6 {
		m.my, m.syy, m.mx, m.sxx, m.sxy = m.mx, m.sxx, of[3], math.Max(0, of[4]), of[5]
	}
	return m
}

// noisyMoments gives the figures that moments are made of, each with noise, and their error bounds.
func (j *judging) noisyMoments(i int, c guard.Cell) (figures, errors []float64, err error) {
	set, err := j.rows(i, c)
	if err != nil {
		return nil, nil, err
	}
	most, err := j.mostRows(i, c)
	if err != nil {
		return nil, nil, err
	}
	rows, err := j.noisyRows(i, c)
	if err != nil {
		return nil, nil, err
	}
	draws := map[int]int{1: 3, 2: 6}[len(c.Terms)]
	least := math.Max(float64(j.rules.K), rows-rowsError(c, draws))
	figures, errors = []float64{rows}, []float64{rowsError(c, draws)}
	product := noiseSD * most
	for a := range c.Terms {
		x, err := j.momentsAround(i, a, c, set, most)
		if err != nil {
			return nil, nil, err
		}
		figures = append(figures, x.mean, x.square)
		errors = append(errors, normalBound(noiseSD*c.Reach*c.Terms[a].Spread/least, draws), squareError(c, a, draws))
		product *= x.reach
	}
	if len(c.Terms) == 1 {
		return figures, errors, nil
	}
	covariance, err := j.number("cov", i)
	if err != nil {
		return nil, nil, err
	}
	exact, err := j.number("b", i)
	if err != nil {
		return nil, nil, err
	}
	names := []string{c.Terms[0].Name, c.Terms[1].Name}
	slices.Sort(names) // a covariance is the same either way round
	e := product * j.filter.noise.draw("product", set, names[0], names[1])
	figures = append(figures, exact*covariance+e)
	return figures, append(errors, normalBound(noiseSD*c.Reach*c.Terms[0].Spread*c.Terms[1].Spread, draws)), nil
}

// argument is its mean and its sum of squares around it, both with noise, and how far a row is from the mean.
type argument struct{ mean, square, reach float64 }

func (j *judging) momentsAround(i, a int, c guard.Cell, set string, most float64) (argument, error) {
	rows, err := j.number("b", i)
	if err != nil {
		return argument{}, err
	}
	var x [4]float64
	for s, name := range []string{"avg", "var", "min", "max"} {
		if x[s], err = j.number(fmt.Sprintf("m%d_%s", a, name), i); err != nil {
			return argument{}, err
		}
	}
	name, reach := c.Terms[a].Name, math.Max(x[3]-x[0], x[0]-x[2])
	return argument{
		mean:   x[0] + noiseSD*most*reach/rows*j.filter.noise.draw("mean", set, name),
		square: math.Max(0, rows*x[1]+noiseSD*most*reach*reach*j.filter.noise.draw("square", set, name)),
		reach:  reach,
	}, nil
}

// squareError is the error bound of a sum of squares.
func squareError(c guard.Cell, a, draws int) float64 {
	if c.Reach <= 0 || c.Terms[a].Spread <= 0 {
		return unknown
	}
	return normalBound(noiseSD*c.Reach*c.Terms[a].Spread*c.Terms[a].Spread, draws)
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

// noisyQuantile moves an order statistic about as far as k units could.
func (j *judging) noisyQuantile(i int, c guard.Cell, v any) (noisy, bounds any, err error) {
	set, err := j.rows(i, c)
	if err != nil {
		return nil, nil, err
	}
	rows, err := j.noisyRows(i, c)
	if err != nil {
		return nil, nil, err
	}
	most, err := j.mostRows(i, c)
	if err != nil {
		return nil, nil, err
	}
	variance, err := j.number("m0_var", i)
	if err != nil {
		return nil, nil, err
	}
	x, err := j.momentsAround(i, 0, c, set, most)
	if err != nil {
		return nil, nil, err
	}
	k := float64(j.rules.K)
	z := j.filter.noise.draw("quantile", set, c.Terms[0].Name, strconv.FormatFloat(c.Fraction, 'g', 9, 64))
	noisy, err = plus(v, z*math.Sqrt(variance)*k*most/rows, c.Type)
	least := math.Max(k, rows-rowsError(c, 3))
	sd := math.Min(c.Terms[0].Spread/2, math.Sqrt(math.Max(0, x.square+squareError(c, 0, 3))/least))
	return noisy, floating(normalBound(sd*k*c.Reach/least, 3) + lastDigit(c.Type)), err
}
