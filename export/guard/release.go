package guard

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode"

	"weir/internal/problem"
	"weir/policy"
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
	// In private mode, the most groups that one unit adds to, and the most rows of it in each.
	UnitGroups, UnitRows int
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
	Ranges      []Range // private mode: what each argument is held to
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
	if err := c.hold(nil, in, nil); err != nil {
		return nil, err
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
		if err := c.hold(e, in, cells); err != nil {
			return nil, err
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

// quantiles takes quantile_cont(x, [0.1, 0.9]) apart into the quantiles that it lists. It gives nil where the aggregate is
// something else.
func (c *checker) quantiles(e *expr, in *relation) ([]cell, error) {
	var q quantileData
	if e.Class != "BOUND_AGGREGATE" || !strings.HasPrefix(e.Name, "quantile") || e.Return.ID != "LIST" || e.Return.Info == nil || e.Return.Info.Child == nil ||
		decodeStrict(e.Function, &q) != nil {
		return nil, nil
	}
	var cells []cell
	for _, fraction := range q.Quantiles {
		data, err := json.Marshal(quantileData{Quantiles: []constant{fraction}, Order: []uint64{0}, Descending: q.Descending})
		if err != nil {
			return nil, problem.New("guard.quantile").Because(err)
		}
		one := *e
		one.Function, one.Return = data, *e.Return.Info.Child
		a, err := c.cell(&one, in)
		if err != nil {
			return nil, err
		}
		cells = append(cells, a)
	}
	return cells, nil
}

// share takes avg(CASE WHEN c THEN x ELSE 0 END) and avg(COALESCE(x, 0)) apart into the two figures that they are: a sum
// of some rows, over the number of rows. It gives nil where the aggregate is something else.
func (c *checker) share(e *expr, in *relation) ([]cell, error) {
	if e.Class != "BOUND_AGGREGATE" || e.Name != "avg" && e.Name != "mean" || e.AggregateType == "DISTINCT" || len(e.Children) != 1 || e.OrderBys != nil {
		return nil, nil
	}
	v, err := c.expr(e.Children[0], in)
	if err != nil || (v.cond == nil || !v.cond.elseZero) && (v.sort != measureValue || !v.poly.orZero()) {
		return nil, err
	}
	switch {
	case in.weighted || in.weighs(v):
		return nil, c.deny(e, "guard.fan-out")
	case in.lonely:
		return nil, c.deny(e, "guard.nobody", "function", e.Name)
	}
	single := in.oneRowAUnit()
	sum := cell{Cell: Cell{Function: "sum", Type: "DOUBLE", Single: single}}
	rows := cell{Cell: Cell{Kind: CountRows, Function: "count", Type: "BIGINT", Single: single}}
	if e.Filter != nil {
		f, err := c.values(e, []*expr{e.Filter}, in)
		if err != nil {
			return nil, err
		}
		if in.weighs(f[0]) {
			return nil, c.deny(e, "guard.fan-out")
		}
		sum.restrict(f[0].sql, f[0].secret)
		rows.restrict(f[0].sql, f[0].secret)
	}
	if present := "(" + v.sql + " IS NOT NULL)"; v.cond != nil && v.cond.elseNull {
		rows.restrict(present, v.secret)
	} else {
		rows.filter = and(rows.filter, present)
	}
	of := &v
	if v.cond != nil {
		of = &v.cond.then
	}
	of.sql, of.typ = "CAST("+of.sql+" AS DOUBLE)", typ{ID: "DOUBLE"}
	as := *e
	as.Name = "sum"
	if sum, err = c.measured(&as, sum, []value{v}); err != nil {
		return nil, err
	}
	return []cell{sum, rows}, nil
}

func (c *checker) denyGroup(at *expr, g value) error {
	if g.sort == textValue {
		return c.deny(at, "guard.text-used", "column", g.name)
	}
	return c.deny(at, "guard.identifier-group", "column", g.name)
}

// cell types one aggregate over protected rows.
func (c *checker) cell(e *expr, in *relation) (cell, error) {
	if e.Class != "BOUND_AGGREGATE" || aggregateVerdict(e.Name) < releaseAggregate {
		return cell{}, c.deny(e, "guard.aggregate", "function", e.Name)
	}
	t, err := e.Return.sql()
	if err != nil || e.OrderBys != nil && len(e.OrderBys.Orders) > 0 {
		return cell{}, c.denyBecause(e, err, "guard.aggregate", "function", e.Name)
	}
	weighted := in.weighted
	a := cell{Cell: Cell{Function: e.Name, Type: t, Single: in.oneRowAUnit()}}
	if e.Filter != nil {
		f, err := c.values(e, []*expr{e.Filter}, in)
		if err != nil {
			return cell{}, err
		}
		a.restrict(f[0].sql, f[0].secret)
		weighted = weighted || in.weighs(f[0])
	}
	var args []value
	for _, child := range e.Children {
		v, err := c.expr(child, in)
		if err != nil {
			return cell{}, err
		}
		weighted = weighted || in.weighs(v)
		args = append(args, v)
	}
	if weighted && !(e.Name == "count" && e.AggregateType == "DISTINCT") {
		return cell{}, c.deny(e, "guard.fan-out")
	}
	if in.lonely && !passesOverNobody(e, args) {
		return cell{}, c.deny(e, "guard.nobody", "function", e.Name)
	}
	switch {
	case e.Name == "count_star" || e.Name == "count" && len(args) == 0:
		a.Kind = CountRows
		return a, nil
	case e.Name == "count" && len(args) == 1:
		return c.count(e, a, args[0])
	case e.AggregateType == "DISTINCT":
		return cell{}, c.deny(e, "guard.distinct-aggregate", "function", e.Name)
	}
	return c.measured(e, a, args)
}

// passesOverNobody reports whether an aggregate leaves out the rows that belong to nobody. Else the figure would say of
// everybody that nobody was found, and no unit would stand for it. A measure is NULL in such rows, and so is a column of
// protected data; a measure that is zero where it is missing adds nothing to a sum, and is there for anything else.
func passesOverNobody(e *expr, args []value) bool {
	for _, v := range args {
		zero := v.poly.orZero()
		if v.cond != nil {
			zero, v = v.cond.elseZero, v.cond.then
		}
		if (v.sort == measureValue || v.strict && e.Name == "count") && (!zero || e.Name == "sum") {
			return true
		}
	}
	return false
}

// restrict adds a condition to the rows that take part, and says whether it looks at something sensitive.
func (a *cell) restrict(condition string, secret bool) {
	a.Conditional, a.Secret = true, a.Secret || secret
	if a.filter != "" {
		condition = "(" + a.filter + " AND " + condition + ")"
	}
	a.filter, a.where = condition, condition
}

func (c *checker) count(e *expr, a cell, v value) (cell, error) {
	present := "(" + v.sql + " IS NOT NULL)"
	if e.AggregateType == "DISTINCT" {
		switch v.sort {
		case keyValue:
			a.Kind, a.Unit, a.Single = CountUnits, v.key, true
			if v.nullable {
				a.restrict(present, false)
			}
			return a, nil
		case identifierValue:
			if v.name == "rowid" {
				return a, c.denyValue(e, v)
			}
			a.Kind, a.args, a.Terms = CountDistinct, []value{v}, []Term{{Name: "distinct " + v.name, Coefficient: 1}}
			a.restrict(present, false)
			return a, nil
		}
		return a, c.deny(e, "guard.count-distinct", "column", v.name)
	}
	a.Kind = CountRows
	constant := e.Children[0].Class == "BOUND_CONSTANT" && !e.Children[0].Value.Null
	if constant || v.present || v.sort == keyValue && !v.nullable {
		return a, nil
	}
	a.restrict(present, v.secret) // to be there is a condition like any other: what lacks the value is its complement
	return a, nil
}

func isColumn(e *expr) bool { return e.Class == "BOUND_REF" }

// measured types an aggregate whose arguments must be measures.
func (c *checker) measured(e *expr, a cell, args []value) (cell, error) {
	switch e.Name {
	case "sum", "sum_no_overflow":
		a.Kind = Sum
	case "avg", "mean":
		a.Kind = Average
	case "median", "quantile", "quantile_cont", "quantile_disc":
		a.Kind = Quantile
		text, err := quantileOf(e)
		if err != nil {
			return a, err
		}
		if a.Fraction, err = parseFraction(text); err != nil {
			return a, c.denyBecause(e, err, "guard.quantile")
		}
		if cents := 100 * a.Fraction; c.mode == policy.Perturbed && math.Abs(cents-math.Round(cents)) > 1e-9 {
			return a, c.deny(e, "guard.quantile-step")
		}
	default:
		a.Kind = Moment
	}
	for i, v := range args {
		if v.cond != nil {
			if v.cond.elseZero && a.Kind != Sum {
				return a, c.deny(e, "guard.else-zero", "function", e.Name)
			}
			a.restrict(v.cond.when, v.cond.secret)
			v = v.cond.then
		}
		switch {
		case v.sort == measureValue, v.sort == constantValue && a.Kind == Sum && !v.poly.isZero():
		default:
			return a, c.denyArgument(e, v)
		}
		args[i] = v
	}
	if len(args) == 0 || len(args) > 2 || (a.Kind != Moment && len(args) != 1) {
		return a, c.deny(e, "guard.aggregate", "function", e.Name)
	}
	for i, v := range args {
		v.sql = c.asPolynomial(v)
		args[i].sql = computable(e.Name, v)
		a.filter = and(a.filter, takesPart(args[i], a.Kind))
	}
	a.args = args
	if a.Kind == Moment || a.Kind == Quantile {
		for _, v := range args {
			name, bare := bareMeasure(v.poly)
			if !bare {
				return a, c.deny(e, "guard.bare-measure", "function", e.Name)
			}
			a.Terms = append(a.Terms, Term{Name: name, Coefficient: 1})
		}
		return a, nil
	}
	if a.Kind == Sum || a.Kind == Average {
		a.Constant = args[0].poly.terms[""].coefficient
		for _, name := range args[0].poly.measures() {
			t := args[0].poly.terms[name]
			a.Terms = append(a.Terms, Term{Name: args[0].poly.drawnFor(t), Coefficient: t.coefficient})
			a.terms = append(a.terms, computable(e.Name, value{sql: args[0].poly.termSQL(t), typ: typ{ID: "DOUBLE"}}))
		}
	}
	return a, nil
}

func (c *checker) denyArgument(e *expr, v value) error {
	switch v.sort {
	case identifierValue, keyValue, textValue:
		return c.denyValue(e, v)
	case plainValue:
		if v.typ.numeric() && strings.ContainsFunc(v.name, unicode.IsLetter) && len(e.Children) > 0 && isColumn(e.Children[0]) {
			return c.deny(e, "guard.not-a-measure", "column", v.name, "function", e.Name)
		}
	}
	return c.deny(e, "guard.not-arithmetic", "function", e.Name)
}

// bareMeasure tells what the noise of a polynomial is drawn for, if it is just one measure or product of measures.
func bareMeasure(p polynomial) (string, bool) {
	if p.column != "" {
		return p.column, true
	}
	names := p.measures()
	if len(names) != 1 || len(p.terms) != 1 || p.terms[names[0]].coefficient != 1 {
		return "", false
	}
	return p.drawnFor(p.terms[names[0]]), true
}

func and(a, b string) string {
	if a == "" {
		return b
	}
	return "(" + a + " AND " + b + ")"
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
