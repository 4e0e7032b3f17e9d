package export

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
)

//go:embed migrations
var migrations embed.FS

// Queue keeps what was judged: results that left at once, and those that wait for an officer.
type Queue struct {
	db    *bun.DB
	clock func() time.Time
}

// OpenQueue opens the queue in the platform's store. clock is nil for the machine's.
func OpenQueue(ctx context.Context, db *bun.DB, clock func() time.Time) (*Queue, error) {
	if err := store.Migrate(ctx, db, "export", migrations); err != nil {
		return nil, err
	}
	if clock == nil {
		clock = time.Now
	}
	return &Queue{db: db, clock: clock}, nil
}

type row struct {
	bun.BaseModel `bun:"table:export_releases"`

	ID        string    `bun:"id,pk"`
	Grant     string    `bun:"grant_id"`
	Operator  string    `bun:"operator"`
	Subject   string    `bun:"subject"`
	Mode      string    `bun:"mode"`
	State     string    `bun:"state"`
	SQL       string    `bun:"sql"`
	Literals  string    `bun:"literals"`
	Checks    string    `bun:"checks"`
	Cells     int       `bun:"cells"`
	Result    string    `bun:"result"`
	AskedAt   time.Time `bun:"asked_at"`
	DecidedAt time.Time `bun:"decided_at,nullzero"`
	Officer   string    `bun:"officer"`
	Reason    string    `bun:"reason"`
}

// The states of a row in the queue besides those of a result; "refused" is shown to the analyst as a denial.
const (
	refused   = "refused"
	forgotten = "forgotten"
)

// Noised reports whether a result in one of the noised modes was ever kept, whatever became of it.
func (q *Queue) Noised(ctx context.Context) (bool, error) {
	found, err := q.db.NewSelect().Table("export_releases").
		Where("mode IN (?)", bun.List([]policy.Mode{policy.Perturbed, policy.Private})).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for noised results: %w", err)
	}
	return found, nil
}

// Release makes the result of a verdict whose outcome is on the log at the given place: released at once, or
// waiting where an officer decides. It is the only function that makes a Released with a table.
func (f *Filter) Release(ctx context.Context, v *Verdict, at LogIndex) (Released, error) {
	v.table.Log = at
	state := StateReleased
	if v.Review {
		state = StateWaiting
	}
	if err := f.queue.put(ctx, v, state); err != nil {
		return Released{}, err
	}
	return result(v.Job, string(state), v.table), nil
}

// Took notes how long the job took, for the person who reads the result.
func (v *Verdict) Took(d time.Duration) { v.table.TookMS = d.Milliseconds() }

func (q *Queue) put(ctx context.Context, v *Verdict, state State) error {
	table, err := json.Marshal(v.table)
	if err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	checks, err := json.Marshal(v.Checks)
	if err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	literals, err := json.Marshal(v.Literals)
	if err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	r := &row{
		ID: v.Job, Grant: v.Grant, Operator: v.Operator, Subject: v.Subject, Mode: string(v.Mode), State: string(state),
		SQL: v.SQL, Literals: string(literals), Checks: string(checks), Cells: v.Cells, Result: string(table), AskedAt: q.clock().UTC(),
	}
	if _, err := q.db.NewInsert().Model(r).Exec(ctx); err != nil {
		return fmt.Errorf("keep a result: %w", err)
	}
	return nil
}

func result(id, state string, t stored) Released {
	switch state {
	case string(StateReleased):
		return Released{
			id: id, state: StateReleased, names: t.Names, types: t.Types, rows: t.Rows, errors: t.Errors, noisy: t.Noisy, withheld: t.Withheld,
			sources: t.Sources, log: t.Log, took: time.Duration(t.TookMS) * time.Millisecond,
		}
	case string(StateWaiting):
		p := problem.New("export.waiting")
		return Released{id: id, state: StateWaiting, code: p.Code, reason: p, took: time.Duration(t.TookMS) * time.Millisecond}
	case refused:
		return Denied(id, problem.New("export.refused"), 0)
	}
	return Released{}
}

// Result gives a job's result as an analyst may see it now.
func (q *Queue) Result(ctx context.Context, job string) (Released, error) {
	r, err := q.find(ctx, q.db, job)
	if err != nil {
		return Released{}, err
	}
	var t stored
	if err := decodeStored(r.Result, &t); err != nil {
		return Released{}, err
	}
	return result(r.ID, r.State, t), nil
}

