package noised

import (
	"errors"
	"fmt"
	"math"

	"weir/export/guard"
)

var errWidth = errors.New("parts of a range that are not as they were asked for")

// statisticOf says how a cell's value follows from its figures. Sums are taken from the middles of ranges, which is
// undone here.
func statisticOf(c guard.Statistic) func(of []float64) float64 {
	switch c.Kind {
	case guard.Average:
		r := c.Ranges[0]
		return func(of []float64) float64 {
			return math.Max(r.Least, math.Min(r.Most, r.Middle()+of[1]/math.Max(1, of[0])))
		}
	case guard.Moment:
		return func(of []float64) float64 { return momentsOf(c, of).statistic(c.Function) }
	}
	return func(of []float64) float64 { return of[0] }
}

// moments of two arguments: rows, means, and sums of squares and products around the means.
type moments struct{ n, mx, my, sxx, syy, sxy float64 }

// momentsOf moves moments from the middles of the ranges to the means. By SQL's convention the first argument of a
// regression is y, the second x.
func momentsOf(c guard.Statistic, of []float64) moments {
	m := moments{n: math.Max(1, of[0])}
	m.mx = of[1] / m.n
	m.sxx = math.Max(0, of[2]-m.n*m.mx*m.mx)
	if len(c.Ranges) == 1 {
		m.mx += c.Ranges[0].Middle()
		return m
	}
	y, syy := m.mx, m.sxx
	x := of[3] / m.n
	m.sxx, m.syy = math.Max(0, of[4]-m.n*x*x), syy
	m.sxy = of[5] - m.n*x*y
	m.mx, m.my = x+c.Ranges[1].Middle(), y+c.Ranges[0].Middle()
	return m
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

// farthest is how far a statistic can be from its value where each figure is within its bound: at the corners of what is
// possible, and where figures are zero.
func farthest(figures, bounds []float64, statistic func([]float64) float64) float64 {
	at, most := statistic(figures), 0.0
	corner := make([]float64, len(figures))
	var move func(i int)
	move = func(i int) {
		if i == len(figures) {
			most = math.Max(most, math.Abs(statistic(corner)-at)) // NaN is kept
			return
		}
		for _, corner[i] = range []float64{figures[i] - bounds[i], figures[i] + bounds[i]} {
			move(i + 1)
		}
	}
	move(0)
	return most
}

// digitsOf is how many decimal digits an exact type has.
func digitsOf(sqlType string) int {
	var width, scale int
	if n, _ := fmt.Sscanf(sqlType, "DECIMAL(%d,%d)", &width, &scale); n != 2 {
		return 0
	}
	return scale
}
