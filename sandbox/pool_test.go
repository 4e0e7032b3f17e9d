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
