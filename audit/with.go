package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// AppendWith puts an event on the log together with a change of the store, in one transaction: whatever happens,
// both are there or neither is. do makes the change with the tx that it is given; index is where the entry will
// stand.
//
// An error of do drops this entry alone, with everything that do changed, and comes back in AppendWith's error, which
// then wraps ErrNotLogged too. Otherwise the three answers are those of Append, and what they say of the entry is true
// of the change: with ErrUncertain it may or may not have been made.
//
// do runs while all other appends wait. It must use nothing but tx, which on SQLite is the only connection that can
// write, must do no work of its own beyond statements, and must not call the log. It may be run without
// effect: what it does outside of tx is not undone. It must not end tx's transaction, and an error of a statement must
// be an error of do, since PostgreSQL carries out nothing after it.
func (l *Log) AppendWith(ctx context.Context, event Event, do func(ctx context.Context, tx bun.Tx, index int64) error) (Receipt, error) {
	if event.Kind == kindErased {
		return Receipt{}, refused(errors.New("audit event: only Erase logs an erasure"))
	}
	if err := event.check(); err != nil {
		return Receipt{}, refused(err)
	}
	return l.submit(ctx, &request{event: event, do: do})
}

// savepoint is what a change is undone to. One name is enough, since there is one change at a time.
const savepoint = "weir_append"

// carryOut makes the change of a request. declined is why the request is dropped; err, that the transaction cannot go
// on.
func (r *request) carryOut(ctx context.Context, tx bun.Tx, index int64) (declined, err error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT "+savepoint); err != nil {
		return nil, fmt.Errorf("begin a change: %w", err)
	}
	declined = r.change(ctx, tx, index)
	if declined == nil {
		// PostgreSQL refuses this if a statement failed and do did not say so.
		if _, declined = tx.ExecContext(ctx, "RELEASE SAVEPOINT "+savepoint); declined == nil {
			return nil, nil
		}
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT "+savepoint); err != nil {
		return nil, errors.Join(fmt.Errorf("undo a change: %w", err), declined)
	}
	if _, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT "+savepoint); err != nil {
		return nil, errors.Join(fmt.Errorf("undo a change: %w", err), declined)
	}
	if ctx.Err() != nil { // the batch is out of time, so nothing after it succeeds
		return nil, errors.Join(ctx.Err(), declined)
	}
	return declined, nil
}

// change runs do. A panic there must not take the log down with it.
func (r *request) change(ctx context.Context, tx bun.Tx, index int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a change panicked: %v", p)
		}
	}()
	return r.do(ctx, tx, index)
}

// dropped is the answer to an event whose change was declined. A problem stays the problem that the person reads.
func dropped(cause error) error {
	if p := (*problem.Problem)(nil); errors.As(cause, &p) {
		return fmt.Errorf("%w: %w", cause, ErrNotLogged)
	}
	return refused(cause)
}
