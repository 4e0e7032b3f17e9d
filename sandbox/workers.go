package sandbox

import (
	"context"
	"fmt"

	"weir/policy"
	"weir/sandbox/isolate"
	"weir/sandbox/wire"
)

// Workers starts processes that hold data.
type Workers struct {
	executable string
	vault      *Vault
	limits     Limits
}

// NewWorkers makes workers of the program at the given path, over the data of the vault.
func NewWorkers(executable string, vault *Vault, l Limits) *Workers {
	return &Workers{executable, vault, l}
}

// Session is one such process, for one job. SQL in it reads a data set as "ds_<name>"."main"."data".
type Session struct {
	process *process
	limits  Limits
	wall    budget
	job     string
}

// Start starts a process that holds the given versions of the data sets, read-only, and nothing else. It must be
// closed. job names the work in the operation log.
func (w *Workers) Start(ctx context.Context, job string, datasets []policy.Dataset) (*Session, error) {
	open := &wire.Open{Memory: w.limits.Memory, Threads: w.limits.Threads, Rows: w.limits.Rows, Bytes: w.limits.Bytes}
	cell := isolate.Cell{Mode: wire.ModeJob, Limits: w.limits.kernel()}
	for i, d := range datasets {
		path, err := w.vault.file(ctx, d.Name, d.Version)
		if err != nil {
			return nil, jobFailed(fmt.Errorf("job %s: %w", job, err))
		}
		open.Files = append(open.Files, wire.File{Alias: "ds_" + d.Name, Path: isolate.Inside(i)})
		cell.Files = append(cell.Files, path)
	}
	process, err := spawn(ctx, w.executable, cell, nil)
	if err != nil {
		return nil, jobFailed(fmt.Errorf("job %s: %w", job, err))
	}
	session := &Session{process: process, limits: w.limits, wall: budget{left: w.limits.Wall}, job: job}
	if _, err := session.wall.call(ctx, process, wire.Request{Open: open}, w.limits.Bytes); err != nil {
		process.close()
		return nil, jobFailed(fmt.Errorf("job %s: %w", job, err))
	}
	return session, nil
}

// Query runs the platform's SQL. Whatever fails, the data, a limit or the engine, gives the problem
// sandbox.job-failed and ends the process.
func (s *Session) Query(ctx context.Context, q Query) (Table, error) {
	reply, err := s.wall.call(ctx, s.process, wire.Request{Query: &wire.Query{SQL: q.SQL, Tables: q.Tables}}, s.limits.Bytes)
	if err != nil {
		err = fmt.Errorf("job %s: %w", s.job, err)
	}
	return result(s.process, reply, err)
}

// Close ends the process and tells what it took.
func (s *Session) Close() Usage { return s.process.close() }
