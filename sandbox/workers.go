package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox/isolate"
	"weir/sandbox/sealfs"
	"weir/sandbox/wire"
)

// Workers starts processes that hold data.
type Workers struct {
	executable string
	vault      *Vault
	limits     Limits
	warm       *pool // nil: each process is started when it is needed
}

// NewWorkers makes workers of the program at the given path, over the data of the vault.
func NewWorkers(executable string, vault *Vault, l Limits) *Workers {
	return &Workers{executable: executable, vault: vault, limits: l}
}

// WarmWorkers is how many processes a platform has waiting for jobs. Each takes 30 MB of memory.
const WarmWorkers = 2

// KeepWarm has n processes wait, confined and without any data, for jobs to come that keep no tables: each serves one
// job and ends with it, like any other. It is called once, before the first Start, and what it keeps ends with Close.
func (w *Workers) KeepWarm(n int) *Workers {
	w.warm = newPool(n, w.launch)
	return w
}

// Close ends the processes that wait. Those that serve a job go on.
func (w *Workers) Close() {
	if w.warm != nil {
		w.warm.close()
	}
}

// Session is one such process, for one job. SQL in it reads a data set as "ds_<name>"."main"."data", and a kept table
// as "kept_<name>"."main"."data".
type Session struct {
	process *process
	vault   *Vault
	limits  Limits
	wall    budget
	job     string
	names   []string // of what is shown to it, for a person
	files   []*stored
	room    int64  // bytes of memory in which it may make tables; 0: it keeps none
	ended   func() // tells the pool that there is room for another; nil: there is none
	closing sync.Mutex
}

// Start starts a process that holds the given versions of the data sets and the kept tables, read-only, and nothing
// else. It must be closed. job names the work in the operation log. A file that is not what was sealed is the problem
// sandbox.broken-seal, which names it; any other failure is sandbox.job-failed.
func (w *Workers) Start(ctx context.Context, job string, datasets []policy.Dataset, kept ...Kept) (*Session, error) {
	return w.start(ctx, &Session{job: job}, datasets, kept)
}

// StartKeeping is Start for a job that leaves tables behind, see Session.Keep: it has room bytes of memory for all of
// them. Only such a process can make files, and only there.
func (w *Workers) StartKeeping(ctx context.Context, job string, room int64, datasets []policy.Dataset, kept ...Kept) (*Session, error) {
	if room <= 0 {
		return nil, jobFailed(fmt.Errorf("job %s: no room to keep tables in", job))
	}
	return w.start(ctx, &Session{job: job, room: room}, datasets, kept)
}

func (w *Workers) start(ctx context.Context, s *Session, datasets []policy.Dataset, kept []Kept) (_ *Session, err error) {
	defer func() {
		if err != nil {
			err = s.failed(err)
			s.Close()
		}
	}()
	s.vault, s.limits, s.wall = w.vault, w.limits, budget{left: w.limits.Wall}
	if err := oneGrant(kept); err != nil {
		return nil, err
	}
	attach := &wire.Attach{Files: []wire.File{}}
	var shown []sealfs.File
	show := func(alias, name string, file *stored, err error) error {
		if err != nil {
			return err
		}
		attach.Files = append(attach.Files, wire.File{Alias: alias, Path: isolate.Inside(len(shown))})
		shown = append(shown, sealfs.File{Content: file, Size: file.Size()})
		s.names, s.files = append(s.names, name), append(s.files, file)
		return nil
	}
	for _, d := range datasets {
		file, err := w.vault.open(ctx, d.Name, d.Version)
		if err := show("ds_"+d.Name, d.Name, file, err); err != nil {
			return nil, err
		}
	}
	for _, k := range kept {
		file, err := w.vault.openKept(ctx, k)
		if err := show("kept_"+k.Name, k.Name, file, err); err != nil {
			return nil, err
		}
	}
	if err := w.process(ctx, s, shown); err != nil {
		return nil, err
	}
	_, err = s.wall.call(ctx, s.process, wire.Request{Attach: attach}, w.limits.Bytes)
	return s, err
}

// process gives the session a process that has opened its engine and is shown the files: one that waited, or a new one.
func (w *Workers) process(ctx context.Context, s *Session, shown []sealfs.File) (err error) {
	if w.warm != nil && s.room == 0 && len(shown) > 0 {
		s.ended = w.warm.fill
		if s.process = w.warm.take(ctx); s.process != nil {
			return s.process.show(shown)
		}
	}
	cell := isolate.Cell{Mode: wire.ModeJob, Limits: w.limits.withFiles(s.room), Scratch: s.room}
	if s.process, err = spawn(ctx, w.executable, cell, shown...); err != nil {
		return err
	}
	_, err = s.wall.call(ctx, s.process, w.open(s.room > 0), w.limits.Bytes)
	return err
}

// launch starts a process that can be shown files: its engine is open, and it has mounted what shows nothing yet.
func (w *Workers) launch(ctx context.Context) (*process, error) {
	p, err := launch(ctx, w.executable, isolate.Cell{Mode: wire.ModeJob, Limits: w.limits.kernel()}, true)
	if err != nil {
		return nil, err
	}
	if _, err := p.call(ctx, w.limits.Wall, w.open(false), w.limits.Bytes); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (w *Workers) open(keeps bool) wire.Request {
	return wire.Request{Open: &wire.Open{
		Memory: w.limits.Memory, Threads: w.limits.Threads, Rows: w.limits.Rows, Bytes: w.limits.Bytes, Keeps: keeps,
	}}
}

// failed is the problem of a failure: of a file with a broken seal by name, of anything else always the same.
func (s *Session) failed(err error) error {
	if s.process != nil {
		if place, is := s.process.brokenFile(); is && place < len(s.names) {
			return brokenSeal(s.names[place], err)
		}
	}
	var known *problem.Problem
	if errors.As(err, &known) && passed[known.Code] {
		return known
	}
	return jobFailed(fmt.Errorf("job %s: %w", s.job, err))
}

// passed are the problems of a job that say nothing about data and that somebody must hear of by their own code.
var passed = map[string]bool{"sandbox.broken-seal": true, "sandbox.missing-file": true, "sandbox.wrong-master": true, "sandbox.master-silent": true, "sandbox.quota": true}

// Query runs the platform's SQL. Whatever fails, the data, a limit or the engine, gives the problem
// sandbox.job-failed and ends the process; only a broken seal is told by its own.
func (s *Session) Query(ctx context.Context, q Query) (Table, error) {
	reply, err := s.wall.call(ctx, s.process, wire.Request{Query: &wire.Query{SQL: q.SQL, Tables: q.Tables}}, s.limits.Bytes)
	if err != nil {
		return Table{}, s.failed(err)
	}
	table, err := result(s.process, reply, nil)
	if _, broken := s.process.brokenFile(); broken {
		return Table{}, s.failed(err)
	}
	return table, err
}

// Close ends the process and tells what it took. It may be called again, also by several at once.
func (s *Session) Close() (u Usage) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.process != nil {
		u = s.process.close()
	}
	for _, f := range s.files {
		f.Close()
	}
	s.files = nil
	if s.ended != nil {
		s.ended()
	}
	return u
}
