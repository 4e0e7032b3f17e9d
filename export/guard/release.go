package guard

import (
	"slices"
	"strings"

	"weir/internal/problem"
)

// CellKind says how a released aggregate is checked and, in perturbed mode, how its noise is made.
type CellKind string

// The kinds of cells.
const (
	CountRows     CellKind = "count"          // rows
	CountUnits    CellKind = "count_units"    // distinct units of one key
	CountDistinct CellKind = "count_distinct" // distinct values of an identifier that is no unit key
	Sum           CellKind = "sum"
	Average       CellKind = "avg"
	Moment        CellKind = "moment"   // variance, covariance, correlation, regression
	Quantile      CellKind = "quantile" // an order statistic
)

// Release is one guarded aggregation: a query whose rows are cells beside the evidence for them. Its columns:
//
// Where there are Bounds, the Quick query brings rows instead of units: n rows in the group, b<a> that take part, out<a>
// outside the condition, and sum<a>, h, size and weight. Elsewhere, in the Quick query n<a>_<k> and u<a>_<k> are missing for aggregates that can be dominated: when the total of the
// units' contributions is more than k-1 times the greatest, then k units at least contribute, and none dominates.
//
//	g<i>            group i
//	w               true in every row when some group was left out for E1
//	e<i>            for a sensitive group i: how many of its values the other groups' cell holds (E4)
//	n<k>            distinct units of key k in the cell
//	gx<k>           fingerprint of these units, in perturbed mode
//	v<a>            the value of aggregate a, NULL unless E1 and E2 hold
//	alike<a>        true when a sensitive argument of a is one value for all, or one of two for all but few (E4)
//	b<a>            rows that take part in a
//	n<a>_<k>        units that contribute to a (E2)
//	z<a>_<k>        units with a row outside a's condition (E5)
//	t<a>_<k>, u<a>_<k>, s<a>_<k>   greatest, second greatest and total contribution of a unit (E3)
//	rr<a>_<k>       most rows that one unit has in a, where units may have several
//	x<a>_<k>        fingerprint of the units that take part in a
//	q<a>_<k>_<j>, y<a>_<k>_<j>     greatest and total contribution of a unit to term j
//	xn<a>_<k>       of a sum or mean, fingerprint of the units that E2 counts
//	xz<a>_<k>       fingerprint of the units that E5 counts
//	xt<a>_<k>_<j>   fingerprint of the units that contribute to term j
//	h<a>_<k>        sum of the unit's hash over the rows that take part, where Rows is a bound
//	size<a>_<j>, weight<a>_<k>_<j> total of term j in whole numbers, and of its product with the unit's hash, where it has a bound
//
//	F<p>_<k>        linear fingerprint p, for E6
//	M<p>_<k>        for each part of the units, about how much it gives to what fingerprint p is of, for E3 of differences
//	fits            whether there are no more fingerprints than can be audited
//	near            true where the group has too few units and lacks no more than Room(k): it is brought without its name
//	                and values, for E7
//
// F, M, fits and near are there in exact mode only; x, xn, xz, xt, q and y in perturbed mode only.
type Release struct {
	Name            string   // the released table, as later queries read it
	SQL             string   // brings all evidence
	Public          string   // brings the units of the public part of each figure; empty where nothing in the question is secret
	Senses          bool     // a condition on something sensitive chose the rows, which must not hold for everybody (E4)
	Quick           string   // brings bounds that settle most cells; empty where there is nothing to save
	Rest            string   // brings all evidence for the groups in the table Open; empty where they cannot be named
	Same, QuickSame Same     // columns that SQL and Rest, and Quick, do not bring since others are the same
	Reads           []string // released tables that it reads
	Data            []string // data sets that it reads
	Proofs          int      // columns p<i>, each of which must be true: a joined side did not multiply protected rows
	Groups          []Group
	Overlap         bool     // one protected row may be in several groups
	Keys            []string // the domain of each unit key
	Bounds          []Bound  // for each key, how many rows a unit has at most; set where the Quick query rests on it
	Cells           []Cell
	Prints          []Print // exact mode: the fingerprints
	Noised          *Noised // in the noised modes: what is brought instead, and how it is charged
}

// Open is the table of the groups that the quick query left open: Rest reads it. Its columns are c0, c1, ….
const Open = "open"

// Group is a column that cells are grouped by.
type Group struct {
	Name      string
	Type      string
	Sensitive bool
	Secret    bool // not in the release's public part

	noisy bool // made of figures that were released before
}

// Cell is one aggregate of a release.
type Cell struct {
	Kind        CellKind
	Function    string
	Type        string  // of the value, as SQL
	Conditional bool    // it has a condition, whose complement E5 looks at
	Secret      bool    // the condition looks at something sensitive, so that it must not hold for the whole group (E4)
	Alike       bool    // an argument is sensitive, so that it must not be the same for everybody (E4)
	Whole       bool    // only NULL keeps a row of the group out
	Bare        bool    // Sum, Average: the argument is one measure as it is, so t and s stand for q and y
	Single      bool    // each unit has at most one row, so counts cannot be dominated
	Unit        int     // CountUnits: which key is counted
	Prints      []int   // exact mode: its fingerprints among those of the release; the first is that of its rows
	Fraction    float64 // Quantile
	Terms       []Term  // Sum, Average: what the argument is made of; CountDistinct: what is counted
	Constant    float64 // Sum, Average: the argument's constant part, times the rows
	Rows        Bound   // how many rows of it a unit has, where that is known to be one, or many
	Reach       float64 // how many rows of it a unit has at most, as far as that may be published; 0 where it is not known
}

