package guard

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"weir/internal/problem"
	"weir/policy"
)

// In the noised modes (perturbed and private) nothing that leaves may depend on what is true of one unit, but through
// noise that is charged to an account. The proof has four parts, and each stands in one place:
//
//   - Locality. A protected relation carries the keys of the units that a row belongs to, and no row depends on data
//     of other units. That is what the typing of operators establishes, in all modes.
//   - Bounds. Whatever a unit's rows are, what they add to a figure is cut to a stated cap before it is added up
//     (noised_sql.go). So a cap is a matter of usefulness, and never of safety: it may be wrong, and nothing leaks.
//   - Noise and account. Package export adds discrete Gaussian noise to each figure, and charges what a unit could
//     move by it (Figure.Width2) to every unit of the domain before the query runs.
//   - Groups. Which groups come follows from public columns alone (publicly.go), from values that the entry lists, or
//     from a noisy number of units.
//
// Secrets therefore need no list of spellings: a condition, a group or an argument may be any expression that the
// guard can render. (Dwork & Roth 2014; user contributions are bounded as in Wilson et al., PoPETs 2020.)

// Noised is a guarded aggregation of the noised modes. Its query has the columns g<i> and f<i>: the groups, and the
// figures in whole numbers.
type Noised struct {
	SQL     string   // brings groups and figures; what it brings is secret
	Sizes   string   // brings groups g<i> and n, how many units could be in each: public. "" where groups rest on secrets
	Proofs  string   // brings one row of which each column must be true; "" where joined open rows need none. Public
	Domains []string // of units
	Size    int64    // how many units there are, as far as that is stated; 0 where it is not
	Figures []Figure
	Cells   []Statistic // one for each of the release's cells
	Units   int         // the figure that counts units, by which groups are shown; -1 where Sizes says which there are
	Among   float64     // in how many groups one unit can be at most
	Alone   float64     // the most that one unit adds to Units in one group
	Listed  [][]string  // every value of each group, where the entry lists them; nil where it does not
}

// Figure is a sum over units of what each adds, in whole multiples of Grid.
type Figure struct {
	Of     string  // its SQL over the rows, which names it
	Grid   float64 // what one stands for
	Cap    float64 // the most that a unit adds to it, in all groups together
	Width2 float64 // the square of how far one unit can move it, in all groups together (Euclidean)
}

// Statistic says how a cell follows from figures.
type Statistic struct {
	Kind     CellKind
	Function string
	Type     string
	Figures  []int
	Ranges   []Range // of each argument; sums of a mean and of moments are taken from their middles
	Bins     string  // Quantile: brings groups, b and f: how many rows fall into each part of the range
	Fraction float64
	Reach    float64 // Quantile: how far one unit can move ranks, in all groups together (Euclidean)
	Step     float64 // Quantile: how wide a part of the range is
}

// QuantileBins is into how many parts the range of a quantile's argument is cut. No stored value is shown, but the
// middle of one of them.
const QuantileBins = 1024

// mostGrid is the greatest whole number that one unit may add to a figure: 2^30 units of it fit into 62 bits.
const mostGrid = 1 << 32

func (c *checker) noised() bool { return c.mode != policy.Exact }

// noisedQuery renders an aggregation of the noised modes.
type noisedQuery struct {
	*checker
	in      *relation
	groups  []value
	figures []figure
	args    []string // SQL of what is computed of each row, as columns a<i>
	out     Noised
}

// figure is a Figure while its SQL is made. Numbers are in units of its grid.
type figure struct {
	Figure
	part       string  // what a row adds, a whole number over the columns a<i>
	least, top float64 // between which it lies; least ≤ 0 ≤ top
	total      float64 // the most that all rows of a unit add, where the entry states that
	units      bool    // it counts units
}

// size is the most that one row adds.
func (f figure) size() float64 { return math.Max(-f.least, f.top) }

