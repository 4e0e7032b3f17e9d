package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"weir/policy"
	"weir/sandbox/isolate"
	"weir/sandbox/wire"
)

// MaxText is the most bytes of a text that a planner takes.
const MaxText = 64 << 10

// bindWall is the time in which a text must be understood.
const bindWall = 2 * time.Second

// WarmPlanners is how many planners a platform has waiting. Each takes 30 MB of memory, and two are enough for jobs that come one after the other; more at once wait for the processors anyway.
const WarmPlanners = 2

// Planner starts processes that read what people wrote.
type Planner struct {
	executable string
	limits     Limits
	warm       *pool // nil: each process is started when it is needed
}

// NewPlanner makes a planner of the worker program at the given path.
func NewPlanner(executable string, l Limits) *Planner {
	return &Planner{executable: executable, limits: l}
}

// KeepWarm has n processes wait, fully confined and sealed, for jobs to come: each serves one job and ends with it,
// like any other. It is called once, before the first Start, and what it keeps ends with Close.
func (p *Planner) KeepWarm(n int) *Planner {
	p.warm = newPool(n, p.launch)
	return p
}

// Close ends the processes that wait. Those that serve a job go on.
func (p *Planner) Close() {
	if p.warm != nil {
		p.warm.close()
	}
}

// Planning is one such process, for one job. It holds no data: it knows the granted columns of empty tables, and
// later the cells that were released.
type Planning struct {
	process *process
	limits  Limits
	wall    budget
	schema  []policy.Dataset
	ended   func() // tells the pool that there is room for another
}

// Bound is a text as the engine understood it.
type Bound struct {
	Plan  json.RawMessage // the bound, unoptimised plan; positions in it are bytes of the text
	Names []string        // names of the output's columns, as the engine resolved them
	Types []string        // and their types, as the engine writes them
}

// Start starts a process that knows the data sets of schema, with their granted columns and no rows. It must be
// closed. Errors are of the platform, never of a person.
func (p *Planner) Start(ctx context.Context, schema []policy.Dataset) (*Planning, error) {
	create, err := tables(schema)
	if err != nil {
		return nil, err
	}
	planning := &Planning{limits: p.limits, schema: schema, wall: budget{left: p.limits.Wall}, ended: func() {}}
	if p.warm != nil {
		planning.process, planning.ended = p.warm.take(ctx), p.warm.fill
	}
	if planning.process == nil {
		if planning.process, err = p.launch(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := planning.call(ctx, wire.Request{Create: create}); err != nil {
		planning.Close()
		return nil, fmt.Errorf("start planner: %w", err)
	}
	return planning, nil
}

// launch starts a process that can be told of tables: its engine is open and shut, and it has sealed itself.
func (p *Planner) launch(ctx context.Context) (*process, error) {
	process, err := spawn(ctx, p.executable, isolate.Cell{Mode: wire.ModePlan, Limits: p.limits.kernel()})
	if err != nil {
		return nil, err
	}
	open := &wire.Open{Memory: p.limits.Memory, Threads: 1, Rows: p.limits.Rows, Bytes: p.limits.Bytes}
	if _, err := process.call(ctx, p.limits.Wall, wire.Request{Open: open}, p.limits.Bytes); err != nil {
		process.close()
		return nil, fmt.Errorf("start planner: %w", err)
	}
	return process, nil
}

// tables are the data sets as a planner knows them.
func tables(schema []policy.Dataset) (*wire.Create, error) {
	create := &wire.Create{Tables: []wire.Schema{}}
	for _, d := range schema {
		table := wire.Schema{Name: d.Name}
		for _, c := range d.Columns {
			typeName, err := NormalizeType(c.Type)
			if err != nil {
				return nil, fmt.Errorf("schema of %s: %w", d.Name, err)
			}
			table.Columns = append(table.Columns, wire.Column{Name: c.Name, Type: typeName})
		}
		create.Tables = append(create.Tables, table)
	}
	return create, nil
}

// Bind asks what the text means. What is wrong with it is a problem "sql.…" with its place; a text that the
// process does not survive is one that is too large.
func (s *Planning) Bind(ctx context.Context, sql string) (Bound, error) {
	if p := checkText(sql); p != nil {
		return Bound{}, p
	}
	reply, err := s.process.call(ctx, bindWall, wire.Request{Bind: &wire.Bind{SQL: sql}}, s.limits.Bytes)
	var fault *failure
	switch {
	case errors.As(err, &fault) && fault.Text != nil:
		return Bound{}, refuse(sql, s.schema, *fault.Text)
	case ctx.Err() != nil:
		return Bound{}, jobFailed(context.Cause(ctx))
	case err != nil:
		return Bound{}, tooLarge(err)
	case reply.Bound == nil || len(reply.Bound.Names) != len(reply.Bound.Types) || len(reply.Bound.Names) == 0 ||
		reply.Bound.Bytes < 1 || reply.Bound.Bytes > s.limits.Bytes:
		s.process.kill(errProtocol)
		return Bound{}, jobFailed(errProtocol)
	}
	var plan bytes.Buffer
	err = s.process.stream(ctx, bindWall, reply.Bound.Bytes, func(r io.Reader) error {
		_, err := plan.ReadFrom(r)
		return err
	})
	if err != nil {
		return Bound{}, jobFailed(err)
	}
	return Bound{Plan: plan.Bytes(), Names: reply.Bound.Names, Types: reply.Bound.Types}, nil
}

// Finish runs the platform's SQL over cells that were released, for what an analyst's query does after its
// guarded part. Lists and structures of such cells come as JSON text.
func (s *Planning) Finish(ctx context.Context, q Query) (Table, error) {
	reply, err := s.call(ctx, wire.Request{Query: &wire.Query{SQL: q.SQL, Tables: q.Tables}})
	return result(s.process, reply, err)
}

// Close ends the process and tells what it took.
func (s *Planning) Close() Usage {
	defer s.ended()
	return s.process.close()
}

func (s *Planning) call(ctx context.Context, r wire.Request) (wire.Reply, error) {
	return s.wall.call(ctx, s.process, r, s.limits.Bytes)
}

// result takes a table out of a reply. Every way to fail is the same problem.
func result(p *process, reply wire.Reply, err error) (Table, error) {
	if err != nil {
		return Table{}, jobFailed(err)
	}
	if reply.Table == nil || reply.Table.Check() != nil {
		p.kill(errProtocol)
		return Table{}, jobFailed(errProtocol)
	}
	return *reply.Table, nil
}

// budget is the time that the calls of a process may take together.
type budget struct {
	mu   sync.Mutex
	left time.Duration
}

func (b *budget) call(ctx context.Context, p *process, r wire.Request, limit int64) (wire.Reply, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	begin := time.Now()
	reply, err := p.call(ctx, b.left, r, limit)
	b.left -= time.Since(begin)
	return reply, err
}
