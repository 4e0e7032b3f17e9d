package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/policy"
	"weir/sandbox/wire"
)

// warmPlanner has n processes wait and fails unless they do.
func warmPlanner(t testing.TB, n int) *Planner {
	t.Helper()
	planner := NewPlanner(worker, DefaultLimits).KeepWarm(n)
	t.Cleanup(planner.Close)
	full(t, planner, n)
	return planner
}

// full waits until the pool has been filled, as it is after a job has ended.
func full(t testing.TB, p *Planner, n int) {
	t.Helper()
	p.warm.filler.Wait()
	if len(p.warm.waiting) != n {
		t.Fatalf("%d processes wait, want %d", len(p.warm.waiting), n)
	}
}

func binds(t testing.TB, s *Planning, sql string) {
	t.Helper()
	if _, err := s.Bind(t.Context(), sql); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}

// Each process serves one job and ends with it. What one job was told, the next does not know.
func TestWarmPlannersServeOnce(t *testing.T) {
	planner := warmPlanner(t, 2)
	served := map[int]bool{}
	for i := range 4 {
		full(t, planner, 2)
		waiting := planner.warm.waiting[0].cmd.Process.Pid
		own := schema[i%2 : i%2+1]
		s, err := planner.Start(t.Context(), own)
		if err != nil {
			t.Fatal(err)
		}
		if pid := s.process.cmd.Process.Pid; pid != waiting || served[pid] {
			t.Errorf("process %d serves, %d waited; served before: %v", pid, waiting, served)
		}
		served[waiting] = true
		binds(t, s, fmt.Sprintf("SELECT 1 FROM %q", own[0].Name))
		if _, err := s.Bind(t.Context(), fmt.Sprintf("SELECT 1 FROM %q", schema[1-i%2].Name)); err == nil {
			t.Error("it knows the tables of another job")
		}
		if _, err := s.process.call(t.Context(), DefaultLimits.Wall, wire.Request{Create: &wire.Create{}}, 1<<10); err == nil {
			t.Error("it was told of tables twice")
		}
		if usage := s.Close(); usage.CPU <= 0 || usage.Wall <= 0 {
			t.Errorf("usage %+v", usage)
		}
		mustBeGone(t, s.process)
	}
}

