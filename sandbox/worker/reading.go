package worker

import (
	"strings"

	fullwidth "golang.org/x/text/width"

	"weir/sandbox/wire"
)

// reading applies what a manifest says about the text of a file, before a value is converted. Conversion itself stays
// strict: what a reading does not name is a fault.
type reading struct {
	wire.Reading
	nulls map[string]bool
	forms []string // of dates and times, for time.Parse; nil: the usual ones
}

func newReading(r wire.Reading) reading {
	made := reading{Reading: r, nulls: map[string]bool{}}
	for _, text := range r.Nulls {
		made.nulls[text] = true
	}
	for _, form := range r.Dates {
		made.forms = append(made.forms, timeLayout(form))
	}
	return made
}

// timeLayout turns a form as people write it into one of time.Parse. M and D take one digit or two.
func timeLayout(form string) string {
	return strings.NewReplacer("YYYY", "2006", "YY", "06", "MM", "01", "M", "1", "DD", "02", "D", "2", "hh", "15", "mm", "04", "ss", "05").Replace(form)
}

// value prepares a value of a file for a type: nil where it says that there is none.
func (r reading) value(value any, typeName string) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	if r.Trim {
		text = strings.TrimSpace(text)
	}
	if r.nulls[text] || text == "" && value != "" {
		return nil
	}
	switch {
	case typeName == "VARCHAR":
		return text
	case r.FullWidth:
		text = fullwidth.Narrow.String(text)
	}
	if typeName == "BOOLEAN" || typeName == "DATE" || typeName == "TIMESTAMP" {
		return text
	}
	return r.number(text)
}

// number takes currency signs off and writes separators as the converters know them.
func (r reading) number(text string) string {
	for _, sign := range r.Currency {
		if rest, cut := strings.CutPrefix(strings.TrimSpace(text), sign); cut {
			text = strings.TrimSpace(rest)
			break
		}
		if rest, cut := strings.CutSuffix(strings.TrimSpace(text), sign); cut {
			text = strings.TrimSpace(rest)
			break
		}
	}
	if r.Thousands != "" {
		whole, ok := ungroup(strings.TrimSpace(text), r.Thousands, r.decimal())
		if !ok {
			return text // as it is, which no converter takes
		}
		text = whole
	}
	if mark := r.decimal(); mark != "." {
		if strings.Contains(text, ".") {
			return "." // 1.5 is not meant where a comma stands in front of the fraction
		}
		text = strings.Replace(text, mark, ".", 1)
	}
	return text
}

func (r reading) decimal() string {
	if r.Decimal == "" {
		return "."
	}
	return r.Decimal
}

// ungroup takes the marks between groups of three digits out. Groups of another length are no such number: 1,5 is not 15.
func ungroup(text, mark, decimal string) (string, bool) {
	head, fraction, _ := strings.Cut(text, decimal)
	if strings.Contains(fraction, mark) {
		return "", false
	}
	groups := strings.Split(head, mark)
	for i, group := range groups {
		digits := strings.TrimLeft(group, "+-")
		if i > 0 && len(group) != 3 || len(groups) > 1 && i == 0 && (len(digits) < 1 || len(digits) > 3) {
			return "", false
		}
	}
	return strings.Join(groups, "") + text[len(head):], true
}

// totals are words that stand in front of a last row that holds totals and is no data.
var totals = map[string]bool{
	"合计": true, "总计": true, "总和": true, "小计": true, "共计": true, "合計": true, "總計": true,
	"total": true, "totals": true, "grand total": true, "sum": true,
}

// isTotal reports whether a row looks like one of totals: one of its texts is such a word and nothing else.
func isTotal(row []any) bool {
	for _, value := range row {
		if text, ok := value.(string); ok && totals[strings.ToLower(strings.Trim(text, " \t　:："))] {
			return true
		}
	}
	return false
}

// damagedKey reports whether a key is what a spreadsheet makes of a long number: 1.1E+17 for all numbers that begin so, or one
// with the apostrophe that keeps it a text.
func damagedKey(text string) bool {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "'") || strings.HasPrefix(text, "’") || strings.HasPrefix(text, "`") {
		return true
	}
	mantissa, exponent, found := strings.Cut(strings.ToUpper(text), "E+")
	return found && digitsOnly(exponent) && digitsOnly(strings.Replace(mantissa, ".", "", 1))
}

func digitsOnly(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
