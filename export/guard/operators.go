package guard

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"weir/internal/problem"
)

// maxDepth bounds how deep a plan may be nested.
const maxDepth = 200

// relation types one operator and everything under it. An operator without a rule is denied by name.
func (c *checker) relation(n *node) (*relation, error) {
	if n == nil {
		return nil, problem.New("guard.unknown-plan", "what", "missing operator")
	}
	if r, ok := c.again(n); ok {
		return r, nil
	}
	t := &Typed{Operator: operatorName(n)}
	mark, since, met := len(c.trace), len(c.atoms), c.met
	if mark > maxDepth {
		return nil, problem.New("guard.too-complex")
	}
	r, err := c.operatorOf(n)
	if err == nil {
		err = c.typedRelation(r)
	}
	if err != nil {
		return nil, err
	}
	if begins[n.Type] {
		r.begin()
	}
	if r.kind == protected {
		r.node = n
	}
	c.results[n] = r
	if c.assumed == nil {
		t.describe(r)
	}
	t.Children = slices.Clone(c.trace[mark:])
	c.trace = append(c.trace[:mark], t)
	r.atoms = slices.Clone(c.atoms[since:])
	if r.kind != protected {
		r.atoms, c.atoms = nil, c.atoms[:since] // what was released does not tell secrets any more
	}
	if c.met == met {
		c.keep(n, r)
	}
	return r, nil
}

// begins are the operators whose columns are their own, and those that give one relation several times.
var begins = map[string]bool{
	"LOGICAL_GET": true, "LOGICAL_EXPRESSION_GET": true, "LOGICAL_AGGREGATE_AND_GROUP_BY": true, "LOGICAL_UNNEST": true, "LOGICAL_UNION": true,
	"LOGICAL_EXCEPT": true, "LOGICAL_INTERSECT": true, "LOGICAL_RECURSIVE_CTE": true, "LOGICAL_CTE_REF": true, "LOGICAL_DELIM_GET": true,
}

func (c *checker) operatorOf(n *node) (*relation, error) {
	if err := c.wordsOfNode(n); err != nil {
		return nil, err
	}
	switch n.Type {
	case "LOGICAL_GET":
		return c.scan(n)
	case "LOGICAL_DUMMY_SCAN":
		return &relation{kind: openData, single: true, cols: []value{{sql: "0", typ: typ{ID: "INTEGER"}, sort: freeValue, name: "row", key: -1, margin: noMargin}}}, nil
	case "LOGICAL_EXPRESSION_GET":
		return c.literalRows(n)
	case "LOGICAL_FILTER":
		return c.filter(n)
	case "LOGICAL_PROJECTION":
		return c.projection(n)
	case "LOGICAL_COMPARISON_JOIN", "LOGICAL_ANY_JOIN", "LOGICAL_CROSS_PRODUCT", "LOGICAL_ASOF_JOIN", "LOGICAL_POSITIONAL_JOIN":
		return c.join(n)
	case "LOGICAL_DELIM_JOIN":
		return c.correlated(n)
	case "LOGICAL_DELIM_GET":
		return c.outerScan(n)
	case "LOGICAL_AGGREGATE_AND_GROUP_BY":
		return c.aggregate(n)
	case "LOGICAL_DISTINCT":
		return c.distinct(n)
	case "LOGICAL_ORDER_BY":
		return c.orderBy(n)
	case "LOGICAL_LIMIT":
		return c.limit(n)
	case "LOGICAL_UNNEST":
		return c.unnest(n)
	case "LOGICAL_MATERIALIZED_CTE":
		return c.cte(n)
	case "LOGICAL_RECURSIVE_CTE":
		return c.recursive(n)
	case "LOGICAL_CTE_REF":
		return c.cteRef(n)
	case "LOGICAL_WINDOW":
		return c.window(n)
	case "LOGICAL_UNION", "LOGICAL_EXCEPT", "LOGICAL_INTERSECT":
		return c.setOperation(n)
	}
	return nil, c.deny(nil, "guard.operator", "operator", operatorName(n))
}

