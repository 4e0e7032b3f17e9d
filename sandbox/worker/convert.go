package worker

import (
	"database/sql/driver"
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/sandbox/wire"
)

// converter turns a value of a file into the engine's value and its one canonical text, or names the fault. It is
// strict where the engine would round or guess: 1.5 is no INTEGER, 0.005 no DECIMAL(12,2).
type converter func(value any) (typed driver.Value, text string, fault string)

const (
	wrongType   = "wrong-type"
	outOfBounds = "out-of-bounds"
)

// converterFor gives the converter of a column. Where forms of dates and times are declared, no other is taken.
func converterFor(c wire.IntakeColumn, forms []string) converter {
	switch {
	case c.Type == "VARCHAR":
		return func(value any) (driver.Value, string, string) {
			text, ok := written(value)
			if !ok {
				return nil, "", wrongType
			}
			return text, text, ""
		}
	case c.Type == "BOOLEAN":
		return convertBool
	case c.Type == "DATE":
		return convertTime(formsOr(forms, dates), "2006-01-02")
	case c.Type == "TIMESTAMP":
		return convertTime(formsOr(forms, timestamps), "2006-01-02T15:04:05.999999")
	case c.Type == "DOUBLE":
		return convertFloat(c, 64)
	case c.Type == "FLOAT":
		return convertFloat(c, 32)
	case strings.HasPrefix(c.Type, "DECIMAL("):
		return convertDecimal(c)
	}
	if r, ok := integers[c.Type]; ok {
		return convertInteger(c, r)
	}
	return func(any) (driver.Value, string, string) { return nil, "", wrongType }
}

// written gives a value as text: as it stands in a text file, or as an engine's value is written.
func written(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case time.Time:
		return v.Format("2006-01-02T15:04:05.999999"), true
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.FormatFloat(v, 'f', -1, 64), true // a whole number, as tools that know no null integers write it
		}
	}
	plain, err := encode(value, "")
	number, ok := plain.(json.Number)
	return number.String(), err == nil && ok
}

// trimmed is written without the spaces around, for types in which they mean nothing.
func trimmed(value any) (string, bool) {
	text, ok := written(value)
	return strings.TrimSpace(text), ok
}

var booleans = map[string]bool{
	"true": true, "t": true, "yes": true, "y": true, "1": true, "是": true,
	"false": false, "f": false, "no": false, "n": false, "0": false, "否": false,
}

func convertBool(value any) (driver.Value, string, string) {
	text, ok := trimmed(value)
	truth, known := booleans[strings.ToLower(text)]
	if !ok || !known {
		return nil, "", wrongType
	}
	return truth, strconv.FormatBool(truth), ""
}

var (
	dates = []string{
		"2006-01-02", "2006-1-2", "2006/1/2", "20060102", "2006年1月2日", "2006-01-02 00:00:00", "2006-01-02T00:00:00",
	}
	timestamps = []string{
		"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z", "2006/1/2 15:04:05", "2006-1-2 15:04:05",
		"2006-01-02 15:04", "2006/1/2 15:04", "2006-01-02",
	}
)

func formsOr(declared, usual []string) []string {
	if declared != nil {
		return declared
	}
	return usual
}

// convertTime tries the forms in their order; a fraction of a second may follow the seconds in any.
func convertTime(forms []string, canonical string) converter {
	whole := canonical == "2006-01-02"
	return func(value any) (driver.Value, string, string) {
		if _, number := value.(json.Number); number {
			return nil, "", wrongType
		}
		if moment, ok := value.(time.Time); ok && (!whole || moment.Equal(moment.Truncate(24*time.Hour))) {
			return stamp(moment, canonical)
		}
		text, ok := trimmed(value)
		if !ok {
			return nil, "", wrongType
		}
		for _, form := range forms {
			if moment, err := time.Parse(form, text); err == nil {
				return stamp(moment, canonical)
			}
		}
		return nil, "", wrongType
	}
}

// stamp takes what the engine can hold and everyone can read: years 1 to 9999, whole microseconds.
func stamp(moment time.Time, canonical string) (driver.Value, string, string) {
	if moment.Year() < 1 || moment.Year() > 9999 || moment.Nanosecond()%1000 != 0 {
		return nil, "", wrongType
	}
	return moment, moment.Format(canonical), ""
}

var floatForm = regexp.MustCompile(`^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?$`)

func convertFloat(c wire.IntakeColumn, bits int) converter {
	return func(value any) (driver.Value, string, string) {
		text, ok := trimmed(value)
		if !ok || !floatForm.MatchString(text) {
			return nil, "", wrongType
		}
		number, err := strconv.ParseFloat(text, bits)
		if err != nil {
			return nil, "", wrongType
		}
		if outside(c, number) {
			return nil, "", outOfBounds
		}
		canonical := strconv.FormatFloat(number, 'g', -1, bits)
		if bits == 32 {
			return float32(number), canonical, ""
		}
		return number, canonical, ""
	}
}

