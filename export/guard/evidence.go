package guard

import (
	"fmt"
	"strconv"
	"strings"

	"weir/policy"
)

// guardedQuery renders a guarded aggregation: the values asked for, and beside them, per unit and never per row,
// the evidence on which the export filter decides.
type guardedQuery struct {
	*checker
	in     *relation
	groups []value
	cells  []cell
	// outputs are the columns that were asked for, in their order.
	outputs []output
	quick   bool // render the Quick query
}

// unique reports whether every unit has at most one row, so that the row is the first step of the evidence already.
func (g *guardedQuery) unique() bool {
	return len(g.in.keys) == 1 && g.in.keys[0].unique && !g.in.keys[0].nullable
}

// Evidence is first taken per group and unit, then per group. Where a unit has one row only, its row is that
// first step already.
func (g *guardedQuery) release() (*relation, error) {
	r := Release{Name: "r" + itoa(len(g.program.Releases)+1), Proofs: len(g.in.proofs)}
	var types []typ
	for _, v := range g.groups {
		t, err := v.typ.sql()
		if err != nil {
			return nil, g.denyBecause(nil, err, "guard.unknown-type", "type", v.typ.ID)
		}
		r.Groups = append(r.Groups, Group{Name: v.name, Type: t, Sensitive: v.sensitive})
		types = append(types, v.typ)
	}
	for _, k := range g.in.keys {
		r.Keys = append(r.Keys, k.domain)
	}
	saves := false
	for i := range g.cells {
		a := &g.cells[i]
		a.Whole = a.whole()
		a.Bare = len(a.Terms) == 1 && a.Constant == 0 && a.Terms[0].Coefficient == 1 && a.args[0].poly.isAtom()
		saves = saves || g.unique() && a.Dominated()
		r.Cells = append(r.Cells, a.Cell)
		types = append(types, typeOf(a.Type))
	}
	r.SQL = g.sql()
	if saves && g.mode == policy.Perturbed { // in exact mode the fingerprints outweigh what would be saved
		g.quick = true
		r.Quick = g.sql()
	}
	return g.finishRelease(r, g.in, g.outputs, types)
}

// typeOf reads back a type that typ.sql wrote.
func typeOf(sql string) typ {
	var width, scale int
	if n, _ := fmt.Sscanf(sql, "DECIMAL(%d,%d)", &width, &scale); n == 2 {
		return typ{ID: "DECIMAL", Info: &typeInfo{Kind: "DECIMAL_TYPE_INFO", Width: width, Scale: scale}}
	}
	return typ{ID: sql}
}

func (g *guardedQuery) sql() string {
	by := numbered("g", len(g.groups))
	unique := g.unique()
	q := "WITH base AS (" + g.base() + ")"
	from := "cells"
	if unique {
		all := append(append([]string{}, by...), g.values()...)
		all = append(all, g.evidence(0)...)
		q += ", cells AS (" + grouped(all, "(SELECT base.*, "+strings.Join(g.unitRows(), ", ")+" FROM base)", by) + ")"
	} else {
		q += ", vals AS (" + grouped(append(append([]string{}, by...), g.values()...), "base", by) + ")"
		from = "vals"
		for k := range g.in.keys {
			units := fmt.Sprintf("units%d", k)
			list := append(append([]string{}, by...), fmt.Sprintf("k%d AS u", k))
			inner := grouped(append(list, g.unitSums()...), fmt.Sprintf("base WHERE k%d IS NOT NULL", k), append(append([]string{}, by...), fmt.Sprintf("k%d", k)))
			q += fmt.Sprintf(", %s AS (%s)", units, inner)
			ev := fmt.Sprintf("ev%d", k)
			q += fmt.Sprintf(", %s AS (%s)", ev, grouped(append(append([]string{}, by...), g.evidence(k)...), units, by))
			from += " JOIN " + ev + " ON " + sameGroups("vals", ev, by)
		}
	}
	for k := range g.in.keys {
		if g.mode == policy.Exact && len(g.cells) > 0 {
			fp := fmt.Sprintf("fp%d", k)
			q += fmt.Sprintf(", %s AS (%s)", fp, g.fingerprints(k, by))
			source := "vals"
			if unique {
				source = "cells"
			}
			from += " LEFT JOIN " + fp + " ON " + sameGroups(source, fp, by)
		}
	}
	if len(g.in.proofs) > 0 {
		var list []string
		for j, proof := range g.in.proofs {
			list = append(list, fmt.Sprintf("%s AS p%d", proof, j))
		}
		q += ", proofs AS (SELECT " + strings.Join(list, ", ") + ")"
		from += " CROSS JOIN proofs"
	}
	return q + " " + g.outer(from, unique)
}

