package guard

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// plainTypes are the types that a protected or released value may have, under the engine's names.
var plainTypes = map[string]bool{
	"BOOLEAN": true, "TINYINT": true, "SMALLINT": true, "INTEGER": true, "BIGINT": true, "HUGEINT": true,
	"UTINYINT": true, "USMALLINT": true, "UINTEGER": true, "UBIGINT": true, "UHUGEINT": true,
	"FLOAT": true, "DOUBLE": true, "VARCHAR": true, "DATE": true, "TIMESTAMP": true, "INTERVAL": true,
}

var integerTypes = map[string]bool{
	"TINYINT": true, "SMALLINT": true, "INTEGER": true, "BIGINT": true, "HUGEINT": true,
	"UTINYINT": true, "USMALLINT": true, "UINTEGER": true, "UBIGINT": true, "UHUGEINT": true,
}

// sql writes the type as SQL. A type that Weir has no rule for is an error.
func (t typ) sql() (string, error) {
	switch {
	case t.ID == "DECIMAL" && t.Info != nil:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.Info.Width, t.Info.Scale), nil
	case t.ID == "LIST" && t.Info != nil && t.Info.Child != nil:
		child, err := t.Info.Child.sql()
		return child + "[]", err
	case t.ID == "NULL" || t.ID == "SQLNULL":
		return "INTEGER", nil
	case plainTypes[t.ID] && (t.Info == nil || t.Info.Collation == "" && t.Info.Alias == ""):
		return t.ID, nil
	}
	return "", fmt.Errorf("type %s has no rule", t.ID)
}

func (t typ) integer() bool { return integerTypes[t.ID] }

func (t typ) numeric() bool {
	return t.integer() || t.ID == "DECIMAL" || t.ID == "DOUBLE" || t.ID == "FLOAT"
}

// sql writes the constant as SQL that reads back as the same value of the same type.
func (c constant) sql() (string, error) {
	t, err := c.Type.sql()
	if err != nil {
		return "", err
	}
	if c.Null {
		return "CAST(NULL AS " + t + ")", nil
	}
	text, err := c.text()
	if err != nil {
		return "", err
	}
	if c.Type.ID == "BOOLEAN" {
		return text, nil
	}
	return "CAST(" + quoteText(text) + " AS " + t + ")", nil
}

// text gives the constant's value in the engine's own notation.
func (c constant) text() (string, error) {
	raw := strings.TrimSpace(string(c.Value))
	switch {
	case c.Type.ID == "VARCHAR":
		var s string
		err := json.Unmarshal(c.Value, &s)
		if strings.ContainsRune(s, 0) {
			err = fmt.Errorf("a text constant holds a zero byte")
		}
		return s, err
	case c.Type.ID == "BOOLEAN" && (raw == "true" || raw == "false"):
		return raw, nil
	case c.Type.ID == "DECIMAL":
		n, err := wholeNumber(c.Value)
		if err != nil {
			return "", err
		}
		return unscale(n, c.Type.Info.Scale), nil
	case c.Type.ID == "HUGEINT" || c.Type.integer():
		n, err := wholeNumber(c.Value)
		if err != nil {
			return "", err
		}
		return n.String(), nil
	case c.Type.ID == "DOUBLE" || c.Type.ID == "FLOAT":
		if _, err := strconv.ParseFloat(raw, 64); err != nil {
			return "", fmt.Errorf("a number constant is not finite")
		}
		return raw, nil
	case c.Type.ID == "DATE":
		days, err := strconv.ParseInt(raw, 10, 32)
		if err != nil {
			return "", fmt.Errorf("a date constant is not a day number")
		}
		return time.Unix(0, 0).UTC().AddDate(0, 0, int(days)).Format(time.DateOnly), nil
	}
	return "", fmt.Errorf("a constant of type %s has no rule", c.Type.ID)
}

// wholeNumber reads a number, or the two halves in which the engine writes 128 bits.
func wholeNumber(raw json.RawMessage) (*big.Int, error) {
	if n, ok := new(big.Int).SetString(strings.TrimSpace(string(raw)), 10); ok {
		return n, nil
	}
	var halves struct {
		Upper int64  `json:"upper"`
		Lower uint64 `json:"lower"`
	}
	if err := decodeStrict(raw, &halves); err != nil {
		return nil, fmt.Errorf("a whole number constant has an unknown form")
	}
	n := new(big.Int).Lsh(big.NewInt(halves.Upper), 64)
	return n.Add(n, new(big.Int).SetUint64(halves.Lower)), nil
}

func unscale(n *big.Int, scale int) string {
	if scale == 0 {
		return n.String()
	}
	digits := new(big.Int).Abs(n).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	text := digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	if n.Sign() < 0 {
		return "-" + text
	}
	return text
}

// quoteText writes a string literal, quoteName an identifier. Nothing else in Weir puts text between quotes.
func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
