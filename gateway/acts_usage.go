package gateway

import (
	"context"
	"time"

	"weir/audit"
	"weir/policy"
)

// Ledger keeps what jobs took; Jobs does.
type Ledger interface {
	Totals(ctx context.Context, days Days) ([]Usage, error)
	Taken(ctx context.Context, days Days) ([]JobUsage, error)
}

// Days pick what is told of a ledger.
type Days struct {
	Operator string // empty: all
	From, To string // the first and the last day, as 2006-01-02, in the platform's time zone
}

// Usage is what the jobs of one grant took on one day, in the units that are billed.
type Usage struct {
	Day, Operator, Grant string
	Jobs                 int64
	CPU, Wall            time.Duration // whole seconds, rounded up
	Read                 int64         // bytes, rounded up to whole usageUnits
}

// JobUsage is what one job took.
type JobUsage struct {
	Job, Operator, Grant string
	State                JobState // in which nothing of it ran any more
	Started, Ended       time.Time
	CPU, Wall            time.Duration
	Peak, Read           int64 // bytes
}

// Usage shows what the jobs of an operator, or of all, took by grant and day.
func (a *Acts) Usage(ctx context.Context, who policy.Principal, days Days) ([]Usage, error) {
	if days.Operator == "" && a.Permit.Permit(ctx, who, policy.UsageRead, policy.Object{}) != nil {
		days.Operator = who.Organisation
	}
	d := deed{action: policy.UsageRead, object: policy.Object{Operator: days.Operator}, about: audit.Word("usage"), facts: days.facts(), private: days.Operator}
	return act(ctx, a, who, d, func(ctx context.Context) ([]Usage, error) { return a.Ledger.Totals(ctx, days) })
}

// JobUsage shows what each job took.
func (a *Acts) JobUsage(ctx context.Context, who policy.Principal, days Days) ([]JobUsage, error) {
	d := deed{action: policy.UsageList, object: policy.Object{Operator: days.Operator}, about: audit.Word("usage"), facts: days.facts(), private: days.Operator}
	return act(ctx, a, who, d, func(ctx context.Context) ([]JobUsage, error) { return a.Ledger.Taken(ctx, days) })
}

// facts are the days, if they are some.
func (d Days) facts() audit.Facts {
	from, err := time.Parse(time.DateOnly, d.From)
	to, err2 := time.Parse(time.DateOnly, d.To)
	if err != nil || err2 != nil {
		return nil
	}
	return audit.Facts{"from": audit.Day(from), "to": audit.Day(to)}
}
