package guard_test

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/policy"
)

// evidenceColumns are the only columns that a guarded aggregation may bring out of the process with the data.
var evidenceColumns = regexp.MustCompile(`^(g\d+|w|gx\d+|e\d+|n\d*|out\d+|p\d+|x\d+|v\d+|b\d+|[nztushxFME]\d+_\d+|alike\d+|(rr|xn|xz)\d+_\d+|(q|y|xt)\d+_\d+_\d+|sum\d+|size\d+_\d+|weight\d+_\d+_\d+|d\d+_\d+|m\d_(avg|var|min|max)\d+|cov\d+)$`)

// evidenceSources are what its last SELECT may read: relations that are grouped already.
var evidenceSources = regexp.MustCompile(`^(cells|vals|proofs|ev\d+)$`)

// audited is what stands around a query that brings fingerprints: it brings no columns besides but whether they fit.
var audited = regexp.MustCompile(`(?s)^SELECT \* REPLACE \(((?:CASE WHEN fits THEN (?:to_base64\([FM]\d+_\d+\)|CASE WHEN (F\d+_\d+) IS NOT DISTINCT FROM F0_\d+ THEN '=' ELSE to_base64\(F\d+_\d+\) END) END AS [FM]\d+_\d+(?:, )?)+)\) ` +
	`FROM \(SELECT \*, count\(\*\) OVER \(\) <= 2000 AND bool_and\([^']*?\) OVER \(\) AND sum\([^']*?\) OVER \(\) <= 41943040 AS fits FROM \((.*)\)\) LIMIT 2001$`)

// guardedValue is a value that enough units contribute to, or that bounds show so.
var guardedValue = regexp.MustCompile(`^CASE WHEN (abs\((val|sum|b)\d+\) >= [\d.]+|n\d+_\d+ >= \d+|s\d+_\d+ > \d+ \* t\d+_\d+)( AND (n\d+_\d+ >= \d+|s\d+_\d+ > \d+ \* t\d+_\d+))* THEN `)

// enough is how small groups are left out.
var enough = regexp.MustCompile(` (QUALIFY|WHERE) (n0|n|weight\d+_0_0) >= \d+( |$)`)

// near is the column of groups that are brought although they are too small, and shown is how all but their evidence is hidden.
var (
	near  = regexp.MustCompile(`^NOT \((n\d+ >= 10(?: AND n\d+ >= 10)*)\) AS near$`)
	shown = regexp.MustCompile(`^CASE WHEN (n\d+ >= 10(?: AND n\d+ >= 10)*) THEN (.*) END( AS \S+)$`)
	// ofNear is what comes of such a group: how many units it has, and their fingerprints.
	ofNear = regexp.MustCompile(`^(w|[enp]\d+|F\d+_\d+)$`)
)

var dataName = regexp.MustCompile(`"ds_([a-z0-9_]+)"`)

// checkProgram holds a program to what makes it safe whatever was asked: protected data is read by guarded
// aggregations alone, these bring out groups, guarded values and evidence and nothing else, and the last step
// reads what was let through, or open data.
func checkProgram(t testing.TB, schema []policy.Dataset, p *guard.Program) {
	t.Helper()
	open := map[string]bool{}
	for _, d := range schema {
		open[d.Name] = d.Open
	}
	final := withoutStrings(p.Final.SQL)
	for _, found := range dataName.FindAllStringSubmatch(final, -1) {
		if !open[found[1]] || !slices.Contains(p.Final.Data, found[1]) {
			t.Errorf("the last step reads %s: %s", found[1], p.Final.SQL)
		}
	}
	if strings.Contains(final, "__unit_") {
		t.Errorf("the last step reads units: %s", p.Final.SQL)
	}
	for _, name := range p.Final.Data {
		if !open[name] {
			t.Errorf("the last step is given %s", name)
		}
	}
	known := map[string]bool{}
	for _, r := range p.Releases {
		for _, name := range r.Reads {
			if !known[name] {
				t.Errorf("%s reads %s, which is not released before it", r.Name, name)
			}
		}
		known[r.Name] = true
		checkRelease(t, schema, r)
	}
	for _, name := range p.Final.Reads {
		if !known[name] {
			t.Errorf("the last step reads %s, which nothing releases", name)
		}
	}
	if len(p.Final.Names) == 0 {
		t.Error("no columns")
	}
}

func checkRelease(t testing.TB, schema []policy.Dataset, r guard.Release) {
	t.Helper()
	if len(r.Keys) == 0 {
		t.Errorf("%s is guarded by no unit: %s", r.Name, r.SQL)
	}
	if r.Noised != nil {
		checkFigures(t, schema, r)
		return
	}
	checkEvidence(t, r, r.SQL)
	if r.Quick != "" {
		checkEvidence(t, r, r.Quick)
	}
}

// figureColumns are the only columns that a query of a noised mode may bring: groups, and figures.
var figureColumns = regexp.MustCompile(`^(g\d+|(?:CAST\(COALESCE\(sum\(.*\), 0\) AS HUGEINT\) AS )f\d+)$`)

// column is a column of a data set in SQL of ours.
var column = regexp.MustCompile(`\bt\d+\."([^"]+)"`)