// A process that waits is as confined and sealed as one that works, and does nothing.
func TestWarmPlannersAreConfined(t *testing.T) {
	planner := warmPlanner(t, 1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", planner.warm.waiting[0].cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(strings.Fields(string(status)), " ")
	for _, want := range []string{"NoNewPrivs: 1", "Seccomp: 2 Seccomp_filters: 2", "CapEff: 0000000000000000", "CapBnd: 0000000000000000"} {
		if !strings.Contains(said, want) {
			t.Errorf("its status lacks %q:\n%s", want, status)
		}
	}
}

func TestMoreJobsThanWarmPlanners(t *testing.T) {
	planner := warmPlanner(t, 1)
	var running []*Planning
	for range 3 {
		s, err := planner.Start(t.Context(), schema)
		if err != nil {
			t.Fatal(err)
		}
		binds(t, s, "SELECT id FROM residents")
		running = append(running, s)
	}
	for _, s := range running {
		s.Close()
	}
	full(t, planner, 1)
}

// Those that ended while they waited are passed over.
func TestWarmPlannerThatEnded(t *testing.T) {
	planner := warmPlanner(t, 2)
	for _, p := range planner.warm.waiting {
		unix.Kill(p.cmd.Process.Pid, unix.SIGKILL)
		<-p.gone
	}
	s, err := planner.Start(t.Context(), schema)
	if err != nil {
		t.Fatal(err)
	}
	binds(t, s, "SELECT id FROM residents")
	s.Close()
	full(t, planner, 2)
}

// A process that waited dies with the job that it was given to, as if it had been started for it.
func TestWarmPlannerDiesWithItsJob(t *testing.T) {
	planner := warmPlanner(t, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := planner.Start(ctx, schema)
	if err != nil {
		t.Fatal(err)
	}
	whenBusy(t, s.process, func() { cancel(errors.New("grant ended")) })
	_, err = s.Finish(t.Context(), Query{SQL: "SELECT sum(sin(i)) FROM range(100000000000) t(i)"})
	jobFailedBecause(t, err, "grant ended")
	s.Close()
	mustBeGone(t, s.process)
	full(t, planner, 1)
	if _, err := planner.Start(ctx, schema); err == nil {
		t.Error("a job that had ended got a planner")
	}
}

func TestClosedPoolLeavesNothing(t *testing.T) {
	planner := warmPlanner(t, 2)
	waiting := planner.warm.waiting
	s, err := planner.Start(t.Context(), schema)
	if err != nil {
		t.Fatal(err)
	}
	planner.Close()
	binds(t, s, "SELECT id FROM residents") // the job goes on
	s.Close()
	for _, p := range waiting {
		mustBeGone(t, p)
	}
	planner.warm.fill()
	full(t, planner, 0)
	planner.Close()
	if s, err = planner.Start(t.Context(), schema); err != nil {
		t.Fatal("a planner without a pool starts each process:", err)
	}
	s.Close()

	during := NewPlanner(worker, DefaultLimits).KeepWarm(8)
	during.Close()
	full(t, during, 0)
}

// A worker that does not start is not tried again and again, and a job learns of it.
func TestPoolThatCannotBeFilled(t *testing.T) {
	for fails := range 3 {
		t.Run(strconv.Itoa(fails), func(t *testing.T) {
			real, tries := NewPlanner(worker, DefaultLimits), 0
			pool := newPool(2, func(ctx context.Context) (*process, error) {
				if tries++; tries-1 == fails {
					return nil, errors.New("no worker")
				}
				return real.launch(ctx)
			})
			defer pool.close()
			pool.filler.Wait()
			if want := min(fails, 2); len(pool.waiting) != want || tries != min(fails+1, 2) {
				t.Errorf("%d wait after %d tries", len(pool.waiting), tries)
			}
			pool.fill()
			pool.filler.Wait()
			if len(pool.waiting) != 2 {
				t.Errorf("%d wait", len(pool.waiting))
			}
		})
	}
	planner := NewPlanner("/nonexistent", DefaultLimits).KeepWarm(1)
	defer planner.Close()
	if _, err := planner.Start(t.Context(), schema); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// warmWorkers has n processes wait for jobs on the vault.
func warmWorkers(t testing.TB, v *Vault, n int) *Workers {
	t.Helper()
	workers := NewWorkers(worker, v, DefaultLimits).KeepWarm(n)
	t.Cleanup(workers.Close)
	workers.warm.filler.Wait()
	if len(workers.warm.waiting) != n {
		t.Fatalf("%d processes wait, want %d", len(workers.warm.waiting), n)
	}
	return workers
}

// A job that waited finds the data that it is given and nothing else, serves once, and ends with its session.
func TestWarmWorkersServeOnce(t *testing.T) {
	v := withPeople(t)
	d, err := v.Dataset(t.Context(), "people")
	if err != nil {
		t.Fatal(err)
	}
	workers := warmWorkers(t, v, 2)
	served := map[int]bool{}
	for range 3 {
		workers.warm.filler.Wait()
		waiting := workers.warm.waiting[0].cmd.Process.Pid
		s, err := workers.Start(t.Context(), "job", []policy.Dataset{d})
		if err != nil {
			t.Fatal(cause(err))
		}
		if pid := s.process.cmd.Process.Pid; pid != waiting || served[pid] {
			t.Errorf("process %d serves, %d waited; served before: %v", pid, waiting, served)
		}
		served[waiting] = true
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", waiting))
		if err != nil || !strings.Contains(string(status), "Seccomp_filters:\t2") {
			t.Errorf("it has data and has not sealed itself: %v\n%s", err, status)
		}
		got, err := s.Query(t.Context(), Query{SQL: `SELECT count(*) FROM "ds_people"."main"."data"`})
		if err != nil || got.Rows[0][0] != number("200") {
			t.Errorf("%v %s", got, cause(err))
		}
		if _, err := s.process.call(t.Context(), DefaultLimits.Wall, wire.Request{Attach: &wire.Attach{}}, 1<<10); err == nil {
			t.Error("it was given data twice")
		}
		s.Close()
		mustBeGone(t, s.process)
	}
}

// What waits has nothing to read, and cannot be asked before it has been given data and is sealed.
func TestWarmWorkersHoldNothing(t *testing.T) {
	workers := warmWorkers(t, withPeople(t), 2)
	for _, request := range []wire.Request{
		{Query: &wire.Query{SQL: "SELECT 1"}}, {Open: &wire.Open{}}, {Create: &wire.Create{}}, {Keep: &wire.Keep{}},
		{Attach: &wire.Attach{Files: []wire.File{{Alias: "ds_other", Path: "/data/1"}}}},
	} {
		workers.warm.fill()
		workers.warm.filler.Wait()
		p := workers.warm.take(t.Context())
		if err := p.show(nil); err != nil {
			t.Fatal(err)
		}
		if _, err := p.call(t.Context(), DefaultLimits.Wall, request, 1<<10); err == nil {
			t.Errorf("%+v was done", request)
		}
		p.close()
		mustBeGone(t, p)
	}
}

// A job whose data cannot be shown does not start, and its process is gone.
func TestWarmWorkersFailLikeOthers(t *testing.T) {
	v := withPeople(t)
	workers := warmWorkers(t, v, 1)
	d, _ := v.Dataset(t.Context(), "people")
	d.Version = 2
	_, err := workers.Start(t.Context(), "job", []policy.Dataset{d})
	jobFailedBecause(t, err, "no version 2")
	waiting := workers.warm.waiting
	workers.Close()
	for _, p := range waiting {
		mustBeGone(t, p)
	}
	d.Version = 1
	s, err := workers.Start(t.Context(), "job", []policy.Dataset{d})
	if err != nil {
		t.Fatal("workers without a pool start each process:", cause(err))
	}
	s.Close()
}
