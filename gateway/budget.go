package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/export/account"
	"weir/internal/problem"
	"weir/policy"
)

// BudgetLog is the log beside the privacy accounts; audit.Log is.
type BudgetLog interface {
	Recorder
	AppendWith(ctx context.Context, event audit.Event, do func(ctx context.Context, tx bun.Tx, index int64) error) (audit.Receipt, error)
	Search(ctx context.Context, filter audit.Filter) ([]audit.Record, error)
}

// Budget is the privacy accounts together with the log that they are a fold of: every change of an account is an entry,
// in one transaction with it.
type Budget struct {
	book  *account.Book
	log   BudgetLog
	clock func() time.Time
}

// kindCorrected says that the accounts' tables were not what the log said, and were made so.
const kindCorrected = "account.corrected"

// OpenBudget opens the privacy accounts and compares them with the log. In a store that has none it opens them: full, or
// closed if noised answers were given before there were accounts, which answered tells. What was answered then stays
// spent, in every domain, until the authority sets what may still be spent of it.
func OpenBudget(ctx context.Context, book *account.Book, log BudgetLog, answered func(context.Context) (bool, error), clock func() time.Time) (*Budget, error) {
	b := &Budget{book: book, log: log, clock: clock}
	entries := 0
	differed, err := book.Replay(ctx, func(ctx context.Context, from int64) ([]account.Entry, error) {
		some, err := b.read(ctx, from)
		entries += len(some)
		return some, err
	})
	if err != nil {
		return nil, err
	}
	if differed {
		if _, err := log.Append(ctx, audit.Event{Kind: kindCorrected}); err != nil {
			return nil, fmt.Errorf("record that the accounts were corrected: %w", err)
		}
	}
	if entries > 0 {
		return b, nil
	}
	before, err := answered(ctx)
	if err != nil {
		return nil, err
	}
	each := int64(account.DomainRho)
	if before {
		each = 0
	}
	event := audit.Event{Kind: account.KindOpened, Facts: accountFacts(account.OpenedFacts(each))}
	_, err = log.AppendWith(ctx, event, func(ctx context.Context, tx bun.Tx, index int64) error { return book.Begin(ctx, tx, each, index) })
	if errors.Is(err, account.ErrOpened) { // by another process, meanwhile
		err = nil
	}
	return b, err
}

// read gives the log's next entries that belong to the accounts. It is one statement for all kinds: with one for each,
// an entry that is written in between could be passed over.
func (b *Budget) read(ctx context.Context, from int64) ([]account.Entry, error) {
	records, err := b.log.Search(ctx, audit.Filter{Kinds: account.Kinds, After: from, Limit: 1000})
	if err != nil {
		return nil, err
	}
	entries := make([]account.Entry, len(records))
	for i, r := range records {
		entries[i] = account.Entry{Index: r.Index, Kind: r.Kind, Facts: r.Facts}
	}
	return entries, nil
}

// Payer is who pays for a question.
type Payer struct {
	Job, Grant, Operator string
	Share                float64 // of each domain's account, in ρ; policy.Engine.Share
}

// Charge pays for a question before it runs, from every domain that it names or from none. Whatever becomes of the question,
// nothing is given back. The error is the problem export.account-spent or export.share-spent where it cannot be paid.
func (b *Budget) Charge(ctx context.Context, p Payer, charges []account.Charge) error {
	facts, err := account.ChargedFacts(p.Operator, charges)
	if err != nil {
		return err
	}
	event := audit.Event{Kind: account.KindCharged, Grant: audit.Registered(p.Grant), Job: audit.Registered(p.Job), Facts: accountFacts(facts)}
	_, err = b.log.AppendWith(ctx, event, func(ctx context.Context, tx bun.Tx, index int64) error {
		return b.book.Spend(ctx, tx, p.Operator, share(p.Share), charges, index)
	})
	return err
}

// Left is what a payer and everybody together may still spend on a domain, in ρ, for a price that is told beforehand.
func (b *Budget) Left(ctx context.Context, p Payer, domain string) (own, all float64, err error) {
	ownLeft, allLeft, err := b.book.Left(ctx, p.Operator, domain, share(p.Share))
	return float64(ownLeft) / account.Nano, float64(allLeft) / account.Nano, err
}

// accountFacts are what the account says of itself: amounts, domains of the catalogue, operators of grants.
func accountFacts(texts map[string]string) audit.Facts {
	facts := make(audit.Facts, len(texts))
	for name, text := range texts {
		facts[name] = audit.Registered(text)
	}
	return facts
}

// share is rounded down, as what is there always is.
func share(rho float64) int64 { return int64(rho*account.Nano + 1e-3) }

// Budgets shows what the answers have cost the domains of all data sets, to those who oversee; to an operator's people
// what is left, and their own part.
func (a *Acts) Budgets(ctx context.Context, who policy.Principal, operator string) ([]account.Balance, error) {
	if operator == "" && a.Permit.Permit(ctx, who, policy.BudgetRead, policy.Object{}) != nil {
		operator = who.Organisation
	}
	d := deed{
		action: policy.BudgetRead, object: policy.Object{Operator: operator}, about: audit.Word("budget"),
		private: operator,
	}
	return act(ctx, a, who, d, func(ctx context.Context) ([]account.Balance, error) {
		domains, err := a.domains(ctx)
		if err != nil {
			return nil, err
		}
		return a.Budget.book.Balances(ctx, operator, domains)
	})
}

// SetBudget lets the authority decide what may still be spent of a domain, with its reason. It is one entry of the log:
// the decision and its effect are there together or not at all.
func (a *Acts) SetBudget(ctx context.Context, who policy.Principal, domain string, left float64, reason string) (account.Balance, error) {
	d := deed{action: policy.BudgetSet, about: audit.Word("budget"), private: reason}
	if err := a.Permit.Permit(ctx, who, d.action, d.object); err != nil {
		return account.Balance{}, a.refused(ctx, who, d, err)
	}
	domains, err := a.domains(ctx)
	switch {
	case err != nil:
		return account.Balance{}, err
	case !slices.Contains(domains, domain):
		return account.Balance{}, a.refused(ctx, who, d, problem.New("gateway.no-such-domain"))
	case reason == "":
		return account.Balance{}, a.refused(ctx, who, d, problem.New("policy.reason-needed"))
	}
	set := account.Act{Domain: domain, Left: -1, At: a.Budget.clock()}
	if left >= 0 {
		set.Left = account.Rho(left)
	}
	event := audit.Event{
		Kind: account.KindSet, Actor: who.Subject, Object: audit.Format("budget/%s", audit.Registered(domain)), Facts: accountFacts(set.Facts()), Payload: []byte(reason),
	}
	_, err = a.Budget.log.AppendWith(ctx, event, func(ctx context.Context, tx bun.Tx, index int64) error {
		return a.Budget.book.Set(ctx, tx, set, index)
	})
	if err != nil {
		return account.Balance{}, err
	}
	balances, err := a.Budget.book.Balances(ctx, "", nil)
	if err != nil {
		return account.Balance{}, err
	}
	at := slices.IndexFunc(balances, func(b account.Balance) bool { return b.Domain == domain })
	if at < 0 {
		return account.Balance{}, fmt.Errorf("the account of %q was set and is not there", domain)
	}
	return balances[at], nil
}

// domains are those of the units of all data sets, in order.
func (a *Acts) domains(ctx context.Context) ([]string, error) {
	all, err := a.Catalogue.Datasets(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, d := range all {
		for _, u := range d.Units {
			found[u.Domain] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}
