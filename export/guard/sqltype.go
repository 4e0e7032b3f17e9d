package guard

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

var integerTypes = map[string]bool{
	"TINYINT": true, "SMALLINT": true, "INTEGER": true, "BIGINT": true, "HUGEINT": true,
	"UTINYINT": true, "USMALLINT": true, "UINTEGER": true, "UBIGINT": true, "UHUGEINT": true,
}

// use tells where values of a type may stand; a type is as good as the worst of its parts.
func (t typ) use() typeUse {
	use := words.types[t.ID]
	if t.ID == "SQLNULL" {
		use = everywhereType
	}
	if t.Info == nil {
		return use
	}
	switch {
	case t.ID == "VARCHAR" && t.Info.Alias == "JSON", t.ID == "VARCHAR" && t.Info.Collation != "":
		return afterwardsType // what a collation does to comparisons stands in the plan as functions
	case t.Info.Alias != "" || t.Info.Collation != "" || !words.typeInfos[t.Info.Kind]:
		return typeDenied
	}
	if t.Info.Child != nil {
		use = min(use, t.Info.Child.use())
	}
	for _, f := range t.Info.Fields {
		if use = min(use, f.Type.use()); f.Name == "" {
			use = min(use, insideType) // a result cannot say what it is called
		}
	}
	return use
}

// plain reports whether protected rows may hold values of the type.
func (t typ) plain() bool { return t.use() == everywhereType }

// passing reports whether values of the type may come up on the way to another over protected rows: a list of what
// they may hold.
func (t typ) passing() bool {
	return t.plain() || t.ID == "LIST" && t.Info != nil && t.Info.Alias == "" && t.Info.Child != nil && t.Info.Child.plain()
}

// typeNames are written in SQL otherwise than in plans.
var typeNames = map[string]string{"NULL": "INTEGER", "SQLNULL": "INTEGER"}

// sql writes the type as SQL. A type that Weir has no rule for is an error.
func (t typ) sql() (string, error) {
	if t.use() == typeDenied {
		return "", fmt.Errorf("type %s has no rule", t.ID)
	}
	if t.Info != nil && t.Info.Alias == "JSON" {
		return "JSON", nil
	}
	switch t.ID {
	case "DECIMAL":
		if t.Info != nil {
			return fmt.Sprintf("DECIMAL(%d,%d)", t.Info.Width, t.Info.Scale), nil
		}
	case "LIST", "ARRAY", "MAP":
		return t.collectionSQL()
	case "STRUCT", "UNION":
		return t.membersSQL()
	case "ENUM":
		if t.Info != nil && len(t.Info.Values) > 0 {
			var list []string
			for _, v := range t.Info.Values {
				list = append(list, quoteText(v))
			}
			return "ENUM(" + strings.Join(list, ", ") + ")", nil
		}
	default:
		if name := typeNames[t.ID]; name != "" {
			return name, nil
		}
		return t.ID, nil
	}
	return "", fmt.Errorf("type %s is not complete", t.ID)
}

func (t typ) collectionSQL() (string, error) {
	if t.Info == nil || t.Info.Child == nil {
		return "", fmt.Errorf("type %s is not complete", t.ID)
	}
	if t.ID == "MAP" {
		fields := []field(nil)
		if inner := t.Info.Child.Info; inner != nil {
			fields = inner.Fields
		}
		if len(fields) != 2 {
			return "", fmt.Errorf("type MAP is not complete")
		}
		key, err := fields[0].Type.sql()
		if err != nil {
			return "", err
		}
		of, err := fields[1].Type.sql()
		return "MAP(" + key + ", " + of + ")", err
	}
	child, err := t.Info.Child.sql()
	if t.ID == "ARRAY" {
		return fmt.Sprintf("%s[%d]", child, t.Info.Size), err
	}
	return child + "[]", err
}

// membersSQL writes a structure or a union. The engine keeps the tag of a union as a first member without a name.
func (t typ) membersSQL() (string, error) {
	if t.Info == nil {
		return "", fmt.Errorf("type %s is not complete", t.ID)
	}
	fields := t.Info.Fields
	if t.ID == "UNION" && len(fields) > 0 && fields[0].Name == "" {
		fields = fields[1:]
	}
	var list []string
	for _, f := range fields {
		of, err := f.Type.sql()
		if err != nil {
			return "", err
		}
		if f.Name == "" {
			return "", fmt.Errorf("a member of a type has no name")
		}
		list = append(list, quoteName(f.Name)+" "+of)
	}
	if len(list) == 0 {
		return "", fmt.Errorf("type %s has no members", t.ID)
	}
	return t.ID + "(" + strings.Join(list, ", ") + ")", nil
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
	if c.Type.ID == "LIST" || c.Type.ID == "ARRAY" {
		return c.listSQL(t)
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

// listSQL writes a list, which the engine makes of one in a table function's arguments.
func (c constant) listSQL(t string) (string, error) {
	var list struct {
		Children []constant `json:"children"`
	}
	if err := decodeStrict(c.Value, &list); err != nil {
		return "", fmt.Errorf("a list constant has an unknown form")
	}
	parts := make([]string, len(list.Children))
	for i, child := range list.Children {
		if err := child.Type.whole(); err != nil {
			return "", err
		}
		var err error
		if parts[i], err = child.sql(); err != nil {
			return "", err
		}
	}
	return "CAST([" + strings.Join(parts, ", ") + "] AS " + t + ")", nil
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
		if err == nil && c.Type.Info == nil {
			err = fmt.Errorf("a decimal constant has no scale")
		}
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
	case c.Type.ID == "TIMESTAMP":
		micros, err := strconv.ParseInt(raw, 10, 64)
		if err != nil {
			return "", fmt.Errorf("a timestamp constant is no number")
		}
		return time.UnixMicro(micros).UTC().Format("2006-01-02 15:04:05.999999"), nil
	case c.Type.ID == "INTERVAL":
		var i struct {
			Months int64 `json:"months"`
			Days   int64 `json:"days"`
			Micros int64 `json:"micros"`
		}
		if err := decodeStrict(c.Value, &i); err != nil {
			return "", fmt.Errorf("an interval constant has an unknown form")
		}
		return fmt.Sprintf("%d months %d days %d microseconds", i.Months, i.Days, i.Micros), nil
	}
	return "", fmt.Errorf("a constant of type %s has no rule", c.Type.ID)
}

// wholeNumber reads a number, or the two halves in which the engine writes 128 bits.
func wholeNumber(raw []byte) (*big.Int, error) {
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
