// Package account keeps what the answers of the noised modes have cost the units of each domain, in ρ of
// zero-concentrated differential privacy. docs/design/account.md says what the account means.
//
// A domain has one account for everybody. An operator has a share of it: the most that its own questions may cost. What
// is charged is what a question costs at most any unit of the domain, so no unit has paid more than its domain.
//
// The account is a fold of entries on the audit log; the tables here are kept beside it. A charge and its entry are
// written in one transaction, before the question runs.
//
// The package must never give back what was spent, whatever became of the question: a refund would itself be an
// answer. It must never charge a part of a question, never answer before the tables have been compared with the log,
// and never hold a name or a value from a data set: it knows domains and operators.
package account

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"weir/internal/problem"
	"weir/internal/store"
)

var (
	//go:embed migrations
	migrations embed.FS

	//go:embed problems.yaml
	messages []byte
	_        = problem.Register(messages)
)

// Amounts of ρ are counted in whole billionths, so that sums are exact, and those of δ in whole 10^-15.
const (
	Nano  = 1_000_000_000
	Femto = 1_000_000_000_000_000
)

// What an account and a share hold unless an act or a grant says otherwise.
const (
	DomainRho    = 2_560_000_000 // what a census was published under
	OperatorRho  = 1_000_000_000 // of one operator in mode perturbed: 76 of 100 guesses about one person can be right
	PrivateRho   = 250_000_000   // of one operator in mode private: 64 of 100
	DomainDelta  = 1_000_000_000 // 10^-6
	mostRho      = 10 * Nano     // that an act may allow at once
	refillsEvery = 1             // years
)

// Rho rounds an amount up to whole billionths. An amount that is none, or too large, is more than any account holds.
func Rho(rho float64) int64 { return up(rho, Nano) }

// Delta rounds an amount up to whole 10^-15.
func Delta(delta float64) int64 { return up(delta, Femto) }

func up(amount, unit float64) int64 {
	if steps := math.Ceil(amount * unit); steps >= 0 && steps < math.MaxInt64/4 {
		return int64(steps)
	}
	return math.MaxInt64 / 4
}

// Charge is what one question costs each unit of a domain at most.
type Charge struct {
	Domain string
	Rho    int64 // billionths
	Delta  int64 // 10^-15; for groups that are shown or not by what is secret
}

// Book is the accounts of all domains.
type Book struct {
	db    *bun.DB
	ready atomic.Bool
}

// Open opens the accounts in the platform's store. They answer nothing before Replay.
func Open(ctx context.Context, db *bun.DB) (*Book, error) {
	if err := store.Migrate(ctx, db, "account", migrations); err != nil {
		return nil, err
	}
	return &Book{db: db}, nil
}

// Left is what the operator and everybody together may still spend on a domain. share is the operator's, in
// billionths of ρ.
func (b *Book) Left(ctx context.Context, operator, domain string, share int64) (operatorLeft, domainLeft int64, err error) {
	if err := b.behind(); err != nil {
		return 0, 0, err
	}
	f, err := load(ctx, b.db, operator, []string{domain}, false)
	if err != nil {
		return 0, 0, err
	}
	d := f.domain(domain)
	return max(0, min(share-f.spent(operator, d), d.left())), max(0, d.left()), nil
}

// Spend charges a question of an operator to all its domains or, if one of them cannot pay, to none. It must be called in
// the transaction that puts the charge on the log with Facts, at index.
//
// The error is the problem export.account-spent or export.share-spent, with all domains that cannot pay.
func (b *Book) Spend(ctx context.Context, tx bun.Tx, operator string, share int64, charges []Charge, index int64) error {
	if err := b.behind(); err != nil {
		return err
	}
	charges, err := merged(charges)
	if err != nil || operator == "" {
		return errors.Join(err, errors.New("account: a charge without an operator, or with one that is no amount"))
	}
	if len(charges) == 0 {
		return errors.New("account: a charge of nothing")
	}
	f, err := load(ctx, tx, operator, names(charges), true)
	if err != nil {
		return err
	}
	if err := f.fits(operator, share, charges); err != nil {
		return err
	}
	if err := f.charge(index, operator, charges); err != nil {
		return err
	}
	return f.save(ctx, tx)
}

