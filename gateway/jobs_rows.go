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
}

// eventRow is a row of gateway_job_events: a change of state. The first has number 1.
type eventRow struct {
	bun.BaseModel `bun:"table:gateway_job_events,alias:e"`

	Job    string   `bun:"job,pk"`
	Number int      `bun:"number,pk"`
	State  JobState `bun:"state"`
	At     int64    `bun:"at"`
}

func (r jobRow) job() (Job, error) {
	job := Job{
		ID: r.ID, Owner: r.Owner, Operator: r.Operator, Grant: r.Grant, State: r.State,
		Created: moment(r.Created), Started: moment(r.Started), Ended: moment(r.Ended),
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

// insert writes a new job. fresh is false when its owner has used the key before.
func (j *Jobs) insert(ctx context.Context, job Job, key, mac string) (fresh bool, err error) {
	row := jobRow{
		ID: job.ID, Owner: job.Owner, Operator: job.Operator, Grant: job.Grant, State: job.State, Key: key, MAC: mac,
		Node: j.node, Lease: j.lease(), Created: job.Created.UnixMicro(), Events: 1,
	}
	err = j.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.NewInsert().Model(&row).On("CONFLICT (owner, idempotency_key) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		if err != nil || rows == 0 {
			return err
		}
		fresh = true
		_, err = tx.NewInsert().Model(&eventRow{Job: row.ID, Number: 1, State: row.State, At: row.Created}).Exec(ctx)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("write job: %w", err)
	}
	return fresh, nil
}

// submitted finds the job that a key was used for, nil if for none.
func (j *Jobs) submitted(ctx context.Context, owner, key, mac string) (*Job, error) {
	var row jobRow
	err := j.db.NewSelect().Model(&row).Where("owner = ?", owner).Where("idempotency_key = ?", key).Scan(ctx)
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
	err := j.db.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
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
	query := j.db.NewSelect().Model(&rows).Where("owner = ?", owner).Order("id DESC").Limit(int64(limit))
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

// alive lists the queued and running jobs of a grant, on whatever node.
func (j *Jobs) alive(ctx context.Context, grant string) (ids []string, err error) {
	// The queued ones first: a worker that a stopped job sets free would otherwise take one of them up.
	err = j.db.NewSelect().Model((*jobRow)(nil)).Column("id").Where("grant_id = ?", grant).
		Where("state IN (?, ?)", JobQueued, JobRunning).Order("state", "id").Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("list the jobs of a grant: %w", err)
	}
	return ids, nil
}

// events lists the changes of state after the one with a number.
func (j *Jobs) events(ctx context.Context, id string, after int) ([]eventRow, error) {
	var rows []eventRow
	err := j.db.NewSelect().Model(&rows).Where("job = ?", id).Where("number > ?", after).Order("number").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the events of a job: %w", err)
	}
	return rows, nil
}

// move is the only way in which a job changes its state: from one of the states that are named, or not at all.
func (j *Jobs) move(ctx context.Context, id string, to JobState, why *JobProblem, from ...JobState) (moved bool, err error) {
	now := j.options.Clock().UnixMicro()
	text := ""
	if why != nil {
		encoded, err := json.Marshal(why)
		if err != nil {
			return false, fmt.Errorf("write the problem of a job: %w", err)
		}
		text = string(encoded)
	}
	err = j.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var event eventRow
		update := tx.NewUpdate().Model((*jobRow)(nil)).Set("state = ?", to).Set("problem = ?", text).
			Set("events = events + 1").Where("id = ?", id).Where("state IN (?)", bun.List(from)).Returning("events")
		if to == JobRunning {
			update.Set("started_at = ?", now)
		} else {
			update.Set("ended_at = ?", now)
		}
		if _, err := update.Exec(ctx, &event.Number); err != nil {
			return err
		}
		if event.Number == 0 {
			return nil
		}
		moved, event.Job, event.State, event.At = true, id, to, now
		_, err := tx.NewInsert().Model(&event).Exec(ctx)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("move job %s to %s: %w", id, to, err)
	}
	if moved {
		j.bells.ring(id)
	}
	return moved, nil
}

// lease is until when this process promises to be heard of again, in microseconds since 1970.
func (j *Jobs) lease() int64 { return j.options.Clock().Add(j.options.Lease).UnixMicro() }
