// Package gatewaytest puts a platform together for tests: store, policy, identity, log and release queue are the
// real ones. Only the flow is a script, since it needs the engine's processes, and the vault a list. Only tests may
// import this package.
package gatewaytest

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/export"
	"weir/export/account"
	"weir/gateway"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
)

// Password is everybody's.
const Password = "correct horse battery staple"

// The people of the tests, by account name. Colleague works for the same operator as analyst, stranger for another.
var people = []identity.Account{
	{Name: "authority", Organisation: "bureau", Roles: []policy.Role{policy.Authority}},
	{Name: "second", Organisation: "bureau", Roles: []policy.Role{policy.Authority}},
	{Name: "third", Organisation: "bureau", Roles: []policy.Role{policy.Authority}},
	{Name: "provider", Organisation: "registry", Roles: []policy.Role{policy.Provider}},
	{Name: "operator", Organisation: "harbour", Roles: []policy.Role{policy.Operator}},
	{Name: "analyst", Organisation: "harbour", Roles: []policy.Role{policy.Analyst}},
	{Name: "colleague", Organisation: "harbour", Roles: []policy.Role{policy.Analyst}},
	{Name: "stranger", Organisation: "canal", Roles: []policy.Role{policy.Analyst}},
	{Name: "officer", Organisation: "review", Roles: []policy.Role{policy.Officer}},
	{Name: "supervisor", Organisation: "audit", Roles: []policy.Role{policy.Supervisor}},
	{Name: "maintainer", Organisation: "works", Roles: []policy.Role{policy.Maintainer}},
}

// Person is one of them.
func Person(name string) policy.Principal {
	for _, p := range people {
		if p.Name == name {
			return policy.Principal{Subject: p.Name, Organisation: p.Organisation, Roles: p.Roles, Session: "s-" + name}
		}
	}
	panic("nobody is called " + name)
}

// Platform is everything behind the interface.
type Platform struct {
	DB        *bun.DB
	Policy    *policy.Engine
	Identity  *identity.Identity
	Log       *audit.Log
	Queue     *export.Queue
	Flow      *Flow
	Catalogue *Catalogue
	Jobs      *gateway.Jobs
	Acts      *gateway.Acts
	Budget    *gateway.Budget
	Tables    *Tables

	ahead atomic.Int64 // how far the rules' clock is ahead of the machine's, in nanoseconds
	Grant policy.Grant // of the operator harbour
	Other policy.Grant // of the operator canal
}

// New puts a platform together on a database. It has no accounts yet; see Admit.
func New(t testing.TB, db *bun.DB, options gateway.JobOptions) *Platform {
	t.Helper()
	ctx := t.Context()
	p := &Platform{DB: db, Catalogue: NewCatalogue(), Tables: &Tables{}}
	must := must(t)
	var err error
	p.Policy, err = policy.New(ctx, db, policy.Options{Now: p.now})
	must(err)
	var members []policy.Member
	for _, person := range people {
		members = append(members, policy.Member{Organisation: person.Organisation, Roles: person.Roles})
	}
	must(p.Policy.BringOver(ctx, members))
	p.Identity, err = identity.New(ctx, db, t.TempDir(), identity.Options{
		Issuer: "https://weir.test", CheckRoles: policy.CheckRoles, Argon: identity.LeastArgon,
	})
	must(err)
	key, err := audit.LoadKey(t.TempDir(), "weir.test/audit")
	must(err)
	p.Log, err = audit.Open(ctx, db, audit.Options{Origin: "weir.test/audit", Key: key})
	must(err)
	t.Cleanup(func() { must(p.Log.Close()) })
	p.Queue, err = export.OpenQueue(ctx, db, nil)
	must(err)
	book, err := account.Open(ctx, db)
	must(err)
	p.Budget, err = gateway.OpenBudget(ctx, book, p.Log, p.Queue.Noised, p.now)
	must(err)
	filter, err := export.New(make([]byte, 32), p.Queue)
	must(err)
	p.Flow = NewFlow(p.Policy, filter)
	p.Jobs = p.Start(t, options)
	p.act(t)
	p.Grant = p.NewGrant(t, "harbour")
	p.Other = p.NewGrant(t, "canal")
	return p
}

// act makes the acts over the platform's jobs.
func (p *Platform) act(t testing.TB) {
	t.Helper()
	acts, err := gateway.NewActs(gateway.ActsParts{
		Permit: p.Policy, Record: p.Log, Log: p.Log, Grants: p.Policy, Endings: p.Policy, Grace: Grace,
		Accounts: p.Identity, Organisations: p.Policy, Catalogue: p.Catalogue, Releases: p.Queue, Jobs: p.Jobs, Ledger: p.Jobs, Budget: p.Budget, Tables: p.Tables,
	})
	must(t)(err)
	p.Acts = acts
}

