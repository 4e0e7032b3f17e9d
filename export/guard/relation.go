package guard

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"weir/policy"
)

// kind is the type of a relation, as the disclosure model has it.
type kind int

const (
	openData  kind = iota // Open: no protected data in it
	released              // Released: came out of a guarded aggregation; what is done to it is post-processing
	protected             // Protected(K): its rows belong to units
)

func (k kind) String() string { return [...]string{"Open", "Released", "Protected"}[k] }

// sort says what may be done with a value over a Protected relation.
type sort int

const (
	constantValue   sort = iota // written by the analyst
	freeValue                   // from an Open or Released relation
	measureValue                // arithmetic over measures and constants: may be summed
	plainValue                  // anything else that may be filtered and grouped by
	textValue                   // free text: may only be counted
	identifierValue             // names a unit: may only be counted as distinct
	keyValue                    // a unit key: may besides be equated with another of its domain
)

// value is a typed expression: SQL over the relation's FROM clause, and what may be done with it.
type value struct {
	sql       string
	literal   string // a constant's own SQL, whatever relation it is a column of
	typ       typ
	sort      sort
	name      string  // for messages: the column, or what it was made of
	sensitive bool    // made from a sensitive column
	domain    string  // keyValue: whose key it is
	nullable  bool    // keyValue: rows may lack it, after an outer join
	key       int     // keyValue: its place among the relation's keys, -1 when the relation does not carry it
	half      *halves // keyValue: one of two of which a row has one at least, after a full join
	strict    bool    // NULL in every row that lacks the unit whose column it is
	present   bool    // in no row NULL
	poly      polynomial
	partial   bool       // of a measure: it may be NULL although what it is made of is there; see wide.go
	sides     []*side    // joined open or released rows that it was made of
	ofSide    string     // its SQL over its side alone, if it is a column of one
	origin    *origin    // where it comes from as it is
	cond      *condition // a CASE that is one condition around one value
	margin    margin     // over released data: how far noise may have moved it

	// What it tells; see public.go. A value that is none of the three is the same in every row.
	secret bool     // made of a sensitive column
	semi   bool     // made of a measure, or of a fact about a unit's rows
	public bool     // made of anything else
	raw    bool     // it holds a secret that no atom stands for
	parts  []string // SQL of what is public in it
	fixed  bool     // of a relation of one row, so the same for everybody

	// Of the noised modes; see noised.go.
	within *Range   // between what its numbers lie, as far as the entry, its type or its arithmetic say
	once   bool     // one value in all rows of a unit
	dead   bool     // in a relation of public things: made of something that is not public, so NULL
	listed []string // every value that the entry says it can have
	null   bool     // the constant NULL
	capped float64  // the most that one unit counts for in a sum of it, as the entry states; 0 for none
}

// origin is a column of a relation that others are made of. Whatever rows they choose, the column's values are among
// the origin's, and what stands side by side in one of their rows does so in one of the origin's.
type origin struct {
	of *relation
	at int
}

// condition is CASE WHEN when THEN then [ELSE 0 | NULL] END, which inside an aggregate is a filter.
type condition struct {
	when     string // SQL, true for the rows that take part
	secret   bool   // it looks at something sensitive
	then     value
	elseZero bool // rows that do not take part are zero
	elseNull bool // and some of them NULL
}

// halves are the two columns that a full join equated. Either may be NULL, and never both.
type halves struct{ _ byte }

// unitKey is a hidden column that names the protected unit of each row.
type unitKey struct {
	domain   string
	sql      string // keyed 64-bit hash of the unit, never its name
	hash     string // its short hash, where it is a column; "" where it must be made of the other
	nullable bool   // rows may lack the unit, after an outer join

	rows  Bound   // how many rows of this relation a unit has
	most  float64 // how many rows of this relation a unit counts for in the noised modes
	block int     // the rows that the bound speaks of; see bound.go
}

