package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"

	"weir/audit"
	"weir/export"
	"weir/internal/problem"
)

// lastWord bounds how long a job that ended may take to be written down.
const lastWord = 15 * time.Second

// reserve finds a place in the queue, or refuses.
func (j *Jobs) reserve(t *task) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mine) >= j.options.Queue+j.options.Workers {
		return problem.New("gateway.queue-full")
	}
	own := 0
	for _, other := range j.mine {
		if other.job.Owner == t.job.Owner {
			own++
		}
	}
	if own >= j.options.PerAccount {
		return problem.New("gateway.too-many-jobs", "limit", fmt.Sprint(j.options.PerAccount))
	}
	j.mine[t.job.ID] = t
	return nil
}

func (j *Jobs) release(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.mine, id)
}

// work runs one job after the other until the platform stops.
func (j *Jobs) work() {
	for t := range j.tasks {
		j.run(t)
		j.release(t.job.ID)
	}
}

// run takes one job to its end. Whatever happens, it does not stay running: if its end cannot be written, its
// lease runs out, and nothing of it is shown before.
func (j *Jobs) run(t task) {
	cancelable, cancel := context.WithCancelCause(j.base)
	defer cancel(nil)
	ctx, late := context.WithTimeout(cancelable, j.options.Timeout)
	defer late()
	j.attach(t.job.ID, cancel)
	log := j.options.Log.With(zap.String("job", t.job.ID))

	started, err := j.move(ctx, t.job.ID, JobRunning, nil, JobQueued)
	var released export.Released
	if err == nil && started {
		released, err = j.call(ctx, t)
	}
	if err == nil && !started || errors.Is(context.Cause(cancelable), errCancelled) {
		return // whoever cancelled it has written its end
	}
	state, why := judge(released, err)
	if why != nil && context.Cause(j.base) != nil {
		state, why = JobFailed, problem.New("gateway.job-interrupted").Because(why)
	}
	if state == JobFailed {
		log.Error("job failed", zap.String("code", why.Code), zap.NamedError("cause", errors.Unwrap(why)))
	}
	final, done := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer done()
	if _, err := j.move(final, t.job.ID, state, remember(why), JobQueued, JobRunning); err != nil {
		log.Error("the end of a job could not be written", zap.Error(err))
	}
}

// call runs the flow and turns a panic into an error, so that one query cannot take the others with it.
func (j *Jobs) call(ctx context.Context, t task) (released export.Released, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			released = export.Released{}
			err = fmt.Errorf("panic of type %T in the flow\n%s", failure, debug.Stack())
		}
	}()
	return j.runner.Run(ctx, t.who, Request{Job: t.job.ID, Grant: t.job.Grant, SQL: t.sql})
}

// judge names the state in which a job ends.
func judge(released export.Released, err error) (JobState, *problem.Problem) {
	if err != nil {
		return stateOf(export.Denied("", err, 0)), problem.Of(err)
	}
	state := stateOf(released)
	if state != JobReleased && state != JobWaiting {
		return state, problem.New("export.denied")
	}
	return state, nil
}

func (j *Jobs) attach(id string, cancel context.CancelCauseFunc) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if t := j.mine[id]; t != nil {
		t.cancel = cancel
	}
}

// end writes that a job is over and then stops it, if it runs here. In this order nothing of it can be shown even
// if it comes to its end in between.
func (j *Jobs) end(ctx context.Context, id string, state JobState, why *problem.Problem) (bool, error) {
	moved, err := j.move(ctx, id, state, remember(why), JobQueued, JobRunning)
	if moved {
		j.interrupt(id)
	}
	return moved, err
}

func (j *Jobs) interrupt(id string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if t := j.mine[id]; t != nil && t.cancel != nil {
		t.cancel(errCancelled)
	}
}

// renew keeps this process's jobs from being taken for dead, stops those that were ended on another node, and
// buries those of dead processes.
func (j *Jobs) renew() {
	tick := time.NewTicker(j.options.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-j.base.Done():
			return
		case <-tick.C:
		}
		if err := j.beat(j.base); err != nil && j.base.Err() == nil {
			j.options.Log.Error("lease of jobs not renewed", zap.Error(err))
		}
	}
}

// beat is one turn of renew.
func (j *Jobs) beat(ctx context.Context) error {
	ctx, done := context.WithTimeout(ctx, j.options.Lease)
	defer done()
	_, err := j.db.NewUpdate().Model((*jobRow)(nil)).Set("lease_until = ?", j.lease()).
		Where("node = ?", j.node).Where("state IN (?, ?)", JobQueued, JobRunning).Exec(ctx)
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	var alive []string
	err = j.db.NewSelect().Model((*jobRow)(nil)).Column("id").
		Where("node = ?", j.node).Where("state IN (?, ?)", JobQueued, JobRunning).Scan(ctx, &alive)
	if err != nil {
		return fmt.Errorf("read own jobs: %w", err)
	}
	for _, id := range j.runningHere() {
		if !slices.Contains(alive, id) {
			j.interrupt(id)
		}
	}
	return j.bury(ctx, j.options.Clock())
}

func (j *Jobs) runningHere() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []string
	for id, t := range j.mine {
		if t.cancel != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// bury makes the jobs failed whose process is dead: its lease ran out before a moment. That goes on the log first;
// if it cannot, they stay as they are, and nothing of them can be shown.
func (j *Jobs) bury(ctx context.Context, before time.Time) error {
	var rows []jobRow
	err := j.db.NewSelect().Model(&rows).Where("state IN (?, ?)", JobQueued, JobRunning).
		Where("lease_until < ?", before.UnixMicro()).Where("node <> ?", j.node).Order("id").Scan(ctx)
	if err != nil {
		return fmt.Errorf("find jobs of dead processes: %w", err)
	}
	for _, row := range rows {
		event := audit.Event{
			Kind: "job.interrupted", Grant: row.Grant, Job: row.ID, Facts: map[string]string{"state": string(row.State)},
		}
		if _, err := j.record.Append(ctx, event); err != nil {
			return fmt.Errorf("log an interrupted job: %w", err)
		}
		why := remember(problem.New("gateway.job-interrupted"))
		if _, err := j.move(ctx, row.ID, JobFailed, why, JobQueued, JobRunning); err != nil {
			return err
		}
	}
	return nil
}

// stateOf is the state of a job whose flow gave this result.
func stateOf(released export.Released) JobState { return JobState(released.State()) }
