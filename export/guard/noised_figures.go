package guard

import (
	"fmt"
	"math"
	"strings"
)

// cells takes an aggregate apart into the figures that it follows from. A list of quantiles is several cells.
func (q *noisedQuery) cells(e *expr) ([]Statistic, output, error) {
	out := output{over: -1, name: e.Name}
	if several, err := q.severalQuantiles(e); err != nil || several != nil {
		out.list, out.typ = len(several), e.Return
		return several, out, err
	}
	s, err := q.statistic(e)
	return []Statistic{s}, out, err
}

// statistic types one aggregate over protected rows. Any argument may be summed for which a range is known.
func (q *noisedQuery) statistic(e *expr) (Statistic, error) {
	refuse := func() (Statistic, error) { return Statistic{}, q.deny(e, "guard.aggregate", "function", e.Name) }
	if e.Class != "BOUND_AGGREGATE" || aggregateVerdict(e.Name) < releaseAggregate {
		return refuse()
	}
	t, err := e.Return.sql()
	if err != nil || e.OrderBys != nil && len(e.OrderBys.Orders) > 0 {
		return Statistic{}, q.denyBecause(e, err, "guard.aggregate", "function", e.Name)
	}
	s := Statistic{Function: e.Name, Type: t}
	among, args, err := q.takesPart(e)
	if err != nil {
		return s, err
	}
	counts := e.Name == "count" || e.Name == "count_star"
	if q.in.lonely && !passesOverNobody(e, args) {
		return s, q.deny(e, "guard.nobody", "function", e.Name)
	}
	switch distinct := e.AggregateType == "DISTINCT"; {
	case counts && distinct && len(args) == 1:
		return q.countUnits(e, s, args[0], among)
	case distinct:
		return s, q.deny(e, "guard.distinct-aggregate", "function", e.Name)
	case counts && len(args) <= 1:
		s.Kind, s.Figures = CountRows, []int{q.rowsAmong(among)}
		return s, nil
	}
	if len(args) == 0 || len(args) > 2 {
		return refuse()
	}
	for _, v := range args {
		r := v.within
		if v.typ.ID == "BOOLEAN" || !v.typ.numeric() || r == nil || math.IsInf(r.Reach(), 0) || math.IsNaN(r.Reach()) {
			return s, q.noBound(e, v)
		}
		s.Ranges = append(s.Ranges, *r)
	}
	switch e.Name {
	case "sum", "sum_no_overflow":
		s.Kind, s.Figures = Sum, []int{q.sumOf(args[0], *args[0].within, 0, among)}
	case "avg", "mean":
		s.Kind = Average
		s.Figures = []int{q.rowsAmong(among), q.sumOf(args[0], s.Ranges[0], s.Ranges[0].Middle(), among)}
	case "median", "quantile", "quantile_cont", "quantile_disc":
		return q.quantileOf(e, s, args[0], among)
	default:
		s.Kind, s.Figures = Moment, q.moments(args, s.Ranges, among)
	}
	return s, nil
}

// noBound says of which argument no range is known.
func (q *noisedQuery) noBound(e *expr, v value) error {
	if v.sort >= textValue {
		return q.denyValue(e, v)
	}
	return q.deny(e, "guard.private-bounds", "column", v.name, "function", e.Name)
}

// takesPart gives the arguments, and SQL of which rows take part: those of the FILTER, that have all arguments.
func (q *noisedQuery) takesPart(e *expr) (among []string, args []value, err error) {
	if e.Filter != nil {
		f, err := q.values(e, []*expr{e.Filter}, q.in)
		if err != nil {
			return nil, nil, err
		}
		among = append(among, q.arg(f[0].sql))
	}
	for _, child := range e.Children {
		v, err := q.expr(child, q.in)
		if err != nil {
			return nil, nil, err
		}
		if v.sort >= textValue && e.Name != "count" || v.name == "rowid" {
			return nil, nil, q.denyValue(e, v)
		}
		if child.Class != "BOUND_CONSTANT" || child.Value.Null {
			among = append(among, q.arg("("+v.sql+" IS NOT NULL)"))
		}
		args = append(args, v)
	}
	return among, args, nil
}

// countUnits counts the units of one key. Those of several keys are not told apart by a cut that is made for one.
func (q *noisedQuery) countUnits(e *expr, s Statistic, v value, among []string) (Statistic, error) {
	if v.sort != keyValue || len(q.in.keys) != 1 {
		return s, q.deny(e, "guard.count-distinct", "column", v.name)
	}
	s.Kind = CountUnits
	s.Figures = []int{q.figure(figure{Figure: Figure{Of: "units" + allOf(among), Grid: 1}, part: when(among, "1"), top: 1, units: true})}
	return s, nil
}

// rowsAmong counts rows.
func (q *noisedQuery) rowsAmong(among []string) int {
	return q.figure(figure{Figure: Figure{Of: "rows", Grid: 1}, part: when(among, "1"), top: 1})
}

// sumOf adds up an argument less a middle. Each value is held to its range and put on the grid before it is added, so
// that sums are exact and the noise is of their kind.
func (q *noisedQuery) sumOf(v value, r Range, middle float64, among []string) int {
	shifted := Range{math.Min(0, r.Least-middle), math.Max(0, r.Most-middle)}
	grid := gridOf(v.typ, shifted.Reach(), middle)
	f := figure{Figure: Figure{Of: v.name, Grid: grid}, least: math.Floor(shifted.Least / grid), top: math.Ceil(shifted.Most / grid)}
	if middle == 0 && v.capped > 0 {
		f.total = math.Ceil(v.capped / grid)
	}
	f.part = when(among, onGrid(held(q.arg(v.sql), r, middle), grid, f.least, f.top))
	return q.figure(f)
}

