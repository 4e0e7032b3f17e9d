package noised

import (
	"context"
	"encoding/json"
	"math"
	"strconv"

	"weir/export/guard"
	"weir/export/noise"
	"weir/sandbox"
)

// Shown is what is shown of a question.
type Shown struct {
	Table    sandbox.Table // groups c<i>, cells, and for each cell how far noise may have moved it, m<i>
	Withheld bool          // groups may be there that are not shown
	Cells    int
}

// Table computes every cell from noisy figures. It looks at nothing else.
func (q *Question) Table() (Shown, error) {
	s := Shown{Withheld: q.small || q.of.Units >= 0 && len(q.of.Listed) == 0}
	for i, g := range q.release.Groups {
		s.Table.Columns = append(s.Table.Columns, sandbox.Column{Name: "c" + strconv.Itoa(i), Type: g.Type})
	}
	for i, c := range q.of.Cells {
		s.Table.Columns = append(s.Table.Columns, sandbox.Column{Name: "c" + strconv.Itoa(len(q.release.Groups)+i), Type: c.Type})
	}
	if len(s.Table.Columns) == 0 {
		s.Table.Columns = []sandbox.Column{{Name: "there", Type: "BOOLEAN"}}
	}
	for i := range q.of.Cells {
		s.Table.Columns = append(s.Table.Columns, sandbox.Column{Name: "m" + strconv.Itoa(i), Type: "DOUBLE"})
	}
	groups := q.public
	switch {
	case len(q.release.Groups) == 0:
		groups = []group{{}}
	case groups == nil:
		groups = q.figures[q.of.Units].answer.Groups
	}
	byGroup := make([]map[string]int64, len(q.figures))
	for i, f := range q.figures {
		byGroup[i] = f.answer.byGroup()
	}
	for _, g := range groups {
		row := append([]any{}, g...)
		var bounds []any
		for i, c := range q.of.Cells {
			v, bound := q.cell(i, c, key(g), byGroup)
			row, bounds = append(row, v), append(bounds, bound)
		}
		if len(row) == 0 {
			row = []any{true}
		}
		s.Table.Rows = append(s.Table.Rows, append(row, bounds...))
		s.Cells += max(1, len(q.of.Cells))
	}
	return s, nil
}

func (a *answer) byGroup() map[string]int64 {
	all := make(map[string]int64, len(a.Groups))
	for i, g := range a.Groups {
		all[key(g)] = a.Values[i]
	}
	return all
}

// cell computes one value and its error bound. What the noise would make worthless is NULL.
func (q *Question) cell(i int, c guard.Statistic, of string, figures []map[string]int64) (value, bound any) {
	if c.Kind == guard.Quantile {
		part, ok := q.bins[i].answer.byGroup()[of]
		if !ok {
			return nil, nil
		}
		x := c.Ranges[0].Least + float64(part)*c.Step
		if c.Step < 1 {
			x += c.Step / 2
		}
		return number(math.Min(x, c.Ranges[0].Most), 0, c.Type, q.Digits), nil
	}
	drawn, bounds := make([]float64, len(c.Figures)), make([]float64, len(c.Figures))
	for j, f := range c.Figures {
		v, ok := figures[f][of]
		if !ok {
			return nil, nil
		}
		grid := q.of.Figures[f].Grid
		drawn[j], bounds[j] = float64(v)*grid, grid*noise.Bound(q.figures[f].sigma)
	}
	statistic := statisticOf(c)
	at := statistic(drawn)
	moved := farthest(drawn, bounds, statistic)
	switch c.Kind {
	case guard.CountRows, guard.CountUnits:
		return number(math.Max(0, at), 0, c.Type, q.Digits), floating(moved)
	case guard.Sum:
	default:
		// A mean of fewer rows than noise may have made of none tells nothing.
		if drawn[0] < 2*bounds[0] {
			return nil, nil
		}
	}
	return number(at, moved, c.Type, q.Digits), floating(1.05 * moved) // rounding moves a value by a twentieth of its bound
}

// drawQuantile chooses a part of the range for each group, by the exponential mechanism.
func (q *Question) drawQuantile(ctx context.Context, i int, t sandbox.Table) error {
	width := len(q.release.Groups)
	counts := map[string][]int64{}
	for _, row := range t.Rows {
		if len(row) != width+2 {
			return evidence(errWidth)
		}
		b, err := whole(row[width])
		if err != nil {
			return evidence(err)
		}
		n, err := whole(row[width+1])
		if err != nil || b < 0 || b > guard.QuantileBins {
			return evidence(errWidth)
		}
		of := key(row[:width])
		if counts[of] == nil {
			counts[of] = make([]int64, guard.QuantileBins+1)
		}
		counts[of][b] = n
	}
	c := q.of.Cells[i]
	groups, err := q.candidates(-2, nil)
	if err != nil {
		return err
	}
	drawn := &answer{Groups: []group{}, Values: []int64{}}
	parts := min(guard.QuantileBins, int(math.Ceil((c.Ranges[0].Most-c.Ranges[0].Least)/c.Step))) + 1
	for _, g := range groups {
		of := counts[key(g)]
		if of == nil {
			of = make([]int64, guard.QuantileBins+1)
		}
		part, err := noise.Quantile(q.Random, of[:parts], c.Fraction, q.bins[i].rho, c.Reach)
		if err != nil {
			return evidence(err)
		}
		drawn.Groups, drawn.Values = append(drawn.Groups, g), append(drawn.Values, int64(part))
	}
	q.bins[i].answer, err = q.keep(ctx, q.bins[i].digest, drawn)
	return err
}

// number gives a value the digits that its error bound supports, two of the bound's own, and those of its type.
func number(x, bound float64, sqlType string, digits int) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	if bound > 0 && !math.IsInf(bound, 0) {
		step := math.Pow(10, math.Floor(math.Log10(bound))-1)
		x = math.Round(x/step) * step
	}
	if sqlType == "DOUBLE" || sqlType == "FLOAT" {
		return json.Number(strconv.FormatFloat(x, 'g', min(12, max(1, digits)), 64))
	}
	return json.Number(strconv.FormatFloat(x, 'f', digitsOf(sqlType), 64))
}

func floating(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return json.Number(strconv.FormatFloat(f, 'g', 3, 64))
}
