package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/export"
	accounts "weir/export/account"
	"weir/gateway"
	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
)

// recording is what the processes said to one query, in order: how the engine understood it, and the tables.
type recording struct {
	SQL     string
	Data    []policy.Dataset // as they were taken in
	Bound   sandbox.Bound
	Answers []sandbox.Table
}

// recorded gives the recordings of flowQueries by name. The real processes are recorded once in each mode, so a
// recording is never older than what it stands for.
func recorded(t testing.TB, mode policy.Mode) map[string]recording {
	t.Helper()
	tapes.Lock()
	defer tapes.Unlock()
	if tapes.all[mode] != nil {
		return tapes.all[mode]
	}
	c := newCity(t)
	all := map[string]recording{}
	for name, sql := range flowQueries {
		s, req := c.stage(), c.request(recording{SQL: sql})
		c.forget() // each recording stands alone
		g := grantOf(mode)
		g.Operator, g.Scenario = req.Job, req.Job // nobody's history and nobody's budget
		req.Grant = c.grant(t, g)
		who := analyst
		who.Organisation = g.Operator
		if released, err := s.run(t.Context(), who, req); err != nil && flowCode(err) != "guard.raw-rows" {
			t.Fatalf("record %s: %s %v", name, released.State(), err)
		}
		said := s.said
		said.Data = c.data
		all[name] = said
	}
	tapes.all[mode] = all
	return all
}

var tapes = struct {
	sync.Mutex
	all map[policy.Mode]map[string]recording
}{all: map[policy.Mode]map[string]recording{}}

// theatre is what stages of recordings share: a store with the real queue, and a filter over it.
type theatre struct {
	db     *bun.DB
	hook   *storeHook
	queue  *export.Queue
	filter *export.Filter
	jobs   int
}

func newTheatre(t testing.TB) *theatre {
	t.Helper()
	th := &theatre{hook: &storeHook{}}
	th.db = storetest.Open(t, storetest.SQLite(t)).WithQueryHook(th.hook)
	var err error
	if th.queue, err = export.OpenQueue(t.Context(), th.db, fixedClock); err != nil {
		t.Fatal(err)
	}
	if th.filter, err = export.New(make([]byte, 32), th.queue); err != nil {
		t.Fatal(err)
	}
	return th
}

// forget makes it that nothing was asked before.
func (th *theatre) forget() {
	const away = "DROP TRIGGER IF EXISTS answers_fixed; DROP TRIGGER IF EXISTS answers_kept; " // which the platform never does
	if _, err := th.db.Exec(away + "DELETE FROM answers"); err != nil {
		panic(err)
	}
}

// play puts a recording on a stage. change, if not nil, alters the parts.
func (th *theatre) play(r recording, change func(*played)) *stage {
	th.forget()
	p := &played{recording: r}
	p.decision = policy.Decision{Grant: grantOf(policy.Perturbed), Mode: policy.Perturbed, Rules: policy.DefaultRules, CellsLeft: 1000}
	if change != nil {
		change(p)
	}
	return newStage(gateway.FlowParts{
		Policy: p, Catalogue: playedCatalogue{data: p.Data}, Planners: p, Workers: (*playedWorkers)(p), Tables: noTables{}, Filter: th.filter, Log: (*playedLog)(p), Budgets: playedBudgets{}, Clock: fixedClock,
	}, th.queue, th.hook)
}

func (th *theatre) request(r recording) gateway.Request {
	th.jobs++
	return gateway.Request{Job: fmt.Sprintf("job-%d", th.jobs), Grant: "grant-1", SQL: r.SQL}
}

var analyst = policy.Principal{Subject: "ning", Organisation: "harbour", Roles: []policy.Role{policy.Analyst}, Session: "s"}

// grantOf grants everything that the tests' data sets hold but the residents' names.
func grantOf(mode policy.Mode) policy.Grant {
	g := policy.Grant{
		ID: "grant-1", Operator: "harbour", Scenario: "housing", Title: "Housing", Mode: mode, Rules: policy.DefaultRules, State: policy.GrantActive,
		Quota: policy.Quota{JobsPerDay: 10_000, CellsPerDay: 100_000}, From: time.Now().Add(-time.Hour), Until: time.Now().Add(24 * time.Hour),
	}
	if mode == policy.Private {
		g.Privacy = policy.Privacy{Epsilon: 20, Delta: 1e-5, QueryEpsilon: 20}
	}
	for _, d := range cityData {
		columns := columnsOf(d)
		if d.Name == "residents" {
			columns = columns[1:]
		}
		g.Datasets = append(g.Datasets, policy.GrantedDataset{Name: d.Name, Columns: columns})
	}
	return g
}