// moments are what variances, correlations and regressions follow from: the number of rows, and the sums of x, x², and
// of y, y², xy, all from the middles of the ranges.
func (q *noisedQuery) moments(args []value, ranges []Range, among []string) []int {
	list := []int{q.rowsAmong(among)}
	var x []string
	var half []float64
	product := func(i, j int) {
		most := half[i] * half[j]
		grid := gridOf(typ{ID: "DOUBLE"}, most, 0)
		least := -math.Ceil(most / grid)
		if i == j {
			least = 0
		}
		f := figure{Figure: Figure{Of: "product", Grid: grid}, least: least, top: math.Ceil(most / grid)}
		f.part = when(among, onGrid(x[i]+" * "+x[j], grid, f.least, f.top))
		list = append(list, q.figure(f))
	}
	for i, v := range args {
		x, half = append(x, held(q.arg(v.sql), ranges[i], ranges[i].Middle())), append(half, ranges[i].Half())
		list = append(list, q.sumOf(v, ranges[i], ranges[i].Middle(), among))
		product(i, i)
	}
	if len(args) == 2 {
		product(0, 1)
	}
	return list
}

// held is a value held to its range, from its middle. NaN is the greatest of all numbers to the engine, so it is held
// like them.
func held(column string, r Range, middle float64) string {
	return fmt.Sprintf("(greatest(least(CAST(%s AS DOUBLE), %s), %s) - %s)", column, double(r.Most), double(r.Least), double(middle))
}

// onGrid rounds to whole numbers of the grid.
func onGrid(sql string, grid, least, top float64) string {
	return fmt.Sprintf("CAST(greatest(least(round((%s) / %s), %s), %s) AS BIGINT)", sql, double(grid), double(top), double(least))
}

// gridOf is the step in which sums of an argument are formed: one unit of its last digit where that is not too fine for
// exact sums, or else a power of two of which its reach has 2^31.
func gridOf(t typ, reach, middle float64) float64 {
	digits := -1
	switch {
	case t.integer():
		digits = 0
	case t.ID == "DECIMAL" && t.Info != nil:
		digits = t.Info.Scale
	}
	if digits >= 0 {
		grid := math.Pow10(-digits)
		if middle != 0 && math.Abs(middle/grid-math.Round(middle/grid)) > 1e-6 {
			grid /= 2 // the middle of two whole numbers
		}
		if reach/grid < mostGrid/2 {
			return grid
		}
	}
	if reach == 0 {
		return 1
	}
	return math.Pow(2, math.Ceil(math.Log2(reach))-30)
}

func when(among []string, sql string) string {
	if len(among) == 0 {
		return sql
	}
	return "CASE WHEN " + strings.Join(among, " AND ") + " THEN " + sql + " ELSE 0 END"
}

// quantileOf types a quantile: a point of a grid over the argument's range, chosen by the exponential mechanism from how
// many rows fall into each part.
func (q *noisedQuery) quantileOf(e *expr, s Statistic, v value, among []string) (Statistic, error) {
	text, err := quantileOf(e)
	if err != nil {
		return s, err
	}
	if s.Fraction, err = parseFraction(text); err != nil {
		return s, q.denyBecause(e, err, "guard.quantile")
	}
	s.Kind, s.Reach = Quantile, q.rows()
	r := s.Ranges[0]
	part := (r.Most - r.Least) / QuantileBins
	if v.typ.integer() && part < 1 {
		part = 1
	}
	if part <= 0 {
		part = 1
	}
	s.Step = part
	bin := fmt.Sprintf("CAST(least(floor(%s / %s), %d) AS BIGINT)", held(q.arg(v.sql), r, r.Least), double(part), QuantileBins)
	s.Figures = []int{q.rowsAmong(among)}
	s.Bins = q.binsSQL(bin, among)
	return s, nil
}

// binsSQL counts, in each group, the rows of each part of the range: of a unit, no more than it counts for.
func (q *noisedQuery) binsSQL(bin string, among []string) string {
	by := numbered("g", len(q.groups))
	rows := "SELECT " + strings.Join(append(append([]string{}, by...), "u", bin+" AS b"), ", ") + " FROM base"
	if len(among) > 0 {
		rows += " WHERE " + allOf(among)
	}
	if !q.single() && !(q.fixedRows() && len(q.in.keys) > 1) {
		rows = "SELECT * FROM (" + rows + ") QUALIFY row_number() OVER (PARTITION BY u ORDER BY " +
			strings.Join(append(append([]string{}, by...), "b"), ", ") + fmt.Sprintf(") <= %.0f", q.rows())
	}
	by = append(by, "b")
	return "WITH base AS (" + q.base() + "), rows AS (" + rows + ") " + grouped(append(append([]string{}, by...), "count(*) AS f"), "rows", by)
}

// severalQuantiles takes quantile_cont(x, [0.1, 0.9]) apart; nil where the aggregate is something else.
func (q *noisedQuery) severalQuantiles(e *expr) ([]Statistic, error) {
	each, err := oneQuantileEach(e)
	if err != nil || each == nil {
		return nil, err
	}
	var list []Statistic
	for _, one := range each {
		s, err := q.statistic(one)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}
