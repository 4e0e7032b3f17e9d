package export

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Verdict is what was decided on a job, before it is on the log. Nothing can be shown of it.
type Verdict struct {
	Job, Grant, Operator, Subject string
	SQL                           string
	Mode                          policy.Mode
	Review                        bool // an officer decides
	Cells                         int
	Checks                        []Check
	Literals                      []string
	table                         stored
}

// TableStep is the verdict on a table that was made or dropped in a workspace. It holds the table's name and nothing of it.
func TableStep(job, name string, d policy.Decision) *Verdict {
	return &Verdict{
		Job: job, Operator: d.Grant.Operator, Mode: d.Mode,
		table: stored{Names: []string{"table"}, Types: []string{"VARCHAR"}, Rows: [][]any{{name}}},
	}
}

// Judge closes the assessment with the table that post-processing made of the released cells.
func (a *Assessment) Judge(t sandbox.Table) (*Verdict, error) {
	names, errors := a.program.Final.Names, a.program.Final.Errors
	width := len(names)
	for _, at := range errors {
		width = max(width, at+1)
	}
	if len(t.Columns) != width || len(errors) != len(names) {
		return nil, problem.New("export.evidence").Because(fmt.Errorf("%d columns for %d names", len(t.Columns), len(names)))
	}
	if len(t.Rows)*max(1, len(names)) > MaxCells {
		return nil, problem.New("export.too-many-cells", "limit", strconv.Itoa(MaxCells))
	}
	rows, bounds := make([][]any, 0, len(t.Rows)), make([][]any, 0, len(t.Rows))
	for _, row := range t.Rows {
		if len(row) != width {
			return nil, problem.New("export.evidence")
		}
		shown, bound := make([]any, len(names)), make([]any, len(names))
		for i := range names {
			shown[i] = round(row[i], t.Columns[i].Type, a.rules.Digits)
			bound[i] = errorOf(row, i, errors[i], t.Columns[i].Type, a.rules.Digits)
		}
		rows, bounds = append(rows, shown), append(bounds, bound)
	}
	noisy := make([]bool, len(names))
	for i, at := range errors {
		noisy[i] = at != guard.NoError
	}
	if a.mode == policy.Exact || !slices.Contains(noisy, true) {
		bounds, noisy = nil, nil
	}
	return &Verdict{
		Job: a.job, Operator: a.operator, Mode: a.mode, Review: a.review, Cells: a.cells, Checks: a.checks, Literals: a.program.Literals,
		table: stored{Names: names, Types: columnsOf(names, t), Rows: rows, Errors: bounds, Noisy: noisy, Withheld: a.withheld, Sources: a.program.Sources},
	}, nil
}

// round gives a number no more digits than are declared: the tail of a number can carry a message.
func round(v any, sqlType string, digits int) any {
	n, ok := v.(json.Number)
	if !ok || sqlType != "DOUBLE" && sqlType != "FLOAT" {
		return v
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', digits, 64), 64)
	if err != nil {
		return nil
	}
	return json.Number(strconv.FormatFloat(r, 'f', -1, 64))
}
