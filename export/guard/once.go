package guard

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"weir/sandbox"
)

// Several aggregates of one column share most of what is computed for them. Each layer of a guarded query computes an
// expression once: what it would compute again is left out, and the layers above read the first.
type once map[string]string // the column that is read instead of one that was left out

var columnName = regexp.MustCompile(`\b[a-z]+\d+(?:_\d+)*\b`)

var groupName = regexp.MustCompile(`^g\d+$`)

// of gives SQL over the layers below, which holds no text of an analyst's.
func (o once) of(sql string) string {
	if len(o) == 0 { // nothing was left out yet
		return sql
	}
	return columnName.ReplaceAllStringFunc(sql, func(name string) string {
		if first, again := o[name]; again {
			return first
		}
		return name
	})
}

// layer leaves out of a list of "expression AS name" what is in it before.
func (o once) layer(list []string) []string {
	var kept []string
	seen := map[string]string{}
	for _, item := range list {
		at := strings.LastIndex(item, " AS ")
		if at < 0 || groupName.MatchString(item[at+len(" AS "):]) { // a column that goes through as it is, or that all layers speak of
			kept = append(kept, item)
			continue
		}
		expression, name := item[:at], item[at+len(" AS "):]
		kind := strings.Map(exceptDigits, name) // a value never stands for a check, though both may count the same
		if first, again := seen[kind+" "+expression]; again {
			o[name] = first
			continue
		}
		seen[kind+" "+expression] = name
		kept = append(kept, item)
	}
	return kept
}

func exceptDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

// above is layer over layers that left something out.
func (o once) above(list []string) []string {
	renamed := make([]string, len(list))
	for i, item := range list {
		at := max(0, strings.LastIndex(item, " AS "))
		renamed[i] = o.of(item[:at]) + item[at:]
	}
	return o.layer(renamed)
}

// counted leaves out of a layer the counts of rows that the sums of their short hashes tell, and gives how they are told.
// Every unit must have one row.
func counted(list []string) (kept, told []string) {
	sums := map[string]string{} // by the rows that are added up
	for _, item := range list {
		expression, name, _ := cutLast(item, " AS ")
		if rows, ok := strings.CutPrefix(expression, "sum(kh0)"); ok {
			sums[rows] = name
		}
	}
	for _, item := range list {
		expression, name, _ := cutLast(item, " AS ")
		rows, ok := strings.CutPrefix(expression, "count(*)")
		if sum := sums[rows]; ok && sum != "" {
			told = append(told, rowsOfUnits(sum)+" AS "+name)
			continue
		}
		kept = append(kept, item)
	}
	return kept, told
}

// Same are columns that a query does not bring since another, which it brings, is the same.
type Same map[string]string

// brought leaves out of the columns of an outermost SELECT those that are the same as one before, by what the layer below
// makes of them.
func brought(list, below []string) (kept []string, same Same) {
	made := map[string]string{}
	for _, item := range below {
		if expression, name, ok := cutLast(item, " AS "); ok {
			made[name] = expression
		}
	}
	first := map[string]string{}
	for _, item := range list {
		column, name, _ := cutLast(item, " AS ")
		expression, known := made[column]
		if at, again := first[expression]; known && again {
			if same == nil {
				same = Same{}
			}
			same[name] = at
			continue
		}
		if known {
			first[expression] = name
		}
		kept = append(kept, item)
	}
	return kept, same
}

// In gives a table that a query brought with all columns.
func (s Same) In(t sandbox.Table) sandbox.Table {
	t.Rows = slices.Clone(t.Rows)
	for _, name := range slices.Sorted(maps.Keys(s)) {
		there := func(name string) int {
			return slices.IndexFunc(t.Columns, func(c sandbox.Column) bool { return c.Name == name })
		}
		at := there(s[name])
		if at < 0 || there(name) >= 0 {
			continue
		}
		t.Columns = append(slices.Clip(t.Columns), sandbox.Column{Name: name, Type: t.Columns[at].Type})
		for i, row := range t.Rows {
			if at < len(row) {
				t.Rows[i] = append(slices.Clip(row), row[at])
			}
		}
	}
	return t
}

// cutLast cuts around the last separator.
func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, text, false
	}
	return text[:at], text[at+len(separator):], true
}

// shown lists all columns again under their own names.
func (o once) shown(list []string) []string {
	all := make([]string, len(list))
	for i, item := range list {
		at := strings.LastIndex(item, " AS ")
		switch {
		case at >= 0:
			all[i] = o.of(item[:at]) + item[at:]
		case o[item] != "":
			all[i] = o[item] + " AS " + item
		default:
			all[i] = item
		}
	}
	return all
}
