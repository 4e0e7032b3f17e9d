package gateway

import (
	"errors"
	"runtime"
	"time"

	"go.uber.org/zap"
)

// JobOptions say how jobs are run. The zero value of each field but Secret means the default.
type JobOptions struct {
	Secret     []byte               // keys the fingerprints of requests and seals texts; at least 32 bytes; required
	Workers    int                  // jobs that run at once in this process; default: the number of CPUs and one
	Share      int                  // of them of one operator; default: all but one, so that another's next job begins at once
	Idle       bool                 // begin no job in this process: others on the same store do
	PerAccount int                  // queued and running jobs of one person; default 20
	Platform   Allowance            // of all operators together; Queued defaults to 1000
	Operator   Allowance            // of each operator
	Operators  map[string]Allowance // of single operators, where they are tighter
	Timeout    time.Duration        // of one job; default 10 minutes
	Lease      time.Duration        // after which a silent process counts as dead; default 30 seconds
	Watch      time.Duration        // between looks at what was closed or cancelled elsewhere; default 200 ms
	Retention  time.Duration        // for which an ended job is remembered; default 90 days
	Zone       *time.Location       // in which a day begins; default UTC
	Clock      func() time.Time     // default time.Now
	Log        *zap.Logger          // the operation log; default none
}

// Allowance bounds what jobs take. A zero field is no bound.
type Allowance struct {
	Running int           // at once
	Queued  int           // at once
	CPU     time.Duration // processor time a day
	Read    int64         // bytes read a day
}

// tighten gives the tighter of two allowances, field by field.
func (a Allowance) tighten(b Allowance) Allowance {
	return Allowance{tighter(a.Running, b.Running), tighter(a.Queued, b.Queued), tighter(a.CPU, b.CPU), tighter(a.Read, b.Read)}
}

func tighter[T int | int64 | time.Duration](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (a Allowance) sound() bool { return a.Running >= 0 && a.Queued >= 0 && a.CPU >= 0 && a.Read >= 0 }

// of gives what one operator may take.
func (o JobOptions) of(operator string) Allowance { return o.Operator.tighten(o.Operators[operator]) }

// today names the day of an account.
func (o JobOptions) today() string { return o.Clock().In(o.Zone).Format(time.DateOnly) }

func (o JobOptions) complete() (JobOptions, error) {
	if len(o.Secret) < 32 {
		return o, errors.New("a secret of at least 32 bytes is required")
	}
	for _, bound := range append([]Allowance{o.Platform, o.Operator}, allowances(o.Operators)...) {
		if !bound.sound() {
			return o, errors.New("a limit is negative")
		}
	}
	if min(o.Workers, o.Share, o.PerAccount) < 0 || min(o.Timeout, o.Lease, o.Watch, o.Retention) < 0 {
		return o, errors.New("a limit is negative")
	}
	or(&o.Workers, runtime.NumCPU()+1)
	or(&o.Share, max(1, o.Workers-1))
	or(&o.PerAccount, 20)
	or(&o.Platform.Queued, 1000)
	or(&o.Timeout, 10*time.Minute)
	or(&o.Lease, 30*time.Second)
	or(&o.Watch, 200*time.Millisecond)
	or(&o.Retention, 90*24*time.Hour)
	or(&o.Zone, time.UTC)
	or(&o.Log, zap.NewNop())
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o, nil
}

func allowances(of map[string]Allowance) (all []Allowance) {
	for _, a := range of {
		all = append(all, a)
	}
	return all
}

func or[T comparable](field *T, otherwise T) {
	var zero T
	if *field == zero {
		*field = otherwise
	}
}
