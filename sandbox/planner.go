package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// Planner starts processes that read what people wrote.
type Planner struct {
	executable string
	limits     Limits
}

// NewPlanner makes a planner of the worker program at the given path.
func NewPlanner(executable string, l Limits) *Planner { return &Planner{executable, l} }

// Planning is one such process, for one job. It holds no data: it knows the granted columns of empty tables, and
// later the cells that were released.
type Planning struct {
	process *process
	limits  Limits
	wall    budget
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
	open := &wire.Open{Memory: p.limits.Memory, Threads: 1, Rows: p.limits.Rows, Bytes: p.limits.Bytes}
	for _, d := range schema {
		table := wire.Schema{Name: d.Name}
		for _, c := range d.Columns {
			typeName, err := NormalizeType(c.Type)
			if err != nil {
				return nil, fmt.Errorf("schema of %s: %w", d.Name, err)
			}
			table.Columns = append(table.Columns, wire.Column{Name: c.Name, Type: typeName})
		}
		open.Tables = append(open.Tables, table)
	}
	process, err := spawn(ctx, p.executable, isolate.Cell{Mode: wire.ModePlan, Limits: p.limits.kernel()}, nil)
	if err != nil {
		return nil, err
	}
	planning := &Planning{process: process, limits: p.limits, wall: budget{left: p.limits.Wall}}
	if _, err := planning.call(ctx, wire.Request{Open: open}); err != nil {
		process.close()
		return nil, fmt.Errorf("start planner: %w", err)
	}
	return planning, nil
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
		return Bound{}, refuse(sql, *fault.Text)
	case ctx.Err() != nil:
		return Bound{}, jobFailed(context.Cause(ctx))
	case err != nil:
		return Bound{}, tooLarge(err)
	case reply.Bound == nil || len(reply.Bound.Names) != len(reply.Bound.Types) || len(reply.Bound.Names) == 0:
		s.process.kill(errProtocol)
		return Bound{}, jobFailed(errProtocol)
	}
	return Bound(*reply.Bound), nil
}

// Finish runs the platform's SQL over cells that were released, for what an analyst's query does after its
// guarded part. Lists and structures of such cells come as JSON text.
func (s *Planning) Finish(ctx context.Context, q Query) (Table, error) {
	reply, err := s.call(ctx, wire.Request{Query: &wire.Query{SQL: q.SQL, Tables: q.Tables}})
	return result(s.process, reply, err)
}

// Close ends the process and tells what it took.
func (s *Planning) Close() Usage { return s.process.close() }

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
