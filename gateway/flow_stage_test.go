package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/export"
	accounts "weir/export/account"
	"weir/gateway"
	"weir/policy"
	"weir/sandbox"
)

// secret stands for what an engine says about an error: it must never reach a person.
const secret = "身份证 220202199001011234"

var errBroken = errors.New("the engine said: " + secret)

// fault is a way in which a call on a part of the flow can go wrong.
type fault string

const (
	noFault      fault = ""
	fails        fault = "fails"         // the call does nothing and gives an error
	panics       fault = "panics"        // the call does not come back
	leavesBefore fault = "leaves before" // the analyst goes away, and then the call is made
	leavesAfter  fault = "leaves after"  // the call is made, and then the analyst goes away
)

var faults = []fault{fails, panics, leavesBefore, leavesAfter}

// stage stands around the parts of a flow, sees every call on them, and makes one of them go wrong. The parts
// inside are recordings or the real ones.
type stage struct {
	parts gateway.FlowParts
	store *storeHook
	queue *export.Queue

	fault  fault
	strike int // the call that goes wrong, by number
	struck string
	leave  context.CancelFunc

	calls   []string      // made, in order
	done    []string      // those that came to a good end
	log     []audit.Event // what stands on the log of this query
	opened  [][]string    // data sets of each worker
	granted [][]string    // columns that the planner was told of
	given   []string      // every text that a worker was given
	said    recording     // what the processes said
	passed  sandbox.Table // the cells that the filter let through to the last step in the planner
	running int           // processes that were started and not closed
	spans   []span        // when each call was made
}

// span is one call in time.
type span struct {
	name       string
	begin, end time.Time
}

// newStage puts a stage around the parts. Its filter writes to the queue in the given store.
func newStage(parts gateway.FlowParts, queue *export.Queue, hook *storeHook) *stage {
	return &stage{parts: parts, queue: queue, store: hook, strike: -1}
}

// run runs a query on the stage. A panic comes back as an error, as the jobs of the platform make one of it.
func (s *stage) run(ctx context.Context, who policy.Principal, req gateway.Request) (released export.Released, err error) {
	ctx, s.leave = context.WithCancel(ctx)
	defer s.leave()
	s.store.stage = s
	defer func() {
		s.store.stage = nil
		if failure := recover(); failure != nil {
			released, err = export.Released{}, fmt.Errorf("panic: %v", failure)
		}
	}()
	flow, err := gateway.NewFlow(gateway.FlowParts{
		Policy: stagedPolicy{s}, Catalogue: stagedCatalogue{stage: s}, Planners: stagedPlanners{s}, Workers: stagedWorkers{s}, Tables: stagedTables{s},
		Filter: s.parts.Filter, Log: stagedLog{s}, Budgets: stagedBudgets{s}, Clock: s.parts.Clock,
	})
	if err != nil {
		return export.Released{}, err
	}
	return flow.Run(ctx, who, req)
}

// call makes a call, or makes it go wrong if its turn has come.
func call[T any](s *stage, name string, do func() (T, error)) (T, error) {
	var nothing T
	mine := len(s.calls) == s.strike
	s.calls = append(s.calls, name)
	if mine {
		s.struck = name
		switch s.fault {
		case fails:
			return nothing, errBroken
		case panics:
			panic(secret)
		case leavesBefore:
			s.leave()
		}
	}
	begin := time.Now()
	result, err := do()
	s.spans = append(s.spans, span{name, begin, time.Now()})
	if err == nil {
		s.done = append(s.done, name)
	}
	if mine && s.fault == leavesAfter {
		s.leave()
	}
	return result, err
}

type stagedPolicy struct{ *stage }

func (s stagedPolicy) Known(context.Context, string) (bool, error) { return true, nil }

func (s stagedPolicy) Usable(ctx context.Context, grant string) error {
	_, err := call(s.stage, "usable", func() (struct{}, error) { return struct{}{}, s.parts.Policy.Usable(ctx, grant) })
	return err
}