// fingerprints renders, for key k and each aggregate, a linear fingerprint of the rows behind the cell: in each of
// FingerprintParts parts of the units, the sum of a keyed hash of the unit over its rows. The fingerprint of a sum
// or difference of cells is the sum or difference of theirs, and one that is supported on fewer than k units is
// supported on fewer than k parts: that is what E6 looks for.
func (g *guardedQuery) fingerprints(k int, by []string) string {
	inner := append(append([]string{}, by...), fmt.Sprintf("k%d & %d AS part", k, FingerprintParts-1))
	outer := append([]string{}, by...)
	for i := range g.cells {
		inner = append(inner, fmt.Sprintf("sum(CAST(k%d >> %d AS HUGEINT)) FILTER (WHERE f%d) AS p%d", k, fingerprintShift, i, i))
		outer = append(outer, fmt.Sprintf("string_agg(part || '=' || p%d, ' ') AS F%d_%d", i, i, k))
	}
	parts := grouped(inner, fmt.Sprintf("base WHERE k%d IS NOT NULL", k), append(append([]string{}, by...), "part"))
	return grouped(outer, "("+parts+")", by)
}

func grouped(list []string, from string, by []string) string {
	sql := "SELECT " + strings.Join(list, ", ") + " FROM " + from
	if len(by) > 0 {
		sql += " GROUP BY " + strings.Join(by, ", ")
	}
	return sql
}

func sameGroups(a, b string, by []string) string {
	if len(by) == 0 {
		return "TRUE"
	}
	var parts []string
	for _, g := range by {
		parts = append(parts, fmt.Sprintf("%s.%s IS NOT DISTINCT FROM %s.%s", a, g, b, g))
	}
	return strings.Join(parts, " AND ")
}

// base has a row for each protected row: groups, units, and for each aggregate whether the row takes part (f),
// whether it lies outside the condition (o), its arguments (p, r) and terms (m).
func (g *guardedQuery) base() string {
	var list []string
	add := func(sql, name string) { list = append(list, sql+" AS "+name) }
	for i, v := range g.groups {
		add(v.sql, "g"+itoa(i))
	}
	for k, key := range g.in.keys {
		add(key.sql, "k"+itoa(k))
	}
	for i, a := range g.cells {
		n := itoa(i)
		if a.filter != "" {
			add("COALESCE("+a.filter+", FALSE)", "f"+n)
		} else {
			add("TRUE", "f"+n)
		}
		if a.Conditional {
			add("COALESCE(NOT "+a.where+", TRUE)", "o"+n)
		}
		for j, v := range a.args {
			add(exactArgument(v), "p"+n+"_"+itoa(j))
		}
		for j, sql := range g.measures(a) {
			add(sql, "m"+n+"_"+itoa(j))
		}
	}
	sql := "SELECT " + strings.Join(list, ", ") + " FROM " + g.in.from
	if len(g.in.where) > 0 {
		sql += " WHERE " + strings.Join(g.in.where, " AND ")
	}
	return sql
}

// exactArgument keeps a sum from overflowing: very wide numbers are summed as floating point.
func exactArgument(v value) string {
	if v.typ.ID == "HUGEINT" || v.typ.ID == "UHUGEINT" || v.typ.ID == "DECIMAL" && v.typ.Info.Width > 18 {
		return "CAST(" + v.sql + " AS DOUBLE)"
	}
	return v.sql
}

// measures are the terms of a sum's argument, whose noise is drawn apart. One that is the argument itself needs
// nothing besides the evidence for dominance.
func (g *guardedQuery) measures(a cell) []string {
	if g.mode != policy.Perturbed || a.Bare {
		return nil
	}
	return a.terms
}

