package guard

import (
	"slices"
	"strings"

	"weir/internal/problem"
)

// join types a join of two relations.
//
// Rows of a joined relation belong to the units of both sides, so every key of both must reach the threshold in
// each cell. Fan-out is harmless, because units are counted and not rows; it only ends the knowledge that a unit
// has one row. A semi, anti or mark join lets one side steer the rows of the other, so over two protected sides
// it is allowed on equality of the unit keys, where each row is steered by its own units alone; a
// further key on the steering side would be a unit that steers without being counted.
func (c *checker) join(n *node) (*relation, error) {
	if len(n.Children) != 2 || len(n.LeftProjection) > 0 || len(n.RightProjection) > 0 || len(n.Duplicate) > 0 || n.DelimFlipped || n.Predicate != nil {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
	}
	left, err := c.relation(n.Children[0])
	if err != nil {
		return nil, err
	}
	right, err := c.relation(n.Children[1])
	if err != nil {
		return nil, err
	}
	j := &joining{checker: c, node: n}
	j.left = c.wrap(left)
	j.right = c.wrap(right)
	return j.typed()
}

func (j *joining) typed() (*relation, error) {
	j.apart(j.right)
	steers := j.node.JoinType == "MARK" || j.node.JoinType == "SEMI" || j.node.JoinType == "ANTI"
	switch {
	case j.node.Type == "LOGICAL_POSITIONAL_JOIN":
		return j.positional()
	case j.node.Type == "LOGICAL_ASOF_JOIN" && (steers || j.right.kind == protected):
		return nil, j.deny(nil, "guard.join", "kind", "asof")
	case steers:
		return j.steered()
	}
	return j.both()
}

// positional joins rows by their place, which over protected rows would put different units' rows side by side.
func (j *joining) positional() (*relation, error) {
	if j.kind() == protected {
		return nil, j.deny(nil, "guard.join", "kind", "positional")
	}
	r := &relation{kind: j.kind(), from: j.left.from + " POSITIONAL JOIN " + j.right.from, reads: union(j.left.reads, j.right.reads),
		data: union(j.left.data, j.right.data), cols: append(append([]value{}, j.left.cols...), j.right.cols...)}
	return r, nil
}

type joining struct {
	*checker
	node           *node
	left, right    *relation
	equalKeys      [][2]value // conditions that equate unit keys
	meeting        [][2]value // those by which a row meets no more than the other side's rows of its unit
	onlyEqualities bool
	told           bool       // a sensitive column is in the condition
	secret, semi   bool       // a secret is in it
	compared       [][2]value // what the conditions compare, left and right
	equal          []bool     // whether they equate it
	condition      []value    // a condition that is more than a comparison of the sides
}

// kind is the stricter of the two sides: a condition is checked as if both were of it.
func (j *joining) kind() kind { return max(j.left.kind, j.right.kind) }

// on renders the join's condition.
func (j *joining) on() (string, error) {
	n := j.node
	j.onlyEqualities = true
	var parts []string
	for _, cond := range n.Conditions {
		l, err := j.expr(cond.Left, j.left)
		if err != nil {
			return "", err
		}
		r, err := j.expr(cond.Right, j.right)
		if err != nil {
			return "", err
		}
		v, err := j.compare(cond.Left, cond.Comparison, l, r, j.kind())
		if err != nil {
			return "", err
		}
		if l.sort == keyValue && r.sort == keyValue && (cond.Comparison == "COMPARE_EQUAL" || cond.Comparison == "COMPARE_NOT_DISTINCT_FROM") {
			j.equalKeys = append(j.equalKeys, [2]value{l, r})
			if l.key >= 0 && r.key >= 0 && !l.nullable && !r.nullable && !j.left.keys[l.key].nullable && !j.right.keys[r.key].nullable {
				j.meeting = append(j.meeting, [2]value{l, r})
			}
		} else {
			j.onlyEqualities = false
		}
		j.compared = append(j.compared, [2]value{l, r})
		j.equal = append(j.equal, cond.Comparison == "COMPARE_EQUAL" || cond.Comparison == "COMPARE_NOT_DISTINCT_FROM")
		parts = append(parts, v.sql)
		j.tells(v)
	}
	if n.Condition != nil {
		j.onlyEqualities = false
		both := &relation{kind: j.kind(), cols: append(append([]value{}, j.left.cols...), j.right.cols...)}
		v, err := j.expr(n.Condition, both)
		if err != nil {
			return "", err
		}
		parts, j.condition = append(parts, v.sql), append(j.condition, v)
		j.tells(v)
	}
	return strings.Join(parts, " AND "), nil
}