func operatorName(n *node) string {
	if strings.HasPrefix(n.Type, "LOGICAL_DELIM") {
		return "correlated subquery"
	}
	name := strings.ToLower(strings.TrimPrefix(n.Type, "LOGICAL_"))
	return strings.ReplaceAll(name, "_", " ")
}

// child types the only child of an operator.
func (c *checker) child(n *node) (*relation, error) {
	if len(n.Children) != 1 {
		return nil, problem.New("guard.unknown-plan", "what", operatorName(n))
	}
	r, err := c.relation(n.Children[0])
	if err != nil {
		return nil, err
	}
	if r.tail != "" {
		w := c.wrap(r)
		return w, nil
	}
	return r.copyOf(), nil
}

// scan types a read: of a granted data set, or of a table function that has no data behind it.
func (c *checker) scan(n *node) (*relation, error) {
	if n.Name != "seq_scan" {
		return c.tableFunction(n)
	}
	var data functionData
	if err := decodeStrict(n.Function, &data); err != nil {
		return nil, problem.New("guard.unknown-plan", "what", "scan").Because(err)
	}
	plain := n.Filters != nil && len(n.Filters.Filters) == 0 && n.Extra != nil && n.Extra.Sample == nil && len(n.Projection) == 0 &&
		len(n.Projected) == 0 && n.RowGroups == nil && !data.IsIndexScan && (n.Ordinality == nil || *n.Ordinality == unset) && len(n.Children) == 0
	d, granted := c.schema[data.Table]
	if !plain || !granted || data.Schema != "main" {
		return nil, problem.New("guard.unknown-plan", "what", "scan")
	}
	alias := c.alias()
	database, sources := "ds_"+d.Name, []string{d.Name}
	if d.Workspace != "" {
		database, sources = "kept_"+d.Name, d.Sources
	}
	r := &relation{from: fmt.Sprintf(`%s."main"."data" AS %s`, quoteName(database), alias), data: map[string]bool{d.Name: true}, thinned: d.Workspace != ""}
	c.program.Sources = append(c.program.Sources, sources...)
	if !d.Open {
		r.kind = protected
		r.rowwise = c.fixRows(r, d, database, alias)
		for i, u := range d.Units {
			if c.noised() && needsNoNoise(d, i) {
				continue
			}
			k := unitKey{domain: u.Domain, sql: alias + "." + quoteName(UnitColumn(i)), rows: rowsOf(u), most: rowsCounted(u)}
			if u.Hashed {
				k.hash = alias + "." + quoteName(HashColumn(i))
			}
			r.keys = append(r.keys, k)
		}
	}
	for _, index := range n.Columns {
		if len(index.Children) > 0 || index.Field != "" {
			return nil, problem.New("guard.unknown-plan", "what", "scan of a part of a column")
		}
		if index.Index == unset { // the row's number, or the empty column of a count(*)
			r.cols = append(r.cols, value{sql: "0", typ: typ{ID: "BIGINT"}, sort: identifierValue, name: "rowid", key: -1})
			continue
		}
		if index.Index >= uint64(len(n.Names)) || index.Index >= uint64(len(n.Returned)) {
			return nil, problem.New("guard.unknown-plan", "what", "scan of an unknown column")
		}
		name := n.Names[index.Index]
		col, ok := d.Column(name)
		if !ok {
			return nil, problem.New("guard.unknown-plan", "what", "scan of a column without a grant")
		}
		r.cols = append(r.cols, c.columnValue(d, col, alias+"."+quoteName(name), n.Returned[index.Index]))
	}
	return r, nil
}

