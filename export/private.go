package export

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/google/differential-privacy/go/v3/dpagg"
	dpnoise "github.com/google/differential-privacy/go/v3/noise"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Differential privacy (Dwork & Roth 2014). What a unit can change is bounded before figures come here
// (guard.UnitGroups, guard.UnitRows, guard.Range); here a group is shown only if a random selection keeps it, and
// each figure of it gets Laplace noise that scales with what a unit can change. Both are Google's differential
// privacy library's. A query's epsilon and delta were charged before it ran, and are shared out equally over all
// that it draws (sequential composition).
//
// Nothing but these draws may look at the figures: a check that looks at the data and is not random, as E3 to E7
// are in the other modes, would break the proof. Thresholds are part of the selection: a group of fewer than k
// units is never kept.

// share is the part of a query's budget that one draw may use.
type share struct{ epsilon, delta float64 }

// shareOf divides what a query costs among the draws of its program: a selection for each group and each condition,
// and noise for each figure. Only selections need a part of delta.
func shareOf(p *guard.Program, budget policy.Privacy) (share, error) {
	epsilon, delta := budget.Query()
	selections, figures := 0, 0
	for _, r := range p.Releases {
		selections++
		for _, c := range r.Cells {
			if c.Conditional {
				selections++
			}
			figures += len(c.Figures())
		}
	}
	if len(p.Releases) == 0 {
		return share{}, nil // nothing protected is read
	}
	one := share{epsilon / float64(selections+figures), delta / float64(selections)}
	if !(one.epsilon > 0) || !(one.delta > 0) {
		return share{}, fmt.Errorf("a query with no privacy budget")
	}
	return one, nil
}

// admitPrivate draws what is shown of the cells of one guarded aggregation. That something may have been left out
// is always said: whether it was is protected too.
func (a *Assessment) admitPrivate(r guard.Release, cells sandbox.Table) error {
	a.withheld = true
	j := a.judging(r, cells)
	out := a.tableOf(r)
	for _, row := range cells.Rows {
		if len(row) != len(cells.Columns) {
			return problem.New("export.evidence")
		}
		j.current = row
		shown, err := j.privateRow()
		if err != nil {
			return err
		}
		if shown != nil {
			out.Rows = append(out.Rows, shown)
		}
	}
	a.released = append(a.released, sandbox.Named{Name: r.Name, Table: out})
	return nil
}

// privateRow draws one group: nil where it is not kept.
func (j *judging) privateRow() ([]any, error) {
	if err := j.proven(); err != nil {
		return nil, err
	}
	kept, err := j.kept("n0")
	if err != nil || !kept {
		return nil, err
	}
	out := make([]any, 0, len(j.release.Groups)+len(j.release.Cells))
	for i := range j.release.Groups {
		at, ok := j.index["g"+strconv.Itoa(i)]
		if !ok {
			return nil, problem.New("export.evidence").Because(fmt.Errorf("group %d is missing", i))
		}
		out = append(out, j.current[at])
	}
	var bounds []any
	for i, c := range j.release.Cells {
		v, bound, err := j.privateCell(i, c)
		if err != nil {
			return nil, problem.New("export.evidence").Because(err)
		}
		out, bounds = append(out, v), append(bounds, bound)
	}
	if out = append(out, bounds...); len(out) == 0 {
		out = []any{true}
	}
	j.cells += max(1, len(j.release.Cells))
	return out, nil
}

// kept draws whether a group, or what meets a condition in it, is shown: never below k units, and above that with a
// probability that hides any one unit (Desfontaines, Voss, Gipson & Mandayam, Differentially private partition selection, PoPETs 2022).
func (j *judging) kept(units string) (bool, error) {
	n, err := j.read(units)
	if err != nil {
		return false, problem.New("export.evidence").Because(err)
	}
	selection, err := dpagg.NewPreAggSelectPartition(&dpagg.PreAggSelectPartitionOptions{
		Epsilon: j.share.epsilon, Delta: j.share.delta, PreThreshold: int64(j.rules.K), MaxPartitionsContributed: int64(j.release.UnitGroups),
	})
	if err == nil {
		err = selection.IncrementBy(int64(n))
	}
	if err != nil {
		return false, problem.New("export.evidence").Because(err)
	}
	kept, err := selection.ShouldKeepPartition()
	if err != nil {
		return false, problem.New("export.evidence").Because(err)
	}
	return kept, nil
}