// noisedAggregation types the aggregation at which Protected becomes Released.
func (c *checker) noisedAggregation(in *relation, groupExprs []*expr, groups []value, list []*expr) (*relation, error) {
	q := &noisedQuery{checker: c, in: in, groups: groups}
	if err := q.groupable(groupExprs); err != nil {
		return nil, err
	}
	if err := q.bounded(); err != nil {
		return nil, err
	}
	if c.makesMany() {
		return nil, c.deny(nil, "guard.many-rows")
	}
	r := Release{Name: "r" + itoa(len(c.program.Releases)+1), Proofs: 0}
	var outputs []output
	for _, e := range list {
		cells, out, err := q.cells(filtered(e))
		if err != nil {
			return nil, err
		}
		out.cell += len(q.out.Cells)
		if out.over >= 0 {
			out.over += len(q.out.Cells)
		}
		outputs = append(outputs, out)
		q.out.Cells = append(q.out.Cells, cells...)
	}
	q.show(groupExprs)
	var types []typ
	for _, v := range groups {
		t, err := v.typ.sql()
		if err != nil {
			return nil, c.denyBecause(nil, err, "guard.unknown-type", "type", v.typ.ID)
		}
		r.Groups = append(r.Groups, Group{Name: v.name, Type: t, Sensitive: v.sensitive, noisy: !v.margin.none})
		types = append(types, v.typ)
	}
	for _, s := range q.out.Cells {
		r.Cells = append(r.Cells, Cell{Kind: s.Kind, Function: s.Function, Type: s.Type})
		types = append(types, typeOf(s.Type))
	}
	q.out.SQL = q.sql()
	if _, proofs := in.tied(); len(proofs) > 0 {
		q.out.Proofs = "SELECT " + strings.Join(proofs, ", ")
	}
	for _, f := range q.figures {
		f.Of = q.name(f)
		q.out.Figures = append(q.out.Figures, f.Figure)
	}
	r.Keys, r.SQL, r.Noised = q.out.Domains, q.out.SQL, &q.out
	for _, sql := range append([]string{q.out.SQL, q.out.Sizes, q.out.Proofs}, q.bins()...) {
		if len(sql) > maxSQL {
			return nil, problem.New("guard.too-complex")
		}
	}
	return c.finishRelease(r, in, outputs, types)
}

// name says what a figure is of: all that its query is made of but the other figures.
func (q *noisedQuery) name(f figure) string {
	part := f.part
	for i := len(q.args) - 1; i >= 0; i-- { // a12 before a1
		part = strings.ReplaceAll(part, fmt.Sprintf("a%d", i), "{"+q.args[i]+"}")
	}
	kind := "sum"
	if f.units {
		kind = "units"
	}
	return strings.Join(append(sqlOf(q.groups), kind, part, q.in.keys[0].sql, q.in.from, allOf(q.in.where)), "; ")
}

func (q *noisedQuery) bins() (list []string) {
	for _, s := range q.out.Cells {
		list = append(list, s.Bins)
	}
	return list
}

// groupable refuses groups that name somebody, and types that do not travel.
func (q *noisedQuery) groupable(at []*expr) error {
	for i, g := range q.groups {
		switch {
		case g.sort >= textValue:
			return q.denyGroup(at[i], g)
		case !g.typ.plain():
			return q.deny(at[i], "guard.unknown-type", "type", g.typ.ID)
		}
	}
	return nil
}

// bounded notes the domains, and refuses relations in which nothing bounds what a unit's data can move.
//
// With one key, every row belongs to one unit, and what a unit's rows add is cut. With several, each row belongs to
// several units, and cutting one unit's rows would move what is left of another's. So there the rows must be fixed:
// rows of one data set whose rows are public, of which a unit keeps so many (see scan).
func (q *noisedQuery) bounded() error {
	if len(q.in.keys) == 0 {
		return q.deny(nil, "guard.no-bound")
	}
	if len(q.in.keys) > 1 && !q.fixedRows() {
		return q.deny(nil, "guard.no-bound")
	}
	for _, k := range q.in.keys {
		if !slices.Contains(q.out.Domains, k.domain) {
			q.out.Domains = append(q.out.Domains, k.domain)
		}
	}
	for name := range q.in.data {
		if d := q.schema[name]; !d.Open {
			q.out.Size = max(q.out.Size, stated(d))
		}
	}
	return nil
}

