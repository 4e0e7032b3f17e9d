package gatewaytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"weir/export"
	"weir/export/guard"
	"weir/gateway"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// What a query of the tests makes the script do. Whatever else stands in the text is of no matter.
const (
	Release = "SELECT 'release'" // a table of one row leaves at once
	Wait    = "SELECT 'wait'"    // the same waits for an officer
	Deny    = "SELECT 'deny'"    // it is refused, with a place in the text
	Fail    = "SELECT 'fail'"    // it fails, with Secret in the cause
	Panic   = "SELECT 'panic'"   // the flow panics
	Block   = "SELECT 'block'"   // it runs until Flow.Open is called or its context ends
)

// Secret stands for what must never be shown: it is in causes, texts and panics.
const Secret = "身份证 220202199001011234"

// Took is what the processes of every query of the tests take, as far as anybody knows.
var Took = sandbox.Usage{CPU: 2 * time.Second, Wall: 3 * time.Second, PeakMemory: 5 << 20, Read: 7 << 20}

// Flow is the script.
type Flow struct {
	Started chan string // gets the job of each query that runs
	Ended   chan error  // gets why the context of a blocked query ended, nil if it was opened

	policy *policy.Engine
	filter *export.Filter
	gate   chan struct{}
	open   sync.Once
	mu     sync.Mutex
	runs   map[string]int
}

// NewFlow makes a script with a filter that is real.
func NewFlow(engine *policy.Engine, filter *export.Filter) *Flow {
	return &Flow{
		Started: make(chan string, 1000), Ended: make(chan error, 1000), gate: make(chan struct{}),
		policy: engine, filter: filter, runs: map[string]int{},
	}
}

// Open lets every blocked query go on, now and later.
func (f *Flow) Open() { f.open.Do(func() { close(f.gate) }) }

// Runs tells how often a job was run, as far as the rules let it.
func (f *Flow) Runs(job string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.runs[job]
}

// Run asks the rules and then does what the text says.
func (f *Flow) Run(ctx context.Context, who policy.Principal, req gateway.Request) (export.Released, error) {
	decision, err := f.policy.Authorize(ctx, who, req.Grant)
	if err != nil {
		return export.Released{}, err
	}
	f.mu.Lock()
	f.runs[req.Job]++
	f.mu.Unlock()
	trace := sandbox.TraceOf(ctx)
	trace.Progress(37)
	defer trace.Used(Took)
	f.Started <- req.Job
	var what string
	if _, err := fmt.Sscanf(req.SQL, "SELECT '%s", &what); err != nil {
		return export.Released{}, err
	}
	switch "SELECT '" + what {
	case Release:
		return f.release(ctx, who, req, decision, policy.Perturbed)
	case Wait:
		return f.release(ctx, who, req, decision, policy.Exact)
	case Deny:
		return export.Released{}, problem.New("policy.not-analyst").Place(problem.Position{Line: 2, Column: 8}).
			Because(errors.New(Secret))
	case Panic:
		panic(Secret)
	case Block:
		select {
		case <-f.gate:
			f.Ended <- nil
			return f.release(ctx, who, req, decision, policy.Perturbed)
		case <-ctx.Done():
			f.Ended <- context.Cause(ctx)
			return export.Released{}, ctx.Err()
		}
	}
	return export.Released{}, fmt.Errorf("the engine said: %s", Secret)
}

func (f *Flow) release(ctx context.Context, who policy.Principal, req gateway.Request, d policy.Decision, mode policy.Mode) (export.Released, error) {
	d.Mode = mode
	assessment, err := f.filter.Begin(req.Job, &guard.Program{
		Final: guard.Final{Names: []string{"district", "people"}, Errors: []int{guard.NoError, guard.NoError}}, Sources: []string{"residents"},
	}, d)
	if err != nil {
		return export.Released{}, err
	}
	verdict, err := assessment.Judge(sandbox.Table{
		Columns: []sandbox.Column{{Name: "c0", Type: "VARCHAR"}, {Name: "c1", Type: "BIGINT"}},
		Rows:    [][]any{{"=昌邑区", "1200"}},
	})
	if err != nil {
		return export.Released{}, err
	}
	verdict.Job, verdict.Grant, verdict.Operator, verdict.Subject, verdict.SQL = req.Job, req.Grant, who.Organisation, who.Subject, req.SQL
	return f.filter.Release(context.WithoutCancel(ctx), verdict, 1)
}

// Explain says what was asked, as far as the rules allow the question.
func (f *Flow) Explain(ctx context.Context, who policy.Principal, req gateway.Request) (any, error) {
	if _, err := f.policy.Authorize(ctx, who, req.Grant); err != nil {
		return nil, err
	}
	if req.SQL == Deny {
		return nil, problem.New("policy.not-analyst").Place(problem.Position{Line: 1, Column: 8})
	}
	return map[string]any{"plan": map[string]string{"operator": "aggregate", "type": "Released"}}, nil
}

