package export

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"weir/policy"
)

// Recall makes the histories again that were judged by last, so that the first exact jobs after a start need not wait
// for them: to find out again what thousands of cells say together takes as long as it took when they were released. It gives way to
// every judging, which goes on with what is there already, and ends when ctx does. What it does not come to, a job does.
func (f *Filter) Recall(ctx context.Context) error {
	return f.ledger.recall(ctx, policy.DefaultRules.K)
}

// recall reads the histories that the ledger was written to last, the last first, a few entries at a time.
func (l *ledger) recall(ctx context.Context, k int) error {
	var last []struct {
		Operator, Domain string
	}
	err := l.db.NewSelect().Model((*ledgerRow)(nil)).Column("operator", "domain").Group("operator", "domain").
		OrderExpr("max(id) DESC").Limit(heldHistories).Scan(ctx, &last)
	if err != nil {
		return fmt.Errorf("find the last histories: %w", err)
	}
	for _, h := range last {
		for more := true; more; {
			if more, err = l.recallSome(ctx, h.Operator, h.Domain, k); err != nil {
				return err
			}
		}
	}
	return nil
}

// recallSome goes on with one history, and reports whether there is more of it. It holds the ledger like a judging.
func (l *ledger) recallSome(ctx context.Context, operator, domain string, k int) (more bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.find(operator, domain)
	if h == nil {
		bytes := 0
		for _, other := range l.histories {
			bytes += other.bytes()
		}
		if len(l.histories) >= heldHistories || bytes >= heldBytes {
			return false, nil
		}
		fresh, err := newHistory(k)
		if err != nil {
			return false, err
		}
		h = &held{operator, domain, fresh}
		l.histories = slices.Insert(l.histories, 0, h) // every other was used later
	}
	err = turn(ctx, l.db, "export_cells", func(ctx context.Context, db bun.IDB) error {
		more, err = l.readSome(ctx, db, h)
		return err
	})
	return more, err
}
