package guard

import (
	"slices"
	"strings"

	"weir/internal/problem"
	"weir/policy"
)

// setOperation types UNION, INTERSECT and EXCEPT. A union of protected rows is one of rows of the same units. The
// others compare rows with each other, so each row of either side must hold its unit keys: then only rows of one unit
// are compared.
func (c *checker) setOperation(n *node) (*relation, error) {
	word := map[string]string{"LOGICAL_UNION": "UNION", "LOGICAL_EXCEPT": "EXCEPT", "LOGICAL_INTERSECT": "INTERSECT"}[n.Type]
	if len(n.Children) < 2 {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
	}
	if n.SetopAll || n.Type == "LOGICAL_UNION" {
		word += " ALL" // the engine puts a DISTINCT of its own above a UNION
	}
	out := &relation{kind: openData}
	var sides []*relation
	var written []value
	for i, child := range n.Children {
		r, err := c.relation(child)
		if err != nil {
			return nil, err
		}
		if i > 0 && len(r.cols) != len(out.cols) {
			return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
		}
		if n.Type != "LOGICAL_UNION" {
			r = r.forget()
		}
		w := c.wrap(r)
		for i := range w.cols {
			w.cols[i].asPlain()
		}
		if !c.ofUnion(n, w) {
			c.dropMeasures(w)
		}
		compared := n.Type == "LOGICAL_UNION" || w.comparable()
		if w.kind == protected && !compared || i > 0 && (w.kind == protected) != (out.kind == protected) || i > 0 && w.kind == protected && !c.unite(out, w) {
			return nil, c.deny(nil, "guard.set-operation", "operator", strings.ToLower(word))
		}
		if w.kind == protected && n.Type != "LOGICAL_UNION" && w.holdsSecrets() {
			return nil, c.deny(nil, "guard.mixed-condition") // a secret would choose rows, and it could not be seen which; see public.go
		}
		if i == 0 {
			written = r.cols
		} else if n.Type == "LOGICAL_UNION" && out.kind == protected {
			out.differ(written, r.cols)
		}
		sides = append(sides, w)
		out.kind = max(out.kind, r.kind)
		out.reads, out.data = union(out.reads, w.reads), union(out.data, w.data)
		out.told, out.thinned, out.lonely = out.told || w.told || n.Type != "LOGICAL_UNION" && w.compares(), true, out.lonely || w.lonely
		out.weighted = out.weighted || n.Type == "LOGICAL_UNION" || w.weighted || len(w.with) > 0
		out.with = slices.Concat(out.with, w.with)
		if i == 0 {
			out.cols, out.keys = slices.Clone(w.cols), slices.Clone(w.keys)
		}
	}
	if n.Type == "LOGICAL_UNION" && c.ofOtherData(sides) {
		out.weighted = false
	}
	alignMargins(sides)
	alignHashes(sides)
	alias, hidden := c.alias(), make([][]atom, len(sides))
	if c.ofUnion(n, out) {
		hidden = c.asUnion(out, sides, alias)
	}
	var parts []string
	for i, w := range sides {
		parts = append(parts, "("+w.selectSQL(hidden[i])+")")
	}
	for i := range out.cols {
		out.cols[i].margin = sides[0].cols[i].margin
	}
	for i := range out.keys {
		if n.Type == "LOGICAL_UNION" { // elsewhere its rows are some of the first side's
			out.keys[i].rows.Most = 0
		}
	}
	if n.Type != "LOGICAL_UNION" && !n.SetopAll && len(out.keys) == 1 && len(out.cols) == 1 {
		out.keys[0].rows = onlyOne // no two rows are the same, and a row is a unit's key
	}
	out.from = "(" + strings.Join(parts, " "+word+" ") + ") AS " + alias
	return c.realias(out.copyOf(), n.Type == "LOGICAL_UNION"), nil
}

// ofOtherData reports whether each side of a union has rows of data sets of its own, as they are: then each row is there
// once. Of one data set a union could repeat the rows of those whom its conditions choose. A table of a workspace holds
// rows of another data set.
func (c *checker) ofOtherData(sides []*relation) bool {
	seen := map[string]bool{}
	for _, r := range sides {
		if r.weighted || len(r.with) > 0 || len(r.data) == 0 {
			return false
		}
		for name := range r.data {
			if seen[name] || c.schema[name].Workspace != "" {
				return false
			}
		}
		for name := range r.data {
			seen[name] = true
		}
	}
	return true
}