func (q *noisedQuery) fixedRows() bool {
	return q.in.rowwise && !q.in.weighted && !q.in.fansOut()
}

// single reports whether every unit has one row at most.
func (q *noisedQuery) single() bool { return q.in.oneRowAUnit() }

// rows is how many rows a unit counts for.
func (q *noisedQuery) rows() float64 {
	if q.single() {
		return 1
	}
	most := 0.0
	for _, domain := range q.out.Domains { // somebody may be a buyer and a seller
		sum := 0.0
		for _, k := range q.in.keys {
			if k.domain == domain {
				sum += math.Max(1, k.most)
			}
		}
		most = math.Max(most, sum)
	}
	if q.in.weighted || q.in.fansOut() {
		most *= fanOut
	}
	return math.Min(most, mostRows)
}

// How many rows a unit counts for at most, and how many times as many where a join with open rows multiplies them: what
// goes beyond is cut.
const (
	mostRows = 4096
	fanOut   = 16
)

// stated is how many units a data set has, as its entry says, or else the first digit of the number of its rows.
func stated(d policy.Dataset) int64 {
	if d.Size > 0 {
		return d.Size
	}
	step := int64(1)
	for d.Rows/step >= 10 {
		step *= 10
	}
	return d.Rows / step * step
}

// one reports whether all rows of a unit are in one group.
func (q *noisedQuery) oneGroup() bool {
	return q.single() || len(q.in.keys) == 1 && !slices.ContainsFunc(q.groups, func(v value) bool { return !v.once })
}

// show decides how it is known which groups there are.
func (q *noisedQuery) show(groupExprs []*expr) {
	q.out.Units, q.out.Among = -1, 1
	if !q.oneGroup() {
		q.out.Among = q.rows()
	}
	if q.out.Sizes = q.sizes(groupExprs); q.out.Sizes != "" || len(q.groups) == 0 {
		q.settle(true)
		return
	}
	// Units of several keys are not told apart, so rows are counted instead: all those of one unit may be in one group.
	q.out.Alone = 1
	several := len(q.in.keys) > 1
	if several {
		q.out.Alone = q.rows()
	}
	q.out.Units = q.figure(figure{Figure: Figure{Of: "units", Grid: 1}, part: "1", top: 1, units: !several})
	if !slices.ContainsFunc(q.groups, func(v value) bool { return len(v.listed) == 0 }) {
		for _, v := range q.groups {
			q.out.Listed = append(q.out.Listed, v.listed)
		}
	}
	q.settle(false)
}

// settle computes how far one unit can move each figure, as the distance between any two vectors of what it may add to
// the groups. The parts of one vector have a sum of Cap at most.
//
//   - A unit that stays in its one group moves the figure by the width of what it may add there.
//   - Two vectors of parts that are not negative are at most √2 · Cap apart: all in one group, or all in another.
//   - If parts can have either sign, two vectors may be opposite, and 2 · Cap apart.
//
// The ranks of a quantile follow the same rule: in each group a unit moves them by the most rows that it has there, before
// or after.
func (q *noisedQuery) settle(fixed bool) {
	for i := range q.out.Cells {
		if s := &q.out.Cells[i]; s.Kind == Quantile && !(fixed && q.oneGroup()) {
			s.Reach *= math.Sqrt2
		}
	}
	for i := range q.figures {
		f := &q.figures[i]
		switch {
		case f.units: // so many groups, to each of which it adds one: a vector of the length √groups
			f.Cap = math.Sqrt(q.out.Among)
		case q.single():
			f.Cap = f.size()
		case f.total > 0:
			f.Cap = f.total
		default:
			f.Cap = f.size() * q.rows()
		}
		signed := f.least < 0 && f.top > 0
		switch {
		case fixed && q.single():
			f.Width2 = (f.top - f.least) * (f.top - f.least)
		case fixed && q.oneGroup() && !signed, f.Cap == 0:
			f.Width2 = f.Cap * f.Cap
		case signed && !q.single():
			f.Width2 = 4 * f.Cap * f.Cap
		default:
			f.Width2 = math.Max(2*f.Cap*f.Cap, (f.top-f.least)*(f.top-f.least))
			if !q.single() {
				f.Width2 = 2 * f.Cap * f.Cap
			}
		}
	}
}

