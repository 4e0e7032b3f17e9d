package export

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"weir/export/answers"
	"weir/export/guard"
	"weir/export/noised"
	"weir/export/span"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// MaxCells is the most cells that one guarded aggregation may bring, and MaxReviewed the most groups where an
// officer reviews them and E6 compares each with the history.
const (
	MaxCells    = 200_000
	MaxReviewed = guard.MostAudited
)

// Filter checks evidence and makes results. It holds the key of the noise, which no workspace ever sees.
type Filter struct {
	queue  *Queue
	ledger *ledger

	comparisons *comparisons

	answers noised.Answers // of the noised modes
	random  io.Reader
}

// New makes a filter. key is the secret of the sticky noise and of the ledger, at least 32 bytes: whoever has it can
// take the noise off again. It must stay the same for as long as the data do, or the noise can be averaged out and
// the ledger cannot be read.
func New(key []byte, queue *Queue) (*Filter, error) {
	if len(key) < 32 {
		return nil, fmt.Errorf("the noise key has %d bytes, and needs 32", len(key))
	}
	ledger, err := newLedger(queue.db, key)
	if err != nil {
		return nil, err
	}
	comparisons, err := newComparisons(queue.db, key)
	if err != nil {
		return nil, err
	}
	kept, err := answers.Open(context.Background(), queue.db, key)
	if err != nil {
		return nil, err
	}
	return &Filter{queue: queue, ledger: ledger, comparisons: comparisons, answers: kept, random: rand.Reader}, nil
}

// Assessment is the judging of one job.
type Assessment struct {
	filter   *Filter
	program  *guard.Program
	rules    policy.Rules
	mode     policy.Mode
	review   bool
	operator string
	job      string
	released []sandbox.Named
	public   map[string]publicParts // by release
	checks   []Check
	withheld bool
	cells    int
}

// Check says for one guarded aggregation how its cells fared, for the officer. An analyst never sees it.
type Check struct {
	Release  string         `json:"release"`
	Cells    int            `json:"cells"`
	Withheld map[string]int `json:"withheld"`           // by check, E1 to E7; for E1 only whether there were any
	Together []string       `json:"together,omitempty"` // jobs together with whose cells E6 found too little
	UsedUp   bool           `json:"used_up,omitempty"`  // E6 withheld a cell because it could not decide on it
}

// Begin starts to judge a program's cells under what policy decided. Exact values always wait for an officer,
// whatever else is said.
func (f *Filter) Begin(job string, p *guard.Program, d policy.Decision) (*Assessment, error) {
	a := &Assessment{
		filter: f, program: p, rules: d.Rules, mode: d.Mode, review: d.Review || d.Mode == policy.Exact,
		operator: d.Grant.Operator, job: job,
	}
	switch d.Mode {
	case policy.Exact, policy.Perturbed, policy.Private:
		return a, nil
	}
	return nil, fmt.Errorf("no way to release in mode %q", d.Mode)
}

// Tables gives the released tables of the given names, for a query that reads them.
func (a *Assessment) Tables(names []string) []sandbox.Named {
	var out []sandbox.Named
	for _, name := range names {
		for _, t := range a.released {
			if t.Name == name {
				out = append(out, t)
			}
		}
	}
	return out
}

// Admit judges the cells of one guarded aggregation. What passes becomes a released table.
func (a *Assessment) Admit(ctx context.Context, r guard.Release, cells sandbox.Table) error {
	if len(cells.Rows)*max(1, len(r.Cells)) > MaxCells {
		return problem.New("export.too-many-cells", "limit", strconv.Itoa(MaxCells))
	}
	if a.mode == policy.Exact && len(cells.Rows) > MaxReviewed {
		return problem.New("export.too-many-cells", "limit", strconv.Itoa(MaxReviewed))
	}
	if a.mode != policy.Exact || r.Noised != nil {
		return problem.New("export.evidence").Because(errors.New("figures of a noised mode are no cells"))
	}
	cells = inOrder(r, r.Same.In(cells))
	j := a.judging(r, cells)
	if err := j.complete(); err != nil {
		return problem.New("export.evidence").Because(err)
	}
	out := sandbox.Named{Name: r.Name, Table: a.tableOf(r)}
	judge := func() (err error) {
		out.Table.Rows, err = j.every(cells)
		var denied *problem.Problem
		if err != nil && !errors.As(err, &denied) {
			return problem.New("export.evidence").Because(err)
		}
		return err
	}
	if err := a.remembering(ctx, j, judge); err != nil {
		return err
	}
	if len(cells.Rows) == 0 { // no cell at all is no answer either: that nobody is in a group would be known from it
		j.leftOut()
	}
	a.released = append(a.released, out)
	a.checks = append(a.checks, j.check)
	return nil
}

// remembering judges beside what the operator was told before: of cells in exact mode, and of public parts.
func (a *Assessment) remembering(ctx context.Context, j *judging, judge func() error) error {
	if a.mode == policy.Exact {
		cells := judge
		judge = func() error {
			return a.filter.ledger.remember(ctx, a.operator, j.histories(), a.rules.K, func(known map[string]*history) error {
				j.known = known
				return cells()
			})
		}
	}
	if j.release.Public == "" {
		return judge()
	}
	if a.public[j.release.Name] == nil {
		return problem.New("export.evidence").Because(errors.New("the public part is missing"))
	}
	return a.filter.comparisons.remember(ctx, a.operator, j.release.Keys, a.rules.K, func(asked map[string]*comparison) error {
		j.asked = asked
		return judge()
	})
}

