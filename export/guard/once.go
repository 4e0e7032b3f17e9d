package guard

import (
	"regexp"
	"strings"
)

// Several aggregates of one column share most of what is computed for them. Each layer of a guarded query computes an
// expression once: what it would compute again is left out, and the layers above read the first.
type once map[string]string // the column that is read instead of one that was left out

var columnName = regexp.MustCompile(`\b[a-z]+\d+(?:_\d+)*\b`)

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
		if at < 0 { // a column that goes through as it is
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
