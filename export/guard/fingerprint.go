package guard

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"weir/policy"
	"weir/sandbox"
)

// FingerprintParts is how many parts the units are divided into by their hash, for E6. A fingerprint of rows is, in each of
// the parts, the sum over the rows of a weight that the hash gives to the unit. The fingerprint of a combination of
// cells is the combination of theirs, and one that rests on fewer than k units rests on fewer than k parts. Two units of a part
// weigh differently, so they do not cancel. As many independent cells as a k-th of the parts can be told apart for certain.
const FingerprintParts = sandbox.FingerprintParts

// MostAudited is the most groups of which fingerprints are brought, and mostPrinted the most bytes of all of them together: written
// as text they still fit into a reply.
const (
	MostAudited = 2_000
	mostPrinted = 40 << 20
)

// Print is a fingerprint that a release brings of each group. Every cell has one of the rows that it is made of. A sum
// has besides, for each of its terms, one of the rows that contribute to it: nine who are known to contribute
// nothing do not hide a tenth.
type Print struct {
	Term   string // as in Cell.Terms; "" for the rows themselves
	Once   []bool // by key: a unit counts once in it, so that it has as many parts as there are units
	Weighs []bool // by key: the release brings besides how much each part gives, since one unit can give more than another

	rows      string // SQL of the condition
	distinct  int    // the key whose units are counted instead of rows, or -1
	condition string // as base has it
	gives     string // SQL of what a row gives to the term
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
		a.Prints = []int{g.takePrint(p, a.Kind == CountRows)}
		for _, part := range a.parts() {
			contributes := fmt.Sprintf("COALESCE(%s <> 0, FALSE)", part.sql)
			if a.filter != "" {
				contributes = and(contributes, "COALESCE("+a.filter+", FALSE)")
			}
			p := Print{Term: part.name, rows: contributes, distinct: -1, condition: contributes, gives: part.sql}
			a.Prints = append(a.Prints, g.takePrint(p, part.weighs))
		}
	}
}

// part is a sum that an aggregate is made of.
type part struct {
	name, sql string
	weighs    bool
}

// parts are the sums that an aggregate tells of: its terms; for variances, correlations and the like those of the
// arguments, of their squares and of their product, which follow from such figures and a few means.
func (a cell) parts() (list []part) {
	switch a.Kind {
	case Sum, Average:
		for j, sql := range a.terms {
			list = append(list, part{a.Terms[j].Name, sql, true})
		}
	case Moment:
		for i, v := range a.args {
			list = append(list, part{a.Terms[i].Name, v.sql, true})
			for _, w := range a.args[i:] {
				if name, ok := productOf(v, w); ok {
					list = append(list, part{name, fmt.Sprintf("CAST(%s AS DOUBLE) * CAST(%s AS DOUBLE)", v.sql, w.sql), false})
				}
			}
		}
	}
	return list
}

// productOf names the product of two measures, as a sum of it is named.
func productOf(v, w value) (string, bool) {
	product, ok := v.poly.times(w.poly)
	if !ok {
		return "", false
	}
	return bareMeasure(product)
}

func (g *guardedQuery) takePrint(p Print, weighs bool) int {
	at := slices.IndexFunc(g.prints, func(q Print) bool { return p.Term == q.Term && p.rows == q.rows && p.distinct == q.distinct })
	if at < 0 {
		at = len(g.prints)
		p.Once, p.Weighs = make([]bool, len(g.in.keys)), make([]bool, len(g.in.keys))
		for k := range g.in.keys {
			p.Once[k] = g.in.oneRowAUnit() || p.distinct == k
		}
		g.prints = append(g.prints, p)
	}
	for k, once := range g.prints[at].Once {
		g.prints[at].Weighs[k] = g.prints[at].Weighs[k] || weighs && (p.Term != "" || !once)
	}
	return at
}

// weighs reports whether what rows give to a print is looked at for any key.
func (p Print) weighs() bool { return slices.Contains(p.Weighs, true) }

// contributions are what base must have for prints: which rows contribute, and how much each gives.
func (g *guardedQuery) contributions() (list []string) {
	for i, p := range g.prints {
		if p.Term == "" {
			continue
		}
		list = append(list, fmt.Sprintf("%s AS h%d", p.condition, i))
		if p.weighs() {
			list = append(list, fmt.Sprintf("%s AS mass%d", mass(p), i))
		}
	}
	return list
}

// mass renders about how much a row gives: to within a forty-fifth, in whole 64ths, so that no value leaves the worker as it
// is and sums of masses are whole numbers of 64 bits.
func mass(p Print) string {
	size := "least(greatest(round(abs(CAST(" + p.gives + " AS DOUBLE)) * 64), 1), pow(2, 50))"
	return "CASE WHEN " + p.condition + " THEN CAST(round(pow(2, round(log2(" + size + ") * 16) / 16)) AS UBIGINT) END"
}

// Room is by how much a count that was withheld for being small must be able to be smaller than the threshold allows,
// for all that is known of it: a third of the threshold. Buzzigoli and Giusti, An algorithm to calculate the lower and
// upper bounds of the elements of an array given its marginals (1999).
func Room(k int) int { return max(1, k/3) }