// Catalogue is a list of data sets. What is imported is read as far as it must be to name it.
type Catalogue struct {
	mu       sync.Mutex
	versions []policy.Version  // the newest last
	Files    map[string]string // content of what was imported, by data set
	Refuse   error             // what the next import ends with
	Waits    bool              // what is imported waits for a review
}

// NewCatalogue makes the list with one data set.
func NewCatalogue() *Catalogue {
	least := 0.0
	residents := policy.Dataset{
		Name: "residents", Title: policy.Plain("Residents"), Provider: "registry", Version: 1, Rows: 123456,
		Units: []policy.Unit{{Domain: "person", Key: "id", Unique: true}},
		Columns: []policy.Column{
			{Name: "id", Type: "VARCHAR", Class: policy.Identifier},
			{Name: "district", Type: "VARCHAR", Class: policy.Quasi, Title: policy.Plain("区")},
			{Name: "income", Type: "DECIMAL(12,2)", Class: policy.Measure, Bound: &policy.Bounds{Min: &least}},
		},
	}
	return &Catalogue{Files: map[string]string{}, versions: []policy.Version{{Dataset: residents, State: policy.VersionApproved, TakenAt: time.Unix(0, 0).UTC()}}}
}

// Receive takes any file for that of the data set trees.
func (c *Catalogue) Receive(_ context.Context, _ []byte, file io.Reader) (policy.Version, error) {
	content, err := io.ReadAll(file)
	if err != nil {
		return policy.Version{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Refuse != nil {
		return policy.Version{}, c.Refuse
	}
	taken := policy.Version{State: policy.VersionApproved, TakenAt: time.Now().UTC(), Dataset: policy.Dataset{
		Name: "trees", Title: policy.Plain("Trees"), Provider: "registry", Open: true, Version: len(c.of("trees")) + 1, Rows: 12345, Hash: FeedHash,
		Columns: []policy.Column{{Name: "kind", Type: "VARCHAR", Class: policy.OpenClass}},
	}}
	if c.Waits {
		taken.State, taken.Weaker = policy.VersionWaiting, []policy.Weakening{{What: policy.WeakerFirst}}
	}
	c.versions = append(c.versions, taken)
	c.Files["trees"] = string(content)
	return taken, nil
}

// of gives the places of the versions of a data set, the newest first.
func (c *Catalogue) of(name string) (places []int) {
	for i, v := range slices.Backward(c.versions) {
		if v.Name == name {
			places = append(places, i)
		}
	}
	return places
}

// Dataset gives one of the list.
func (c *Catalogue) Dataset(_ context.Context, name string) (policy.Dataset, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.of(name) {
		if c.versions[i].State == policy.VersionApproved {
			return c.versions[i].Dataset, nil
		}
	}
	if len(c.of(name)) > 0 {
		return policy.Dataset{}, problem.New("sandbox.not-approved", "name", name)
	}
	return policy.Dataset{}, problem.New("sandbox.unknown-dataset", "name", name)
}

// Datasets gives the list.
func (c *Catalogue) Datasets(ctx context.Context) ([]policy.Dataset, error) {
	var all []policy.Dataset
	for _, name := range []string{"residents", "trees"} {
		if d, err := c.Dataset(ctx, name); err == nil {
			all = append(all, d)
		}
	}
	return all, nil
}

// FeedHash stands for the hash of every file that is supplied.
const FeedHash = "feedfeedfeedfeedfeedfeedfeedfeed"

// Versions gives all of them.
func (c *Catalogue) Versions(_ context.Context, name, provider string) (all []policy.Version, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.versions) {
		if (name == "" || v.Name == name) && (provider == "" || v.Provider == provider) {
			all = append(all, v)
		}
	}
	return all, nil
}

// Decide changes states.
func (c *Catalogue) Decide(_ context.Context, d policy.VersionDecision) (changed []policy.Version, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.of(d.Dataset) {
		v := &c.versions[i]
		if (d.Version == 0 || d.Version == v.Version) && v.State.MayBecome(d.State) {
			v.State, v.Reason, v.DecidedAt, v.Weaker = d.State, d.Reason, time.Now().UTC(), nil
			changed = append(changed, *v)
		}
	}
	if len(changed) == 0 {
		return nil, problem.New("sandbox.unknown-version", "name", d.Dataset, "version", fmt.Sprint(d.Version))
	}
	return changed, nil
}

// Tables are the tables that were left behind, by owner.
type Tables struct {
	mu   sync.Mutex
	Kept map[sandbox.Owner][]sandbox.Kept
}

// List gives those of one.
func (k *Tables) List(_ context.Context, owner sandbox.Owner) ([]sandbox.Kept, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.Kept[owner], nil
}

// Delete forgets those of one.
func (k *Tables) Delete(_ context.Context, owner sandbox.Owner) ([]sandbox.Kept, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gone := k.Kept[owner]
	delete(k.Kept, owner)
	return gone, nil
}
