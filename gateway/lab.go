package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/export"
	"weir/export/account"
	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
	"weir/sandbox"
)

// Lab is the platform in small, for one person on their own machine who holds the data anyway: a provider who
// wants to see what a data set would give away before it is opened. It is the same Flow over the same parts, with
// a store, a vault and a log that are gone when it is closed. What would wait for an officer is released by a
// played one, so that it can be looked at. It must never be given data that its user may not see.
type Lab struct {
	flow     *Flow
	engine   *policy.Engine
	queue    *export.Queue
	log      *audit.Log
	db       *bun.DB
	planner  *sandbox.Planner
	workers  *sandbox.Workers
	dir      string
	mode     policy.Mode
	datasets []policy.Dataset
	grants   map[string]asker
	jobs     int

	// Trouble is told the cause of every failure, as the operation log of a platform would be; nobody if it is nil.
	Trouble func(job string, cause error)
}

// asker is an analyst with a grant.
type asker struct {
	person policy.Principal
	grant  string
}

const (
	labOrigin    = "weir.local/lab"
	labUnlimited = 100_000 // a day: the most that a grant can have
)

// labPrivacy is the budget of a story in private mode: ten queries of one each.
var labPrivacy = policy.Privacy{Epsilon: 10, Delta: 1e-5, QueryEpsilon: 1}

