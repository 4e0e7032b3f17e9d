package guard

import (
	"fmt"
	"slices"

	"weir/policy"
)

// FingerprintParts is how many parts the units are divided into by their hash, for E6. A fingerprint of rows is, in each of
// the parts, the sum over the rows of a weight that the hash gives to the unit. The fingerprint of a combination of
// cells is the combination of theirs, and one that rests on fewer than k units rests on fewer than k parts. Two units of a part
// weigh differently, so they do not cancel. As many independent cells as a k-th of the parts can be told apart for certain.
const FingerprintParts = 1 << 15

// weightShift leaves 32 bits of the hash for the weight. The lowest bits, which choose the part, are not among them.
const weightShift = 32

// Print is a fingerprint that a release brings of each group. Every cell has one of the rows that it is made of. A sum
// has besides, for each of its terms, one of the rows that contribute to it: nine who are known to contribute
// nothing do not hide a tenth.
type Print struct {
	Term string // as in Cell.Terms; "" for the rows themselves

	rows      string // SQL of the condition
	distinct  int    // the key whose units are counted instead of rows, or -1
	condition string // as base has it
}

// takePrints lists the fingerprints of a release, and has cells that need the same one share it.
func (g *guardedQuery) takePrints() {
	if g.mode != policy.Exact {
		return
	}
	for i := range g.cells {
		a := &g.cells[i]
		p := Print{rows: a.filter, distinct: -1, condition: "f" + itoa(i)}
		if a.Kind == CountUnits {
			p.distinct = a.Unit
		}
		a.Prints = []int{g.takePrint(p)}
		if a.Kind != Sum && a.Kind != Average {
			continue
		}
		for j, sql := range a.terms {
			contributes := fmt.Sprintf("COALESCE(%s <> 0, FALSE)", sql)
			if a.filter != "" {
				contributes = and(contributes, "COALESCE("+a.filter+", FALSE)")
			}
			p := Print{Term: a.Terms[j].Name, rows: contributes, distinct: -1, condition: contributes}
			a.Prints = append(a.Prints, g.takePrint(p))
		}
	}
}

func (g *guardedQuery) takePrint(p Print) int {
	at := slices.IndexFunc(g.prints, func(q Print) bool { return p.Term == q.Term && p.rows == q.rows && p.distinct == q.distinct })
	if at < 0 {
		at = len(g.prints)
		g.prints = append(g.prints, p)
	}
	return at
}

// contributions are the conditions of prints that base must have a column for.
func (g *guardedQuery) contributions() (list []string) {
	for i, p := range g.prints {
		if p.Term != "" {
			list = append(list, fmt.Sprintf("%s AS h%d", p.condition, i))
		}
	}
	return list
}

// SamePrint stands for a fingerprint that is that of the rows of the first cell.
const SamePrint = "="

// fingerprints renders the fingerprints for key k. Where units are counted, a unit's rows are one.
func (g *guardedQuery) fingerprints(k int, by []string) string {
	inner := append(append([]string{}, by...), fmt.Sprintf("k%d & %d AS part", k, FingerprintParts-1))
	outer := append([]string{}, by...)
	for i, p := range g.prints {
		condition, distinct := p.condition, ""
		if p.Term != "" {
			condition = "h" + itoa(i)
		}
		if p.distinct == k && !g.in.oneRowAUnit() {
			distinct = "DISTINCT "
		}
		inner = append(inner, fmt.Sprintf("sum(%s(k%d >> %d) + 1) FILTER (WHERE %s) AS p%d", distinct, k, weightShift, condition, i))
		text := fmt.Sprintf("string_agg(part || '=' || p%d, ' ')", i)
		if i > 0 {
			text = fmt.Sprintf("CASE WHEN bool_and(p%d IS NOT DISTINCT FROM p0) THEN '%s' ELSE %s END", i, SamePrint, text)
		}
		outer = append(outer, fmt.Sprintf("%s AS F%d_%d", text, i, k))
	}
	parts := grouped(inner, fmt.Sprintf("base WHERE k%d IS NOT NULL", k), append(append([]string{}, by...), "part"))
	return grouped(outer, "("+parts+")", by)
}

// printColumns are the fingerprints as the guarded query gives them.
func (g *guardedQuery) printColumns() (list []string) {
	for i := range g.prints {
		for k := range g.in.keys {
			list = append(list, fmt.Sprintf("F%d_%d", i, k))
		}
	}
	return list
}
