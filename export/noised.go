package export

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"weir/export/guard"
	"weir/export/noised"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// WithRandom makes the filter draw noise from another source than the system's. For the laboratory and tests alone: who
// can repeat the draws can take the noise off again.
func (f *Filter) WithRandom(source io.Reader) *Filter { f.random = source; return f }

// WithAnswers keeps answers elsewhere than in the store. For the laboratory and tests alone: who decides which answer
// stands can say what everybody is told.
func (f *Filter) WithAnswers(kept noised.Answers) *Filter { f.answers = kept; return f }

// Ask begins a guarded aggregation of a noised mode. data are the data sets that the job was granted.
func (a *Assessment) Ask(r guard.Release, data []policy.Dataset) (*noised.Question, error) {
	read := map[string]sandbox.Table{}
	for _, t := range a.released {
		read[t.Name] = t.Table
	}
	var of []string
	for _, d := range data {
		if slices.Contains(r.Data, d.Name) {
			name, err := declared(d)
			if err != nil {
				return nil, problem.New("export.evidence").Because(err)
			}
			of = append(of, name)
		}
	}
	slices.Sort(of)
	q, err := noised.New(r, noised.Setting{
		Answers: a.filter.answers, Store: a.filter.queue.db, Random: a.filter.random, K: a.rules.K, Digits: a.rules.Digits, Data: of, Tables: read,
	})
	if err != nil {
		return nil, problem.New("export.evidence").Because(err)
	}
	return q, nil
}

// declared names a version of a data set by its content and by what was declared of it.
func declared(d policy.Dataset) (string, error) {
	type unit struct {
		policy.Unit
		Most   struct{} `json:"most"` // what intake found of single units has no part in it
		Totals struct{} `json:"totals"`
	}
	var units []unit
	for _, u := range d.Units {
		units = append(units, unit{Unit: u})
	}
	text, err := json.Marshal([]any{d.Name, d.Hash, d.Open, units, d.Columns, d.Membership, d.Frame, d.Size, d.Workspace})
	if err != nil {
		return "", fmt.Errorf("name a data set: %w", err)
	}
	return string(text), nil
}

// Answered takes in what is shown of a question: it is a released table from now on.
func (a *Assessment) Answered(r guard.Release, q *noised.Question) error {
	shown, err := q.Table()
	if err != nil {
		return problem.New("export.evidence").Because(err)
	}
	if len(shown.Table.Rows)*max(1, len(r.Cells)) > MaxCells {
		return problem.New("export.too-many-cells", "limit", fmt.Sprint(MaxCells))
	}
	a.withheld = a.withheld || shown.Withheld
	a.cells += shown.Cells
	a.released = append(a.released, sandbox.Named{Name: r.Name, Table: shown.Table})
	a.checks = append(a.checks, Check{Release: r.Name, Cells: shown.Cells})
	return nil
}