// relation is one operator's result: SELECT cols FROM from WHERE where.
type relation struct {
	kind  kind
	from  string
	where []string
	cols  []value
	keys  []unitKey
	reads map[string]bool // released tables in from
	data  map[string]bool // data sets in from
	tail  string          // ORDER BY and LIMIT, which close the relation
	// told is set when a sensitive column decided which rows there are: being among them is sensitive then.
	told bool
	// thinned is set when anything but the catalogue decided which rows there are.
	thinned bool
	// single is set when there is one row at most.
	single bool
	// lonely is set when there may be rows that belong to nobody, which an outer join kept.
	lonely bool
	// What is known of joins with sides that could multiply protected rows; see fanout.go.
	weighted  bool           // they do, or may, and unevenly
	with      []*side        // all sides that were joined to it
	ties      []tie          // equalities by which sides are looked up
	limits    []sideBound    // what bounds a value from one side
	crossings []crossing     // conditions that speak of sides
	known     map[*side]bool // sides that were tied when rows were last counted
	overlap   bool           // joined rows tell the groups apart, so a protected row may be in several
	proofs    []string       // SQL over the sides, each of which must be true
	// Conditions on secrets that decided which rows there are; and how many were noted when groups began to be typed.
	atoms []secretAtom
	since int
	// Of the noised modes; see noised.go.
	node    *node // the operator of which it is the result
	rowwise bool  // each row is made of one row of one protected data set, and of no other protected row
}

// oneRowAUnit reports whether every row belongs to one unit, and every unit has at most one.
func (r *relation) oneRowAUnit() bool {
	return len(r.keys) == 1 && r.keys[0].rows.Most == 1 && !r.keys[0].nullable && !r.weighted && !r.fansOut()
}

// columns lists what a query of the relation selects.
func (r *relation) columns(atoms []atom) []string {
	var list []string
	for i, c := range r.cols {
		list = append(list, c.sql+" AS c"+itoa(i))
	}
	for i, k := range r.keys {
		list = append(list, k.sql+" AS k"+itoa(i))
		if k.hash != "" {
			list = append(list, k.hash+" AS kh"+itoa(i))
		}
	}
	for i, a := range atoms {
		list = append(list, a.sql+" AS a"+itoa(i))
	}
	for i, c := range r.cols {
		if r.carriesMargin(i) {
			list = append(list, c.margin.sql+" AS m"+itoa(i))
		}
	}
	if len(list) == 0 {
		list = []string{"1 AS c0"}
	}
	return list
}

// selectSQL writes the relation as a query whose columns are c0, c1, …, k0, k1, …, a0, a1, …, kh0 for a key's short hash, and m0, m1, … for margins.
func (r *relation) selectSQL(atoms []atom) string {
	sql := "SELECT " + strings.Join(r.columns(atoms), ", ")
	if r.from != "" {
		sql += " FROM " + r.from
	}
	if len(r.where) > 0 {
		sql += " WHERE " + strings.Join(r.where, " AND ")
	}
	return sql + r.tail
}

// wrap closes the relation into a subquery, so that its columns are plain names under a new alias.
func (c *checker) wrap(r *relation) *relation {
	alias := c.alias()
	atoms := r.hiddenAtoms()
	w := &relation{kind: r.kind, from: "(" + r.selectSQL(atoms) + ") AS " + alias, reads: r.reads, data: r.data, told: r.told, thinned: r.thinned,
		single: r.single, lonely: r.lonely, weighted: r.weighted, with: r.with, ties: r.ties, limits: r.limits, crossings: r.crossings, known: r.known, proofs: r.proofs, atoms: r.atoms, node: r.node, rowwise: r.rowwise}
	renamed := make(map[string]string, len(atoms))
	for i, a := range atoms {
		renamed[a.id] = alias + ".a" + itoa(i)
	}
	w.cols = make([]value, 0, len(r.cols))
	for i, v := range r.cols {
		own := v
		own.sql = alias + ".c" + itoa(i)
		own.cond = nil
		own.poly = v.poly.under(renamed).asColumn(v, own.sql)
		if own.margin = v.margin.gone(); r.carriesMargin(i) {
			own.margin.sql = alias + ".m" + itoa(i)
		}
		w.cols = append(w.cols, own)
	}
	for i, k := range r.keys {
		if k.sql = alias + ".k" + itoa(i); k.hash != "" {
			k.hash = alias + ".kh" + itoa(i)
		}
		w.keys = append(w.keys, k)
	}
	return w
}

// hiddenAtoms are the measures that the columns' polynomials speak of and that must be carried along beside them.
func (r *relation) hiddenAtoms() []atom {
	seen := map[string]bool{}
	var list []atom
	for _, v := range r.cols {
		for _, a := range v.poly.atoms() {
			if !seen[a.id] {
				seen[a.id] = true
				list = append(list, a)
			}
		}
	}
	return list
}