// privateCell draws one value, and gives it with its error bound: NULL where the selection does not keep what its
// condition found.
func (j *judging) privateCell(i int, c guard.Cell) (shown, bounds any, err error) {
	if c.Conditional {
		kept, err := j.kept(fmt.Sprintf("n%d_0", i))
		if err != nil || !kept {
			return nil, nil, err
		}
	}
	reaches := c.Figures()
	drawn, errors := make([]float64, len(reaches)), make([]float64, len(reaches))
	for f, reach := range reaches {
		figure, err := j.read(fmt.Sprintf("d%d_%d", i, f))
		if err != nil {
			return nil, nil, err
		}
		if drawn[f], err = j.laplace(figure, j.unitReach(c, reach)); err != nil {
			return nil, nil, err
		}
		errors[f] = laplaceBound(float64(j.release.UnitGroups)*j.unitReach(c, reach)/j.share.epsilon, len(reaches))
	}
	statistic := j.privateStatistic(c)
	if statistic == nil {
		return nil, nil, fmt.Errorf("no private form of %s", c.Kind)
	}
	switch moved := farthest(drawn, errors, statistic); c.Kind {
	case guard.CountRows, guard.CountUnits:
		return json.Number(strconv.FormatFloat(math.Round(statistic(drawn)), 'f', 0, 64)), floating(moved + 0.5), nil
	case guard.Sum:
		shown, err = plus(json.Number("0"), statistic(drawn), c.Type)
		return shown, floating(moved + lastDigit(c.Type)), err
	default:
		return floating(statistic(drawn)), floating(moved), nil
	}
}

// unitReach is how much one unit can change a figure that one row can change by reach.
func (j *judging) unitReach(c guard.Cell, reach float64) float64 {
	if c.Kind == guard.CountUnits {
		return reach
	}
	return reach * float64(j.release.UnitRows)
}

// laplace adds noise to a figure that one unit can change by reach.
func (j *judging) laplace(figure, reach float64) (float64, error) {
	if reach == 0 {
		return figure, nil
	}
	return dpnoise.Laplace().AddNoiseFloat64(figure, int64(j.release.UnitGroups), reach, j.share.epsilon, 0)
}

// privateStatistic computes a cell's value from its figures. No count is shown below k, since nothing below it is kept.
func (j *judging) privateStatistic(c guard.Cell) func(drawn []float64) float64 {
	k := float64(j.rules.K)
	switch c.Kind {
	case guard.CountRows, guard.CountUnits:
		return func(drawn []float64) float64 { return math.Max(k, drawn[0]) }
	case guard.Sum:
		return func(drawn []float64) float64 { return drawn[0] }
	case guard.Average:
		r := c.Ranges[0]
		return func(drawn []float64) float64 {
			return math.Max(r.Least, math.Min(r.Most, r.Middle()+drawn[1]/math.Max(k, drawn[0])))
		}
	case guard.Moment:
		return func(drawn []float64) float64 {
			return privateMoments(c, drawn, math.Max(k, drawn[0])).statistic(c.Function)
		}
	}
	return nil
}

// privateMoments are the moments around the middles of the ranges, moved to where they belong.
func privateMoments(c guard.Cell, drawn []float64, rows float64) moments {
	m := moments{n: rows, mx: drawn[1] / rows}
	m.sxx = math.Max(0, drawn[2]-rows*m.mx*m.mx)
	if len(c.Ranges) == 2 { // by SQL's convention the first argument of a regression is y
		m.my, m.syy = m.mx+c.Ranges[0].Middle(), m.sxx
		x := drawn[3] / rows
		m.sxx = math.Max(0, drawn[4]-rows*x*x)
		m.sxy = drawn[5] - rows*m.mx*x
		m.mx = x + c.Ranges[1].Middle()
	}
	return m
}
