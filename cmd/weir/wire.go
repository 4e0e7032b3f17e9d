package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/uptrace/bun"
	"go.uber.org/zap"

	"weir/audit"
	"weir/export"
	"weir/export/account"
	"weir/gateway"
	"weir/gateway/api"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
	"weir/sandbox"
)

// The folders of the data folder, and the secrets among the keys.
const (
	keysFolder       = "keys"
	tokensFolder     = "keys/tokens"
	vaultFolder      = "vault"
	workspacesFolder = "workspaces"
	auditKey         = "audit.key"
	noiseSecret      = "noise.key"
	jobsSecret       = "jobs.key"
)

// assembly is the platform put together from its rooms. It is taken apart in the reverse order.
type assembly struct {
	handler  http.Handler
	accounts *identity.Identity
	engine   *policy.Engine
	log      *audit.Log
	closing  []func(context.Context) error
}

// foundation is what the platform stands on, and what is needed to make its first account: the store, the log, the
// rules and the accounts.
func foundation(ctx context.Context, s settings, url string) (a *assembly, db *bun.DB, err error) {
	a = &assembly{}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.folders(); err != nil {
		return a, nil, err
	}
	opened, err := store.Open(ctx, s.Store)
	if err != nil {
		return a, nil, unreachable(err)
	}
	a.onClose(func(context.Context) error { return opened.Close() })
	if err := sameTime(ctx, opened, time.Now); err != nil {
		return a, nil, err
	}
	key, err := audit.OpenKey(ctx, opened, filepath.Join(s.Data, keysFolder), s.Origin)
	if err != nil {
		return a, nil, err
	}
	log, err := audit.Open(ctx, opened, audit.Options{Origin: s.Origin, Key: key})
	if err != nil {
		return a, nil, err
	}
	a.log = log
	a.onClose(func(context.Context) error { return log.Close() })
	if err := a.continues(ctx, s); err != nil {
		return a, nil, err
	}
	db = opened
	if a.engine, err = policy.New(ctx, db, policy.Options{}); err != nil {
		return a, nil, err
	}
	external, err := providers(s.Identity.External)
	if err != nil {
		return a, nil, err
	}
	a.accounts, err = identity.New(ctx, db, filepath.Join(s.Data, tokensFolder), identity.Options{
		Issuer: url, CheckRoles: policy.CheckRoles, External: external,
	})
	if err != nil {
		return a, nil, err
	}
	return a, db, a.bringOver(ctx)
}

// folders makes what is missing of the data folder. An embedded store that is missing where there are keys was lost or
// is elsewhere: a new one beside them would know neither the accounts nor the data sets.
func (s *settings) folders() error {
	if s.Store == filepath.Join(s.Data, storeFile) {
		_, store := os.Stat(s.Store)
		_, key := os.Stat(filepath.Join(s.Data, keysFolder, auditKey))
		if errors.Is(store, fs.ErrNotExist) && key == nil {
			return problem.New("platform.store-missing").Because(store)
		}
	}
	for _, name := range []string{"", keysFolder, tokensFolder} {
		if err := os.MkdirAll(filepath.Join(s.Data, name), 0o700); err != nil {
			return badFolder(err)
		}
	}
	return nil
}

// unreachable is the problem of a store that does not open.
func unreachable(err error) error {
	if machineProblem(err) != "" {
		return err
	}
	return problem.New("platform.store-silent").Because(err)
}

// assemble puts the whole platform together, as people reach it at url. What it lacks is an error here and not
// later: it never starts with a part missing.
func assemble(ctx context.Context, s settings, url string, log *zap.Logger) (a *assembly, err error) {
	a, db, err := foundation(ctx, s, url)
	if err != nil {
		return nil, err
	}
	built := a // what is returned with an error is nil
	defer func() {
		if err != nil {
			err = errors.Join(err, built.close(context.WithoutCancel(ctx)))
		}
	}()
	worker, err := sandbox.FindWorker()
	if err != nil {
		return nil, problem.New("cli.no-worker").Because(err)
	}
	if err := sandbox.CheckConfinement(worker); err != nil {
		return nil, err
	}
	vault, err := openVault(ctx, s, db, worker)
	if err != nil {
		return nil, err
	}
	queue, err := export.OpenQueue(ctx, db, time.Now)
	if err != nil {
		return nil, err
	}
	tables, err := sandbox.OpenWorkspaces(ctx, filepath.Join(s.Data, workspacesFolder), vault)
	if err != nil {
		return nil, err
	}
	book, err := account.Open(ctx, db)
	if err != nil {
		return nil, err
	}
	budget, err := gateway.OpenBudget(ctx, book, a.log, queue.Noised, time.Now)
	if err != nil {
		return nil, err
	}
	flow, err := a.path(ctx, s, worker, vault, tables, queue, budget, log)
	if err != nil {
		return nil, err
	}
	jobs, err := a.jobs(ctx, s, db, flow, queue, log)
	if err != nil {
		return nil, err
	}
	acts, err := gateway.NewActs(gateway.ActsParts{
		Permit: a.engine, Record: a.log, Log: a.log, Grants: a.engine, Endings: a.engine, Grace: s.grace(),
		Accounts: a.accounts, Organisations: a.engine, Catalogue: vault, Releases: queue, Jobs: jobs, Ledger: jobs, Budget: budget, Tables: tables,
	})
	if err != nil {
		return nil, err
	}
	a.reap(ctx, acts, log)
	a.keepNewest(ctx, s, log)
	tellAside(log, vault, tables)
	state := &readiness{folder: s.Data, db: db, log: a.log, vault: vault, clock: time.Now}
	a.handler, err = api.New(api.Deps{
		Identity: a.accounts, Explain: flow, Jobs: jobs, Acts: acts, Permit: a.engine,
		Ready:     state.ready,
		Discovery: a.accounts.Discovery(), Keys: a.accounts.JWKS(), Metrics: registry(), Log: log.Named("api"),
		Secure: s.secure() || s.Plaintext, TrustedProxies: s.Proxies, MetricsOnLoopback: s.Metrics.Loopback,
	})
	return a, err
}