// comparable reports whether rows of the relation can only be the same as rows of the same units.
func (r *relation) comparable() bool {
	if !perUnit(r, r.cols) {
		return false
	}
	for _, v := range r.cols {
		if v.sort == textValue || v.sort == identifierValue {
			return false
		}
	}
	return true
}

// holdsSecrets reports whether a column tells something that a condition on it would have to be compared for.
func (r *relation) holdsSecrets() bool {
	return slices.ContainsFunc(r.cols, func(v value) bool { return v.secret || v.semi })
}

// compares reports whether a sensitive value decides which rows are the same.
func (r *relation) compares() bool {
	return slices.ContainsFunc(r.cols, func(v value) bool { return v.sensitive })
}

// dropMeasures makes each measure one of its own: what a polynomial speaks of does not go through a union.
func (c *checker) dropMeasures(r *relation) {
	for i, v := range r.cols {
		if v.sort != measureValue {
			continue
		}
		r.cols[i].poly = c.measure(atom{of: v.poly.origin() + "^1", sql: "CAST(" + v.sql + " AS DOUBLE)", within: v.poly.within(), reach: v.poly.reach()}.like(v, anyBlock(v)))
	}
}

// unite takes in another side of a UNION ALL, whose rows belong to units of the same keys. A column is what it is
// on both sides, and sensitive where it is so on either.
func (c *checker) unite(r, other *relation) bool {
	if len(r.keys) != len(other.keys) {
		return false
	}
	for i := range r.keys {
		if r.keys[i].domain != other.keys[i].domain {
			return false
		}
		r.keys[i].nullable = r.keys[i].nullable || other.keys[i].nullable
		r.keys[i].most += other.keys[i].most
	}
	for i := range r.cols {
		a, b := &r.cols[i], other.cols[i]
		same := a.sort == b.sort && (a.sort != keyValue || a.key == b.key && a.domain == b.domain)
		a.sensitive, a.present = a.sensitive || b.sensitive, a.present && b.present
		a.within, a.once, a.listed, a.capped = hull(a.within, b.within), false, nil, 0
		a.secret, a.semi, a.public, a.raw = a.secret || b.secret, a.semi || b.semi, a.public || b.public, a.raw || b.raw
		a.parts = append(slices.Clip(a.parts), b.parts...)
		a.sides, a.ofSide = sidesOf([]value{*a, b}), ""
		switch {
		case !same && max(a.sort, b.sort) >= textValue:
			return false
		case !same:
			a.sort, a.poly = plainValue, polynomial{}
		case a.sort == measureValue && a.poly.origin() != b.poly.origin():
			a.poly = c.measure(atom{of: a.poly.origin() + " or " + b.poly.origin() + "^1", within: hull(a.poly.within(), b.poly.within()), reach: eitherReach(a.poly.reach(), b.poly.reach())})
		}
	}
	return true
}

// alignHashes has either all sides bring a key's short hash, or none.
func alignHashes(sides []*relation) {
	for i := range sides[0].keys {
		lacks := func(r *relation) bool { return i < len(r.keys) && r.keys[i].hash == "" }
		if !slices.ContainsFunc(sides, lacks) {
			continue
		}
		for _, r := range sides {
			if i < len(r.keys) {
				r.keys[i].hash = ""
			}
		}
	}
}

// differ notes which constants are not the same on another side of a union: which side a row is of shows in them.
func (r *relation) differ(first, other []value) {
	for i := range r.cols {
		if v := &r.cols[i]; v.sort == constantValue && first[i].sql != other[i].sql {
			v.sort, v.poly, v.public = plainValue, polynomial{}, true
		}
	}
}

// realias points the columns of a relation at the alias that its FROM clause ends with. What was known of how much of a
// measure a unit has holds for each side of a union and not for both.
func (c *checker) realias(r *relation, union bool) *relation {
	alias := r.from[strings.LastIndexByte(r.from, ' ')+1:]
	for i := range r.cols {
		v := &r.cols[i]
		v.sql = alias + ".c" + itoa(i)
		if r.carriesMargin(i) {
			v.margin.sql = alias + ".m" + itoa(i)
		}
		if v.sort == measureValue && (!union || c.mode == policy.Private) {
			a := atom{of: v.poly.origin() + "^1", sql: "CAST(" + v.sql + " AS DOUBLE)", within: v.poly.within(), reach: v.poly.reach()}
			if !union {
				a = a.like(*v, anyBlock(*v))
			}
			v.poly = c.measure(a)
		}
	}
	for i := range r.keys {
		r.keys[i].sql, r.keys[i].hash = alias+".k"+itoa(i), ""
	}
	return r
}
