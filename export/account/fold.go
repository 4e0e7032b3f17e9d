package account

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

type stateRow struct {
	bun.BaseModel `bun:"table:account_state"`

	ID       int64 `bun:"id"`
	Position int64 `bun:"position"`
	Opening  int64 `bun:"opening"`
}

type domainRow struct {
	bun.BaseModel `bun:"table:account_domains"`

	Domain     string `bun:"domain"`
	Spent      int64  `bun:"spent"`
	Most       int64  `bun:"most"`
	Delta      int64  `bun:"delta"`
	DeltaMost  int64  `bun:"delta_most"`
	Period     int64  `bun:"period"`
	RefilledAt int64  `bun:"refilled_at"`
}

func (d *domainRow) left() int64 { return d.Most - d.Spent }

type shareRow struct {
	bun.BaseModel `bun:"table:account_shares"`

	Operator string `bun:"operator"`
	Domain   string `bun:"domain"`
	Period   int64  `bun:"period"`
	Spent    int64  `bun:"spent"`
	Total    int64  `bun:"total"`
}

// owner is whose share of what.
type owner struct{ operator, domain string }

// fold is the accounts in memory, all or those that a question needs. Entries change it in the same way whether they
// are being written or read again.
type fold struct {
	state   stateRow
	domains map[string]*domainRow
	shares  map[owner]*shareRow
}

func newFold() *fold {
	return &fold{state: stateRow{Position: -1}, domains: map[string]*domainRow{}, shares: map[owner]*shareRow{}}
}

func (f *fold) domain(name string) *domainRow {
	d := f.domains[name]
	if d == nil {
		d = &domainRow{Domain: name, Most: f.state.Opening, DeltaMost: DomainDelta}
		f.domains[name] = d
	}
	return d
}

// spent is what an operator spent of a domain in this period.
func (f *fold) spent(operator string, d *domainRow) int64 {
	if s := f.shares[owner{operator, d.Domain}]; s != nil && s.Period == d.Period {
		return s.Spent
	}
	return 0
}

// next moves on to an entry of the log. One that is not after the last shows that the log was set back.
func (f *fold) next(index int64) error {
	if f.state.ID == 0 {
		return errors.New("account: the log has entries before the accounts were opened")
	}
	if index <= f.state.Position {
		return fmt.Errorf("account: entry %d comes after entry %d: the log is behind the accounts", index, f.state.Position)
	}
	f.state.Position = index
	return nil
}

func (f *fold) open(index, each int64) error {
	if f.state.ID != 0 {
		return ErrOpened
	}
	if each < 0 || each > mostRho {
		return fmt.Errorf("account: opened with %d", each)
	}
	f.state = stateRow{ID: 1, Position: index, Opening: each}
	return nil
}

// charge adds what is on the log, or about to be. Whether it fits was asked before.
func (f *fold) charge(index int64, operator string, charges []Charge) error {
	if err := f.next(index); err != nil {
		return err
	}
	for _, c := range charges {
		d := f.domain(c.Domain)
		d.Spent, d.Delta = plus(d.Spent, c.Rho), plus(d.Delta, c.Delta)
		s := f.shares[owner{operator, c.Domain}]
		if s == nil {
			s = &shareRow{Operator: operator, Domain: c.Domain, Period: d.Period}
			f.shares[owner{operator, c.Domain}] = s
		}
		if s.Period != d.Period {
			s.Period, s.Spent = d.Period, 0
		}
		s.Spent, s.Total = plus(s.Spent, c.Rho), plus(s.Total, c.Rho)
	}
	return nil
}

// set carries out an act that is on the log, or about to be.
func (f *fold) set(index int64, act Act) error {
	if err := f.next(index); err != nil {
		return err
	}
	d := f.domain(act.Domain)
	if act.Left > d.left() {
		d.Period++
		d.RefilledAt = act.At.Unix()
		d.DeltaMost = plus(d.Delta, DomainDelta)
	}
	d.Most = plus(d.Spent, act.Left)
	return nil
}

// fits refuses charges that a domain or the operator's share of it cannot pay, and names them all.
func (f *fold) fits(operator string, share int64, charges []Charge) error {
	var domains, shares []string
	for _, c := range charges {
		d := f.domain(c.Domain)
		if c.Rho > d.left() {
			domains = append(domains, short(c.Domain, c.Rho, d.left()))
		} else if left := d.DeltaMost - d.Delta; c.Delta > left {
			domains = append(domains, fmt.Sprintf("%s: δ %s > %s", c.Domain, decimal(c.Delta, Femto), decimal(max(0, left), Femto)))
		}
		if left := share - f.spent(operator, d); c.Rho > left {
			shares = append(shares, short(c.Domain, c.Rho, left))
		}
	}
	switch {
	case len(domains) > 0:
		return problem.New("export.account-spent", "domains", strings.Join(domains, "; "))
	case len(shares) > 0:
		return problem.New("export.share-spent", "domains", strings.Join(shares, "; "))
	}
	return nil
}

func short(domain string, costs, left int64) string {
	return fmt.Sprintf("%s: %s > %s", domain, decimal(costs, Nano), decimal(max(0, left), Nano))
}