// nearly is the condition that no key of a group lacks more units than Room; it is empty where such groups are of no
// use, since no fingerprint says how many units there are.
func (g *guardedQuery) nearly() string {
	if !slices.ContainsFunc(g.prints, func(p Print) bool { return p.Term == "" && slices.Contains(p.Once, true) }) {
		return ""
	}
	var all []string
	for k := range g.in.keys {
		all = append(all, fmt.Sprintf("n%d >= %d", k, g.rules.K-Room(g.rules.K)))
	}
	return strings.Join(all, " AND ")
}

// Near is the column of groups that are brought although they have too few units.
const Near = "near"

// ofNear are the columns that a group with somewhat too few units is brought with.
var ofNear = regexp.MustCompile(`^(w|[enp]\d+|F\d+_\d+)$`)

// hidden renders the columns of groups of which some have too few units, and say nothing else.
func hidden(list []string, enough string) []string {
	out := make([]string, len(list), len(list)+1)
	for i, item := range list {
		name := item[strings.LastIndexByte(item, ' ')+1:]
		if out[i] = item; !ofNear.MatchString(name) {
			out[i] = fmt.Sprintf("CASE WHEN %s THEN %s END AS %s", enough, strings.TrimSuffix(item, " AS "+name), name)
		}
	}
	return append(out, "NOT ("+enough+") AS "+Near)
}

// SamePrint stands for a fingerprint that is that of the rows of the first cell.
const SamePrint = "="

// Fits is the column that says whether there are no more groups and no larger fingerprints than can be audited.
// Where it is false there are no fingerprints.
const Fits = "fits"

// printed renders the fingerprints of the rows of base for key k, or of its units, of which each counts so many times. The
// masses are fingerprints too, of units that all have the weight one: what each part of the units gives.
func (g *guardedQuery) printed(k int, ofUnits bool) (list []string) {
	add := func(of, name string, i int) {
		list = append(list, fmt.Sprintf("%s%s AS %s%d_%d", sandbox.Fingerprint, of, name, i, k))
	}
	for i, p := range g.prints {
		unit, times, among := fmt.Sprintf("k%d", k), "CAST(1 AS UBIGINT)", fmt.Sprintf(" FILTER (WHERE %s)", p.column(i))
		given := "mass" + itoa(i)
		if ofUnits {
			unit, times, among = "u", fmt.Sprintf("CAST(times%d AS UBIGINT)", i), ""
			given = "CAST(given" + itoa(i) + " AS UBIGINT)"
		}
		add("("+unit+", "+times+")"+among, "F", i)
		if !p.Weighs[k] {
			continue
		}
		if p.Term == "" {
			given = times
		}
		add(fmt.Sprintf("(%s & CAST(%d AS UBIGINT), %s)%s", unit, FingerprintParts-1, given, among), "M", i)
	}
	return list
}

// column is the column of base that says whether a row is one of the print's.
func (p Print) column(i int) string {
	if p.Term != "" {
		return "h" + itoa(i)
	}
	return p.condition
}

// times renders how often a unit of key k counts in each fingerprint. Where units are counted, a unit's rows are one.
func (g *guardedQuery) times(k int) (list []string) {
	for i, p := range g.prints {
		rows := "count(*) FILTER (WHERE " + p.column(i) + ")"
		if p.distinct == k {
			rows = "least(1, " + rows + ")"
		}
		list = append(list, fmt.Sprintf("%s AS times%d", rows, i))
		if p.Term != "" && p.Weighs[k] {
			list = append(list, fmt.Sprintf("COALESCE(sum(mass%d), 0) AS given%d", i, i))
		}
	}
	return list
}

// printColumns are the fingerprints as the guarded query gives them.
func (g *guardedQuery) printColumns() (list []string) {
	for i, p := range g.prints {
		for k := range g.in.keys {
			list = append(list, fmt.Sprintf("F%d_%d", i, k))
			if p.Weighs[k] {
				list = append(list, fmt.Sprintf("M%d_%d", i, k))
			}
		}
	}
	return list
}

// audited renders a query whose fingerprints travel as text, unless there are more of them than can be audited.
func (g *guardedQuery) audited(sql string) string {
	if len(g.prints) == 0 {
		return sql
	}
	var made, sizes, texts []string
	for _, f := range g.printColumns() {
		size, text := "COALESCE(octet_length("+f+"), 0)", "to_base64("+f+")"
		if first := "F0" + f[strings.IndexByte(f, '_'):]; f[0] == 'F' && f != first {
			same := fmt.Sprintf("CASE WHEN %s IS NOT DISTINCT FROM %s THEN", f, first)
			size, text = same+" 0 ELSE "+size+" END", same+" '"+SamePrint+"' ELSE "+text+" END"
		}
		made = append(made, "octet_length("+f+") IS DISTINCT FROM 0")
		sizes = append(sizes, size)
		texts = append(texts, fmt.Sprintf("CASE WHEN %s THEN %s END AS %s", Fits, text, f))
	}
	fits := fmt.Sprintf("count(*) OVER () <= %d AND bool_and(%s) OVER () AND sum(%s) OVER () <= %d",
		MostAudited, strings.Join(made, " AND "), strings.Join(sizes, " + "), mostPrinted)
	return fmt.Sprintf("SELECT * REPLACE (%s) FROM (SELECT *, %s AS %s FROM (%s)) LIMIT %d", strings.Join(texts, ", "), fits, Fits, sql, MostAudited+1)
}
