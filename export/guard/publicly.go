package guard

import (
	"slices"
	"strings"

	"weir/internal/problem"
	"weir/policy"
)

// The public relation of a plan has the rows that could be there, whatever the secrets are: conditions that look at
// anything but public columns are left out, and so are data sets of which it is secret who is in them. It says which
// groups there are and how many units could be in each, and it is rendered with NULL in the place of every column that
// is not public, so that its query cannot read a secret even if a rule below were wrong. Where a plan has no public
// relation, groups are chosen by noisy numbers of units instead, which is as safe and shows less.

// sizes renders the query that counts the units that could be in each group; "" where groups are not public.
func (q *noisedQuery) sizes(groupExprs []*expr) string {
	if q.mode == policy.Private || q.in.node == nil {
		return ""
	}
	defer func(atoms []secretAtom, trace []*Typed) { q.atoms, q.trace = atoms, trace }(slices.Clone(q.atoms), slices.Clone(q.trace))
	r, err := q.publicly(q.in.node)
	if err != nil || r == nil || r.kind != protected || len(r.keys) == 0 {
		return ""
	}
	var list, by []string
	for i, e := range groupExprs {
		v, err := q.expr(e, r)
		if err != nil || v.dead {
			return ""
		}
		list, by = append(list, v.sql+" AS g"+itoa(i)), append(by, "g"+itoa(i))
	}
	count := "approx_count_distinct(u)" // n only decides how much noise there is, and is rounded
	if r.oneRowAUnit() {
		count = "count(*)"
	}
	inner := "SELECT " + strings.Join(append(list, r.keys[0].sql+" AS u"), ", ") + " FROM " + r.from
	if len(r.where) > 0 {
		inner += " WHERE " + strings.Join(r.where, " AND ")
	}
	return grouped(append(slices.Clone(by), count+" AS n"), "("+inner+") AS could", by)
}

// publicly gives the public relation of an operator over protected rows; nil where it has none. Its columns are those of
// the operator.
func (c *checker) publicly(n *node) (*relation, error) {
	typed := c.results[n]
	if typed == nil {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
	}
	if typed.kind != protected {
		return c.wrap(typed), nil
	}
	switch n.Type {
	case "LOGICAL_GET":
		return c.publicScan(n, typed)
	case "LOGICAL_FILTER":
		return c.publicFilter(n)
	case "LOGICAL_PROJECTION":
		return c.publicProjection(n, typed)
	case "LOGICAL_COMPARISON_JOIN", "LOGICAL_ANY_JOIN", "LOGICAL_CROSS_PRODUCT":
		return c.publicJoin(n, typed)
	case "LOGICAL_ORDER_BY":
		return c.publicly(n.Children[0])
	case "LOGICAL_MATERIALIZED_CTE":
		return c.publicly(n.Children[1])
	case "LOGICAL_CTE_REF":
		of := c.cteNodes[n.CTEIndex]
		if of == nil {
			return nil, nil
		}
		r, err := c.publicly(of)
		if err != nil || r == nil {
			return nil, err
		}
		return c.wrap(r), nil
	case "LOGICAL_AGGREGATE_AND_GROUP_BY":
		return c.publicFacts(n, typed)
	case "LOGICAL_WINDOW":
		r, err := c.publicly(n.Children[0])
		if err != nil || r == nil {
			return nil, err
		}
		r = c.wrap(r)
		return r, r.fill(typed)
	}
	return nil, nil
}

// fill gives a relation dead columns up to those of another.
func (r *relation) fill(typed *relation) error {
	for i := len(r.cols); i < len(typed.cols); i++ {
		v, err := dead(typed.cols[i])
		if err != nil {
			return err
		}
		r.cols = append(r.cols, v)
	}
	return nil
}

// dead is a column that is not public.
func dead(of value) (value, error) {
	t, err := of.typ.sql()
	if err != nil {
		return value{}, problem.New("guard.unknown-type", "type", of.typ.ID).Because(err)
	}
	v := value{sql: "CAST(NULL AS " + t + ")", typ: of.typ, sort: plainValue, name: of.name, key: -1, dead: true}
	if of.sort == textValue || of.sort == identifierValue {
		v.sort = of.sort
	}
	return v, nil
}