// contribution is what a row gives to an aggregate, for E2 and E3; 1 where rows are what is counted.
func (a cell) contributions(i int, single bool) []string {
	switch a.Kind {
	case Sum, Average, Moment:
		var list []string
		for j, v := range a.args {
			t := "DOUBLE"
			if single && smallIntegers[v.typ.ID] {
				t = "BIGINT" // whole numbers add up faster; one row a unit cannot overflow
			}
			list = append(list, fmt.Sprintf("CAST(p%d_%d AS %s)", i, j, t))
		}
		return list
	}
	return nil
}

var smallIntegers = map[string]bool{"TINYINT": true, "SMALLINT": true, "INTEGER": true, "UTINYINT": true, "USMALLINT": true}

// unitRows renders the per-unit quantities of a relation in which every unit has one row.
func (g *guardedQuery) unitRows() []string {
	list := []string{"k0 AS u"}
	among := func(i int, a cell, sql, name string) {
		if !a.whole() {
			sql = fmt.Sprintf("CASE WHEN f%d THEN %s END", i, sql)
		}
		list = append(list, sql+" AS "+name)
	}
	for i, a := range g.cells {
		list = append(list, fmt.Sprintf("CASE WHEN f%d THEN 1 ELSE 0 END AS r%d", i, i))
		if a.Conditional {
			list = append(list, fmt.Sprintf("CASE WHEN o%d THEN 1 ELSE 0 END AS out%d", i, i))
		}
		for j, x := range a.contributions(i, true) {
			among(i, a, x, fmt.Sprintf("d%d_%d", i, j))
		}
		for j := range g.measures(a) {
			among(i, a, fmt.Sprintf("m%d_%d", i, j), fmt.Sprintf("md%d_%d", i, j))
		}
	}
	return list
}

// whole reports whether only NULL keeps a row out of the aggregate, which aggregates pass over by themselves.
func (a cell) whole() bool { return !a.Conditional && (a.filter == "" || len(a.args) == 1) }

// among is the FILTER clause of the rows that take part, where one is needed. Without it the engine computes what
// several aggregates and checks have in common once.
func (a cell) among(i int) string {
	if a.whole() {
		return ""
	}
	return fmt.Sprintf(" FILTER (WHERE f%d)", i)
}

// unitSums renders the same quantities where a unit may have many rows.
func (g *guardedQuery) unitSums() []string {
	var list []string
	for i, a := range g.cells {
		rows := fmt.Sprintf("count(*) FILTER (WHERE f%d)", i)
		if a.Kind == CountUnits {
			rows = "least(1, " + rows + ")"
		}
		list = append(list, fmt.Sprintf("%s AS r%d", rows, i))
		if a.Conditional {
			list = append(list, fmt.Sprintf("count(*) FILTER (WHERE o%d) AS out%d", i, i))
		}
		for j, x := range a.contributions(i, false) {
			if a.Kind == Moment {
				x = "abs(" + x + ")"
			}
			list = append(list, fmt.Sprintf("sum(%s) FILTER (WHERE f%d) AS d%d_%d", x, i, i, j))
		}
		for j := range g.measures(a) {
			list = append(list, fmt.Sprintf("sum(m%d_%d) FILTER (WHERE f%d) AS md%d_%d", i, j, i, i, j))
		}
	}
	return list
}