// played answers as the real parts did when they were recorded, and refuses a context that is over as they do.
type played struct {
	recording
	decision policy.Decision
	charge   func(jobs, cells int) error
	appended int64
	answered int
}

func (p *played) Known(context.Context, string) (bool, error) { return true, nil }

func (p *played) Usable(ctx context.Context, _ string) error { return ctx.Err() }

func (p *played) Authorize(ctx context.Context, _ policy.Principal, _ string) (policy.Decision, error) {
	if err := ctx.Err(); err != nil {
		return policy.Decision{}, problem.New("policy.undecided").Because(err)
	}
	return p.decision, nil
}

func (p *played) Spend(ctx context.Context, _ string, jobs, cells int) error {
	if p.charge != nil {
		return p.charge(jobs, cells)
	}
	return ctx.Err()
}

func (p *played) Share(ctx context.Context, _ string) (float64, error) { return 1, ctx.Err() }

// playedBudgets can pay for anything.
type playedBudgets struct{}

func (playedBudgets) Charge(ctx context.Context, _ gateway.Payer, charges []accounts.Charge) error {
	if len(charges) == 0 {
		return errors.New("nothing is charged")
	}
	return ctx.Err()
}

// playedCatalogue can only look up: a flow that asked it for more would panic.
type playedCatalogue struct {
	gateway.Catalogue
	data []policy.Dataset
}

func (c playedCatalogue) Dataset(ctx context.Context, name string) (policy.Dataset, error) {
	for _, d := range c.data {
		if d.Name == name {
			return d, ctx.Err()
		}
	}
	return policy.Dataset{}, problem.New("sandbox.unknown-dataset", "name", name)
}

func (p *played) Start(ctx context.Context, _ []policy.Dataset) (gateway.Planning, error) {
	return (*playedPlanning)(p), ctx.Err()
}

func (p *played) answer(ctx context.Context) (sandbox.Table, error) {
	if err := ctx.Err(); err != nil {
		return sandbox.Table{}, problem.New("sandbox.job-failed").Because(err)
	}
	p.answered++
	return p.Answers[p.answered-1], nil
}

type playedPlanning played

func (p *playedPlanning) Bind(ctx context.Context, sql string) (sandbox.Bound, error) {
	if err := ctx.Err(); err != nil {
		return sandbox.Bound{}, problem.New("sandbox.job-failed").Because(err)
	}
	if sql != p.SQL {
		return sandbox.Bound{}, errors.New("this is not the recorded text")
	}
	return p.Bound, nil
}

func (p *playedPlanning) Finish(ctx context.Context, _ sandbox.Query) (sandbox.Table, error) {
	return (*played)(p).answer(ctx)
}

func (p *playedPlanning) Close() sandbox.Usage { return sandbox.Usage{} }

type playedWorkers played

func (p *playedWorkers) Start(ctx context.Context, _ string, _ []policy.Dataset) (gateway.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, problem.New("sandbox.job-failed").Because(err)
	}
	return (*playedSession)(p), nil
}

func (p *playedWorkers) StartKeeping(context.Context, string, []policy.Dataset) (gateway.KeepingSession, error) {
	return nil, errors.New("no recording keeps tables")
}

// noTables is an empty workspace.
type noTables struct{}

func (noTables) List(ctx context.Context, _ string) ([]policy.Dataset, error) { return nil, ctx.Err() }
func (noTables) Drop(context.Context, string, string) error                   { return errors.New("there are no tables") }

type playedSession played

func (p *playedSession) Query(ctx context.Context, _ sandbox.Query) (sandbox.Table, error) {
	return (*played)(p).answer(ctx)
}

func (p *playedSession) Close() sandbox.Usage {
	return sandbox.Usage{CPU: 3 * time.Millisecond, Wall: 20 * time.Millisecond, PeakMemory: 40 << 20}
}

type playedLog played

func (p *playedLog) Append(ctx context.Context, _ audit.Event) (audit.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return audit.Receipt{}, errors.Join(audit.ErrNotLogged, err)
	}
	p.appended++
	return audit.Receipt{Index: p.appended - 1}, nil
}
