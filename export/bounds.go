package export

import (
	"encoding/json"
	"math"

	"weir/export/guard"
)

// Error bounds: how far a figure may be from what it stands for, in 95 of 100 cases. They are published beside it, so
// they tell nothing that the figure does not: what goes into them are the noisy figures themselves, the scale of noise
// that is the same for everybody, and what the catalogue says of the largest contributions (guard.Cell.Reach), never
// what was found among the units of the cell. So they may be wider than the noise, and never narrower.

// confidence is the share of cases in which all noise that went into a figure is within its bounds.
const confidence = 0.95

// normalBound is where so many normal draws of a standard deviation all lie.
func normalBound(sd float64, draws int) float64 {
	return sd * math.Sqrt2 * math.Erfinv(1-(1-confidence)/float64(draws))
}

// laplaceBound is where so many Laplace draws of a scale all lie.
func laplaceBound(scale float64, draws int) float64 {
	return scale * math.Log(float64(draws)/(1-confidence))
}

// termSD is the standard deviation of the noise of a term's total, which may be drawn from bounds: then it is rounded up
// and somewhat wider.
func termSD(t guard.Term) float64 {
	if t.Bound.Most > 0 {
		return noiseSD * spreadOf(t) * guard.RoundedUp(t.Reach)
	}
	return noiseSD * t.Reach
}

// unknown is the error bound where there is none: nothing is known of what one unit may add.
var unknown = math.NaN()

// rowsSD is the standard deviation of the noise of a cell's number of rows.
func rowsSD(c guard.Cell) float64 {
	if c.Reach <= 0 {
		return unknown
	}
	if c.ManyRows() {
		return noiseSD * boundSpread * guard.RoundedUp(c.Reach)
	}
	return noiseSD * c.Reach
}

// rowsError is the error bound of a cell's number of rows, one of so many noisy figures. It is noised by whole numbers.
func rowsError(c guard.Cell, figures int) float64 {
	return math.Floor(normalBound(rowsSD(c), figures) + 0.5)
}

// sumError is the error bound of a sum, one of so many noisy figures. Each of its terms has noise of its own.
func sumError(c guard.Cell, figures int) float64 {
	draws := figures - 1 + len(c.Terms)
	if c.Constant != 0 {
		draws++
	}
	sum := 0.0
	for _, t := range c.Terms {
		if t.Reach <= 0 {
			return unknown
		}
		sum += math.Abs(t.Coefficient) * normalBound(termSD(t), draws)
	}
	if c.Constant != 0 {
		sum += math.Abs(c.Constant) * rowsError(c, draws)
	}
	return sum
}

// farthest is how far a statistic moves at most when each of its figures moves within its bounds. The figures are the
// noisy ones. On either side of zero the statistics grow or fall with each figure alone, so they move farthest where
// all figures are at a bound or at zero.
func farthest(figures, bounds []float64, statistic func([]float64) float64) float64 {
	at, most := statistic(figures), 0.0
	corner := make([]float64, len(figures))
	var move func(i int)
	move = func(i int) {
		if i == len(figures) {
			most = math.Max(most, math.Abs(statistic(corner)-at)) // NaN is kept
			return
		}
		least, greatest := figures[i]-bounds[i], figures[i]+bounds[i]
		for _, corner[i] = range []float64{least, greatest, math.Max(least, math.Min(greatest, 0))} {
			move(i + 1)
		}
	}
	move(0)
	return most
}

// helps reports whether an error bound says anything. Where units may have many rows, and one of the data set has very
// many, the catalogue's bounds are larger than the figures of small groups, whose noise is far less; how much less would
// tell the largest unit's part.
func helps(c guard.Cell, shown, bound any) bool {
	v, isNumber := shown.(json.Number)
	b, known := bound.(json.Number)
	if !isNumber || !known {
		return false
	}
	size, errV := v.Float64()
	most, errB := b.Float64()
	return errV == nil && errB == nil && (c.Single || most <= math.Abs(size))
}

// errorOf is the error bound of a row's value as it is shown: NULL where there is none, and 0 where no noise went into it.
// Rounding the value moves it too.
func errorOf(row []any, i, at int, sqlType string, digits int) any {
	if row[i] == nil || at == guard.UnknownError {
		return nil
	}
	if at == guard.NoError {
		return json.Number("0")
	}
	n, ok := row[at].(json.Number)
	if !ok {
		return nil
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return nil
	}
	if v, ok := row[i].(json.Number); ok && (sqlType == "DOUBLE" || sqlType == "FLOAT") {
		if size, err := v.Float64(); err == nil && size != 0 {
			f += 0.5 * math.Pow10(int(math.Floor(math.Log10(math.Abs(size))))+1-digits)
		}
	}
	return twoDigits(f)
}

// twoDigits rounds an error bound up to two digits, which is as much as anybody needs of it.
func twoDigits(f float64) any {
	if f == 0 {
		return json.Number("0")
	}
	unit := math.Pow10(int(math.Floor(math.Log10(f))) - 1)
	return round(floating(math.Ceil(f/unit-1e-9)*unit), "DOUBLE", 2)
}
