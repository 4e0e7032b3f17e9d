package worker

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/google/uuid"

	"weir/sandbox/wire"
)

// fill appends a table's values to the staging table, as text.
func fill(conn *duckdb.Conn, table wire.Table) error {
	appender, err := duckdb.NewAppender(conn, "temp", "main", staging)
	if err != nil {
		return err
	}
	values := make([]driver.Value, len(table.Columns))
	for _, row := range table.Rows {
		for i, value := range row {
			switch v := value.(type) {
			case nil:
				values[i] = nil
			case bool:
				values[i] = strconv.FormatBool(v)
			case json.Number:
				values[i] = v.String()
			case string:
				values[i] = v
			}
		}
		if err := appender.AppendRow(values...); err != nil {
			appender.Close()
			return err
		}
	}
	return appender.Close()
}

// read takes a result in, as long as it stays within its limits.
func read(rows *sql.Rows, maxRows int, maxBytes int64) (*wire.Table, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	table := &wire.Table{Rows: [][]any{}}
	for _, t := range types {
		table.Columns = append(table.Columns, wire.Column{Name: t.Name(), Type: t.DatabaseTypeName()})
	}
	values, targets := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		targets[i] = &values[i]
	}
	size := int64(0)
	for rows.Next() {
		if len(table.Rows) == maxRows {
			return nil, errTooManyRows
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		row := make([]any, len(values))
		for i, value := range values {
			if row[i], err = encode(value, table.Columns[i].Type); err != nil {
				return nil, err
			}
			size += width(row[i])
		}
		if size > maxBytes {
			return nil, errResultTooLarge
		}
		table.Rows = append(table.Rows, row)
	}
	return table, rows.Err()
}

// width is about what a value needs in a frame.
func width(value any) int64 {
	switch v := value.(type) {
	case string:
		return int64(len(v)) + 3
	case json.Number:
		return int64(len(v)) + 1
	}
	return 6
}

// encode turns an engine's value into one that travels: nil, bool, string or json.Number.
func encode(value any, typeName string) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case bool:
		return v, nil
	case string:
		return v, nil
	case int8:
		return whole(int64(v)), nil
	case int16:
		return whole(int64(v)), nil
	case int32:
		return whole(int64(v)), nil
	case int64:
		return whole(v), nil
	case uint8:
		return whole(int64(v)), nil
	case uint16:
		return whole(int64(v)), nil
	case uint32:
		return whole(int64(v)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case *big.Int:
		return json.Number(v.String()), nil
	case float32:
		return float(float64(v), 32), nil
	case float64:
		return float(v, 64), nil
	case duckdb.Decimal:
		return json.Number(decimal(v)), nil
	case time.Time:
		return moment(v, typeName)
	case duckdb.Interval:
		return interval(v), nil
	case []byte:
		if len(v) == 16 && typeName == "UUID" {
			return uuid.UUID(v).String(), nil
		}
	case []any, map[string]any, duckdb.OrderedMap:
		return nested(v)
	}
	return nil, errUnsupported
}

func whole(v int64) any { return json.Number(strconv.FormatInt(v, 10)) }

func float(v float64, bits int) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	text := strconv.FormatFloat(v, 'g', -1, bits)
	return json.Number(text)
}

// decimal writes every digit of the scale, which the driver's own String leaves out at the end.
func decimal(v duckdb.Decimal) string {
	digits := new(big.Int).Abs(v.Value).String()
	scale := int(v.Scale)
	for len(digits) <= scale {
		digits = "0" + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if v.Value.Sign() < 0 {
		digits = "-" + digits
	}
	return digits
}

// moment writes dates and times as ISO 8601 does. Years outside 1 to 9999, which stand for infinity too, have no
// such form and become nil.
func moment(v time.Time, typeName string) (any, error) {
	if v.Year() < 1 || v.Year() > 9999 {
		return nil, nil
	}
	switch typeName {
	case "DATE":
		return v.Format("2006-01-02"), nil
	case "TIME":
		return v.Format("15:04:05.999999"), nil
	case "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return v.Format("2006-01-02T15:04:05.999999999"), nil
	case "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE":
		return v.UTC().Format("2006-01-02T15:04:05.999999999Z"), nil
	}
	return nil, errUnsupported
}

// interval writes the three parts that the engine keeps apart, in a form that it reads again.
func interval(v duckdb.Interval) string {
	return fmt.Sprintf("%d months %d days %d microseconds", v.Months, v.Days, v.Micros)
}

// nested writes lists and structures of plain values as JSON text.
func nested(value any) (any, error) {
	plain, err := flatten(value)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return nil, errUnsupported
	}
	return string(text), nil
}

func flatten(value any) (any, error) {
	switch v := value.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = flatten(v[i]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		fields := make(map[string]any, len(v))
		for name := range v {
			var err error
			if fields[name], err = flatten(v[name]); err != nil {
				return nil, err
			}
		}
		return fields, nil
	case duckdb.OrderedMap: // as an object, whose fields are called like the keys
		fields := make(map[string]any, v.Len())
		values := v.Values()
		for i, key := range v.Keys() {
			name, err := encode(key, "")
			if err != nil || name == nil {
				return nil, errUnsupported
			}
			if fields[fmt.Sprint(name)], err = flatten(values[i]); err != nil {
				return nil, err
			}
		}
		return fields, nil
	case time.Time:
		return moment(v, "TIMESTAMP")
	}
	return encode(value, "")
}
