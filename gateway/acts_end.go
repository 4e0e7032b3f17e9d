package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/audit"
	"weir/policy"
	"weir/sandbox"
)

// After the end of a grant nothing made under it leaves. Whether a grant has ended is asked at each read, so nothing here
// has to run for that to be true. What is left to do: to stop what runs, to refuse what waits for an officer, and, when a
// stated grace is over and no hold is on the grant, to delete what is kept. Each of these is on the log.

// Endings keeps what becomes of grants that have ended; policy.Engine does.
type Endings interface {
	Endings(ctx context.Context, grace time.Duration) ([]policy.Ending, error)
	Close(ctx context.Context, end policy.Ending) error
	Overdue(ctx context.Context) ([]policy.Ending, error)
	Deleted(ctx context.Context, grant string) error
	NextEnd(ctx context.Context) (time.Time, error)
}

// DefaultGrace is how long what was made under a grant is kept, closed to everybody, after the grant has ended.
const DefaultGrace = 30 * 24 * time.Hour

// HoldGrant keeps what was made under a grant from being deleted. It opens nothing.
func (a *Acts) HoldGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error) {
	return a.changeGrant(ctx, who, policy.GrantHold, id, reason, func(ctx context.Context, _ *made) error {
		return a.Grants.Hold(ctx, who, id, reason)
	})
}

// LiftGrant ends the hold on a grant.
func (a *Acts) LiftGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error) {
	return a.changeGrant(ctx, who, policy.GrantLift, id, reason, func(ctx context.Context, _ *made) error {
		return a.Grants.Lift(ctx, who, id, reason)
	})
}

// GrantEnd tells what becomes of a grant that has ended, and whether a hold is on it, to a person who may read it.
func (a *Acts) GrantEnd(ctx context.Context, who policy.Principal, id string) (*policy.Ending, bool, error) {
	return a.Grants.End(ctx, who, id)
}

// Reap acts on every end of a grant that nobody has acted on, and deletes what is overdue. Trouble with one grant does not
// keep the others.
func (a *Acts) Reap(ctx context.Context) error {
	endings, err := a.Endings.Endings(ctx, a.Grace)
	failures := []error{err}
	for _, end := range endings {
		if err := a.end(ctx, end); err != nil {
			failures = append(failures, fmt.Errorf("end of grant %s: %w", end.Grant, err))
		}
	}
	overdue, err := a.Endings.Overdue(ctx)
	failures = append(failures, err)
	for _, end := range overdue {
		if err := a.delete(ctx, end.Grant); err != nil {
			failures = append(failures, fmt.Errorf("delete what is kept of grant %s: %w", end.Grant, err))
		}
	}
	return errors.Join(failures...)
}

// end stops what runs under a grant that has ended and refuses what waits. That comes first on the log: what was refused
// unannounced would look as if nobody had asked. It is noted last, so whatever is cut off is done again.
func (a *Acts) end(ctx context.Context, end policy.Ending) error {
	event := audit.Event{Kind: "grant.end.intent", Grant: grantFact(ctx, a.Grants, end.Grant), Facts: endFacts(end, 0)}
	if _, err := a.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("announce the end of a grant: %w", err)
	}
	failure := a.Jobs.StopGrant(ctx, end.Grant)
	refused, err := a.refuse(ctx, end.Grant)
	failure = errors.Join(failure, err)
	event.Kind, event.Facts = "grant.ended", endFacts(end, refused)
	return a.noted(ctx, event, failure, func(ctx context.Context) error { return a.Endings.Close(ctx, end) })
}

// refuse refuses what waits for an officer under a grant, and denies the jobs that it came from. It gives the number of
// results that were refused.
func (a *Acts) refuse(ctx context.Context, grant string) (int, error) {
	refused, err := a.Releases.RefuseGrant(ctx, grant)
	if err != nil {
		return 0, err
	}
	return refused, a.Jobs.EndGrant(ctx, grant)
}

// endFacts say when a grant ended, what was refused because of that, and when what is kept is deleted.
func endFacts(end policy.Ending, refused int) audit.Facts {
	return audit.Facts{"ended": audit.Day(end.Ended), "refused": audit.Number(refused), "delete_after": audit.Day(end.DeleteAfter)}
}

// delete removes what is kept of a grant: its workspace and its results. What it will delete is on the log before, and
// what came of it after. Names of tables are an analyst's words, so they can be erased.
func (a *Acts) delete(ctx context.Context, grant string) error {
	tables, err := a.Tables.List(ctx, sandbox.OfGrant(grant))
	if err != nil {
		return err
	}
	event := audit.Event{Kind: "grant.delete.intent", Grant: grantFact(ctx, a.Grants, grant), Payload: naming(tables), Facts: counting(tables)}
	if _, err := a.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("announce a deletion: %w", err)
	}
	gone, failure := a.Tables.Delete(ctx, sandbox.OfGrant(grant))
	results := 0
	if failure == nil {
		results, failure = a.Releases.ForgetGrant(ctx, grant)
	}
	event.Kind, event.Payload, event.Facts = "grant.deleted", naming(gone), counting(gone)
	event.Facts["results"] = audit.Number(results)
	return a.noted(ctx, event, failure, func(ctx context.Context) error { return a.Endings.Deleted(ctx, grant) })
}

// noted puts on the log what came of something that was announced, and then notes that it is done, if it is.
func (a *Acts) noted(ctx context.Context, event audit.Event, failure error, note func(context.Context) error) error {
	if failure != nil {
		event.Facts["code"] = audit.Code(failure)
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	if _, err := a.Record.Append(last, event); err != nil || failure != nil {
		return errors.Join(failure, err)
	}
	return note(last)
}

func naming(tables []sandbox.Kept) []byte {
	names := make([]string, len(tables))
	for i, table := range tables {
		names[i] = fmt.Sprintf("%s v%d %s", table.Name, table.Version, table.Hash)
	}
	return []byte(strings.Join(names, ", "))
}

func counting(tables []sandbox.Kept) audit.Facts {
	return audit.Facts{"tables": audit.Number(len(tables))}
}

// lookAgain bounds how long an end can stay unnoticed that was not foreseen: a grant that another node made or ended.
const lookAgain = time.Minute

// Clock is the time, and waits for one.
type Clock interface {
	Now() time.Time
	Until(at time.Time) <-chan time.Time // gets a value when that time has come
}

// KeepReaped reaps at once, whenever the next term or grace is over, and at least once a minute, until ctx ends. What
// fails is told to the operation log, and tried again.
func (a *Acts) KeepReaped(ctx context.Context, clock Clock, log *zap.Logger) {
	complaint := complaint{log: log, about: "ended grants are not closed, or what they leave is not deleted"}
	for ctx.Err() == nil {
		next, err := a.Endings.NextEnd(ctx)
		complaint.hear(errors.Join(err, a.Reap(ctx)))
		at := clock.Now().Add(lookAgain)
		if !next.IsZero() && next.Before(at) {
			at = next
		}
		select {
		case <-clock.Until(at):
		case <-ctx.Done():
		}
	}
}

// MachineClock is the machine's.
type MachineClock struct{}

// Now is the machine's time.
func (MachineClock) Now() time.Time { return time.Now() }

// Until waits on a timer.
func (MachineClock) Until(at time.Time) <-chan time.Time { return time.After(time.Until(at)) }