func (s stagedPolicy) Authorize(ctx context.Context, who policy.Principal, grant string) (policy.Decision, error) {
	return call(s.stage, "authorize", func() (policy.Decision, error) { return s.parts.Policy.Authorize(ctx, who, grant) })
}

func (s stagedPolicy) Spend(ctx context.Context, grant string, jobs, cells int) error {
	name := "charge cells"
	if jobs > 0 {
		name = "charge job"
	}
	_, err := call(s.stage, name, func() (struct{}, error) { return struct{}{}, s.parts.Policy.Spend(ctx, grant, jobs, cells) })
	return err
}

func (s stagedPolicy) Share(ctx context.Context, grant string) (float64, error) {
	return call(s.stage, "ask for the share", func() (float64, error) { return s.parts.Policy.Share(ctx, grant) })
}

type stagedBudgets struct{ *stage }

func (s stagedBudgets) Charge(ctx context.Context, p gateway.Payer, charges []accounts.Charge) error {
	_, err := call(s.stage, "charge budget", func() (struct{}, error) { return struct{}{}, s.parts.Budgets.Charge(ctx, p, charges) })
	return err
}

type stagedCatalogue struct {
	*stage
	gateway.Catalogue // of which a flow uses what follows
}

func (s stagedCatalogue) Dataset(ctx context.Context, name string) (policy.Dataset, error) {
	return call(s.stage, "look up "+name, func() (policy.Dataset, error) { return s.parts.Catalogue.Dataset(ctx, name) })
}

type stagedPlanners struct{ *stage }

func (s stagedPlanners) Start(ctx context.Context, schema []policy.Dataset) (gateway.Planning, error) {
	return call(s.stage, "start planner", func() (gateway.Planning, error) {
		planning, err := s.parts.Planners.Start(ctx, schema)
		if err != nil {
			return nil, err
		}
		s.running++
		for _, d := range schema {
			s.granted = append(s.granted, append([]string{d.Name}, columnsOf(d)...))
		}
		return stagedPlanning{s.stage, planning}, nil
	})
}

type stagedPlanning struct {
	*stage
	inner gateway.Planning
}

func (s stagedPlanning) Bind(ctx context.Context, sql string) (sandbox.Bound, error) {
	bound, err := call(s.stage, "bind", func() (sandbox.Bound, error) { return s.inner.Bind(ctx, sql) })
	s.said.SQL, s.said.Bound = sql, bound
	return bound, err
}

func (s stagedPlanning) Finish(ctx context.Context, q sandbox.Query) (sandbox.Table, error) {
	s.passed = q.Tables[0].Table
	table, err := call(s.stage, "finish", func() (sandbox.Table, error) { return s.inner.Finish(ctx, q) })
	s.said.Answers = append(s.said.Answers, table)
	return table, err
}

func (s stagedPlanning) Close() sandbox.Usage {
	s.running--
	return s.inner.Close()
}

type stagedTables struct{ *stage }

func (s stagedTables) List(ctx context.Context, grant string) ([]policy.Dataset, error) {
	return call(s.stage, "list tables", func() ([]policy.Dataset, error) { return s.parts.Tables.List(ctx, grant) })
}

func (s stagedTables) Drop(ctx context.Context, grant, name string) error {
	_, err := call(s.stage, "drop table", func() (struct{}, error) { return struct{}{}, s.parts.Tables.Drop(ctx, grant, name) })
	return err
}

type stagedWorkers struct{ *stage }

func (s stagedWorkers) StartKeeping(ctx context.Context, job string, data []policy.Dataset) (gateway.KeepingSession, error) {
	return call(s.stage, "start keeping worker", func() (gateway.KeepingSession, error) {
		session, err := s.parts.Workers.StartKeeping(ctx, job, data)
		if err != nil {
			return nil, err
		}
		s.running++
		return stagedKeeping{&stagedSession{stage: s.stage, inner: session}, session}, nil
	})
}

type stagedKeeping struct {
	*stagedSession
	keeping gateway.KeepingSession
}

func (s stagedKeeping) Keep(ctx context.Context, q sandbox.Query, grant string, table policy.Dataset) error {
	_, err := call(s.stage, "keep", func() (struct{}, error) { return struct{}{}, s.keeping.Keep(ctx, q, grant, table) })
	return err
}

