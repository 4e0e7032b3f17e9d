package gateway

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/zap"

	"weir/audit"
	"weir/export"
	"weir/internal/problem"
	"weir/sandbox"
)

// lastWord bounds how long a job that ended may take to be written down.
const lastWord = 15 * time.Second

// task is a job that has begun, with what is never written down.
type task struct {
	job    Job
	sql    string
	lost   error // why there is no text
	meter  meter
	cancel context.CancelCauseFunc
	gone   chan struct{} // closed when nothing of it runs any more
}

// halted is why a job's context ended: what becomes of the job, and what is said of it.
type halted struct {
	state JobState
	code  string
}

func (h *halted) Error() string { return "the job was stopped: " + h.code }

// haltedBy is what becomes of a job that is stopped from outside. Under what was closed it is denied, as it would be
// if it were asked now: whether the rules or whoever stops it come first makes no difference.
func haltedBy(code string) *halted {
	if code == "gateway.job-cancelled" {
		return &halted{JobCancelled, code}
	}
	return &halted{JobDenied, code}
}

// Why this process stops jobs of its own.
var (
	stopping = &halted{JobFailed, "gateway.job-interrupted"} // the platform is
	outlived = &halted{JobFailed, "gateway.job-interrupted"} // its lease
)

// dispatch begins one job after the other, as places become free, until no more are begun.
func (j *Jobs) dispatch() {
	places := make(chan struct{}, j.options.Workers)
	for {
		select {
		case places <- struct{}{}:
		case <-j.closing:
			return
		}
		t := j.await()
		if t == nil {
			return
		}
		j.running.Go(func() {
			defer func() { <-places; j.ring() }() // which may make room for the operator's next
			j.run(t)
		})
	}
}

// await gives the next job to run, nil when no more are begun.
func (j *Jobs) await() *task {
	poll := time.NewTicker(j.options.Watch)
	defer poll.Stop()
	complaint := complaint{log: j.options.Log, about: "no job can be begun"}
	for !j.isClosing() {
		t, err := j.claim(j.base)
		if t != nil {
			return t
		}
		complaint.hear(err)
		select {
		case <-j.wake:
		case <-poll.C: // another node may have queued a job, or a day may have begun
		case <-j.closing:
		}
	}
	return nil
}

// ring wakes the dispatcher.
func (j *Jobs) ring() {
	select {
	case j.wake <- struct{}{}:
	default: // it has not yet looked after the last ring
	}
}

// run takes one job to its end. Whatever happens, it does not stay running: if its end cannot be written, its
// lease runs out, and nothing of it is shown before.
func (j *Jobs) run(t *task) {
	cancelable, cancel := context.WithCancelCause(j.base)
	defer cancel(nil)
	ctx, late := context.WithTimeout(cancelable, j.options.Timeout)
	defer late()
	t.cancel = cancel
	j.attach(t)
	defer j.detach(t)

	began := time.Now()
	released, err := j.call(sandbox.WithTrace(t.meter.paced(ctx), t.meter.trace()), t)
	t.meter.hold(cancelable, time.Since(began))
	state, why := judge(released, err)
	if h := (*halted)(nil); errors.As(context.Cause(cancelable), &h) {
		state, why = h.state, problem.New(h.code).Because(err)
	}
	if state == JobFailed {
		j.options.Log.Error("job failed", zap.String("job", t.job.ID), zap.String("code", why.Code), zap.NamedError("cause", errors.Unwrap(why)))
	}
	final, done := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer done()
	if err := j.finish(final, t, state, why); err != nil {
		j.options.Log.Error("the end of a job could not be written", zap.String("job", t.job.ID), zap.Error(err))
	}
}

// call asks who wants this now, and runs the flow. A panic becomes an error, so that one query cannot take the
// others with it.
func (j *Jobs) call(ctx context.Context, t *task) (released export.Released, err error) {
	defer func() {
		if failure := recover(); failure != nil {
			released = export.Released{}
			err = fmt.Errorf("panic of type %T in the flow\n%s", failure, debug.Stack())
		}
	}()
	if t.lost != nil {
		return export.Released{}, j.refused(ctx, t.job, problem.New("gateway.text-lost").Because(t.lost))
	}
	who, err := j.People.Person(ctx, t.job.Owner)
	if err != nil {
		return export.Released{}, j.refused(ctx, t.job, err)
	}
	return j.Runner.Run(ctx, who, Request{Job: t.job.ID, Grant: t.job.Grant, SQL: t.sql})
}

// refused puts on the log that a job did not even reach the flow.
func (j *Jobs) refused(ctx context.Context, job Job, why error) error {
	event := audit.Event{
		Kind: "job.refused", Actor: job.Owner, Grant: grantFact(ctx, j.Grants, job.Grant), Job: audit.Registered(job.ID),
		Facts: audit.Facts{"code": audit.Code(why)},
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	if _, err := j.Record.Append(last, event); err != nil {
		return problem.New("gateway.not-logged").Because(errors.Join(err, why))
	}
	return why
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

// stateOf is the state of a job whose flow gave this result.
func stateOf(released export.Released) JobState { return JobState(released.State()) }

// finish writes the end of a job of this process, with what it took, in one transaction. Where somebody else has
// written an end before, that stands, and only what it took is added.
func (j *Jobs) finish(ctx context.Context, t *task, state JobState, why *problem.Problem) error {
	err := j.turn(ctx, func(ctx context.Context, tx bun.Tx) error {
		rows, err := j.move(ctx, tx, state, why, func(q *bun.UpdateQuery) {
			q.Where("id = ?", t.job.ID).Where("state = ?", JobRunning).Where("node = ?", j.node)
		})
		if err != nil {
			return err
		}
		if err := j.charge(ctx, tx, t.job, state, t.meter.taken()); err != nil || len(rows) == 0 {
			return err
		}
		return tell(ctx, tx, newsOf(t.job.ID))
	})
	j.bells.ring(t.job.ID)
	return err
}

func (j *Jobs) attach(t *task) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.here[t.job.ID] = t
}

func (j *Jobs) detach(t *task) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.here, t.job.ID)
	close(t.gone)
}

// tasks lists what runs here.
func (j *Jobs) tasks() (list []*task, ids []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, t := range j.here {
		list, ids = append(list, t), append(ids, id)
	}
	return list, ids
}

// interrupt stops the jobs of this process that are meant: their processes are killed at once.
func (j *Jobs) interrupt(meant func(Job) bool, why *halted) {
	list, _ := j.tasks()
	for _, t := range list {
		if meant(t.job) {
			t.cancel(why)
		}
	}
}

// complaint keeps a trouble that lasts from filling the operation log: its beginning and its end are told.
type complaint struct {
	log   *zap.Logger
	about string
	heard bool
}

func (c *complaint) hear(err error) {
	if err != nil && !c.heard && !errors.Is(err, context.Canceled) {
		c.log.Error(c.about, zap.Error(err))
	}
	if err == nil && c.heard {
		c.log.Info("over: " + c.about)
	}
	c.heard = err != nil
}