// keeps tells which sides' rows the join keeps when they find no partner.
func (j *joining) keeps() (left, right bool) {
	full := j.node.JoinType == "FULL"
	return full || j.node.JoinType == "LEFT" || j.node.JoinType == "SINGLE", full
}

// word renders the kind of the join, and its condition where it needs one.
func (j *joining) word(on string) (word, condition string) {
	left, right := j.keeps()
	word = " JOIN "
	switch {
	case left && right:
		word = " FULL JOIN "
	case left:
		word = " LEFT JOIN "
	case on == "":
		return " CROSS JOIN ", ""
	}
	if j.node.Type == "LOGICAL_ASOF_JOIN" {
		word = " ASOF" + word
	}
	if on == "" {
		on = "TRUE"
	}
	return word, on
}

// tells notes what a condition looks at.
func (j *joining) tells(v value) {
	j.told = j.told || v.sensitive
	j.secret, j.semi = j.secret || v.secret, j.semi || v.semi
}

// besideSecret reports whether rows without units are joined to protected ones by a secret, such as a diagnosis' code.
// What such rows hold is as secret as that.
func (j *joining) besideSecret() bool {
	if !j.secret && !j.semi || j.left.kind == protected && j.right.kind == protected || j.kind() != protected {
		return false
	}
	beside := j.right
	if j.left.kind != protected {
		beside = j.left
	}
	for i := range beside.cols {
		v := &beside.cols[i]
		v.secret, v.semi, v.raw, v.public = j.secret, j.semi, true, false
	}
	j.atoms = append(j.atoms, secretAtom{keys: []string{j.asks("join of " + beside.from)}, sense: j.secret})
	return true
}

// besides is the word of a join that keeps the rows of its protected side.
func besides(word string, left bool) string {
	switch {
	case strings.Contains(word, "FULL"), left && strings.Contains(word, "LEFT"):
		return word
	case left:
		return strings.Replace(word, "JOIN", "LEFT JOIN", 1)
	case strings.Contains(word, "LEFT"):
		return " FULL JOIN "
	}
	return strings.Replace(word, "JOIN", "RIGHT JOIN", 1)
}

// both types a join whose result has the columns of both sides.
func (j *joining) both() (*relation, error) {
	var multiplies *side
	switch {
	case j.left.kind == protected && j.right.kind != protected:
		multiplies = joinSide(j.right)
	case j.right.kind == protected && j.left.kind != protected:
		multiplies = joinSide(j.left)
	default:
		j.otherBlock(j.right)
	}
	on, err := j.on()
	if err != nil {
		return nil, err
	}
	word, on := j.word(on)
	if j.besideSecret() && j.assumed != nil { // the public part has every unit, whatever it is joined by
		word = besides(word, j.left.kind == protected)
	}
	r := &relation{
		kind:    j.kind(),
		from:    j.left.from + word + j.right.from,
		reads:   union(j.left.reads, j.right.reads),
		data:    union(j.left.data, j.right.data),
		cols:    slices.Concat(j.left.cols, j.right.cols),
		told:    j.left.told || j.right.told || j.told,
		thinned: true,

		single: j.left.single && j.right.single && j.node.JoinType != "FULL",
		lonely: j.lonely(),
	}
	r.rowwise = multiplies != nil && (j.left.rowwise || j.right.rowwise) && j.node.JoinType != "FULL"
	j.multiply(r, multiplies)
	if on != "" {
		r.from += " ON " + on
	}
	if err := j.local(r); err != nil {
		return nil, err
	}
	j.carryKeys(r)
	j.markMissing(r)
	if r.kind == protected {
		for i, v := range r.cols { // an open column beside protected rows says which rows there are
			if v.sort == freeValue {
				r.cols[i].poly = polynomial{}
			}
		}
	}
	for _, pair := range j.equalKeys {
		if j.node.JoinType == "FULL" {
			j.eitherUnit(r, pair)
		}
		r.sameUnitIn(pair[0], pair[1])
	}
	return r, nil
}