// Offer is a result that asks, or asked, to leave, as an officer sees it.
type Offer struct {
	ID       string     `json:"id"`
	Job      string     `json:"job"`
	Grant    string     `json:"grant"`
	Operator string     `json:"operator"`
	Owner    string     `json:"owner"` // who asked
	Mode     string     `json:"mode"`
	State    string     `json:"state"`
	Asked    time.Time  `json:"asked"`
	Decided  *time.Time `json:"decided,omitempty"`
	Officer  string     `json:"officer,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Cells    int        `json:"cells"`

	// What Show adds to Waiting.
	SQL            string   `json:"sql,omitempty"`
	Literals       []string `json:"literals,omitempty"` // text that the analyst wrote and that could carry a message
	Checks         []Check  `json:"checks,omitempty"`
	Columns        []string `json:"columns,omitempty"`
	Types          []string `json:"types,omitempty"`
	Rows           [][]any  `json:"rows,omitempty"`
	Withheld       bool     `json:"withheld"`
	Sources        []string `json:"sources,omitempty"`
	EarlierResults int      `json:"earlier_results"` // of the same operator
	EarlierCells   int      `json:"earlier_cells"`
}

// Waiting lists what waits for an officer, the oldest first, at most 1000 of them, without the tables.
func (q *Queue) Waiting(ctx context.Context) ([]Offer, error) {
	var rows []row
	err := q.db.NewSelect().Model(&rows).ExcludeColumn("result", "sql", "literals", "checks").Where("state = ?", string(StateWaiting)).
		OrderExpr("asked_at, id").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list releases: %w", err)
	}
	list := make([]Offer, len(rows))
	for i := range rows {
		list[i] = rows[i].offer()
	}
	return list, nil
}

// DecidedStates are the states of what an officer decided.
var DecidedStates = []string{string(StateReleased), refused}

// Decided lists what officers decided, the newest decision first, without the tables.
func (q *Queue) Decided(ctx context.Context, states []string, limit int) ([]Offer, error) {
	var rows []row
	err := q.db.NewSelect().Model(&rows).ExcludeColumn("result", "sql", "literals", "checks").Where("state IN (?)", bun.List(states)).
		Where("officer <> ''").OrderExpr("decided_at DESC, id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list decided releases: %w", err)
	}
	list := make([]Offer, len(rows))
	for i := range rows {
		list[i] = rows[i].offer()
	}
	return list, nil
}

// Decision is what an officer said about a job's result, without who said it: it is for the person who asked.
type Decision struct {
	At     time.Time
	Reason string
}

// Decision gives the officer's word on a job's result, nil where no officer spoke.
func (q *Queue) Decision(ctx context.Context, job string) (*Decision, error) {
	var r row
	err := q.db.NewSelect().Model(&r).Column("decided_at", "officer", "reason").Where("id = ?", job).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a decision: %w", err)
	}
	if r.Officer == "" || r.DecidedAt.IsZero() {
		return nil, nil
	}
	return &Decision{At: r.DecidedAt, Reason: r.Reason}, nil
}

func (r row) offer() Offer {
	o := Offer{
		ID: r.ID, Job: r.ID, Grant: r.Grant, Operator: r.Operator, Owner: r.Subject, Mode: r.Mode, State: r.State, Asked: r.AskedAt,
		Officer: r.Officer, Reason: r.Reason, Cells: r.Cells,
	}
	if !r.DecidedAt.IsZero() {
		o.Decided = &r.DecidedAt
	}
	return o
}

// Show gives one offer whole, with its table and with how much its operator has asked before.
func (q *Queue) Show(ctx context.Context, id string) (Offer, error) {
	r, err := q.find(ctx, q.db, id)
	if err != nil {
		return Offer{}, err
	}
	s := r.offer()
	var t stored
	if err := decodeStored(r.Result, &t); err != nil {
		return Offer{}, err
	}
	for _, part := range []struct {
		text string
		into any
	}{{r.Literals, &s.Literals}, {r.Checks, &s.Checks}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return Offer{}, fmt.Errorf("read a release: %w", err)
		}
	}
	s.SQL, s.Columns, s.Types, s.Rows, s.Withheld, s.Sources = r.SQL, t.Names, t.Types, t.Rows, t.Withheld, t.Sources
	var before struct{ Results, Cells int }
	err = q.db.NewSelect().Model((*row)(nil)).ColumnExpr("count(*) AS results, COALESCE(sum(cells), 0) AS cells").
		Where("operator = ? AND asked_at < ?", r.Operator, r.AskedAt).Scan(ctx, &before)
	if err != nil {
		return Offer{}, fmt.Errorf("count earlier releases: %w", err)
	}
	s.EarlierResults, s.EarlierCells = before.Results, before.Cells
	return s, nil
}

// Approve releases a waiting result. Whether the officer may review at all is for policy to say; that nobody
// reviews their own output is said here again.
func (q *Queue) Approve(ctx context.Context, id string, officer policy.Principal, reason string) error {
	return q.decide(ctx, id, officer, reason, string(StateReleased))
}

// Refuse closes a waiting result without releasing it.
func (q *Queue) Refuse(ctx context.Context, id string, officer policy.Principal, reason string) error {
	return q.decide(ctx, id, officer, reason, refused)
}

func (q *Queue) decide(ctx context.Context, id string, officer policy.Principal, reason, state string) error {
	if strings.TrimSpace(reason) == "" {
		return problem.New("export.reason-missing")
	}
	return q.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := q.find(ctx, tx, id)
		if err != nil {
			return err
		}
		if r.State != string(StateWaiting) {
			return problem.New("export.already-decided")
		}
		if !officer.Has(policy.Officer) || officer.Organisation == r.Operator || officer.Subject == r.Subject {
			return problem.New("export.own-output")
		}
		done, err := tx.NewUpdate().Model((*row)(nil)).
			Set("state = ?", state).Set("decided_at = ?", q.clock().UTC()).Set("officer = ?", officer.Subject).Set("reason = ?", reason).
			Where("id = ? AND state = ?", id, string(StateWaiting)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("decide a release: %w", err)
		}
		if n, err := done.RowsAffected(); err != nil || n != 1 {
			return problem.New("export.already-decided").Because(err)
		}
		return nil
	})
}

// Forget takes everything out of results that says something of the data or of people, when their jobs are forgotten:
// the table, the text, what was found in it, who asked and who decided. It is as if they had never been. What is left is
// that so many cells went to an operator at a time, by which an officer weighs the next ones. The log keeps its own.
func (q *Queue) Forget(ctx context.Context, jobs []string) error {
	if len(jobs) == 0 {
		return nil
	}
	_, err := forgetting(q.db).Where("id IN (?)", bun.List(jobs)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("forget results: %w", err)
	}
	return nil
}

// RefuseGrant refuses what waits under a grant that has ended. No officer decided, so none is named. It gives the number
// of results that it refused.
func (q *Queue) RefuseGrant(ctx context.Context, grant string) (int, error) {
	done, err := q.db.NewUpdate().Model((*row)(nil)).Set("state = ?", refused).Set("decided_at = ?", q.clock().UTC()).
		Set("reason = ?", "grant ended").Where("grant_id = ? AND state = ?", grant, string(StateWaiting)).Exec(ctx)
	return affected(done, err, "refuse what waits")
}

// ForgetGrant does what Forget does, with all results of a grant. It gives their number.
func (q *Queue) ForgetGrant(ctx context.Context, grant string) (int, error) {
	done, err := forgetting(q.db).Where("grant_id = ? AND state <> ?", grant, forgotten).Exec(ctx)
	return affected(done, err, "forget results")
}

func affected(done sql.Result, err error, what string) (int, error) {
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	n, err := done.RowsAffected()
	return int(n), err
}

func forgetting(db *bun.DB) *bun.UpdateQuery {
	return db.NewUpdate().Model((*row)(nil)).Set("state = ?", forgotten).
		Set("subject = '', sql = '', literals = '[]', checks = '[]', result = '{}', officer = '', reason = ''")
}

func (q *Queue) find(ctx context.Context, db bun.IDB, id string) (row, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("id = ? AND state <> ?", id, forgotten).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, problem.New("export.no-such-release")
	}
	if err != nil {
		return row{}, fmt.Errorf("read a release: %w", err)
	}
	return r, nil
}

// decodeStored keeps numbers as they were written.
func decodeStored(text string, t *stored) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(t); err != nil {
		return fmt.Errorf("read a result: %w", err)
	}
	return nil
}
