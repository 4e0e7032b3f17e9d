package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/export"
	"weir/internal/problem"
)

const (
	progressEvery = time.Second // not oftener is progress told
	purgeEvery    = time.Hour
	purgeAtOnce   = 500 // jobs in one transaction
)

// watch makes sure of what other calls only make quick: that nothing runs or waits under a grant or for an account
// that was closed, that what was stopped on another node is stopped here, that this process's jobs are not taken
// for dead, and that those of dead processes end. It needs nobody to have said anything: a grant that expires, or
// a node that died between closing a grant and stopping its jobs, is found in the store.
func (j *Jobs) watch() {
	var duties []*duty
	add := func(about string, every time.Duration, do func(context.Context) error) {
		duties = append(duties, &duty{every, do, time.Now().Add(every), complaint{log: j.options.Log, about: about}})
	}
	add("closed grants and accounts are not being looked for", j.options.Watch, j.closeLapsed)
	add("jobs stopped elsewhere are not being looked for", j.options.Watch, j.interruptEnded)
	add("lease of jobs not renewed", j.options.Lease/3, j.beat)
	add("progress of jobs not written", progressEvery, j.writeProgress)
	add("old jobs are not being purged", purgeEvery, j.Purge)
	tick := time.NewTicker(min(j.options.Watch, j.options.Lease/3))
	defer tick.Stop()
	for {
		select {
		case <-j.base.Done():
			return
		case now := <-tick.C:
			for _, d := range duties {
				d.turn(j.base, now, j.options.Lease)
			}
		}
	}
}

// duty is something that has to be done again and again.
type duty struct {
	every time.Duration
	do    func(context.Context) error
	due   time.Time
	complaint
}

func (d *duty) turn(ctx context.Context, now time.Time, most time.Duration) {
	if now.Before(d.due) {
		return
	}
	d.due = now.Add(d.every)
	ctx, done := context.WithTimeout(ctx, most)
	defer done()
	d.hear(d.do(ctx))
}

// closeLapsed stops the jobs of grants that authorise nothing any more, and of accounts that were disabled.
func (j *Jobs) closeLapsed(ctx context.Context) error {
	var grants, owners []string
	for name, into := range map[string]*[]string{"grant_id": &grants, "owner": &owners} {
		err := j.DB.NewSelect().Model((*jobRow)(nil)).ColumnExpr("DISTINCT ?", bun.Ident(name)).
			Where("state IN ('queued', 'running')").Scan(ctx, into)
		if err != nil {
			return fmt.Errorf("list what has jobs: %w", err)
		}
	}
	if len(grants) == 0 {
		return nil
	}
	lapsed, err := j.Grants.Lapsed(ctx, grants)
	barred, err2 := j.People.Barred(ctx, owners)
	failures := []error{err, err2}
	for _, grant := range lapsed {
		failures = append(failures, j.revoke(ctx, column{"grant_id", grant}, "gateway.grant-closed"))
	}
	for _, account := range barred {
		failures = append(failures, j.revoke(ctx, column{"owner", account}, "gateway.account-closed"))
	}
	return errors.Join(failures...)
}

// interruptEnded stops what runs here although the table says that it is over.
func (j *Jobs) interruptEnded(ctx context.Context) error {
	_, ids := j.tasks()
	if len(ids) == 0 {
		return nil
	}
	var ended []string
	err := j.DB.NewSelect().Model((*jobRow)(nil)).Column("id").Where("id IN (?)", bun.List(ids)).
		Where("state <> 'running' OR node <> ?", j.node).Scan(ctx, &ended)
	if err != nil {
		return fmt.Errorf("read own jobs: %w", err)
	}
	j.interrupt(func(job Job) bool { return slices.Contains(ended, job.ID) }, &halted{JobCancelled, "gateway.job-cancelled"})
	return nil
}

// beat renews the lease of what runs here, and buries the jobs of dead processes. A job that was begun here but whose
// beginning was not heard of, because the database failed while it committed, is not renewed, and ends like those.
func (j *Jobs) beat(ctx context.Context) error {
	if _, ids := j.tasks(); len(ids) > 0 {
		_, err := j.DB.NewUpdate().Model((*jobRow)(nil)).Set("lease_until = ?", j.lease()).
			Where("node = ?", j.node).Where("state = 'running'").Where("id IN (?)", bun.List(ids)).Exec(ctx)
		if err != nil {
			j.outlive()
			return fmt.Errorf("renew lease: %w", err)
		}
	}
	j.mu.Lock()
	j.renewed = time.Now()
	j.mu.Unlock()
	return j.bury(ctx, j.options.Clock())
}

// outlive stops what runs here when its lease has run out: another node may have declared it dead.
func (j *Jobs) outlive() {
	j.mu.Lock()
	late := time.Since(j.renewed) >= j.options.Lease
	j.mu.Unlock()
	if late {
		j.interrupt(func(Job) bool { return true }, outlived)
	}
}

