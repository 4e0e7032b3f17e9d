package gateway_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// TestAWorkerThatSaysLessShowsNoMore: what a worker brings is read as if an attacker had written it. Whatever part of
// its answer is missing, of another type, or too small, no cell gets to the last step that an honest answer would not
// have brought there; what is left out is NULL, or nothing is released at all.
func TestAWorkerThatSaysLessShowsNoMore(t *testing.T) {
	th := newTheatre(t)
	for _, mode := range []policy.Mode{policy.Perturbed, policy.Exact} {
		r := recorded(t, mode)["finish in the planner"]
		honest, failed := th.answered(t, mode, r, nil)
		if failed || len(honest.Rows) != 4 {
			t.Fatalf("%s: an honest worker: %v", mode, honest)
		}
		for at, column := range r.Answers[0].Columns {
			value := strings.HasPrefix(column.Name, "v") || strings.HasPrefix(column.Name, "g")
			for how, change := range map[string]func(*sandbox.Table){
				"missing": func(a *sandbox.Table) {
					a.Columns = slices.Delete(a.Columns, at, at+1)
					for i := range a.Rows {
						a.Rows[i] = slices.Delete(a.Rows[i], at, at+1)
					}
				},
				"NULL":          func(a *sandbox.Table) { each(a, at, nil) },
				"of a text":     func(a *sandbox.Table) { each(a, at, "many") },
				"without a row": func(a *sandbox.Table) { a.Rows[1] = a.Rows[1][:at] },
			} {
				got, failed := th.answered(t, mode, r, change)
				if failed || value && how == "of a text" { // a value is the worker's to say; evidence is not
					continue
				}
				if !within(got, honest, mode) {
					t.Errorf("%s: %s %s: %v, honestly %v", mode, column.Name, how, got.Rows, honest.Rows)
				}
			}
			if strings.HasPrefix(column.Name, "n") && column.Name != guard.Near {
				got, failed := th.answered(t, mode, r, func(a *sandbox.Table) { a.Rows[1][at] = json.Number("9") })
				// Bounds that no longer settle a cell have all evidence brought: it decides, or the recording does not hold it.
				if failed || column.Name == "n" {
					continue
				}
				if got := nulls(got) + 3*(4-len(got.Rows)); got == 0 {
					t.Errorf("%s: a cell with %s = 9 is shown", mode, column.Name)
				}
			}
		}
	}
}

// answered plays a recording whose first answer is changed, and gives the cells that passed, or that the job failed.
func (th *theatre) answered(t *testing.T, mode policy.Mode, r recording, change func(*sandbox.Table)) (sandbox.Table, bool) {
	t.Helper()
	first := sandbox.Table{Columns: slices.Clone(r.Answers[0].Columns)}
	for _, row := range r.Answers[0].Rows {
		first.Rows = append(first.Rows, slices.Clone(row))
	}
	if change != nil {
		change(&first)
	}
	r.Answers = append([]sandbox.Table{first}, r.Answers[1:]...)
	req := th.request(r)
	s := th.play(r, func(p *played) { p.decision.Mode, p.decision.Grant.Operator = mode, req.Job })
	released, err := s.run(t.Context(), analyst, req)
	check(t, th, s, req, released, err)
	if err != nil && (flowCode(err) != "export.evidence" || s.onLog() != "intent outcome:failed:export.evidence" || s.passed.Rows != nil) {
		t.Errorf("%v, on the log: %s", err, s.onLog())
	}
	return s.passed, err != nil
}

func each(a *sandbox.Table, at int, v any) {
	for i := range a.Rows {
		a.Rows[i][at] = v
	}
}

// within reports whether every row of a table is one of the other, but for values left out. Perturbed values may
// differ, since their noise is drawn from the evidence.
func within(got, whole sandbox.Table, mode policy.Mode) bool {
	for _, row := range got.Rows {
		if !slices.ContainsFunc(whole.Rows, func(other []any) bool {
			for i, v := range row {
				if v != nil && v != other[i] && !(mode == policy.Perturbed && i > 0 && other[i] != nil) {
					return false
				}
			}
			return true
		}) {
			return false
		}
	}
	return true
}

func nulls(table sandbox.Table) (n int) {
	for _, row := range table.Rows {
		for _, v := range row {
			if v == nil {
				n++
			}
		}
	}
	return n
}