func outside(c wire.IntakeColumn, number float64) bool {
	return c.Min != nil && number < *c.Min || c.Max != nil && number > *c.Max
}

// span is the least and greatest value of an integer type.
type span struct{ min, max *big.Int }

func power(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }

func signed(bits uint) span {
	return span{new(big.Int).Neg(power(bits - 1)), new(big.Int).Sub(power(bits-1), big.NewInt(1))}
}

func unsigned(bits uint) span {
	return span{new(big.Int), new(big.Int).Sub(power(bits), big.NewInt(1))}
}

var integers = map[string]span{
	"TINYINT": signed(8), "SMALLINT": signed(16), "INTEGER": signed(32), "BIGINT": signed(64), "HUGEINT": signed(128),
	"UTINYINT": unsigned(8), "USMALLINT": unsigned(16), "UINTEGER": unsigned(32), "UBIGINT": unsigned(64),
}

var integerForm = regexp.MustCompile(`^[+-]?[0-9]{1,40}$`)

func convertInteger(c wire.IntakeColumn, limit span) converter {
	small := limit.min.IsInt64() && limit.max.IsInt64()
	var low, high int64
	if small {
		low, high = limit.min.Int64(), limit.max.Int64()
	}
	return func(value any) (driver.Value, string, string) {
		text, ok := trimmed(value)
		if !ok {
			return nil, "", wrongType
		}
		if _, exact := value.(duckdb.Decimal); exact && strings.Contains(text, ".") {
			text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
		}
		if small {
			number, err := strconv.ParseInt(text, 10, 64)
			switch {
			case err != nil || number < low || number > high:
				return nil, "", wrongType
			case outside(c, float64(number)):
				return nil, "", outOfBounds
			}
			return number, strconv.FormatInt(number, 10), ""
		}
		if !integerForm.MatchString(text) {
			return nil, "", wrongType
		}
		number, _ := new(big.Int).SetString(text, 10)
		if number.Cmp(limit.min) < 0 || number.Cmp(limit.max) > 0 {
			return nil, "", wrongType
		}
		if f, _ := new(big.Float).SetInt(number).Float64(); outside(c, f) {
			return nil, "", outOfBounds
		}
		if number.IsUint64() && c.Type == "UBIGINT" {
			return number.Uint64(), number.String(), ""
		}
		return number, number.String(), ""
	}
}

var decimalForm = regexp.MustCompile(`^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?$`)

func convertDecimal(c wire.IntakeColumn) converter {
	width, scale := precision(c.Type)
	tens := make([]*big.Int, 39)
	for i := range tens {
		tens[i] = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(i)), nil)
	}
	limit, shift := tens[width], new(big.Rat).SetInt(tens[scale])
	return func(value any) (driver.Value, string, string) {
		text, ok := trimmed(value)
		if digits, point, plain := plainDecimal(text); ok && plain && point <= scale {
			// Both sides are exact and the division is rounded once.
			if outside(c, float64(digits)/math.Pow10(point)) {
				return nil, "", outOfBounds
			}
			exact := duckdb.Decimal{Width: uint8(width), Scale: uint8(scale), Value: big.NewInt(digits)}
			if point < scale {
				exact.Value.Mul(exact.Value, tens[scale-point])
			}
			if exact.Value.CmpAbs(limit) >= 0 {
				return nil, "", wrongType
			}
			return exact, decimal(exact), ""
		}
		if !ok || len(text) > 100 || !decimalForm.MatchString(text) {
			return nil, "", wrongType
		}
		rational, ok := new(big.Rat).SetString(text)
		if !ok {
			return nil, "", wrongType
		}
		if f, _ := rational.Float64(); outside(c, f) {
			return nil, "", outOfBounds
		}
		rational.Mul(rational, shift)
		if !rational.IsInt() || new(big.Int).Abs(rational.Num()).Cmp(limit) >= 0 {
			return nil, "", wrongType
		}
		exact := duckdb.Decimal{Width: uint8(width), Scale: uint8(scale), Value: new(big.Int).Set(rational.Num())}
		return exact, decimal(exact), ""
	}
}

// plainDecimal reads digits with at most one point among them, as nearly all decimals are written, without the cost
// of exact arithmetic: the digits as one number, and how many stand after the point.
func plainDecimal(text string) (digits int64, point int, ok bool) {
	if len(text) == 0 || len(text) > 15 {
		return 0, 0, false
	}
	point = -1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			digits = digits*10 + int64(c-'0')
		case c == '.' && point < 0 && i > 0:
			point = i
		default:
			return 0, 0, false
		}
	}
	if point < 0 {
		return digits, 0, true
	}
	return digits, len(text) - 1 - point, true
}

func precision(typeName string) (width, scale int) {
	first, second, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(typeName, "DECIMAL("), ")"), ",")
	width, _ = strconv.Atoi(first)
	scale, _ = strconv.Atoi(second)
	return width, scale
}