func (p *Platform) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

// Grace is how long what was made under a grant is kept after its end.
const Grace = 72 * time.Hour

// Pass lets time pass for the rules.
func (p *Platform) Pass(d time.Duration) { p.ahead.Add(int64(d)) }

// Replace ends the platform's jobs and runs others in their place, with another runner.
func (p *Platform) Replace(t testing.TB, runner gateway.Runner, options gateway.JobOptions) {
	t.Helper()
	p.Jobs.Close(t.Context())
	p.Jobs = p.start(t, runner, options)
	p.act(t)
}

// Start starts jobs on the platform's database, as another process would.
func (p *Platform) Start(t testing.TB, options gateway.JobOptions) *gateway.Jobs {
	t.Helper()
	return p.start(t, p.Flow, options)
}

// Beside starts jobs on a database of their own, as another node on the same Postgres would.
func (p *Platform) Beside(t testing.TB, db *bun.DB, runner gateway.Runner, options gateway.JobOptions) *gateway.Jobs {
	t.Helper()
	mine := p.DB
	p.DB = db
	defer func() { p.DB = mine }()
	return p.start(t, runner, options)
}

func (p *Platform) start(t testing.TB, runner gateway.Runner, options gateway.JobOptions) *gateway.Jobs {
	t.Helper()
	options.Secret = make([]byte, 32)
	if options.Workers == 0 {
		options.Workers = 2
	}
	if options.Share == 0 {
		options.Share = options.Workers
	}
	parts := p.JobsParts()
	parts.Runner = runner
	jobs, err := gateway.NewJobs(t.Context(), parts, options)
	must(t)(err)
	t.Cleanup(func() {
		now, done := context.WithCancel(context.Background())
		done()
		jobs.Close(now)
	})
	return jobs
}

// JobsParts are what jobs are run with.
func (p *Platform) JobsParts() gateway.JobsParts {
	return gateway.JobsParts{
		DB: p.DB, Runner: p.Flow, Results: p.Queue, Permit: p.Policy, Record: p.Log, Log: p.Log, Grants: p.Policy, People: members{p.Identity},
	}
}

// members are the people of the tests, of whom not all have an account.
type members struct{ *identity.Identity }

// Person tells who somebody is now: by their account if they have one.
func (m members) Person(ctx context.Context, name string) (policy.Principal, error) {
	who, err := m.Identity.Person(ctx, name)
	if err != nil && problem.Of(err).Code == "identity.no-such-account" {
		return Person(name), nil
	}
	return who, err
}

// Present believes in the sessions that Person makes up.
func (m members) Present(ctx context.Context, session string) error {
	if strings.HasPrefix(session, "s-") {
		return nil
	}
	return m.Identity.Present(ctx, session)
}

// NewGrant grants an operator the one data set of the tests, for a day.
func (p *Platform) NewGrant(t testing.TB, operator string) policy.Grant {
	t.Helper()
	return p.grant(t, operator, 24*time.Hour)
}

// LongGrant does so for a month.
func (p *Platform) LongGrant(t testing.TB, operator string) policy.Grant {
	t.Helper()
	return p.grant(t, operator, 30*24*time.Hour)
}

func (p *Platform) grant(t testing.TB, operator string, term time.Duration) policy.Grant {
	t.Helper()
	grant, err := p.Policy.CreateGrant(t.Context(), Person("authority"), policy.Grant{
		Operator: operator, Scenario: "housing", Title: "Housing", Mode: policy.Perturbed,
		Datasets: []policy.GrantedDataset{{Name: "residents", Columns: []string{"district", "income"}}},
		Quota:    policy.Quota{JobsPerDay: 1000, CellsPerDay: 1000},
		From:     time.Now().Add(-time.Hour), Until: time.Now().Add(term),
	})
	must(t)(err)
	return grant
}

// Admit makes the accounts of people, by name.
func (p *Platform) Admit(t testing.TB, names ...string) {
	t.Helper()
	for _, account := range people {
		for _, name := range names {
			if account.Name == name {
				account.DisplayName = "张" + name
				must(t)(p.Identity.CreateAccount(t.Context(), account, Password))
			}
		}
	}
}

// Kinds lists what stands on the log, the oldest first.
func (p *Platform) Kinds(t testing.TB) []string {
	t.Helper()
	records, err := p.Log.Search(t.Context(), audit.Filter{Limit: 1000})
	must(t)(err)
	kinds := make([]string, len(records))
	for i, r := range records {
		kinds[i] = r.Kind
	}
	return kinds
}

func must(t testing.TB) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}