// Act is what an authority decides about the account of a domain: from now on it may still spend Left.
type Act struct {
	Domain string
	Left   int64 // billionths of ρ
	At     time.Time
}

// Set carries out an act. It must be called in the transaction that puts it on the log with Facts, at index, and its
// reason beside it. An act that allows more than is left is a refill: a new period begins, in which each operator has
// its share again. Refills are a year apart. An act that allows less may come at any time.
func (b *Book) Set(ctx context.Context, tx bun.Tx, act Act, index int64) error {
	if err := b.behind(); err != nil {
		return err
	}
	if act.Domain == "" || act.Left < 0 || act.Left > mostRho {
		return problem.New("export.account-limit", "limit", decimal(mostRho, Nano))
	}
	f, err := load(ctx, tx, "", []string{act.Domain}, true)
	if err != nil {
		return err
	}
	d := f.domain(act.Domain)
	if act.Left > d.left() && d.RefilledAt > 0 {
		next := time.Unix(d.RefilledAt, 0).UTC().AddDate(refillsEvery, 0, 0)
		if act.At.Before(next) {
			return problem.New("export.account-yearly", "domain", act.Domain, "date", next.Format(time.DateOnly))
		}
	}
	if err := f.set(index, act); err != nil {
		return err
	}
	return f.save(ctx, tx)
}

// ErrOpened says that the accounts were opened before.
var ErrOpened = errors.New("the accounts are open already")

// Begin opens the accounts of a store that has none, in the transaction that puts this on the log with Facts, at
// index. each is what a domain may spend: DomainRho, or nothing where answers were given that no account knows
// of, until an authority sets each domain's.
func (b *Book) Begin(ctx context.Context, tx bun.Tx, each, index int64) error {
	_, err := load(ctx, tx, "", nil, true)
	if err == nil {
		return ErrOpened
	}
	if !errors.Is(err, errNone) {
		return err
	}
	f := newFold()
	if err := f.open(index, each); err != nil {
		return err
	}
	return f.save(ctx, tx)
}

// behind refuses everything until the tables were compared with the log.
func (b *Book) behind() error {
	if !b.ready.Load() {
		return problem.New("export.account-behind")
	}
	return nil
}

// merged gives one charge a domain, in the order of their names, so that two processes lock rows in the same order.
func merged(charges []Charge) ([]Charge, error) {
	var out []Charge
	for _, c := range slices.SortedFunc(slices.Values(charges), func(a, b Charge) int { return strings.Compare(a.Domain, b.Domain) }) {
		if c.Domain == "" || c.Rho < 0 || c.Delta < 0 || c.Rho+c.Delta == 0 {
			return nil, fmt.Errorf("account: a charge of %d and %d to %q", c.Rho, c.Delta, c.Domain)
		}
		if n := len(out) - 1; n >= 0 && out[n].Domain == c.Domain {
			out[n].Rho, out[n].Delta = plus(out[n].Rho, c.Rho), plus(out[n].Delta, c.Delta)
			continue
		}
		out = append(out, c)
	}
	return out, nil
}

// plus adds amounts that are not negative, and gives the greatest where they do not fit.
func plus(a, b int64) int64 {
	if sum, over := bits.Add64(uint64(a), uint64(b), 0); over == 0 && sum < math.MaxInt64/2 {
		return int64(sum)
	}
	return math.MaxInt64 / 2
}

func names(charges []Charge) []string {
	out := make([]string, len(charges))
	for i, c := range charges {
		out[i] = c.Domain
	}
	return out
}

func postgres(db bun.IDB) bool { return db.Dialect().Name() == dialect.PG }
