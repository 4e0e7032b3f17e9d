package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// settledRow marks, in the table that is judged, a row whose evidence are bounds.
const settledRow = "settled"

// Settlement is what the quick query's bounds decide: the groups in which every cell passes by them. The rest is open.
type Settlement struct {
	release guard.Release
	quick   sandbox.Table
	open    []bool // by row
	some    int    // how many are open
	whole   bool   // nothing is settled: all evidence must be brought for all groups
}

// Settle looks at the bounds that a quick query brought. A cell passes by them only if it passes by the evidence.
func (a *Assessment) Settle(r guard.Release, quick sandbox.Table) Settlement {
	quick = r.QuickSame.In(quick)
	s := Settlement{release: r, quick: quick, open: make([]bool, len(quick.Rows)), whole: len(quick.Rows) > guard.MostSettled}
	for _, row := range quick.Rows {
		s.whole = s.whole || len(row) != len(quick.Columns)
	}
	if s.whole || a.mode == policy.Exact && len(quick.Rows) > MaxReviewed { // which Admit refuses, whatever they hold
		return s
	}
	if len(r.Bounds) > 0 {
		s.quick = a.unitsOf(r, quick)
	}
	j := a.judging(r, s.quick)
	for i, row := range s.quick.Rows {
		j.current = row
		if s.open[i] = j.value(guard.Near) != true && !j.settled(); s.open[i] {
			s.some++
		}
	}
	if s.some > 0 && (r.Rest == "" || s.some > MaxOpen) {
		s.whole = true
	}
	return s
}

// MaxOpen is the most open groups whose values are handed to the query for the rest.
const MaxOpen = 10_000

// Open gives the query that brings all evidence for the groups that are open; ok is false where there are none.
func (s Settlement) Open() (q sandbox.Query, ok bool) {
	switch {
	case s.whole:
		return sandbox.Query{SQL: s.release.SQL}, true
	case s.some == 0:
		return sandbox.Query{}, false
	}
	groups := sandbox.Named{Name: guard.Open}
	var places []int
	for i, g := range s.release.Groups {
		groups.Table.Columns = append(groups.Table.Columns, sandbox.Column{Name: "c" + strconv.Itoa(i), Type: g.Type})
		places = append(places, place(s.quick, "g"+strconv.Itoa(i)))
	}
	for i, row := range s.quick.Rows {
		if !s.open[i] {
			continue
		}
		values := make([]any, len(places))
		for n, at := range places {
			values[n] = row[at]
		}
		groups.Table.Rows = append(groups.Table.Rows, values)
	}
	return sandbox.Query{SQL: s.release.Rest, Tables: []sandbox.Named{groups}}, true
}

// With gives the cells to be judged: those that are settled, and those that were open with all evidence. What is said
// of all groups together, whether any was left out and how many values there are (E4), stands in the quick query's rows.
func (s Settlement) With(exact sandbox.Table) (sandbox.Table, error) {
	exact = s.release.Same.In(exact)
	if s.whole {
		return exact, nil
	}
	all, err := s.with(exact)
	if err != nil {
		return sandbox.Table{}, problem.New("export.evidence").Because(err)
	}
	return all, nil
}

func (s Settlement) with(exact sandbox.Table) (sandbox.Table, error) {
	all := sandbox.Table{Columns: append(slices.Clone(s.quick.Columns), sandbox.Column{Name: settledRow, Type: "BOOLEAN"})}
	for _, c := range exact.Columns {
		if place(all, c.Name) < 0 {
			all.Columns = append(all.Columns, c)
		}
	}
	settledAt, wAt := place(all, settledRow), place(all, "w")
	if wAt < 0 {
		return sandbox.Table{}, fmt.Errorf("column w is missing")
	}
	open, err := s.byGroup(exact)
	if err != nil {
		return sandbox.Table{}, err
	}
	left := false // a group was left out that was open
	for i, row := range s.quick.Rows {
		merged := make([]any, len(all.Columns))
		copy(merged, row)
		merged[settledAt] = true
		if s.open[i] {
			name, err := s.group(s.quick, row)
			if err != nil {
				return sandbox.Table{}, err
			}
			full, found := open[name]
			if !found {
				left = true
				continue
			}
			for n := range merged { // no bound stays beside the evidence
				if !s.ofAll(all.Columns[n].Name) {
					merged[n] = nil
				}
			}
			for n, c := range exact.Columns {
				if !s.ofAll(c.Name) {
					merged[place(all, c.Name)] = full[n]
				}
			}
		}
		all.Rows = append(all.Rows, merged)
	}
	for _, row := range all.Rows {
		if left {
			row[wAt] = true
		}
	}
	return all, nil
}

// ofAll reports whether a column says something of all groups together.
func (s Settlement) ofAll(column string) bool {
	for i, g := range s.release.Groups {
		if g.Sensitive && column == "e"+strconv.Itoa(i) {
			return true
		}
	}
	return column == "w"
}

func (s Settlement) byGroup(t sandbox.Table) (map[string][]any, error) {
	rows := make(map[string][]any, len(t.Rows))
	for _, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return nil, fmt.Errorf("a row has %d values for %d columns", len(row), len(t.Columns))
		}
		name, err := s.group(t, row)
		if err != nil {
			return nil, err
		}
		rows[name] = row
	}
	return rows, nil
}

// group names a row's group.
func (s Settlement) group(t sandbox.Table, row []any) (string, error) {
	var values []any
	for i := range s.release.Groups {
		at := place(t, "g"+strconv.Itoa(i))
		if at < 0 {
			return "", fmt.Errorf("group %d is missing", i)
		}
		values = append(values, row[at])
	}
	name, err := json.Marshal(values)
	return string(name), err
}

func place(t sandbox.Table, column string) int {
	return slices.IndexFunc(t.Columns, func(c sandbox.Column) bool { return c.Name == column })
}

// settled reports whether the bounds of the current row settle every cell of it.
func (j *judging) settled() bool {
	for i := range j.release.Groups { // without which the group cannot be named
		if _, ok := j.index["g"+strconv.Itoa(i)]; !ok {
			return true // for Admit to refuse
		}
	}
	if j.release.Senses && len(j.release.Bounds) > 0 { // how many units there are decides, and not that there are enough
		return false
	}
	j.bounds = true
	defer func() { j.bounds = false }()
	for key := range j.release.Keys {
		n, err := j.number("n", key)
		if err != nil {
			return false
		}
		if !j.enough(n) {
			return false
		}
	}
	for i, c := range j.release.Cells {
		if failed, err := j.failedCheck(i, c); err != nil || failed != "" || j.value("v"+strconv.Itoa(i)) == nil {
			return false
		}
	}
	return true
}
