package gateway

import (
	"context"
	"sync"
	"time"

	"weir/policy"
)

// pollOther is how often a job is looked at while nothing is heard of it: it may run on another node.
const pollOther = 2 * time.Second

// Wait returns when nothing of the job runs any more, after a time, or when ctx ends, whichever is first.
func (j *Jobs) Wait(ctx context.Context, id string, most time.Duration) (Job, error) {
	limit := time.NewTimer(most)
	defer limit.Stop()
	rung, leave := j.bells.listen(id)
	defer leave()
	for {
		job, err := j.Find(ctx, id)
		if err != nil || !job.State.Alive() {
			return job, err
		}
		select {
		case <-rung:
		case <-time.After(pollOther):
		case <-limit.C:
			return job, nil
		case <-ctx.Done():
			return Job{}, ctx.Err()
		}
	}
}

// JobEvent is one change of a job's state. Numbers grow by one from 1. One without a number says that a running job has
// come farther; who missed it has missed nothing.
type JobEvent struct {
	Number int
	Job    Job
}

// Follow hands over the changes of a job's state after the one with a number, as they come, until the state is
// final, see fails, or ctx ends. idle is called each time when nothing has happened for a while.
func (j *Jobs) Follow(ctx context.Context, who policy.Principal, id string, after int, quiet time.Duration,
	see func(JobEvent) error, idle func() error,
) error {
	if _, err := j.Get(ctx, who, id); err != nil {
		return err
	}
	rung, leave := j.bells.listen(id)
	defer leave()
	heartbeat := time.NewTicker(quiet)
	defer heartbeat.Stop()
	for progress := 0; ; {
		job, err := j.Get(ctx, who, id) // asks again each time: permission can end while somebody listens
		if err != nil {
			return err
		}
		if err := j.People.Present(ctx, who.Session); err != nil {
			return err
		}
		if err := j.Grants.Usable(ctx, job.Grant); err != nil && !job.State.Final() {
			return err // a job that was stopped says so itself
		}
		rows, err := j.events(ctx, id, after)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := see(JobEvent{row.Number, job.at(row)}); err != nil {
				return err
			}
			after = row.Number
			heartbeat.Reset(quiet)
			if row.State.Final() {
				return nil
			}
		}
		if job.Progress > progress {
			if err := see(JobEvent{0, job}); err != nil {
				return err
			}
			progress = job.Progress
		}
		if job.State.Final() && len(rows) == 0 {
			return nil // the listener has seen everything before
		}
		select {
		case <-rung:
		case <-time.After(pollOther):
		case <-heartbeat.C:
			if err := idle(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// at is the job as it stood after an event.
func (job Job) at(event eventRow) Job {
	then := moment(event.At)
	job.State, job.Progress = event.State, 0
	if job.Started.After(then) {
		job.Started = time.Time{}
	}
	if job.Ended.After(then) || event.State.Alive() {
		job.Ended = time.Time{}
	}
	if !event.State.Final() {
		job.Problem = nil
	}
	return job
}

// bells wake those who wait for news of a job in this process. The zero value is ready.
type bells struct {
	mu        sync.Mutex
	listeners map[string]map[chan struct{}]bool
}

// listen gives a channel that gets a value after each change. leave must be called.
func (b *bells) listen(id string) (rung <-chan struct{}, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[string]map[chan struct{}]bool{}
	}
	if b.listeners[id] == nil {
		b.listeners[id] = map[chan struct{}]bool{}
	}
	c := make(chan struct{}, 1)
	b.listeners[id][c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners[id], c)
		if len(b.listeners[id]) == 0 {
			delete(b.listeners, id)
		}
	}
}

func (b *bells) ring(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wake(b.listeners[id])
}

func (b *bells) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, listeners := range b.listeners {
		wake(listeners)
	}
}

func wake(listeners map[chan struct{}]bool) {
	for c := range listeners {
		select {
		case c <- struct{}{}:
		default: // it has not yet looked after the last ring
		}
	}
}
