package gateway

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"weir/internal/problem"
)

//go:embed migrations
var migrations embed.FS

// jobRow is a row of gateway_jobs.
type jobRow struct {
	bun.BaseModel `bun:"table:gateway_jobs,alias:j"`

	ID       string   `bun:"id,pk"`
	Owner    string   `bun:"owner"`
	Operator string   `bun:"operator"`
	Grant    string   `bun:"grant_id"`
	State    JobState `bun:"state"`
	Problem  string   `bun:"problem"`
	Key      string   `bun:"idempotency_key"`
	MAC      string   `bun:"request_mac"`
	Node     string   `bun:"node"`
	Lease    int64    `bun:"lease_until"`
	Created  int64    `bun:"created_at"`
	Started  int64    `bun:"started_at"`
	Ended    int64    `bun:"ended_at"`
	Events   int      `bun:"events"`
	Progress int      `bun:"progress"`
}

// eventRow is a row of gateway_job_events: a change of state. The first has number 1.
type eventRow struct {
	bun.BaseModel `bun:"table:gateway_job_events,alias:e"`

	Job    string   `bun:"job,pk"`
	Number int      `bun:"number,pk"`
	State  JobState `bun:"state"`
	At     int64    `bun:"at"`
}

// textRow is a row of gateway_job_texts: what a job that waits will ask.
type textRow struct {
	bun.BaseModel `bun:"table:gateway_job_texts,alias:t"`

	Job    string `bun:"job,pk"`
	Sealed []byte `bun:"sealed"`
}

func (r jobRow) job() (Job, error) {
	job := Job{
		ID: r.ID, Owner: r.Owner, Operator: r.Operator, Grant: r.Grant, State: r.State,
		Created: moment(r.Created), Started: moment(r.Started), Ended: moment(r.Ended),
	}
	if r.State == JobRunning {
		job.Progress = r.Progress
	}
	if r.Problem != "" {
		job.Problem = new(JobProblem)
		if err := json.Unmarshal([]byte(r.Problem), job.Problem); err != nil {
			return Job{}, fmt.Errorf("problem of job %s: %w", r.ID, err)
		}
	}
	return job, nil
}

func moment(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// submitted finds the job that a key was used for, nil if for none.
func (j *Jobs) submitted(ctx context.Context, owner, key, mac string) (*Job, error) {
	var row jobRow
	err := j.DB.NewSelect().Model(&row).Where("owner = ?", owner).Where("idempotency_key = ?", key).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up idempotency key: %w", err)
	}
	if row.MAC != mac {
		return nil, problem.New("gateway.key-reused")
	}
	job, err := row.job()
	return &job, err
}

// Find reads a job, for callers that have asked the rules or are about to.
func (j *Jobs) Find(ctx context.Context, id string) (Job, error) {
	var row jobRow
	err := j.DB.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, problem.New("gateway.job-unknown")
	}
	if err != nil {
		return Job{}, fmt.Errorf("read job: %w", err)
	}
	return row.job()
}

func (j *Jobs) list(ctx context.Context, owner, before string, limit int) ([]Job, error) {
	var rows []jobRow
	query := j.DB.NewSelect().Model(&rows).Where("owner = ?", owner).Order("id DESC").Limit(int64(limit))
	if before != "" {
		query.Where("id < ?", before)
	}
	if err := query.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	jobs := make([]Job, len(rows))
	for i, row := range rows {
		job, err := row.job()
		if err != nil {
			return nil, err
		}
		jobs[i] = job
	}
	return jobs, nil
}

// events lists the changes of state after the one with a number.
func (j *Jobs) events(ctx context.Context, id string, after int) ([]eventRow, error) {
	var rows []eventRow
	err := j.DB.NewSelect().Model(&rows).Where("job = ?", id).Where("number > ?", after).Order("number").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the events of a job: %w", err)
	}
	return rows, nil
}

// column is one that jobs are picked by, and its value.
type column struct{ name, value string }

// turn runs a transaction that changes jobs. On Postgres they take turns by a lock on the row that stands for the
// platform, as SQLite's do anyway: limits and fairness are then decided on what is, no two wait for each other, and
// a node that falls silent in the middle is thrown out by the database.
func (j *Jobs) turn(ctx context.Context, change func(ctx context.Context, tx bun.Tx) error) error {
	return j.DB.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if tx.Dialect().Name() == dialect.PG {
			if _, err := tx.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = '5s'"); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "SELECT FROM gateway_operators WHERE operator = '' FOR UPDATE"); err != nil {
				return err
			}
		}
		return change(ctx, tx)
	})
}

// move changes the state of the jobs that which picks, writes the change among their events, and gives them as they
// are now. Where nothing of a job is left to begin, its text goes. It is the only way in which a state changes.
func (j *Jobs) move(ctx context.Context, tx bun.Tx, to JobState, why *problem.Problem, which func(*bun.UpdateQuery)) ([]jobRow, error) {
	now := j.options.Clock().UnixMicro()
	text, err := encodeProblem(why)
	if err != nil {
		return nil, err
	}
	update := tx.NewUpdate().Model((*jobRow)(nil)).Set("state = ?", to).Set("problem = ?", text).Set("events = events + 1").Returning("*")
	if to == JobRunning {
		update.Set("started_at = ?", now).Set("node = ?", j.node).Set("lease_until = ?", j.lease())
	} else {
		update.Set("ended_at = ?", now)
	}
	which(update)
	var rows []jobRow
	if _, err := update.Exec(ctx, &rows); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, nil
	}
	events := make([]eventRow, len(rows))
	ids := make([]string, len(rows))
	for i, row := range rows {
		events[i] = eventRow{Job: row.ID, Number: row.Events, State: to, At: now}
		ids[i] = row.ID
	}
	if _, err := tx.NewInsert().Model(&events).Exec(ctx); err != nil {
		return nil, err
	}
	if to != JobRunning { // of one that begins, whoever begins it has yet to read it
		if _, err := tx.NewDelete().Model((*textRow)(nil)).Where("job IN (?)", bun.List(ids)).Exec(ctx); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// decide moves a job on that waited for an officer.
func (j *Jobs) decide(ctx context.Context, id string, to JobState, why *problem.Problem) (moved bool, err error) {
	err = j.turn(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows, err := j.move(ctx, tx, to, why, func(q *bun.UpdateQuery) { q.Where("id = ?", id).Where("state = ?", JobWaiting) })
		if moved = len(rows) > 0; err != nil || !moved {
			return err
		}
		return tell(ctx, tx, newsOf(id))
	})
	if err != nil {
		return false, fmt.Errorf("move job %s to %s: %w", id, to, err)
	}
	if moved {
		j.bells.ring(id)
	}
	return moved, nil
}

func encodeProblem(p *problem.Problem) (string, error) {
	if p == nil {
		return "", nil
	}
	encoded, err := json.Marshal(remember(p))
	if err != nil {
		return "", fmt.Errorf("write the problem of a job: %w", err)
	}
	return string(encoded), nil
}

// lease is until when this process promises to be heard of again, in microseconds since 1970.
func (j *Jobs) lease() int64 { return j.options.Clock().Add(j.options.Lease).UnixMicro() }