func (c *checker) publicScan(n *node, typed *relation) (*relation, error) {
	var data functionData
	if decodeStrict(n.Function, &data) != nil {
		return nil, nil
	}
	d, ok := c.schema[data.Table]
	if !ok || d.Workspace != "" || d.Membership != policy.MembershipPublic {
		return nil, nil
	}
	again, err := c.scan(n)
	if err != nil {
		return nil, err
	}
	for i, v := range again.cols {
		col, known := d.Column(v.name)
		if v.sort == keyValue && known || known && col.Public {
			continue
		}
		if again.cols[i], err = dead(v); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// publicFilter keeps the conditions that are about public things alone.
func (c *checker) publicFilter(n *node) (*relation, error) {
	r, err := c.publicly(n.Children[0])
	if err != nil || r == nil {
		return nil, err
	}
	r = r.copyOf()
	list, err := n.exprs()
	if err != nil {
		return nil, err
	}
	for _, e := range conjuncts(list) {
		if v, err := c.expr(e, r); err == nil && !v.dead {
			r.where = append(r.where, v.sql)
		}
	}
	return r, nil
}

// conjuncts takes conditions apart that must all hold.
func conjuncts(list []*expr) (all []*expr) {
	for _, e := range list {
		if e.Class == "BOUND_CONJUNCTION" && e.Type == "CONJUNCTION_AND" {
			all = append(all, conjuncts(e.Children)...)
			continue
		}
		all = append(all, e)
	}
	return all
}

func (c *checker) publicProjection(n *node, typed *relation) (*relation, error) {
	r, err := c.publicly(n.Children[0])
	if err != nil || r == nil {
		return nil, err
	}
	r = r.copyOf()
	list, err := n.exprs()
	if err != nil || len(list) != len(typed.cols) {
		return nil, err
	}
	cols := make([]value, len(list))
	for i, e := range list {
		v, err := c.expr(e, r)
		if err != nil || v.dead {
			if v, err = dead(typed.cols[i]); err != nil {
				return nil, err
			}
		}
		cols[i] = v
	}
	r.cols = cols
	return r, nil
}

// publicJoin joins the public sides by the conditions that are public. A side without a public relation, and one that
// nothing public joins, is left out: the rows that are left could all be there.
func (c *checker) publicJoin(n *node, typed *relation) (*relation, error) {
	switch n.JoinType {
	case "SEMI", "ANTI":
		return c.publicly(n.Children[0])
	case "MARK":
		r, err := c.publicly(n.Children[0])
		if err != nil || r == nil {
			return nil, err
		}
		r = c.wrap(r)
		return r, r.fill(typed)
	case "INNER", "LEFT", "":
	default:
		return nil, nil
	}
	left, err := c.publicly(n.Children[0])
	if err != nil {
		return nil, err
	}
	right, err := c.publicly(n.Children[1])
	if err != nil {
		return nil, err
	}
	inner := n.JoinType != "LEFT"
	switch {
	case left != nil && right != nil:
		return c.publicBoth(n, typed, c.wrap(left), c.wrap(right), inner)
	case left != nil && left.kind == protected:
		r := c.wrap(left)
		return r, r.fill(typed)
	case right != nil && right.kind == protected && inner:
		return c.besideDead(c.wrap(right), typed)
	}
	return nil, nil
}

// besideDead puts dead columns in front of those of a right side.
func (c *checker) besideDead(right, typed *relation) (*relation, error) {
	r := right.copyOf()
	front := len(typed.cols) - len(right.cols)
	r.cols = nil
	for _, of := range typed.cols[:front] {
		v, err := dead(of)
		if err != nil {
			return nil, err
		}
		r.cols = append(r.cols, v)
	}
	r.cols = append(r.cols, right.cols...)
	return r, nil
}

func (c *checker) publicBoth(n *node, typed, left, right *relation, inner bool) (*relation, error) {
	j := &joining{checker: c, node: n, left: left, right: right}
	var parts []string
	for _, cond := range n.Conditions {
		l, errL := c.expr(cond.Left, left)
		r, errR := c.expr(cond.Right, right)
		if errL != nil || errR != nil || l.dead || r.dead {
			continue
		}
		v, err := c.compare(cond.Left, cond.Comparison, l, r, j.kind())
		if err != nil || v.dead {
			continue
		}
		if l.sort == keyValue && r.sort == keyValue && l.key >= 0 && r.key >= 0 {
			j.equalKeys = append(j.equalKeys, [2]value{l, r})
		}
		parts = append(parts, v.sql)
	}
	if n.Condition != nil {
		both := &relation{kind: j.kind(), cols: slices.Concat(left.cols, right.cols)}
		if v, err := c.expr(n.Condition, both); err == nil && !v.dead {
			parts = append(parts, v.sql)
		}
	}
	asked := len(n.Conditions) > 0 || n.Condition != nil
	switch {
	case len(parts) == 0 && asked && left.kind == protected:
		return left, left.fill(typed)
	case len(parts) == 0 && asked && inner:
		return c.besideDead(right, typed)
	case len(parts) == 0 && asked:
		return nil, nil
	}
	word, on := j.word(strings.Join(parts, " AND "))
	r := &relation{kind: j.kind(), from: left.from + word + right.from, reads: union(left.reads, right.reads), data: union(left.data, right.data),
		cols: slices.Concat(left.cols, right.cols), thinned: true}
	if on != "" {
		r.from += " ON " + on
	}
	j.carryKeys(r)
	for i := range r.keys {
		r.keys[i].rows = Bound{}
	}
	for _, pair := range j.equalKeys {
		r.sameUnitIn(pair[0], pair[1])
	}
	return r, nil
}

// publicFacts are the units that could have a fact; the facts themselves are not public.
func (c *checker) publicFacts(n *node, typed *relation) (*relation, error) {
	r, err := c.publicly(n.Children[0])
	if err != nil || r == nil || len(n.GroupingSets) > 1 {
		return nil, err
	}
	r = c.wrap(r)
	var list []string
	alias := c.alias()
	out := &relation{kind: protected, reads: r.reads, data: r.data, thinned: true}
	for i, e := range n.Groups {
		v, err := c.expr(e, r)
		if err != nil || v.dead {
			if v, err = dead(typed.cols[i]); err != nil {
				return nil, err
			}
		}
		list = append(list, v.sql+" AS c"+itoa(i))
		v.sql, v.poly, v.cond = alias+".c"+itoa(i), polynomial{}, nil
		out.cols = append(out.cols, v)
	}
	for i, k := range r.keys {
		list = append(list, k.sql+" AS k"+itoa(i))
		k.sql, k.hash, k.rows = alias+".k"+itoa(i), "", Bound{}
		if len(r.keys) == 1 && len(n.Groups) == 1 {
			k.rows = onlyOne
		}
		out.keys = append(out.keys, k)
	}
	out.from = "(SELECT DISTINCT " + strings.Join(list, ", ") + " FROM " + r.from + whereOf(r) + ") AS " + alias
	return out, out.fill(typed)
}

func whereOf(r *relation) string {
	if len(r.where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(r.where, " AND ")
}