// literalRows types VALUES.
func (c *checker) literalRows(n *node) (*relation, error) {
	rows, err := n.rows()
	if err != nil {
		return nil, problem.New("guard.unknown-plan", "what", "values").Because(err)
	}
	empty := &relation{kind: openData}
	var lines []string
	types := slices.Clone(n.ExprTypes)
	for _, row := range rows {
		list, err := c.values(nil, row, empty)
		if err != nil {
			return nil, err
		}
		if len(list) != len(n.ExprTypes) {
			return nil, problem.New("guard.unknown-plan", "what", "values")
		}
		for i, v := range list {
			types[i] = types[i].common(v)
		}
		lines = append(lines, "("+strings.Join(sqlOf(list), ", ")+")")
	}
	alias := c.alias()
	r := &relation{from: fmt.Sprintf("(VALUES %s) AS %s(%s)", strings.Join(lines, ", "), alias, strings.Join(numbered("c", len(n.ExprTypes)), ", "))}
	for i, t := range types {
		r.cols = append(r.cols, value{sql: alias + ".c" + itoa(i), typ: t, sort: freeValue, name: "value", key: -1, margin: noMargin})
	}
	return r, nil
}

// filter keeps the type. An equality of two unit keys of one domain, which is how a comma join says what a join
// says, makes the two keys one.
func (c *checker) filter(n *node) (*relation, error) {
	r, err := c.child(n)
	if err != nil {
		return nil, err
	}
	list, err := n.exprs()
	if err != nil || len(n.ProjectionMap) > 0 {
		return nil, problem.New("guard.unknown-plan", "what", "filter").Because(err)
	}
	var atoms []secretAtom
	var whole []bool
	since := len(c.atoms)
	for _, e := range list {
		c.atoms = c.atoms[:since]
		v, err := c.expr(e, r)
		if err != nil {
			return nil, err
		}
		for _, a := range c.atoms[since:] {
			atoms, whole = append(atoms, a), append(whole, !v.public && len(c.atoms) == since+1)
		}
		if v.typ.ID != "BOOLEAN" || r.kind == protected && v.sort >= textValue {
			return nil, c.denyValue(e, v)
		}
		r.where = append(r.where, v.sql)
		r.told = r.told || v.sensitive
		r.thinned = true
		c.lookUp(r, e)
		c.found(r, e)
		r.crosses(v)
		if r.kind == protected && e.Class == "BOUND_COMPARISON" && e.Type == "COMPARE_EQUAL" {
			c.mergeKeys(r, e)
		}
	}
	c.atoms = append(c.atoms[:since], together(atoms, whole)...)
	return r, nil
}

// found recognises that a unit key must be there, which ends what an outer join left open.
func (c *checker) found(r *relation, e *expr) {
	if r.kind != protected || e.Type != "OPERATOR_IS_NOT_NULL" || len(e.Children) != 1 {
		return
	}
	v, err := c.expr(e.Children[0], r)
	if err != nil || v.sort != keyValue || v.key < 0 {
		return
	}
	r.keys[v.key].nullable, r.lonely = false, false
	for i := range r.cols {
		if of := &r.cols[i]; of.sort == keyValue && of.sql == v.sql {
			of.nullable = false
		}
	}
}

func (c *checker) mergeKeys(r *relation, e *expr) {
	left, errL := c.expr(e.Left, r)
	right, errR := c.expr(e.Right, r)
	if errL == nil && errR == nil && left.sort == keyValue && right.sort == keyValue && left.domain == right.domain {
		r.meet(left.key, right.key)
		r.sameUnit(left.key, right.key)
	}
}

// sameUnit records that two keys of a relation name the same unit in every row: the second is dropped.
func (r *relation) sameUnit(keep, drop int) {
	if keep < 0 || drop < 0 || keep == drop {
		return
	}
	if r.keys[keep].nullable && !r.keys[drop].nullable {
		keep, drop = drop, keep
	}
	rows := r.keys[keep].rows.both(r.keys[drop].rows)
	if r.keys[keep].block != r.keys[drop].block {
		rows.Most = 0 // how many rows met is not known
	}
	r.keys[keep].rows = rows
	r.keys[keep].most = math.Min(mostRows, r.keys[keep].most*r.keys[drop].most)
	r.keys = slices.Delete(r.keys, drop, drop+1)
	if keep > drop {
		keep--
	}
	for i := range r.cols {
		v := &r.cols[i]
		switch {
		case v.sort != keyValue || v.key < drop:
		case v.key == drop:
			v.key = keep
		default:
			v.key--
		}
	}
}

