package export

import (
	"encoding/json"
	"math"
	"strconv"

	"weir/export/guard"
)

// Error bounds: how far noise may have moved a value, in 95 of 100 cases. Released tables bring them beside their cells.

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

// floating gives a number, or NULL where there is none.
func floating(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return json.Number(strconv.FormatFloat(f, 'g', 12, 64))
}
