package guard

import (
	"fmt"
	"slices"
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
	prints  []Print
	quick   bool // render the Quick query
	rest    bool // render the query for the groups that are open
}

// Evidence is first taken per group and unit, then per group. Where a unit has one row only, its row is that
// first step already.
func (g *guardedQuery) release() (*relation, error) {
	r := Release{Name: "r" + itoa(len(g.program.Releases)+1), Proofs: len(g.in.proofs), Overlap: g.in.overlap}
	r.Senses = slices.ContainsFunc(g.in.atoms, func(a secretAtom) bool { return a.sense })
	var types []typ
	for _, v := range g.groups {
		t, err := v.typ.sql()
		if err != nil {
			return nil, g.denyBecause(nil, err, "guard.unknown-type", "type", v.typ.ID)
		}
		r.Groups = append(r.Groups, Group{Name: v.name, Type: t, Sensitive: v.sensitive, Secret: v.raw, noisy: !v.margin.none})
		types = append(types, v.typ)
	}
	for _, k := range g.in.keys {
		r.Keys = append(r.Keys, k.domain)
	}
	g.takePrints()
	saves := false
	for i := range g.cells {
		a := &g.cells[i]
		a.Whole = a.whole()
		a.Alike = g.mode != policy.Private && slices.ContainsFunc(a.args, func(v value) bool { return v.sensitive && v.sort == measureValue })
		a.Bare = len(a.Terms) == 1 && a.Constant == 0 && a.Terms[0].Coefficient == 1 && a.args[0].poly.isAtom()
		g.bounds(a)
		g.reaches(a)
		saves = saves || g.in.oneRowAUnit() && a.Dominated()
		r.Cells = append(r.Cells, a.Cell)
		types = append(types, typeOf(a.Type))
	}
	if g.assumed != nil { // typed again for its public part alone, which has been rendered
		return g.finishRelease(r, g.in, g.outputs, types)
	}
	r.Prints = g.prints
	r.SQL, r.Same = g.sql()
	switch {
	case g.settledByBounds():
		r.Quick, r.QuickSame = g.boundsSQL()
		for _, k := range g.in.keys {
			r.Bounds = append(r.Bounds, k.rows)
		}
	case saves:
		g.quick = true
		r.Quick, r.QuickSame = g.sql()
		g.quick = false
	}
	if r.Quick != "" && namable(r.Groups) {
		g.rest = true
		r.Rest, _ = g.sql()
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

func (g *guardedQuery) sql() (string, Same) {
	by := numbered("g", len(g.groups))
	unique := g.in.oneRowAUnit()
	o := once{}
	base := g.base(o.layer(g.rows()))
	q := "WITH base AS (" + base + ")"
	if g.rest {
		q = "WITH every AS (" + base + "), base AS (SELECT * FROM every SEMI JOIN " + quoteName(Open) + " AS o ON " + openGroups(len(g.groups)) + ")"
	}
	from := "cells"
	var cells []string
	if unique {
		units := o.above(g.unitRows())
		var told []string
		cells, told = counted(o.above(slices.Concat(by, g.values(), g.evidence(0), g.printed(0, false))))
		q += ", cells AS (" + groupedUnits(cells, told, "(SELECT base.*, "+strings.Join(units, ", ")+" FROM base)", by) + ")"
		cells = append(cells, told...)
	} else {
		q += ", vals AS (" + grouped(o.above(slices.Concat(by, g.values())), "base", by) + ")"
		from = "vals"
		for k := range g.in.keys {
			units := fmt.Sprintf("units%d", k)
			list := o.above(slices.Concat(by, []string{fmt.Sprintf("k%d AS u", k)}, g.unitSums(), g.times(k)))
			inner := grouped(list, fmt.Sprintf("base WHERE k%d IS NOT NULL", k), append(append([]string{}, by...), fmt.Sprintf("k%d", k)))
			q += fmt.Sprintf(", %s AS (%s)", units, inner)
			ev := fmt.Sprintf("ev%d", k)
			q += fmt.Sprintf(", %s AS (%s)", ev, grouped(o.above(slices.Concat(by, g.evidence(k), g.printed(k, true))), units, by))
			from += " JOIN " + ev + " ON " + sameGroups("vals", ev, by)
		}
	}
	if proofs := g.proofs(); proofs != "" {
		q += ", proofs AS (" + proofs + ")"
		from += " CROSS JOIN proofs"
	}
	last, same := g.outer(o, from, cells)
	return g.audited(q + " " + last), same
}

// proofs renders one row of what the joins rest on.
func (g *guardedQuery) proofs() string {
	var list []string
	for j, proof := range g.in.proofs {
		list = append(list, fmt.Sprintf("%s AS p%d", proof, j))
	}
	if len(list) == 0 {
		return ""
	}
	return "SELECT " + strings.Join(list, ", ")
}

func grouped(list []string, from string, by []string) string {
	sql := "SELECT " + strings.Join(list, ", ") + " FROM " + from
	if len(by) > 0 {
		sql += " GROUP BY " + strings.Join(by, ", ")
	}
	return sql
}

// groupedUnits is grouped where every unit has one row: what is added up of them says how many there are. Sums of short hashes have room in 64 bits,
// in which they travel faster.
func groupedUnits(list, told []string, from string, by []string) string {
	var short []string
	for _, item := range list {
		if expression, name, _ := cutLast(item, " AS "); strings.HasPrefix(expression, "sum(kh0)") {
			short = append(short, fmt.Sprintf("CAST(%s AS BIGINT) AS %s", name, name))
		}
	}
	sql, all := grouped(list, from, by), []string{"*"}
	if len(short) > 0 {
		all[0] = "* REPLACE (" + strings.Join(short, ", ") + ")"
	}
	if all = append(all, told...); len(short) == 0 && len(told) == 0 {
		return sql
	}
	return "SELECT " + strings.Join(all, ", ") + " FROM (" + sql + ")"
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

// rows lists what is taken of each protected row: groups, units, and for each aggregate whether the row takes part (f),
// whether it lies outside the condition (o), its arguments (p) and terms (m).
func (g *guardedQuery) rows() []string {
	var list []string
	add := func(sql, name string) { list = append(list, sql+" AS "+name) }
	for i, v := range g.groups {
		add(v.sql, "g"+itoa(i))
	}
	for k, key := range g.in.keys {
		add(key.sql, "k"+itoa(k))
		if key.hash != "" {
			add(key.hash, "kh"+itoa(k))
		} else {
			add(shortHash(key.sql), "kh"+itoa(k))
		}
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
		for j, sql := range g.wholes(a) {
			if sql != "" {
				add(sql, "whole"+n+"_"+itoa(j))
			}
		}
	}
	return append(list, g.contributions()...)
}

// base renders the protected rows.
func (g *guardedQuery) base(list []string) string {
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

// namesUnits reports whether the set of a group's units must be named: its threshold is drawn by it. The quick query
// leaves groups open that are so small.
func (g *guardedQuery) namesUnits() bool { return g.mode == policy.Perturbed && !g.quick }

// unitHash is what names a unit in the name of a set, the same for a group and for what meets a condition in it.
func (g *guardedQuery) unitHash() string {
	if g.in.oneRowAUnit() {
		return "kh0"
	}
	return shortHash("u")
}

// evidence aggregates the per-unit quantities for key k.
func (g *guardedQuery) evidence(k int) []string {
	list := []string{fmt.Sprintf("count(*) AS n%d", k)}
	if g.namesUnits() {
		list = append(list, fmt.Sprintf("sum(%s) AS gx%d", g.unitHash(), k))
	}
	add := func(sql, name string, i int) { list = append(list, fmt.Sprintf("%s AS %s%d_%d", sql, name, i, k)) }
	for i, a := range g.cells {
		takesPart := fmt.Sprintf("r%d > 0", i)
		if g.in.oneRowAUnit() {
			takesPart = fmt.Sprintf("f%d", i)
		}
		contributes := takesPart
		for j := range a.contributions(i, false) { // who adds zero to every sum behind a variance is no contributor to it
			contributes += fmt.Sprintf(" AND d%d_%d <> 0", i, j)
		}
		units, among := "count(*) FILTER (WHERE "+contributes+")", " FILTER (WHERE "+takesPart+")"
		everybody := g.in.oneRowAUnit() && a.filter == "" && a.Kind == CountRows
		if everybody {
			units = "count(*)" // counted already
		}
		if everybody || g.quick && a.Whole && a.Dominated() {
			among = "" // in the quick query the filter looks whether a value was NULL
		}
		if a.Conditional {
			add(fmt.Sprintf("count(*) FILTER (WHERE out%d > 0)", i), "z", i)
			if g.namesUnits() {
				add(fmt.Sprintf("COALESCE(sum(%s) FILTER (WHERE out%d > 0), 0)", g.unitHash(), i), "xz", i)
			}
		}
		x := perUnitContribution(i, a)
		switch {
		case g.quick && (a.Kind == Sum || a.Kind == Average):
			d := fmt.Sprintf("d%d_0", i)
			add("greatest(max("+d+"), -min("+d+"))", "t", i)
			add("CASE WHEN min("+d+") >= 0 THEN "+g.total(i, a)+" END", "s", i) // where some are negative, it is open
		case a.Dominated():
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
			add("sum("+g.unitHash()+")"+among, "x", i)
		}
		for j := range g.measures(a) {
			list = append(list, fmt.Sprintf("max(abs(md%d_%d)) AS q%d_%d_%d", i, j, i, k, j))
			list = append(list, fmt.Sprintf("sum(abs(md%d_%d)) AS y%d_%d_%d", i, j, i, k, j))
		}
		if g.namesUnits() && a.namesContributors() {
			add("COALESCE(sum("+g.unitHash()+") FILTER (WHERE "+contributes+"), 0)", "xn", i)
		}
		for j, x := range g.termParts(i, a) {
			list = append(list, fmt.Sprintf("COALESCE(sum(%s) FILTER (WHERE %s <> 0), 0) AS xt%d_%d_%d", g.unitHash(), x, i, k, j))
		}
	}
	return list
}

// namesContributors reports whether the units that E2 counts are others than those that take part.
func (a cell) namesContributors() bool { return a.Kind == Sum || a.Kind == Average }

// termParts are a unit's parts in the terms of a sum, in perturbed mode. The units whose part is not nothing name the term's
// noise: were those named who add nothing, each choice of them would draw it anew.
func (g *guardedQuery) termParts(i int, a cell) []string {
	switch {
	case g.mode != policy.Perturbed || a.Kind != Sum && a.Kind != Average || len(a.Terms) == 0:
		return nil
	case a.Bare:
		return []string{fmt.Sprintf("d%d_0", i)}
	}
	return numbered(fmt.Sprintf("md%d_", i), len(a.Terms))
}

// total is the sum of an argument as the values have it, so that the engine forms it once.
func (g *guardedQuery) total(i int, a cell) string {
	if a.Kind == Sum {
		return fmt.Sprintf("%s(p%d_0)%s", quoteName(a.Function), i, a.among(i))
	}
	return fmt.Sprintf("sum(CAST(p%d_0 AS DOUBLE))%s", i, a.among(i))
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