// path puts together the way of a query.
func (a *assembly) path(ctx context.Context, s settings, worker string, vault *sandbox.Vault, tables *sandbox.Workspaces, queue *export.Queue, budget *gateway.Budget, log *zap.Logger) (*gateway.Flow, error) {
	noise, err := noiseKey(ctx, s, vault)
	if err != nil {
		return nil, err
	}
	filter, err := export.New(noise, queue)
	if err != nil {
		return nil, err
	}
	a.recall(ctx, filter, log)
	planner := sandbox.NewPlanner(worker, sandbox.DefaultLimits).KeepWarm(sandbox.WarmPlanners)
	workers := sandbox.NewWorkers(worker, vault, sandbox.DefaultLimits).KeepWarm(sandbox.WarmWorkers)
	a.onClose(func(context.Context) error { planner.Close(); workers.Close(); return nil })
	return gateway.NewFlow(gateway.FlowParts{
		Policy: a.engine, Catalogue: vault, Filter: filter, Log: a.log, Budgets: budget, Clock: time.Now,
		Planners: gateway.RealPlanners{Planner: planner},
		Workers:  gateway.RealWorkers{Workers: workers, Tables: tables},
		Tables:   gateway.KeptTables{Workspaces: tables},
	})
}

// jobs begins to run what waits.
func (a *assembly) jobs(ctx context.Context, s settings, db *bun.DB, flow *gateway.Flow, queue *export.Queue, log *zap.Logger) (*gateway.Jobs, error) {
	options, err := s.Jobs.options()
	if err != nil {
		return nil, err
	}
	if options.Secret, err = openSecret(filepath.Join(s.Data, keysFolder), jobsSecret); err != nil {
		return nil, err
	}
	options.Log = log.Named("jobs")
	jobs, err := gateway.NewJobs(ctx, gateway.JobsParts{
		DB: db, Runner: flow, Results: queue, Permit: a.engine, Record: a.log, Log: a.log, Grants: a.engine, People: a.accounts,
	}, options)
	if err != nil {
		return nil, err
	}
	a.onClose(func(ctx context.Context) error { jobs.Close(ctx); return nil })
	return jobs, nil
}

// recall has the filter find out again, beside everything else, what released cells say together.
func (a *assembly) recall(ctx context.Context, filter *export.Filter, log *zap.Logger) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var recalling sync.WaitGroup
	recalling.Go(func() {
		if err := filter.Recall(life); err != nil && life.Err() == nil {
			log.Named("export").Warn("histories of exact releases could not be recalled; the next jobs do that themselves", zap.Error(err))
		}
	})
	a.onClose(func(context.Context) error { stop(); recalling.Wait(); return nil })
}

// reap acts on the ends of grants as they come, and deletes what is overdue.
func (a *assembly) reap(ctx context.Context, acts *gateway.Acts, log *zap.Logger) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var reaping sync.WaitGroup
	reaping.Go(func() { acts.KeepReaped(life, gateway.MachineClock{}, log.Named("grants")) })
	a.onClose(func(context.Context) error { stop(); reaping.Wait(); return nil })
}

// noiseKey is the secret of the sticky noise. A new one over data that is there already would give old questions
// new noise, which could then be averaged out.
func noiseKey(ctx context.Context, s settings, vault *sandbox.Vault) ([]byte, error) {
	folder := filepath.Join(s.Data, keysFolder)
	key, err := readSecret(folder, noiseSecret)
	if !errors.Is(err, errNoSecret) {
		return key, err
	}
	taken, err := vault.Versions(ctx, "", "")
	if err != nil {
		return nil, err
	}
	if len(taken) > 0 {
		return nil, problem.New("platform.secret-missing", "name", noiseSecret)
	}
	return openSecret(folder, noiseSecret)
}

func providers(configured []providerSettings) ([]identity.Provider, error) {
	all := make([]identity.Provider, len(configured))
	for i, c := range configured {
		all[i] = identity.Provider{Issuer: c.Issuer, Audience: c.Audience, SubjectClaim: c.Claim}
		if c.Keys == "" {
			continue
		}
		text, err := os.ReadFile(c.Keys)
		if err != nil || !json.Valid(text) {
			return nil, fmt.Errorf("keys of an external provider: not a JSON file: %w", err)
		}
		all[i].JWKS = text
	}
	return all, nil
}

// tellAside says what was moved aside when the vault and the workspaces were opened.
func tellAside(log *zap.Logger, vault *sandbox.Vault, tables *sandbox.Workspaces) {
	for folder, names := range map[string][]string{vaultFolder: vault.Aside(), workspacesFolder: tables.Aside()} {
		if len(names) > 0 {
			log.Warn("files that the store does not know were moved aside; weir vault status lists them", zap.String("folder", folder), zap.Strings("files", names))
		}
	}
}

func registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func (a *assembly) onClose(f func(context.Context) error) { a.closing = append(a.closing, f) }

// close takes the platform apart. Jobs that run when ctx ends are stopped.
func (a *assembly) close(ctx context.Context) error {
	var failed error
	for _, f := range slices.Backward(a.closing) {
		failed = errors.Join(failed, f(ctx))
	}
	a.closing = nil
	return failed
}