// judging is the judging of one aggregation's cells.
type judging struct {
	*Assessment
	release guard.Release
	index   map[string]int
	check   Check
	known   map[string]*history    // by domain; exact mode only
	ahead   map[printKey]print     // fingerprints of the rows that come next
	asked   map[string]*comparison // by domain; where something in the question is secret
	current []any
	bounds  bool // the current row's evidence are bounds
}

// every judges all groups. What it gives holds the groups that are shown, in the order in which they came.
func (j *judging) every(cells sandbox.Table) ([][]any, error) {
	for _, row := range cells.Rows {
		if len(row) != len(cells.Columns) {
			return nil, fmt.Errorf("a row has %d values for %d columns", len(row), len(cells.Columns))
		}
	}
	if err := j.auditable(cells.Rows); err != nil {
		return nil, err
	}
	order, err := j.largestFirst(cells.Rows)
	if err != nil {
		return nil, err
	}
	judged := make([][]any, len(cells.Rows))
	defer j.expect(nil, nil)
	for some := range slices.Chunk(order, span.LookAhead) {
		j.expect(cells.Rows, some)
		for _, i := range some {
			if judged[i], err = j.row(cells.Rows[i]); err != nil {
				return nil, err
			}
		}
	}
	return slices.DeleteFunc(judged, func(row []any) bool { return row == nil }), nil
}

// row judges one group. nil means that the whole group is withheld.
func (j *judging) row(row []any) ([]any, error) {
	j.current = row
	j.bounds = j.value(settledRow) == true
	some, ok := j.value("w").(bool)
	if !ok {
		return nil, fmt.Errorf("column w is missing")
	}
	if some {
		j.leftOut()
	}
	if err := j.proven(); err != nil {
		return nil, err
	}
	for k := range j.release.Keys {
		n, err := j.number("n", k)
		if err != nil {
			return nil, err
		}
		if !j.enough(n) {
			j.leftOut()
			return nil, j.smallGroup()
		}
	}
	out := make([]any, len(j.release.Groups)+len(j.release.Cells))
	bounds := make([]any, 0, len(j.release.Cells))
	for i, g := range j.release.Groups {
		if g.Sensitive {
			values, err := j.number("e", i)
			if err != nil {
				return nil, err
			}
			if values < 2 {
				j.withhold("E4")
				return nil, nil
			}
		}
		out[i] = j.value("g" + strconv.Itoa(i))
	}
	if all, err := j.everybody(); err != nil || all {
		j.withhold("E4")
		return nil, err
	}
	if isolates, err := j.publicIsolates(-1); err != nil || isolates {
		j.withhold("E6")
		return nil, err
	}
	for i, c := range j.release.Cells {
		v, bound, err := j.cell(i, c)
		if err != nil {
			return nil, err
		}
		out[len(j.release.Groups)+i], bounds = v, append(bounds, bound)
	}
	if j.mode != policy.Exact {
		out = append(out, bounds...)
	}
	if len(out) == 0 {
		out = []any{true}
	}
	shown := max(1, len(j.release.Cells)) // a group that is shown without a figure says something too
	j.check.Cells += shown
	j.cells += shown
	return out, nil
}

// proven reports whether the joined sides did not multiply protected rows.
func (j *judging) proven() error {
	for i := range j.release.Proofs {
		if alike, ok := j.value("p" + strconv.Itoa(i)).(bool); !ok || !alike {
			return problem.New("export.fan-out")
		}
	}
	return nil
}

// tableOf is the released table of a guarded aggregation, without rows: groups, cells, and their error bounds where there is noise.
func (a *Assessment) tableOf(r guard.Release) sandbox.Table {
	t := sandbox.Table{Rows: [][]any{}}
	for i, g := range r.Groups {
		t.Columns = append(t.Columns, sandbox.Column{Name: "c" + strconv.Itoa(i), Type: g.Type})
	}
	for i, c := range r.Cells {
		t.Columns = append(t.Columns, sandbox.Column{Name: "c" + strconv.Itoa(len(r.Groups)+i), Type: c.Type})
	}
	if len(t.Columns) == 0 { // that somebody is there at all, as the coarsest grouping of a cube without figures says
		t.Columns = []sandbox.Column{{Name: "there", Type: "BOOLEAN"}}
	}
	if a.mode != policy.Exact {
		for i := range r.Cells {
			t.Columns = append(t.Columns, sandbox.Column{Name: "m" + strconv.Itoa(i), Type: "DOUBLE"})
		}
	}
	return t
}

// cell judges one value, and gives it with its error bound. nil, which is SQL's NULL, means that it is withheld.
func (j *judging) cell(i int, c guard.Cell) (shown, bound any, err error) {
	failed, err := j.failedCheck(i, c)
	if err != nil {
		return nil, nil, err
	}
	if failed != "" {
		j.withhold(failed)
		return nil, nil, j.smallCell(c, failed)
	}
	v := j.value("v" + strconv.Itoa(i))
	if v == nil {
		j.withhold("E2")
		return nil, nil, nil
	}
	if isolates, err := j.publicIsolates(i); err != nil || isolates {
		j.withhold("E6")
		return nil, nil, err
	}
	if failed, err = j.combines(i, c); err != nil {
		return nil, nil, err
	}
	if failed != "" {
		j.withhold(failed)
		return nil, nil, nil
	}
	return v, nil, nil
}

// judging prepares to judge the cells of a release.
func (a *Assessment) judging(r guard.Release, cells sandbox.Table) *judging {
	j := &judging{Assessment: a, release: r, index: map[string]int{}, check: Check{Release: r.Name, Withheld: map[string]int{}}}
	for i, c := range cells.Columns {
		j.index[c.Name] = i
	}
	return j
}