// OpenLab takes the data sets of the manifests into a vault of its own and opens the lab in the given mode.
func OpenLab(ctx context.Context, worker string, manifests []string, mode policy.Mode) (*Lab, error) {
	dir, err := os.MkdirTemp("", "weir-lab-")
	if err != nil {
		return nil, fmt.Errorf("open lab: %w", err)
	}
	l := &Lab{dir: dir, mode: mode, grants: map[string]asker{}}
	if err := l.open(ctx, worker, manifests); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lab) open(ctx context.Context, worker string, manifests []string) error {
	var err error
	if l.db, err = store.Open(ctx, filepath.Join(l.dir, "weir.db")); err != nil {
		return err
	}
	if l.engine, err = policy.New(ctx, l.db, policy.Options{}); err != nil {
		return err
	}
	key, err := audit.LoadKey(l.dir, labOrigin)
	if err != nil {
		return err
	}
	if l.log, err = audit.Open(ctx, l.db, audit.Options{Origin: labOrigin, Key: key}); err != nil {
		return err
	}
	vault, err := sandbox.OpenVault(ctx, filepath.Join(l.dir, "vault"), l.db, worker, sandbox.MemoryMaster())
	if err != nil {
		return err
	}
	for _, m := range framesFirst(manifests) {
		d, err := vault.Import(ctx, m)
		if err != nil {
			return err
		}
		l.datasets = append(l.datasets, d)
	}
	if l.queue, err = export.OpenQueue(ctx, l.db, nil); err != nil {
		return err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	filter, err := export.New(secret, l.queue)
	if err != nil {
		return err
	}
	tables, err := sandbox.OpenWorkspaces(ctx, filepath.Join(l.dir, "workspaces"), vault)
	if err != nil {
		return err
	}
	l.planner = sandbox.NewPlanner(worker, sandbox.DefaultLimits).KeepWarm(sandbox.WarmPlanners)
	l.workers = sandbox.NewWorkers(worker, vault, sandbox.DefaultLimits).KeepWarm(sandbox.WarmWorkers)
	book, err := account.Open(ctx, l.db)
	if err != nil {
		return err
	}
	budget, err := OpenBudget(ctx, book, l.log, l.queue.Noised, time.Now)
	if err != nil {
		return err
	}
	l.flow, err = NewFlow(FlowParts{
		Policy: l.engine, Catalogue: vault, Filter: filter, Log: l.log, Budgets: labBudgets{budget}, Clock: time.Now,
		Planners: RealPlanners{l.planner},
		Workers:  RealWorkers{l.workers, tables},
		Tables:   KeptTables{tables},
	})
	return err
}

// framesFirst puts manifests in an order in which a frame is there before the data set that names it. What cannot be
// read stays where it is: its import says what is wrong.
func framesFirst(manifests []string) []string {
	framed := func(path string) bool {
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		head, err := sandbox.ReadHeading(text)
		return err == nil && head.Frame != ""
	}
	isFrame := func(path string) bool { return !framed(path) }
	return append(slices.DeleteFunc(slices.Clone(manifests), framed), slices.DeleteFunc(slices.Clone(manifests), isFrame)...)
}

// labBudgets gives each story accounts of its own, since one has nothing to do with another.
type labBudgets struct{ Budgets }

// Charge charges the accounts of the operator's story.
func (b labBudgets) Charge(ctx context.Context, p Payer, charges []account.Charge) error {
	own := slices.Clone(charges)
	for i := range own {
		own[i].Domain += "." + p.Operator
	}
	return b.Budgets.Charge(ctx, p, own)
}

// Close ends the lab and deletes everything that it took in.
func (l *Lab) Close() error {
	if l.planner != nil {
		l.planner.Close()
	}
	if l.workers != nil {
		l.workers.Close()
	}
	if l.log != nil {
		l.log.Close()
	}
	if l.db != nil {
		l.db.Close()
	}
	return os.RemoveAll(l.dir)
}

// Ask runs one query. Queries of one story share an operator and a grant, so that what was released to it before
// counts; another story is another operator.
func (l *Lab) Ask(ctx context.Context, story, sql string) (export.Released, error) {
	who, err := l.asker(ctx, story)
	if err != nil {
		return export.Released{}, err
	}
	l.jobs++
	job := fmt.Sprintf("lab-%d", l.jobs)
	started := time.Now()
	released, err := l.flow.Run(ctx, who.person, Request{Job: job, Grant: who.grant, SQL: sql})
	if err != nil {
		if cause := problem.Of(err).Unwrap(); cause != nil && l.Trouble != nil {
			l.Trouble(job, cause)
		}
		return export.Denied(job, err, time.Since(started)), nil
	}
	if released.State() != export.StateWaiting {
		return released, nil
	}
	officer := policy.Principal{Subject: "lab-officer", Organisation: "lab-authority", Roles: []policy.Role{policy.Officer}}
	if err := l.queue.Approve(ctx, job, officer, "looked at in the lab"); err != nil {
		return export.Released{}, err
	}
	return l.queue.Result(ctx, job)
}

// Explain shows how a query is typed.
func (l *Lab) Explain(ctx context.Context, story, sql string) (any, error) {
	who, err := l.asker(ctx, story)
	if err != nil {
		return nil, err
	}
	return l.flow.Explain(ctx, who.person, Request{Grant: who.grant, SQL: sql})
}

func (l *Lab) asker(ctx context.Context, story string) (asker, error) {
	if a, ok := l.grants[story]; ok {
		return a, nil
	}
	number := fmt.Sprintf("lab-operator-%d", len(l.grants)+1)
	g := policy.Grant{
		Operator: number, Scenario: "lab", Title: "lab", Mode: l.mode, Rules: policy.DefaultRules, State: policy.GrantActive,
		Quota: policy.Quota{JobsPerDay: labUnlimited, CellsPerDay: labUnlimited},
		From:  time.Now().Add(-time.Hour), Until: time.Now().Add(24 * time.Hour),
	}
	g.Scenario = "lab" + number[strings.LastIndexByte(number, '-'):] // each story is a scenario of its own, with a budget of its own
	if l.mode == policy.Private {
		g.Privacy = labPrivacy
	}
	for _, d := range l.datasets {
		var columns []string
		for _, c := range d.Columns {
			columns = append(columns, c.Name)
		}
		g.Datasets = append(g.Datasets, policy.GrantedDataset{Name: d.Name, Columns: slices.Clone(columns)})
	}
	authority := policy.Principal{Subject: "lab-authority", Organisation: "lab-authority", Roles: []policy.Role{policy.Authority}}
	err := l.engine.BringOver(ctx, []policy.Member{
		{Organisation: authority.Organisation, Roles: authority.Roles}, {Organisation: number, Roles: []policy.Role{policy.Analyst}},
	})
	if err == nil {
		g, err = l.engine.CreateGrant(ctx, authority, g)
	}
	if err != nil {
		return asker{}, fmt.Errorf("grant of the lab: %w", err)
	}
	a := asker{person: policy.Principal{Subject: number + "-analyst", Organisation: number, Roles: []policy.Role{policy.Analyst}, Session: "lab"}, grant: g.ID}
	l.grants[story] = a
	return a, nil
}
