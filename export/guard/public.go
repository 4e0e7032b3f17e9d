package guard

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"weir/internal/problem"
	"weir/policy"
)

// Who asks for those who are ill, and then for those who are ill and not a certain person, learns from two equal
// answers that the person is not ill; and if the second is withheld only where there is a difference, from its being
// there. So what is compared with earlier questions must not depend on what one may not learn. It is the public part
// of a question: the units that its conditions would select if each condition on a secret held for everybody, or for
// nobody. Two questions whose public parts differ in fewer than k units cannot both be answered, whatever the secret
// (this makes the audit simulatable in the sense of Kenthapadi, Mishra & Nissim, Simulatable auditing, PODS 2005).
//
// To render it, the plan is typed again for each assignment of true and false to the secret conditions.

// secretAtom is a condition on secrets alone, as large as possible.
type secretAtom struct {
	keys  []string // SQL of what is assumed, all of it at once
	sense bool     // it looks at a sensitive column; otherwise at measures or facts about a unit's rows
	parts []string // SQL of what is not secret in it, where a secret is compared with such
}

// PublicParts is how many parts the units of a public part are divided into by their hash; the bits that choose the
// part are not used again.
const (
	PublicParts = 256
	publicShift = 8
)

// maxSecretAtoms bounds the conditions on secrets behind one figure: each doubles the assignments.
const maxSecretAtoms = 4

// assumption is one assignment, and what is to be rendered under it.
type assumption struct {
	holds   map[string]string // truth values by an atom's SQL
	release int               // counted from 0
	cells   []int             // of that release; -1 is its groups
	number  int
	sql     []string // what was rendered
}

// audited is what the public part of one figure depends on.
type audited struct {
	cell  int
	atoms []secretAtom
	split bool // it is split by a secret
	// grouped is set where there are groups, in which unknown is a value of its own.
	grouped bool
}

// setApart notes or assumes a condition on secrets, whenever an expression over protected rows is typed. since is how
// many atoms there were before its parts were typed: a larger atom takes the place of those in it.
func (c *checker) setApart(v value, since int) value {
	switch boolean := v.typ.ID == "BOOLEAN"; {
	case !v.secret && !v.semi || !v.raw && v.public, v.cond != nil && !boolean: // a condition in an aggregate is looked at by itself
	case !boolean && !v.public:
		c.atoms = c.atoms[:since]
		v.raw = true
	case boolean && (v.raw || !v.public):
		name := c.asks(v.sql)
		c.atoms = append(c.atoms[:since], secretAtom{keys: []string{name}, sense: v.secret, parts: v.parts})
		v.raw, v.parts = false, nil
		if c.assumed != nil {
			if holds, known := c.assumed.holds[name]; known {
				v.sql = holds
			}
		}
	}
	return v
}

// asks names a condition on secrets by its SQL as it is without assumptions. A plan that is typed again asks for the same ones
// in the same order, but what stands in a larger condition may be assumed by then.
func (c *checker) asks(sql string) (name string) {
	if c.assumed == nil {
		c.asked = append(c.asked, sql)
	}
	if c.met++; c.met > len(c.asked) { // never; and if it did, nothing would be assumed of it
		return sql
	}
	return c.asked[c.met-1]
}

// derives says of a value what it is made of.
func (v *value) derives(from []value) {
	for _, f := range from {
		secret := f.secret || f.semi
		v.secret, v.semi = v.secret || f.secret, v.semi || f.semi
		v.raw = v.raw || f.raw
		switch free := f.sort == freeValue && !f.fixed; {
		case (f.public || free) && !secret:
			v.public = true
			v.parts = append(v.parts, f.sql)
		case f.public:
			v.public = true
			v.parts = append(v.parts, f.parts...)
		}
	}
}

// together makes one atom of conditions that all must hold, for each kind of secret: if one does not, nobody is left.
func together(atoms []secretAtom, whole []bool) []secretAtom {
	var out []secretAtom
	merged := map[bool]int{}
	for i, a := range atoms {
		at, ok := merged[a.sense]
		if whole[i] && ok {
			out[at].keys = append(out[at].keys, a.keys...)
			continue
		}
		if whole[i] {
			merged[a.sense] = len(out)
		}
		out = append(out, a)
	}
	return out
}