// Dominated reports whether one unit can weigh more in the cell than another, so that E3 must be checked.
func (c Cell) Dominated() bool {
	switch c.Kind {
	case CountUnits, Quantile:
		return false
	case CountRows, CountDistinct:
		return !c.Single
	}
	return true
}

// RowsTerm is the term of a sum of units' numbers of rows, which is a number of rows.
const RowsTerm = "count_star()^1"

// Term is one measure, or product of measures, in a sum's argument.
type Term struct {
	Name        string
	Coefficient float64
	Bound       Bound // how much of it a unit has, where that is known
	Single      bool  // a unit has one row of it in the data set
	Even        bool  // and rows are told by their units alone, not by the unit's hash times the value
	Digits      int   // decimal digits that make it whole, where there is a bound

	// As far as it may be published, how much of it one row has at most, and all rows of a unit; 0 where it is not known.
	Each, Reach float64
	Spread      float64 // how far apart two rows can be in it, likewise
}

// cell is a Cell while its SQL is made.
type cell struct {
	Cell
	filter string // SQL, "" for none: the rows that take part
	where  string // SQL of the condition alone, for E5
	args   []value
	terms  []string // SQL of each term
	atoms  []atom   // of each term that has a bound
}

// guarded types the aggregation at which Protected becomes Released.
func (c *checker) guarded(in *relation, groupExprs []*expr, groups []value, list []*expr) (*relation, error) {
	r := &guardedQuery{checker: c, in: in, groups: groups}
	base := append(slices.Clone(in.atoms), c.atoms[in.since:]...)
	var ofCell [][]secretAtom
	for i, g := range groups {
		in.crosses(g)
		if g.sort >= textValue {
			return nil, c.denyGroup(groupExprs[i], g)
		}
		if !g.typ.plain() {
			return nil, c.deny(groupExprs[i], "guard.unknown-type", "type", g.typ.ID)
		}
	}
	in.settle()
	if c.makesMany() {
		return nil, c.deny(nil, "guard.many-rows")
	}
	for _, e := range list {
		e = filtered(e)
		since := len(c.atoms)
		r.outputs = append(r.outputs, output{cell: len(r.cells), over: -1, name: e.Name})
		cells, err := c.share(e, in)
		if err != nil {
			return nil, err
		}
		several, err := c.quantiles(e, in)
		if err != nil {
			return nil, err
		}
		of := &r.outputs[len(r.outputs)-1]
		switch {
		case cells != nil:
			of.over = len(r.cells) + 1
		case several != nil:
			cells, of.list, of.typ = several, len(several), e.Return
		default:
			a, err := c.cell(e, in)
			if err != nil {
				return nil, err
			}
			cells = []cell{a}
		}
		r.cells = append(r.cells, cells...)
		for range cells {
			ofCell = append(ofCell, slices.Clone(c.atoms[since:]))
		}
	}
	if err := r.audit(base, ofCell); err != nil {
		return nil, err
	}
	return r.release()
}

// output is a column of the released relation: a cell, one cell over another, or a list of cells.
type output struct {
	cell, over int // places among the cells; over is -1 where nothing is divided
	list       int // how many cells are listed, from the first on; 0 where it is no list
	typ        typ // of the list
	name       string
}

// finishRelease registers the release and gives the relation of its released table.
func (c *checker) finishRelease(r Release, in *relation, outputs []output, types []typ) (*relation, error) {
	if len(r.SQL) > maxSQL {
		return nil, problem.New("guard.too-complex")
	}
	for name := range in.reads {
		if !slices.ContainsFunc(c.program.Releases, func(before Release) bool { return before.Name == name }) {
			return nil, c.deny(nil, "guard.recursive")
		}
	}
	r.Reads, r.Data = sorted(in.reads), sorted(in.data)
	c.program.Releases = append(c.program.Releases, r)
	alias := c.alias()
	out := &relation{single: len(r.Groups) == 0, kind: released, from: quoteName(r.Name) + " AS " + alias, reads: map[string]bool{r.Name: true}, data: map[string]bool{}}
	column := func(i int) string { return alias + ".c" + itoa(i) }
	for i, g := range r.Groups {
		out.cols = append(out.cols, value{sql: column(i), typ: types[i], sort: freeValue, name: g.Name, key: -1, margin: margin{none: !g.noisy}})
	}
	for _, o := range outputs {
		v := value{sql: column(len(r.Groups) + o.cell), typ: types[len(r.Groups)+o.cell], sort: freeValue, name: o.name, key: -1}
		v.margin = c.cellMargin(alias, o.cell)
		if o.over >= 0 {
			over := value{sql: column(len(r.Groups) + o.over), margin: c.cellMargin(alias, o.over)}
			v.margin = marginOfCall("/", []value{v, over}, v.typ)
			v.sql = "(" + v.sql + " / " + over.sql + ")"
		}
		if o.list > 0 {
			var items []string
			for i := range o.list {
				items = append(items, column(len(r.Groups)+o.cell+i))
			}
			v.sql, v.typ, v.margin = "["+strings.Join(items, ", ")+"]", o.typ, margin{none: v.margin.none}
		}
		out.cols = append(out.cols, v)
	}
	return out, nil
}