// writeProgress tells the table how far the jobs of this process are.
func (j *Jobs) writeProgress(ctx context.Context) error {
	list, _ := j.tasks()
	for _, t := range list {
		percent := t.meter.news()
		if percent == 0 {
			continue
		}
		_, err := j.DB.NewUpdate().Model((*jobRow)(nil)).Set("progress = ?", percent).
			Where("id = ?", t.job.ID).Where("state = 'running'").Where("node = ?", j.node).Exec(ctx)
		if err = errors.Join(err, tell(ctx, j.DB, newsOf(t.job.ID))); err != nil {
			return fmt.Errorf("write progress: %w", err)
		}
		j.bells.ring(t.job.ID)
	}
	return nil
}

// bury ends the jobs whose process is dead: its lease ran out before a moment. Each ends as what it had become when
// the process died. That goes on the log first; if it cannot, they stay as they are, and nothing of them can be shown.
func (j *Jobs) bury(ctx context.Context, before time.Time) error {
	dead := func(q bun.QueryBuilder) bun.QueryBuilder {
		return q.Where("state = 'running'").Where("lease_until < ?", before.UnixMicro())
	}
	_, here := j.tasks()
	var rows []jobRow
	if err := j.DB.NewSelect().Model(&rows).ApplyQueryBuilder(dead).Order("id").Scan(ctx); err != nil {
		return fmt.Errorf("find jobs of dead processes: %w", err)
	}
	for _, row := range rows {
		if slices.Contains(here, row.ID) {
			continue
		}
		job, err := row.job()
		if err != nil {
			return err
		}
		state, why, err := j.became(ctx, job)
		if err != nil {
			return fmt.Errorf("find out what became of job %s: %w", job.ID, err)
		}
		event := audit.Event{Kind: "job.interrupted", Grant: grantFact(ctx, j.Grants, job.Grant), Job: audit.Registered(job.ID),
			Facts: audit.Facts{"state": audit.OneOf(state, JobReleased, JobWaiting, JobDenied, JobFailed)}}
		if _, err := j.Record.Append(ctx, event); err != nil {
			return fmt.Errorf("log an interrupted job: %w", err)
		}
		err = j.turn(ctx, func(ctx context.Context, tx bun.Tx) error {
			ended, err := j.move(ctx, tx, state, why, func(q *bun.UpdateQuery) { q.Where("id = ?", job.ID).ApplyQueryBuilder(dead) })
			if err != nil || len(ended) == 0 {
				return err
			}
			if err := j.charge(ctx, tx, job, state, figures{}); err != nil { // what it took, nobody knows
				return err
			}
			return tell(ctx, tx, newsOf(job.ID))
		})
		if err != nil {
			return fmt.Errorf("end an interrupted job: %w", err)
		}
		j.bells.ring(job.ID)
	}
	return nil
}

// became finds out how far a job came whose process died. What stands in the release queue was on the log before, and
// is its result; a refusal on the log is one, though the words for it are gone. Anything else came to nothing.
func (j *Jobs) became(ctx context.Context, job Job) (JobState, *problem.Problem, error) {
	result, err := j.Results.Result(ctx, job.ID)
	if err == nil {
		switch state := stateOf(result); state {
		case JobReleased, JobWaiting:
			return state, nil, nil
		default:
			return JobDenied, problem.New("export.refused"), nil
		}
	}
	if problem.Of(err).Code != "export.no-such-release" {
		return "", nil, err
	}
	refusals, err := j.Log.Search(ctx, audit.Filter{Job: job.ID, Kind: "job.refused", Limit: 1})
	if err != nil {
		return "", nil, err
	}
	_, known := problem.Codes()
	for _, r := range refusals {
		code := r.Facts["code"]
		if _, ok := known[code]; ok && stateOf(export.Denied("", problem.New(code), 0)) == JobDenied {
			return JobDenied, problem.New("gateway.refused-unheard", "code", code), nil
		}
	}
	return JobFailed, problem.New("gateway.job-interrupted"), nil
}

// Purge forgets jobs that ended before the retention, and first their results, so that a purge that is cut off leaves no
// result without a job. What they took stays, and so does the log.
func (j *Jobs) Purge(ctx context.Context) error {
	before := j.options.Clock().Add(-j.options.Retention).UnixMicro()
	for {
		var old []string
		err := j.DB.NewSelect().Model((*jobRow)(nil)).Column("id").Where("ended_at < ?", before).
			Where("state IN ('released', 'denied', 'failed', 'cancelled')").Order("ended_at").Limit(purgeAtOnce).Scan(ctx, &old)
		if err != nil || len(old) == 0 {
			return err
		}
		if err := j.Results.Forget(ctx, old); err != nil {
			return fmt.Errorf("purge jobs: %w", err)
		}
		err = j.turn(ctx, func(ctx context.Context, tx bun.Tx) error {
			if _, err := tx.NewDelete().Model((*eventRow)(nil)).Where("job IN (?)", bun.List(old)).Exec(ctx); err != nil {
				return err
			}
			_, err := tx.NewDelete().Model((*jobRow)(nil)).Where("id IN (?)", bun.List(old)).Exec(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("purge jobs: %w", err)
		}
	}
}