// audit notes what the public part of a release depends on, or renders it under an assumption.
func (g *guardedQuery) audit(base []secretAtom, ofCell [][]secretAtom) error {
	if g.mode == policy.Private {
		return nil
	}
	for _, atoms := range append([][]secretAtom{base}, ofCell...) {
		if err := g.reach(atoms); err != nil {
			return err
		}
	}
	for _, v := range g.groups {
		if v.raw && v.secret && slices.ContainsFunc(v.parts, func(p string) bool { return !g.in.inScope(p) }) {
			return g.deny(nil, "guard.mixed-condition")
		}
	}
	if g.assumed != nil {
		if len(g.program.Releases) == g.assumed.release {
			g.renderPublic(base, ofCell)
			return errRendered
		}
		return nil
	}
	split := slices.ContainsFunc(g.groups, func(v value) bool { return v.raw })
	figures := []audited{{-1, distinctAtoms(base), split, len(g.groups) > 0}} // that there is a group tells something too
	for i, own := range ofCell {
		figures = append(figures, audited{i, distinctAtoms(base, own), split, len(g.groups) > 0})
	}
	for _, f := range figures {
		if len(f.atoms) > maxSecretAtoms {
			return g.deny(nil, "guard.secret-conditions", "limit", itoa(maxSecretAtoms))
		}
	}
	g.audits = append(g.audits, figures)
	return nil
}

func distinctAtoms(lists ...[]secretAtom) (all []secretAtom) {
	seen := map[string]bool{}
	for _, list := range lists {
		for _, a := range list {
			if name := strings.Join(a.keys, " AND "); !seen[name] {
				seen[name] = true
				all = append(all, a)
			}
		}
	}
	return all
}

// errRendered ends the typing of a plan under an assumption: what comes after the release is not asked for.
var errRendered = errors.New("the public part is rendered")

// publicParts types the plan again under every assignment that a release needs, and gives each release the query for
// its public part.
func (c *checker) publicParts(plan *node, schema []policy.Dataset) error {
	for r, figures := range c.audits {
		var all []string
		for _, p := range assignments(r, figures) {
			again := newChecker(c.sql, schema, c.rules, c.mode)
			again.assumed, again.unchanged, again.asked, again.work = p, c.unchanged, c.asked, c.work
			switch _, err := again.relation(plan); {
			case err == nil:
				return problem.New("internal").Because(errors.New("a release was not met when the plan was typed again"))
			case !errors.Is(err, errRendered):
				return err
			}
			all = append(all, p.sql...)
		}
		public := strings.Join(all, " UNION ALL ")
		if len(public) > 4*maxSQL {
			return problem.New("guard.too-complex")
		}
		c.program.Releases[r].Public = public
	}
	return nil
}

// assignments lists what is assumed for the figures of a release. Conditions on measures are besides taken as they
// are where there are conditions on sensitive columns: somebody's exact measure can be known, and single them out.
func assignments(release int, figures []audited) []*assumption {
	var list []*assumption
	at := map[string]int{}
	for _, f := range figures {
		var sense, other []secretAtom
		for _, a := range f.atoms {
			if a.sense {
				sense = append(sense, a)
			} else {
				other = append(other, a)
			}
		}
		if len(f.atoms) == 0 && !f.split {
			continue
		}
		if len(sense) > 0 && len(other) > 0 {
			for _, values := range truths(len(sense), f.grouped) {
				list = add(list, at, release, f.cell, assume(sense, values))
			}
		}
		for _, values := range truths(len(f.atoms), f.grouped) {
			list = add(list, at, release, f.cell, assume(append(slices.Clone(sense), other...), values))
		}
	}
	return list
}

// add lets a cell be rendered under an assumption, which is listed once.
func add(list []*assumption, at map[string]int, release, cell int, holds map[string]string) []*assumption {
	name := fmt.Sprint(holds)
	i, known := at[name]
	if !known {
		i = len(list)
		at[name] = i
		list = append(list, &assumption{holds: holds, release: release, number: i})
	}
	list[i].cells = append(list[i].cells, cell)
	return list
}

// truths lists the truth values of n conditions: every choice of true and false, and where groups are made of them, each of
// them unknown beside every choice of the others. For a filter, unknown is as good as false.
func truths(n int, unknown bool) (all [][]string) {
	for bits := range 1 << n {
		values := make([]string, n)
		for i := range values {
			values[i] = "TRUE"
			if bits&(1<<i) != 0 {
				values[i] = "FALSE"
			}
		}
		all = append(all, values)
		for i := range values {
			if unknown && values[i] == "FALSE" {
				with := slices.Clone(values)
				with[i] = "CAST(NULL AS BOOLEAN)"
				all = append(all, with)
			}
		}
	}
	return all
}

