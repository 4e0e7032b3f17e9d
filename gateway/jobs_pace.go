package gateway

import (
	"context"
	"time"
)

// How long a job takes can tell whether the data hold something. Where its grant asks for it, all that is told of a job's
// time is rounded up to whole steps: its end, the time beside its result, and what it took. How far it is, is not told.

type paceKey struct{}

// paced gives a context in which a job's flow can say how coarsely it is to be timed.
func (m *meter) paced(ctx context.Context) context.Context {
	return context.WithValue(ctx, paceKey{}, m)
}

// pace says so. It gives what rounds a time.
func pace(ctx context.Context, step time.Duration) (round func(time.Duration) time.Duration) {
	if m, ok := ctx.Value(paceKey{}).(*meter); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.step = step
	}
	return func(took time.Duration) time.Duration { return stepped(took, step) }
}

// stepped rounds a time up to whole steps, one at least; without steps it is as it is.
func stepped(took, step time.Duration) time.Duration {
	if step <= 0 {
		return took
	}
	return max(step, whole(took, step))
}

// hold waits for the end of the step in which a job came to its end. Who stops the job does not wait.
func (m *meter) hold(ctx context.Context, took time.Duration) {
	m.mu.Lock()
	step := m.step
	m.mu.Unlock()
	end := time.NewTimer(stepped(took, step) - took)
	defer end.Stop()
	select {
	case <-end.C:
	case <-ctx.Done():
	}
}