// multiply notes what is known of how often the join gives each protected row; see fanout.go.
func (j *joining) multiply(r *relation, new *side) {
	r.joins(j.left)
	r.joins(j.right)
	if new != nil {
		r.with = append(r.with, new)
	}
	keepsLeft, keepsRight := j.keeps()
	inner := !keepsLeft && !keepsRight
	var all []value
	for i, pair := range j.compared {
		for k := range pair { // below, a value is known by what it is on its side alone
			if v := &pair[k]; new != nil && v.sort == freeValue && len(v.sides) == 1 && v.sides[0] == new {
				v.ofSide = v.sql
			}
		}
		all = append(all, pair[:]...)
		if inner {
			r.crosses(pair[:]...)
		}
		if j.equal[i] || j.node.Type == "LOGICAL_ASOF_JOIN" { // an asof join finds one partner at most; by a proof, the same one each time
			r.looksUp(pair[0], pair[1], func(of *side) bool { return inner && j.equal[i] || of == new })
		}
		if j.node.Type != "LOGICAL_ASOF_JOIN" {
			r.bounds(j.node.Conditions[i].Comparison, pair[0], pair[1], func(of *side) bool { return inner || of == new })
		}
	}
	if j.node.Condition != nil {
		defer func(since int) { j.atoms = j.atoms[:since] }(len(j.atoms)) // they were noted when the condition was typed
		j.betweens(r, &relation{kind: j.kind(), cols: slices.Concat(j.left.cols, j.right.cols)}, j.node.Condition, func(of *side) bool { return inner || of == new })
	}
	if all = append(all, j.condition...); !inner || len(j.condition) > 0 {
		r.crosses(all...)
	}
}

// lonely reports whether the join may keep rows that belong to nobody.
func (j *joining) lonely() bool {
	left, right := j.keeps()
	one := func(r *relation) bool { return r.kind != protected || r.lonely }
	switch {
	case j.kind() != protected:
		return false
	case left && right:
		return one(j.left) || one(j.right)
	case left:
		return one(j.left)
	}
	return one(j.left) && one(j.right)
}

// carryKeys gives the result the unit keys of both sides.
func (j *joining) carryKeys(r *relation) {
	keepsLeft, keepsRight := j.keeps()
	shift := len(j.left.keys)
	for i := len(j.left.cols); i < len(r.cols); i++ {
		if r.cols[i].sort == keyValue && r.cols[i].key >= 0 {
			r.cols[i].key += shift
		}
	}
	for _, k := range j.left.keys {
		k.nullable = k.nullable || keepsRight
		r.keys = append(r.keys, k)
	}
	for _, k := range j.right.keys {
		k.nullable = k.nullable || keepsLeft
		r.keys = append(r.keys, k)
	}
	for _, pair := range j.meeting {
		r.meet(pair[0].key, pair[1].key+shift)
	}
}

// markMissing notes that the columns of a side may be NULL, since its partner was not found. Whether it was shows in
// any of them.
func (j *joining) markMissing(r *relation) {
	keepsLeft, keepsRight := j.keeps()
	for i := range r.cols {
		v, ofRight := &r.cols[i], i >= len(j.left.cols)
		if ofRight && keepsLeft {
			v.nullable, v.half, v.origin, v.present, v.poly, v.once = true, nil, nil, false, v.poly.missing(), false
			v.sensitive = v.sensitive || j.right.told || j.told
			v.public = v.public || v.sort == constantValue
		}
		if !ofRight && keepsRight {
			v.nullable, v.half, v.origin, v.present, v.poly, v.once = true, nil, nil, false, v.poly.missing(), false
			v.sensitive = v.sensitive || j.left.told || j.told
			v.public = v.public || v.sort == constantValue
		}
	}
}

// sameUnitIn merges the keys that a join condition equated: wherever the right one is there, it is the left one.
func (r *relation) sameUnitIn(left, right value) {
	l, q := r.columnOfKey(left), r.columnOfKey(right)
	if l >= 0 && q >= 0 {
		r.sameUnit(r.cols[l].key, r.cols[q].key)
	}
}

// columnOfKey finds the column of a relation that a join condition speaks of.
func (r *relation) columnOfKey(of value) int {
	return slices.IndexFunc(r.cols, func(v value) bool { return v.sort == keyValue && v.key >= 0 && v.sql == of.sql })
}