func (s stagedWorkers) Start(ctx context.Context, job string, data []policy.Dataset) (gateway.Session, error) {
	var names []string
	for _, d := range data {
		names = append(names, d.Name)
	}
	return call(s.stage, "start worker on "+strings.Join(names, ", "), func() (gateway.Session, error) {
		session, err := s.parts.Workers.Start(ctx, job, data)
		if err != nil {
			return nil, err
		}
		s.running++
		s.opened = append(s.opened, names)
		s.given = append(s.given, job, fmt.Sprintf("%+v", data))
		return &stagedSession{stage: s.stage, inner: session}, nil
	})
}

type stagedSession struct {
	*stage
	inner  gateway.Session
	closed bool
}

func (s *stagedSession) Query(ctx context.Context, q sandbox.Query) (sandbox.Table, error) {
	s.given = append(s.given, fmt.Sprintf("%+v", q))
	table, err := call(s.stage, "query", func() (sandbox.Table, error) { return s.inner.Query(ctx, q) })
	s.said.Answers = append(s.said.Answers, table)
	return table, err
}

func (s *stagedSession) Close() sandbox.Usage {
	if !s.closed {
		s.running--
	}
	s.closed = true
	begin := time.Now()
	defer func() { s.spans = append(s.spans, span{"close worker", begin, time.Now()}) }()
	return s.inner.Close()
}

type stagedLog struct{ *stage }

func (s stagedLog) Append(ctx context.Context, event audit.Event) (audit.Receipt, error) {
	return call(s.stage, "log "+event.Kind, func() (audit.Receipt, error) {
		receipt, err := s.parts.Log.Append(ctx, event)
		if err == nil {
			s.log = append(s.log, event)
		}
		return receipt, err
	})
}

// storeHook makes what the filter asks of the store calls of the stage.
type storeHook struct{ stage *stage }

// storeCalls are the statements of the filter, by how they begin.
var storeCalls = map[string]string{
	`INSERT INTO "export_releases"`: "queue",
	`INSERT INTO "export_cells"`:    "write history",
	`INSERT INTO "answers"`:         "keep answer",
}

func (h *storeHook) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	for begin, name := range storeCalls {
		if h.stage == nil || !strings.HasPrefix(event.Query, begin) {
			continue
		}
		if _, err := call(h.stage, name, func() (struct{}, error) { return struct{}{}, nil }); err != nil {
			broken, cancel := context.WithCancelCause(ctx)
			cancel(err)
			return broken
		}
	}
	return ctx
}

func (h *storeHook) AfterQuery(context.Context, *bun.QueryEvent) {}

// onLog writes what stands on the log in one line.
func (s *stage) onLog() string {
	var list []string
	for _, e := range s.log {
		line := strings.TrimPrefix(e.Kind, "job.")
		for _, fact := range []string{"outcome", "code"} {
			if text := e.Facts[fact].String(); text != "" {
				line += ":" + text
			}
		}
		list = append(list, line)
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, " ")
}

// queued gives the state in which a job's result stands in the queue, as the database holds it.
func queued(t testing.TB, db *bun.DB, job string) string {
	t.Helper()
	var states []string
	if err := db.NewRaw(`SELECT state FROM export_releases WHERE id = ?`, job).Scan(context.Background(), &states); err != nil {
		t.Fatal(err)
	}
	if len(states) == 0 {
		return "nothing"
	}
	return strings.Join(states, " ")
}

func columnsOf(d policy.Dataset) []string {
	var names []string
	for _, c := range d.Columns {
		names = append(names, c.Name)
	}
	return names
}

// before reports whether every call of the first kind that came to a good end did so before the first of the second.
func (s *stage) before(first, second string) bool {
	starts := func(prefix string) func(string) bool {
		return func(name string) bool { return strings.HasPrefix(name, prefix) }
	}
	then := slices.IndexFunc(s.done, starts(second))
	return then < 0 || slices.IndexFunc(s.done[:then], starts(first)) >= 0
}

func fixedClock() time.Time { return time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC) }
