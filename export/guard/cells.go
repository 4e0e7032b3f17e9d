package guard

import (
	"fmt"
	"strconv"
	"strings"

	"weir/policy"
)

// values renders what the analyst asked for, over rows, as the engine itself computes it.
func (g *guardedQuery) values() []string {
	var list []string
	add := func(i int, sql, name string) {
		list = append(list, fmt.Sprintf("%s%s AS %s%d", sql, g.cells[i].among(i), name, i))
	}
	for i, a := range g.cells {
		x, y := fmt.Sprintf("p%d_0", i), fmt.Sprintf("p%d_1", i)
		if len(a.args) == 1 && !a.full() {
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
		if a.Alike {
			list = append(list, g.alike(i, a))
		}
		if g.mode == policy.Perturbed {
			list = append(list, g.noiseMaterial(i, a)...)
		}
	}
	return list
}

// alike renders whether a sensitive argument is one value for everybody, or one of two values for all but few: then a mean
// of it says of each who is in the group what it is. Whether there are only two, sums of squares tell.
func (g *guardedQuery) alike(i int, a cell) string {
	var any []string
	for j, v := range a.args {
		if !v.sensitive {
			continue
		}
		of := func(function, x string) string { return function + "(" + x + ")" + a.among(i) }
		x := fmt.Sprintf("CAST(p%d_%d AS DOUBLE)", i, j)
		low, high, n, sum := of("min", x), of("max", x), of("count", x), of("sum", x)
		two := fmt.Sprintf("%s = (%s + %s) * %s - %s * %s * %s", of("sum", x+" * "+x), low, high, sum, n, low, high)
		few := fmt.Sprintf("least(%s - %s * %s, %s * %s - %s) < %d * (%s - %s)", sum, n, low, n, high, sum, g.rules.K, high, low)
		any = append(any, fmt.Sprintf("%s = %s OR %s AND %s", low, high, two, few))
	}
	return "(" + strings.Join(any, " OR ") + ") AS alike" + itoa(i)
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
	list = append(list, g.hashes(i, a)...)
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
func (g *guardedQuery) outer(o once, from string, cells []string) (string, Same) {
	source := "vals"
	if len(cells) > 0 {
		source = "cells"
	}
	k := itoa(g.rules.K)
	var enough []string
	for j := range g.in.keys {
		enough = append(enough, fmt.Sprintf("n%d >= %s", j, k))
	}
	all := strings.Join(enough, " AND ")
	list := g.groupColumns(source, all)
	for j := range g.in.keys {
		list = append(list, fmt.Sprintf("n%d", j))
		if g.namesUnits() {
			list = append(list, fmt.Sprintf("gx%d", j))
		}
	}
	for i, a := range g.cells {
		list = append(list, g.cellColumns(i, a)...)
	}
	list, same := brought(o.shown(list), cells)
	list = append(list, o.shown(g.printColumns())...)
	if nearly := g.nearly(); nearly != "" {
		list, all = hidden(list, all), nearly
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + from + " QUALIFY " + all, same
}

// groupColumns renders what is said of a group as a whole: its values, whether groups are left out, E4 and the proofs.
func (g *guardedQuery) groupColumns(source, enough string) []string {
	var list []string
	for i := range g.groups {
		list = append(list, fmt.Sprintf("%s.g%d AS g%d", source, i, i))
	}
	list = append(list, "bool_or(NOT ("+enough+")) OVER () AS w")
	for i, v := range g.groups {
		if v.sensitive {
			list = append(list, "count(*) OVER ("+g.otherGroups(source, i)+") AS e"+itoa(i))
		}
	}
	for j := range g.in.proofs {
		list = append(list, fmt.Sprintf("p%d", j))
	}
	return list
}

func (g *guardedQuery) otherGroups(source string, i int) string {
	var by []string
	for j := range g.groups {
		if g.groups[j].sql != g.groups[i].sql { // GROUP BY ALL may have a column twice
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
	if a.Alike {
		list = append(list, fmt.Sprintf("alike%d", i))
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
		if a.Conditional && g.namesUnits() {
			names = append(names, "xz")
		}
		if a.namesContributors() && g.namesUnits() {
			names = append(names, "xn")
		}
		if g.mode == policy.Perturbed {
			names = append(names, "x")
		}
		for _, name := range names {
			list = append(list, fmt.Sprintf("%s%d_%d", name, i, j))
		}
		for t := range g.measures(a) {
			list = append(list, fmt.Sprintf("q%d_%d_%d", i, j, t), fmt.Sprintf("y%d_%d_%d", i, j, t))
		}
		for t := range g.termParts(i, a) {
			list = append(list, fmt.Sprintf("xt%d_%d_%d", i, j, t))
		}
	}
	if g.mode == policy.Perturbed {
		list = append(list, g.hashColumns(i, a)...)
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