// evidence aggregates the per-unit quantities for key k.
func (g *guardedQuery) evidence(k int) []string {
	list := []string{fmt.Sprintf("count(*) AS n%d", k)}
	add := func(sql, name string, i int) { list = append(list, fmt.Sprintf("%s AS %s%d_%d", sql, name, i, k)) }
	for i, a := range g.cells {
		contributes := fmt.Sprintf("r%d > 0", i)
		if a.Kind == Sum || a.Kind == Average {
			contributes += fmt.Sprintf(" AND d%d_0 <> 0", i)
		}
		units, among := "count(*) FILTER (WHERE "+contributes+")", fmt.Sprintf(" FILTER (WHERE r%d > 0)", i)
		everybody := g.unique() && a.filter == "" && a.Kind == CountRows
		if everybody {
			units = "count(*)" // counted already
		}
		if everybody || g.quick && a.Whole && a.Dominated() {
			among = "" // in the quick query the filter looks whether a value was NULL
		}
		if a.Conditional {
			add(fmt.Sprintf("count(*) FILTER (WHERE out%d > 0)", i), "z", i)
		}
		x := perUnitContribution(i, a)
		if a.Dominated() {
			add("max("+x+")", "t", i)
			add("sum("+x+")", "s", i)
		}
		if !g.quick || !a.Dominated() {
			add(units, "n", i)
		}
		if !g.quick && a.Dominated() {
			add("list_extract(max("+x+", 2), 2)", "u", i)
		}
		if !a.Single {
			add(fmt.Sprintf("max(r%d)", i), "rr", i)
		}
		if g.mode == policy.Perturbed {
			add("bit_xor(u)"+among, "x", i)
		}
		for j := range g.measures(a) {
			list = append(list, fmt.Sprintf("max(abs(md%d_%d)) AS q%d_%d_%d", i, j, i, k, j))
			list = append(list, fmt.Sprintf("sum(abs(md%d_%d)) AS y%d_%d_%d", i, j, i, k, j))
		}
	}
	return list
}

// perUnitContribution is the size of one unit's part in an aggregate, for the dominance rules.
func perUnitContribution(i int, a cell) string {
	switch a.Kind {
	case Sum, Average:
		return fmt.Sprintf("abs(d%d_0)", i)
	case Moment:
		if len(a.args) == 2 {
			return fmt.Sprintf("greatest(abs(d%d_0), abs(d%d_1))", i, i)
		}
		return fmt.Sprintf("abs(d%d_0)", i)
	}
	return fmt.Sprintf("r%d", i)
}

// values renders what the analyst asked for, over rows, as the engine itself computes it.
func (g *guardedQuery) values() []string {
	var list []string
	add := func(i int, sql, name string) {
		list = append(list, fmt.Sprintf("%s%s AS %s%d", sql, g.cells[i].among(i), name, i))
	}
	for i, a := range g.cells {
		x, y := fmt.Sprintf("p%d_0", i), fmt.Sprintf("p%d_1", i)
		if len(a.args) == 1 {
			add(i, "count("+x+")", "b")
		} else {
			add(i, "count(*)", "b")
		}
		switch a.Kind {
		case CountRows:
			add(i, "count(*)", "val")
		case CountUnits:
			add(i, "count(*)", "val") // replaced by the units counted as evidence
		case CountDistinct:
			add(i, "count(DISTINCT "+x+")", "val")
		case Quantile:
			add(i, a.quantileSQL(x), "val")
		case Moment:
			args := x
			if len(a.args) == 2 {
				args += ", " + y
			}
			add(i, quoteName(a.Function)+"("+args+")", "val")
		default:
			add(i, quoteName(a.Function)+"("+x+")", "val")
		}
		if g.mode == policy.Perturbed {
			list = append(list, g.noiseMaterial(i, a)...)
		}
	}
	return list
}

func (a cell) quantileSQL(x string) string {
	if a.Function == "median" {
		return "median(" + x + ")"
	}
	return fmt.Sprintf("%s(%s, %s)", quoteName(a.Function), x, strconv.FormatFloat(a.Fraction, 'f', -1, 64))
}

// noiseMaterial is what the export filter needs besides to perturb the statistic: moments and ranges.
func (g *guardedQuery) noiseMaterial(i int, a cell) []string {
	var list []string
	add := func(sql, name string) {
		list = append(list, fmt.Sprintf("%s%s AS %s%d", sql, a.among(i), name, i))
	}
	switch a.Kind {
	case Average:
		add(fmt.Sprintf("sum(CAST(p%d_0 AS DOUBLE))", i), "sum")
	case Moment, Quantile:
		for j := range a.args {
			x := fmt.Sprintf("CAST(p%d_%d AS DOUBLE)", i, j)
			n := "m" + itoa(j) + "_"
			add("avg("+x+")", n+"avg")
			add("var_pop("+x+")", n+"var")
			add("min("+x+")", n+"min")
			add("max("+x+")", n+"max")
		}
		if len(a.args) == 2 {
			add(fmt.Sprintf("covar_pop(CAST(p%d_0 AS DOUBLE), CAST(p%d_1 AS DOUBLE))", i, i), "cov")
		}
	}
	return list
}

