package account

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Balance is the account of one domain. Amounts of ρ are in billionths, those of δ in 10^-15.
type Balance struct {
	Domain   string
	Left     int64     // everybody together may still spend it
	Spent    int64     // ever
	Delta    int64     // ever
	Refills  int64     // that acts of an authority brought
	Refilled time.Time // the last of them; zero: never
	Shares   []Share   // of those who spent something
}

// Share is what an operator spent of a domain.
type Share struct {
	Operator string
	Spent    int64 // since the last refill: it counts against the share
	Total    int64 // ever
}

// Balances lists the accounts of the named domains and of all that something was spent of or decided about. With an
// operator, no other's share is shown.
func (b *Book) Balances(ctx context.Context, operator string, domains []string) ([]Balance, error) {
	if err := b.behind(); err != nil {
		return nil, err
	}
	f, err := loadAll(ctx, b.db, false)
	if err != nil {
		return nil, err
	}
	for _, name := range domains {
		f.domain(name)
	}
	var out []Balance
	for _, d := range f.domains {
		one := Balance{Domain: d.Domain, Left: max(0, d.left()), Spent: d.Spent, Delta: d.Delta, Refills: d.Period}
		if d.RefilledAt > 0 {
			one.Refilled = time.Unix(d.RefilledAt, 0).UTC()
		}
		for _, s := range f.shares {
			if s.Domain == d.Domain && (operator == "" || s.Operator == operator) {
				one.Shares = append(one.Shares, Share{Operator: s.Operator, Spent: f.spent(s.Operator, d), Total: s.Total})
			}
		}
		slices.SortFunc(one.Shares, func(a, b Share) int { return strings.Compare(a.Operator, b.Operator) })
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Balance) int { return strings.Compare(a.Domain, b.Domain) })
	return out, nil
}