// checkFigures holds an aggregation of a noised mode to its form: figures with a cap and a width, and sizes that are
// made of public columns alone.
func checkFigures(t testing.TB, schema []policy.Dataset, r guard.Release) {
	t.Helper()
	list, _ := lastSelect(r.SQL)
	for _, c := range list {
		if !figureColumns.MatchString(c) {
			t.Errorf("%s brings out %q", r.Name, c)
		}
	}
	for _, f := range r.Noised.Figures {
		if !(f.Grid > 0) || !(f.Width2 >= 0) || math.IsInf(f.Width2, 0) || f.Width2 < f.Cap*f.Cap*0.999 {
			t.Errorf("%s: a figure without bounds: %+v", r.Name, f)
		}
	}
	if len(r.Groups) > 0 && r.Noised.Sizes == "" && r.Noised.Units < 0 {
		t.Errorf("%s: nothing says which groups are shown", r.Name)
	}
	public := map[string]bool{}
	for _, d := range schema {
		for _, c := range d.Columns {
			key := slices.ContainsFunc(d.Units, func(u policy.Unit) bool { return u.Key == c.Name }) // which the register is of
			public[c.Name] = public[c.Name] || d.PublicColumn(c.Name) || key
		}
	}
	for _, found := range column.FindAllStringSubmatch(withoutStrings(r.Noised.Sizes), -1) {
		if !public[found[1]] && !strings.HasPrefix(found[1], "__unit_") {
			t.Errorf("%s: sizes read %s, which is not public: %s", r.Name, found[1], r.Noised.Sizes)
		}
	}
	for _, found := range dataName.FindAllStringSubmatch(withoutStrings(r.Noised.Sizes), -1) {
		for _, d := range schema {
			if d.Name == found[1] && !d.PublicMembership() {
				t.Errorf("%s: sizes read %s, whose membership is secret", r.Name, d.Name)
			}
		}
	}
}

func checkEvidence(t testing.TB, r guard.Release, sql string) {
	t.Helper()
	if len(r.Prints) > 0 {
		parts := audited.FindStringSubmatch(sql)
		if parts == nil {
			t.Fatalf("%s brings fingerprints of everything: %s", r.Name, sql)
		}
		sql = parts[3]
	}
	list, rest := lastSelect(sql)
	if !enough.MatchString(rest) {
		t.Errorf("%s lets small groups out of the worker: %s", r.Name, rest)
	}
	list = withoutNear(t, r, list, rest)
	for _, column := range list {
		name := column
		if i := strings.LastIndex(column, " AS "); i >= 0 {
			name = column[i+4:]
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, "cells."), "vals.")
		if !evidenceColumns.MatchString(name) {
			t.Errorf("%s brings out %q", r.Name, column)
		}
		if strings.HasPrefix(name, "v") && !guardedValue.MatchString(column) {
			t.Errorf("%s brings out a value without a condition: %q", r.Name, column)
		}
	}
	from := strings.Fields(strings.ReplaceAll(rest, "DISTINCT FROM", "DISTINCT-FROM"))
	for i, word := range from {
		if (word == "FROM" || word == "JOIN") && !evidenceSources.MatchString(from[i+1]) {
			t.Errorf("%s reads %s in its last step", r.Name, from[i+1])
		}
	}
}

// withoutNear takes away what hides groups that are too small, after it was looked whether it does.
func withoutNear(t testing.TB, r guard.Release, list []string, rest string) []string {
	t.Helper()
	last := near.FindStringSubmatch(list[len(list)-1])
	if last == nil {
		if strings.Contains(rest, "n0 >= 7") {
			t.Errorf("%s brings small groups as they are: %s", r.Name, rest)
		}
		return list
	}
	var all []string
	for k := range r.Keys {
		all = append(all, fmt.Sprintf("n%d >= 10", k))
	}
	out := slices.Clone(list[:len(list)-1])
	for i, column := range out {
		hidden := shown.FindStringSubmatch(column)
		switch {
		case ofNear.MatchString(column[strings.LastIndexByte(column, ' ')+1:]):
		case hidden == nil || hidden[1] != strings.Join(all, " AND ") || last[1] != hidden[1]:
			t.Errorf("%s brings %q of small groups", r.Name, column)
		default:
			out[i] = strings.TrimSuffix(hidden[2], " AS"+hidden[3][3:]) + hidden[3]
		}
	}
	return out
}

// lastSelect takes apart the last SELECT of a query of ours: its columns, and what follows them.
func lastSelect(sql string) (columns []string, rest string) {
	depth, quote, start := 0, rune(0), 0
	begin := -1
	for i, r := range sql {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '(':
			depth++
		case r == ')':
			depth--
		case depth > 0:
		case strings.HasPrefix(sql[i:], "SELECT "):
			columns, begin, start = nil, i, i+len("SELECT ")
		case begin >= 0 && rest == "" && r == ',':
			columns = append(columns, strings.TrimSpace(sql[start:i]))
			start = i + 1
		case begin >= 0 && rest == "" && strings.HasPrefix(sql[i:], " FROM "):
			columns = append(columns, strings.TrimSpace(sql[start:i]))
			rest = sql[i:]
		}
	}
	return columns, rest
}

var quoted = regexp.MustCompile(`'(?:[^']|'')*'`)

func withoutStrings(sql string) string { return quoted.ReplaceAllString(sql, "''") }
