package guard

import "fmt"

// FingerprintParts is how many parts the units are divided into by their hash, for E6. A cell's fingerprint is, in each of
// the parts, the sum over its rows of a weight that the hash gives to the unit. The fingerprint of a combination of
// cells is the combination of theirs, and one that rests on fewer than k units rests on fewer than k parts. Two units of a part
// weigh differently, so they do not cancel. As many independent cells as a k-th of the parts can be told apart for certain.
const FingerprintParts = 1 << 15

// weightShift leaves 32 bits of the hash for the weight. The lowest bits, which choose the part, are not among them.
const weightShift = 32

// alike finds for each aggregate the first one that is made of the same rows: one fingerprint stands for both.
func (g *guardedQuery) alike() {
	for i := range g.cells {
		a := &g.cells[i]
		for a.Alike = 0; !g.cells[a.Alike].sameRows(*a); a.Alike++ {
		}
	}
}

func (a cell) sameRows(b cell) bool {
	units := func(c cell) int {
		if c.Kind == CountUnits {
			return c.Unit
		}
		return -1
	}
	return a.filter == b.filter && units(a) == units(b)
}

// fingerprints renders the fingerprints for key k. Where units are counted, a unit's rows are one.
func (g *guardedQuery) fingerprints(k int, by []string) string {
	inner := append(append([]string{}, by...), fmt.Sprintf("k%d & %d AS part", k, FingerprintParts-1))
	outer := append([]string{}, by...)
	for i, a := range g.cells {
		if a.Alike != i {
			continue
		}
		distinct := ""
		if a.Kind == CountUnits && a.Unit == k && !g.in.oneRowAUnit() {
			distinct = "DISTINCT "
		}
		inner = append(inner, fmt.Sprintf("sum(%s(k%d >> %d) + 1) FILTER (WHERE f%d) AS p%d", distinct, k, weightShift, i, i))
		outer = append(outer, fmt.Sprintf("string_agg(part || '=' || p%d, ' ') AS F%d_%d", i, i, k))
	}
	parts := grouped(inner, fmt.Sprintf("base WHERE k%d IS NOT NULL", k), append(append([]string{}, by...), "part"))
	return grouped(outer, "("+parts+")", by)
}