// figure adds a figure, or finds it where it is there already.
func (q *noisedQuery) figure(f figure) int {
	at := slices.IndexFunc(q.figures, func(g figure) bool {
		return g.part == f.part && (g.units == f.units || q.single()) && g.Grid == f.Grid && g.total == f.total
	})
	if at >= 0 {
		return at
	}
	q.figures = append(q.figures, f)
	return len(q.figures) - 1
}

// arg gives the column that holds an expression over the rows.
func (q *noisedQuery) arg(sql string) string {
	at := slices.Index(q.args, sql)
	if at < 0 {
		at = len(q.args)
		q.args = append(q.args, sql)
	}
	return fmt.Sprintf("a%d", at)
}

func allOf(conditions []string) string { return strings.Join(conditions, " AND ") }

// rowsCounted is how many rows of a data set a unit counts for.
func rowsCounted(u policy.Unit) float64 {
	if u.Unique {
		return 1
	}
	if stated, known := u.CapOf(""); known {
		return stated.Most
	}
	return unstatedRows
}

// needsNoNoise reports whether a key names units that its reviewers leave without protection, in rows that belong to
// others as well. Where nobody else is in the rows, they stay protected: rows as they are never leave.
func needsNoNoise(d policy.Dataset, key int) bool {
	others := slices.ContainsFunc(d.Units, func(u policy.Unit) bool { return u.Protection() != policy.Unprotected })
	return others && d.Units[key].Protection() == policy.Unprotected
}

// unstatedRows is how many rows a unit counts for in versions that were taken in before caps were.
const unstatedRows = 8

// fixRows reports whether each row of a scan belongs to units of which it is public what rows they have. Where a row has
// several units, it has each keep so many of its rows: which ones does not depend on a secret then.
func (c *checker) fixRows(r *relation, d policy.Dataset, database, alias string) bool {
	if !c.noised() || !d.PublicMembership() {
		return false
	}
	var keeps []string
	for i, u := range d.Units {
		if len(d.Units) > 1 && !u.Unique && !needsNoNoise(d, i) {
			keeps = append(keeps, fmt.Sprintf("row_number() OVER (PARTITION BY %s ORDER BY rowid) <= %.0f", quoteName(UnitColumn(i)), rowsCounted(u)))
		}
	}
	if len(keeps) > 0 {
		r.from = fmt.Sprintf(`(SELECT * FROM %s."main"."data" QUALIFY %s) AS %s`, quoteName(database), allOf(keeps), alias)
	}
	return true
}

// rowsOfUnit is how many rows of a relation a unit counts for.
func (c *checker) rowsOfUnit(r *relation) float64 {
	most := 1.0
	for _, k := range r.keys {
		most = math.Max(most, k.most)
	}
	if r.weighted || r.fansOut() {
		most *= fanOut
	}
	return math.Min(most, mostRows)
}

func (c *checker) rangeOfWindow(e *expr, w *relation) *Range {
	args, err := c.values(e, e.Children, w)
	if err != nil {
		return nil
	}
	name := windowCalls[e.Type]
	if e.Type == "WINDOW_AGGREGATE" {
		name = e.Name
	}
	return rangeOfFact(name, args, c.rowsOfUnit(w))
}

// local refuses a join by which a unit could decide on rows that are not its own: where an outer join keeps rows that
// found no partner, and partners have units besides those that are equated.
func (j *joining) local(*relation) error {
	if !j.noised() || j.left.kind != protected || j.right.kind != protected {
		return nil
	}
	left, right := j.keeps()
	equated := func(side int, r *relation) bool {
		found := map[int]bool{}
		for _, pair := range j.equalKeys {
			found[pair[side].key] = true
		}
		return len(found) == len(r.keys) && !found[-1]
	}
	if left && !equated(1, j.right) || right && !equated(0, j.left) {
		return j.deny(nil, "guard.no-bound")
	}
	return nil
}