func assume(atoms []secretAtom, values []string) map[string]string {
	holds := map[string]string{}
	for i, a := range atoms {
		for _, key := range a.keys {
			holds[key] = values[i]
		}
	}
	return holds
}

// renderPublic renders, for each figure that is asked for, the units of its public part: how many they are, and a
// linear fingerprint of them. Groups that are secrets by themselves are left out, so that what is compared is the
// cell that the other groups form.
func (g *guardedQuery) renderPublic(base []secretAtom, ofCell [][]secretAtom) {
	for _, cell := range g.assumed.cells {
		atoms, condition := base, "TRUE"
		if cell >= 0 {
			atoms = append(slices.Clone(base), ofCell[cell]...)
			if w := g.cells[cell].where; w != "" {
				condition = "COALESCE(" + w + ", FALSE)"
			}
		}
		for key := range g.in.keys {
			g.assumed.sql = append(g.assumed.sql, g.publicSQL(cell, key, condition, partsOf(atoms)))
		}
	}
}

func partsOf(atoms []secretAtom) []string {
	seen := map[string]bool{}
	for _, a := range atoms {
		for _, p := range a.parts {
			seen[p] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (g *guardedQuery) publicSQL(cell, key int, condition string, parts []string) string {
	k := g.in.keys[key]
	inner := []string{k.sql + " AS k"}
	outer := []string{fmt.Sprintf("%d AS a", g.assumed.number), fmt.Sprintf("%d AS cell", cell), fmt.Sprintf("%d AS key", key)}
	var by []string
	for i, v := range g.groups {
		name := "g" + itoa(i)
		if v.raw {
			t, _ := v.typ.sql()
			outer = append(outer, fmt.Sprintf("CAST(NULL AS %s) AS %s", t, name))
			for _, p := range v.parts {
				if g.in.inScope(p) {
					parts = append(parts, p)
				}
			}
			continue
		}
		inner, outer, by = append(inner, v.sql+" AS "+name), append(outer, name), append(by, name)
	}
	for i, p := range parts {
		name := "e" + itoa(i)
		inner, by = append(inner, p+" AS "+name), append(by, name)
	}
	units := "count(DISTINCT k)"
	if g.in.oneRowAUnit() {
		units = "count(*)"
	}
	pieces := append(slices.Clone(by), fmt.Sprintf("k & %d AS part", PublicParts-1),
		fmt.Sprintf("sum(CAST(k >> %d AS HUGEINT)) AS p", publicShift), units+" AS n")
	outer = append(outer, "sum(n) AS n", "string_agg(part || '=' || p, ' ') AS F")
	group := ""
	if len(by) > 0 {
		group = " GROUP BY " + strings.Join(by, ", ")
	}
	// In one piece: the relation's own SQL is long, and there is one such query for each figure and assumption.
	return "(SELECT " + strings.Join(outer, ", ") + " FROM (SELECT " + strings.Join(pieces, ", ") + " FROM (SELECT " + strings.Join(inner, ", ") +
		" FROM " + g.in.from + " WHERE " + strings.Join(append([]string{condition}, g.in.where...), " AND ") +
		") WHERE k IS NOT NULL GROUP BY " + strings.Join(append(slices.Clone(by), "part"), ", ") + ")" + group + " HAVING sum(n) > 0)"
}

var alias = regexp.MustCompile(`\bt[0-9]+\.`)

// inScope reports whether SQL can stand where a relation's own FROM clause is all that there is.
func (r *relation) inScope(sql string) bool {
	visible := map[string]bool{}
	for _, name := range outermost(r.from) {
		visible[name+"."] = true
	}
	for _, name := range alias.FindAllString(sql, -1) {
		if !visible[name] {
			return false
		}
	}
	return true
}

// outermost lists the words of SQL of ours that stand in no parentheses and no quotes.
func outermost(sql string) []string {
	var open strings.Builder
	depth, quote := 0, rune(0)
	for _, r := range sql {
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
		case depth == 0:
			open.WriteRune(r)
		}
	}
	return strings.FieldsFunc(open.String(), func(r rune) bool { return r == ' ' || r == '.' })
}

// reach leaves out what is not in scope of public values that secrets are compared with. Where the secret is a
// sensitive column that is refused: whom such a condition cuts off could not be seen.
func (g *guardedQuery) reach(atoms []secretAtom) error {
	for i := range atoms {
		var parts []string
		for _, p := range atoms[i].parts {
			if g.in.inScope(p) {
				parts = append(parts, p)
			} else if atoms[i].sense {
				return g.deny(nil, "guard.mixed-condition")
			}
		}
		atoms[i].parts = parts
	}
	return nil
}