// eitherUnit prepares the merging of two keys over a full join, which keeps rows that have one of them only: their
// unit is whichever is there.
func (j *joining) eitherUnit(r *relation, pair [2]value) {
	l, q := r.columnOfKey(pair[0]), r.columnOfKey(pair[1])
	if l < 0 || q < 0 || r.cols[l].key == r.cols[q].key {
		return
	}
	keep, drop := &r.keys[r.cols[l].key], &r.keys[r.cols[q].key]
	keep.sql, keep.hash = "COALESCE("+keep.sql+", "+drop.sql+")", ""
	drop.nullable = true
	if j.left.keys[pair[0].key].nullable || j.right.keys[pair[1].key].nullable || pair[0].nullable || pair[1].nullable {
		return
	}
	keep.nullable = false
	both := &halves{}
	r.cols[l].half, r.cols[q].half = both, both
}

// steered types a semi, anti or mark join.
func (j *joining) steered() (*relation, error) {
	on, err := j.on()
	if err != nil {
		return nil, err
	}
	if j.right.kind == protected && !j.ownRowsSteer() {
		return nil, j.deny(nil, "guard.steering-subquery")
	}
	if on == "" {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(j.node))
	}
	if j.node.JoinType != "MARK" && j.besideSecret() && j.assumed != nil {
		return j.left.copyOf(), nil
	}
	r := j.left.copyOf()
	var all []value
	for _, pair := range j.compared {
		all = append(all, pair[:]...)
	}
	all = append(all, j.condition...)
	if j.node.JoinType != "MARK" {
		r.crosses(all...)
	}
	r.reads = union(j.left.reads, j.right.reads)
	r.data = union(j.left.data, j.right.data)
	r.told = j.left.told || j.node.JoinType != "MARK" && (j.right.told || j.told)
	if j.node.JoinType != "MARK" {
		r.from += " " + j.node.JoinType + " JOIN " + j.right.from + " ON " + on
		return r, nil
	}
	return j.marked(r, on, crossingOf(all...))
}

// ownRowsSteer reports whether each row is steered by rows of its own units alone: whatever else is compared, every
// unit of the steering rows is equated. A further unit may go without where each of its rows is there in any case. A
// key that is NULL would make the engine answer NULL for everybody.
func (j *joining) ownRowsSteer() bool {
	equated := map[int]bool{}
	for _, pair := range j.equalKeys {
		if pair[0].nullable || pair[1].nullable || pair[0].key < 0 || pair[1].key < 0 {
			return false
		}
		equated[pair[1].key] = true
	}
	whole := !j.noised() && !j.right.thinned && len(equated) == 1 && j.onlyEqualities && len(j.node.Conditions) == 1
	return j.left.kind == protected && (len(equated) == len(j.right.keys) || whole)
}

// marked adds the boolean that says whether the row found a partner. One comparison is ANY, of which IN is one,
// with the engine's own treatment of NULL; conditions that take NULL for a value like any other come from EXISTS.
func (j *joining) marked(r *relation, on string, of crossing) (*relation, error) {
	exists := j.node.Condition == nil
	for _, cond := range j.node.Conditions {
		exists = exists && cond.Comparison == "COMPARE_NOT_DISTINCT_FROM"
	}
	mark := "EXISTS (SELECT 1 FROM " + j.right.from + " WHERE " + on + ")"
	if !exists {
		if len(j.node.Conditions) != 1 || j.node.Condition != nil {
			return nil, j.deny(nil, "guard.steering-subquery")
		}
		cond := j.node.Conditions[0]
		l, err := j.expr(cond.Left, j.left)
		if err != nil {
			return nil, err
		}
		q, err := j.expr(cond.Right, j.right)
		if err != nil {
			return nil, err
		}
		mark = "(" + l.sql + " " + comparisons[cond.Comparison] + " ANY (SELECT " + q.sql + " FROM " + j.right.from + "))"
	}
	v := value{sql: mark, typ: typ{ID: "BOOLEAN"}, sort: plainValue, name: "IN", key: -1, sensitive: j.right.told || j.told, sides: of.sides}
	v.secret, v.semi, v.raw, v.public = j.secret, j.semi, j.secret || j.semi, !j.secret && !j.semi
	if r.kind == protected {
		v = j.setApart(v, len(j.atoms))
	}
	if r.kind != protected || !of.own {
		v.sort = freeValue
	}
	r.cols = append(r.cols, v)
	return r, nil
}