// copyOf gives a relation of its own that shares nothing that an operator changes.
func (r *relation) copyOf() *relation {
	n := *r
	n.where = slices.Clone(r.where)
	n.cols = slices.Clone(r.cols)
	n.keys = slices.Clone(r.keys)
	n.reads = maps.Clone(r.reads)
	n.data = maps.Clone(r.data)
	return &n
}

// begin makes the relation the origin of its columns.
func (r *relation) begin() *relation {
	of := r.copyOf()
	for i := range r.cols {
		of.cols[i].origin, r.cols[i].origin = nil, &origin{of, i}
	}
	return r
}

// under gives a closed relation, as wrap makes it, again beneath another SELECT over all of its columns.
func (c *checker) under(w *relation, before, after string) *relation {
	old, alias := w.from[strings.LastIndexByte(w.from, ' ')+1:]+".", c.alias()
	n := w.copyOf()
	n.from = "(SELECT " + before + "* FROM " + w.from + after + ") AS " + alias
	rename := func(sql string) string { return alias + "." + strings.TrimPrefix(sql, old) }
	for i := range n.cols {
		v := &n.cols[i]
		renamed := map[string]string{}
		for _, a := range v.poly.atoms() {
			renamed[a.id] = rename(a.sql)
		}
		v.sql, v.poly = rename(v.sql), v.poly.under(renamed)
		if v.margin.sql != "" {
			v.margin.sql = rename(v.margin.sql)
		}
	}
	for i := range n.keys {
		n.keys[i].sql = rename(n.keys[i].sql)
		if n.keys[i].hash != "" {
			n.keys[i].hash = rename(n.keys[i].hash)
		}
	}
	return n
}

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = prefix + itoa(i)
	}
	return list
}

func union(a, b map[string]bool) map[string]bool {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]bool{}
	}
	maps.Copy(all, b)
	return all
}

// columnValue types a column of a granted data set.
func (c *checker) columnValue(d policy.Dataset, col policy.Column, sql string, t typ) value {
	v := value{sql: sql, typ: t, name: col.Name, key: -1, sensitive: col.Class == policy.Sensitive, strict: !d.Open, present: col.Present, margin: noMargin}
	v.secret, v.semi = v.sensitive, col.Class == policy.Measure
	v.raw, v.public = v.secret || v.semi, !v.secret && !v.semi
	switch {
	case d.Open:
		v.sort, v.sensitive, v.secret, v.semi, v.raw, v.public = freeValue, false, false, false, false, true
	case col.Class == policy.Identifier:
		v.sort, v.public = identifierValue, false
		kept := 0
		for i, u := range d.Units {
			switch none := c.noised() && needsNoNoise(d, i); {
			case u.Key == col.Name && !none:
				v.sort, v.domain, v.key = keyValue, u.Domain, kept
			case none:
				continue
			}
			kept++
		}
	case col.Class == policy.FreeText:
		v.sort = textValue
	case col.IsMeasure() && t.numeric():
		of := d.Name + "." + col.Name
		if col.Origin != "" {
			of = col.Origin
		}
		v.sort = measureValue
		v.poly = c.measure(atom{of: of + "^1", sql: "CAST(" + sql + " AS DOUBLE)", within: rangeOf(col.Bound), reach: reachOf(d, col)}.bounded(d, col, sql, t))
	default:
		v.sort = plainValue
	}
	if !d.Open {
		v.listed, v.capped, v.once = col.Values, capOf(d, col), len(d.Units) == 1 && d.Units[0].Unique
		if t.numeric() {
			v.within = heldTo(rangeOf(col.Bound), v.capped)
		}
	}
	return v
}

// capOf is the most that a unit counts for in sums of a column, as its entry states or intake proposed; 0 for none.
func capOf(d policy.Dataset, col policy.Column) float64 {
	most := col.Cap
	for _, u := range d.Units {
		if c, known := u.CapOf(col.Name); known {
			most = math.Max(most, c.Most)
		}
	}
	return most
}

func (v value) describe() string {
	return fmt.Sprintf("%s %s", v.name, [...]string{"constant", "open", "measure", "value", "text", "identifier", "unit key"}[v.sort])
}