// outer leaves out, inside the worker already, every group that fails E1 and every value that fails E2. The
// export filter checks the same again, with the rest.
func (g *guardedQuery) outer(from string, unique bool) string {
	source := "vals"
	if unique {
		source = "cells"
	}
	k := itoa(g.rules.K)
	var enough []string
	for j := range g.in.keys {
		enough = append(enough, fmt.Sprintf("n%d >= %s", j, k))
	}
	all := strings.Join(enough, " AND ")
	var list []string
	for i := range g.groups {
		list = append(list, fmt.Sprintf("%s.g%d AS g%d", source, i, i))
	}
	list = append(list, "bool_or(NOT ("+all+")) OVER () AS w")
	for i, v := range g.groups {
		if v.sensitive {
			list = append(list, "count(*) OVER ("+g.otherGroups(source, i)+") AS e"+itoa(i))
		}
	}
	for j := range g.in.proofs {
		list = append(list, fmt.Sprintf("p%d", j))
	}
	for j := range g.in.keys {
		list = append(list, fmt.Sprintf("n%d", j))
	}
	for i, a := range g.cells {
		list = append(list, g.cellColumns(i, a)...)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + from + " QUALIFY " + all
}

func (g *guardedQuery) otherGroups(source string, i int) string {
	var by []string
	for j := range g.groups {
		if j != i {
			by = append(by, fmt.Sprintf("%s.g%d", source, j))
		}
	}
	if len(by) == 0 {
		return ""
	}
	return "PARTITION BY " + strings.Join(by, ", ")
}

func (g *guardedQuery) cellColumns(i int, a cell) []string {
	quick := g.quick && a.Dominated()
	var contributing []string
	for j := range g.in.keys {
		enough := fmt.Sprintf("n%d_%d >= %d", i, j, g.rules.K)
		if quick {
			enough = fmt.Sprintf("s%d_%d > %d * t%d_%d", i, j, g.rules.K-1, i, j)
		}
		contributing = append(contributing, enough)
	}
	val := fmt.Sprintf("val%d", i)
	if a.Kind == CountUnits {
		val = fmt.Sprintf("n%d_%d", i, a.Unit)
	}
	list := []string{
		fmt.Sprintf("CASE WHEN %s THEN %s END AS v%d", strings.Join(contributing, " AND "), val, i),
		fmt.Sprintf("b%d", i),
	}
	for j := range g.in.keys {
		names := []string{"n"}
		switch {
		case quick:
			names = []string{"t", "s"}
		case a.Dominated():
			names = append(names, "t", "u", "s")
		}
		if !a.Single {
			names = append(names, "rr")
		}
		if a.Conditional {
			names = append(names, "z")
		}
		switch g.mode {
		case policy.Perturbed:
			names = append(names, "x")
		case policy.Exact:
			names = append(names, "F")
		}
		for _, name := range names {
			list = append(list, fmt.Sprintf("%s%d_%d", name, i, j))
		}
		for t := range g.measures(a) {
			list = append(list, fmt.Sprintf("q%d_%d_%d", i, j, t), fmt.Sprintf("y%d_%d_%d", i, j, t))
		}
	}
	if g.mode == policy.Perturbed {
		switch a.Kind {
		case Average:
			list = append(list, fmt.Sprintf("sum%d", i))
		case Moment, Quantile:
			for j := range a.args {
				for _, name := range []string{"avg", "var", "min", "max"} {
					list = append(list, fmt.Sprintf("m%d_%s%d", j, name, i))
				}
			}
			if len(a.args) == 2 {
				list = append(list, fmt.Sprintf("cov%d", i))
			}
		}
	}
	return list
}

func parseFraction(text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f <= 0 || f >= 1 {
		return 0, fmt.Errorf("quantile outside (0, 1)")
	}
	return f, nil
}