func (c *checker) projection(n *node) (*relation, error) {
	r, err := c.child(n)
	if err != nil {
		return nil, err
	}
	list, err := n.exprs()
	if err != nil {
		return nil, problem.New("guard.unknown-plan", "what", "projection").Because(err)
	}
	cols := make([]value, 0, len(list))
	for _, e := range list {
		v, err := c.expr(e, r)
		if err != nil {
			return nil, err
		}
		cols = append(cols, v)
	}
	r.cols = cols
	return r, nil
}

// orderBy over protected rows decides nothing that may be seen, and is dropped.
func (c *checker) orderBy(n *node) (*relation, error) {
	r, err := c.child(n)
	if err != nil {
		return nil, err
	}
	if len(n.Projections) > 0 {
		return nil, problem.New("guard.unknown-plan", "what", "order by")
	}
	if r.kind == protected {
		return r, nil
	}
	w := c.wrap(r)
	terms, err := c.orderTerms(n.Orders, w)
	if err != nil {
		return nil, err
	}
	w.tail = " ORDER BY " + terms
	return w, nil
}

// ordering renders the terms of an ORDER BY, and gives the values that they are.
func (c *checker) ordering(orders []order, r *relation) (terms []string, values []value, err error) {
	for _, o := range orders {
		v, err := c.expr(o.Expression, r)
		if err != nil {
			return nil, nil, err
		}
		if !words.directions[o.Direction] || !words.nullOrders[o.NullOrder] {
			return nil, nil, c.deny(o.Expression, "guard.unknown-expression", "what", "order")
		}
		direction := map[string]string{"ASCENDING": " ASC ", "DESCENDING": " DESC "}[o.Direction]
		terms, values = append(terms, v.sql+direction+o.NullOrder), append(values, v)
	}
	return terms, values, nil
}

func (c *checker) orderTerms(orders []order, r *relation) (string, error) {
	terms, _, err := c.ordering(orders, r)
	return strings.Join(terms, ", "), err
}

// limit over protected rows would let the analyst choose single rows by their order.
func (c *checker) limit(n *node) (*relation, error) {
	if len(n.Children) != 1 {
		return nil, problem.New("guard.unknown-plan", "what", "limit")
	}
	r, err := c.relation(n.Children[0])
	if err != nil {
		return nil, err
	}
	if r.kind == protected {
		return nil, c.deny(nil, "guard.limit-of-rows")
	}
	if strings.Contains(r.tail, " LIMIT ") || strings.Contains(r.tail, " OFFSET ") {
		r = c.wrap(r)
	} else {
		r = r.copyOf()
	}
	for _, part := range []struct {
		word string
		l    *limit
	}{{" LIMIT ", n.Limit}, {" OFFSET ", n.Offset}} {
		if part.l == nil || part.l.Type == "UNSET" {
			continue
		}
		if !words.limits[part.l.Type] || part.l.Expression != nil {
			return nil, c.deny(nil, "guard.limit-not-constant")
		}
		if part.l.Type == "CONSTANT_PERCENTAGE" {
			r.tail += part.word + strconv.FormatFloat(part.l.Percentage, 'f', -1, 64) + "%"
			continue
		}
		r.tail += part.word + strconv.FormatUint(part.l.Integer, 10)
	}
	return r, nil
}

// cte types a common table expression once; each reference to it is the same relation.
func (c *checker) cte(n *node) (*relation, error) {
	if len(n.Children) != 2 {
		return nil, problem.New("guard.unknown-plan", "what", "common table expression")
	}
	definition, err := c.relation(n.Children[0])
	if err != nil {
		return nil, err
	}
	c.ctes[n.TableIndex], c.cteNodes[n.TableIndex] = definition, n.Children[0]
	return c.relation(n.Children[1])
}

func (c *checker) cteRef(n *node) (*relation, error) {
	definition, ok := c.ctes[n.CTEIndex]
	if !ok || n.Recurring || len(n.ChunkTypes) != len(definition.cols) {
		return nil, c.deny(nil, "guard.operator", "operator", "recursive common table expression")
	}
	w := c.wrap(definition)
	c.atoms = append(c.atoms, definition.atoms...)
	return w, nil
}
