package gateway_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"weir/audit"
	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
	"weir/policy"
)

func TestCancelStopsWhatRunsAndShowsNothingOfIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 1})
		who := gatewaytest.Person("analyst")
		running := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
		queued := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release)

		for _, job := range []gateway.Job{queued, running} {
			got, err := p.Jobs.Cancel(t.Context(), job.ID)
			if err != nil || got.State != gateway.JobCancelled {
				t.Errorf("cancel: %+v, %v", got, err)
			}
		}
		if why := receive(t, p.Flow.Ended); why == nil {
			t.Error("the query was not stopped")
		}
		if n := p.Flow.Runs(queued.ID); n != 0 {
			t.Errorf("the queued job ran %d times", n)
		}
		for _, job := range []gateway.Job{queued, running} {
			if _, err := p.Jobs.Cancel(t.Context(), job.ID); codeOf(err) != "gateway.job-ended" {
				t.Errorf("cancel again: %v", err)
			}
			if _, err := p.Jobs.Result(t.Context(), who, job.ID); codeOf(err) != "gateway.job-cancelled" {
				t.Errorf("result: %v", err)
			}
		}
		// The worker is free again.
		if job := wait(t, p.Jobs, submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release).ID); job.State != gateway.JobReleased {
			t.Errorf("the next job is %s", job.State)
		}
	})
}

func TestAResultThatComesAfterTheCancelIsNotShown(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{Workers: 1})
	who := gatewaytest.Person("analyst")
	job := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
	receive(t, p.Flow.Started)
	// The database says that it is over, and the flow does not hear of it: as if it ran on another node.
	if _, err := p.DB.NewUpdate().Table("gateway_jobs").Set("state = 'cancelled'").
		Set(`problem = '{"code":"gateway.job-cancelled","status":409}'`).Where("id = ?", job.ID).Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Flow.Open()
	if why := receive(t, p.Flow.Ended); why != nil {
		t.Fatalf("the query was stopped: %v", why)
	}
	after := wait(t, p.Jobs, submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release).ID)
	if after.State != gateway.JobReleased {
		t.Fatalf("the next job is %s", after.State)
	}
	if got, err := p.Queue.Result(t.Context(), job.ID); err != nil || got.State() != "released" {
		t.Fatalf("the flow did not come to its end: %v, %v", got.State(), err)
	}
	if _, err := p.Jobs.Result(t.Context(), who, job.ID); codeOf(err) != "gateway.job-cancelled" {
		t.Errorf("result: %v", err)
	}
}

func TestStopGrant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 2})
		mine := submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Block)
		others := submit(t, p.Jobs, gatewaytest.Person("stranger"), p.Other.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
		receive(t, p.Flow.Started)
		queued := submit(t, p.Jobs, gatewaytest.Person("colleague"), p.Grant.ID, gatewaytest.Release)

		if err := p.Policy.Suspend(t.Context(), gatewaytest.Person("authority"), p.Grant.ID, "evaluation"); err != nil {
			t.Fatal(err)
		}
		if err := p.Jobs.StopGrant(t.Context(), p.Grant.ID); err != nil {
			t.Error(err)
		}
		if why := receive(t, p.Flow.Ended); why == nil {
			t.Error("the query was not stopped")
		}
		for _, job := range []gateway.Job{mine, queued} {
			if got := wait(t, p.Jobs, job.ID); got.State != gateway.JobDenied || codeOf(got.Problem) == "" {
				t.Errorf("got %+v", got)
			}
		}
		if got, err := p.Jobs.Find(t.Context(), others.ID); err != nil || got.State != gateway.JobRunning {
			t.Errorf("another operator's job is %s, %v", got.State, err)
		}
	})
}

func TestAfterACrashWhatWaitedRunsAndWhatRanIsNeverRunAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		clock := time.Now()
		now := func() time.Time { return clock }
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 1, Clock: now})
		who := gatewaytest.Person("analyst")
		running := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
		queued := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release)

		if db.Dialect().Name() == dialect.PG {
			// Beside a live neighbour nothing is touched of what it runs.
			p.Start(t, gateway.JobOptions{Clock: now}).Close(t.Context())
			if got, err := p.Jobs.Find(t.Context(), running.ID); err != nil || got.State != gateway.JobRunning {
				t.Errorf("a neighbour's job became %s, %v", got.State, err)
			}
			later := clock.Add(time.Hour)
			now = func() time.Time { return later }
		}
		next := p.Start(t, gateway.JobOptions{Clock: now})
		if got := wait(t, next, queued.ID); got.State != gateway.JobReleased || p.Flow.Runs(queued.ID) != 1 {
			t.Errorf("what waited is %s after %d runs", got.State, p.Flow.Runs(queued.ID))
		}
		got, err := next.Get(t.Context(), who, running.ID)
		if err != nil || got.State != gateway.JobFailed || codeOf(got.Problem) != "gateway.job-interrupted" {
			t.Errorf("got %+v, %v", got, err)
		}
		if n := count(p.Kinds(t), "job.interrupted"); n != 1 {
			t.Errorf("%d interrupted jobs on the log", n)
		}
		// What seemed dead comes to its end after all: nothing of it is shown.
		p.Flow.Open()
		receive(t, p.Flow.Ended)
		now2, done := context.WithTimeout(context.Background(), patience)
		defer done()
		p.Jobs.Close(now2)
		if _, err := next.Result(t.Context(), who, running.ID); codeOf(err) != "gateway.job-interrupted" {
			t.Errorf("result: %v", err)
		}
		if n := p.Flow.Runs(running.ID); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

func count(list []string, what string) (n int) {
	for _, one := range list {
		if one == what {
			n++
		}
	}
	return n
}

// TestAJobEndsAsWhatTheStoreShowsOfIt takes away the process of jobs that had come to different places.
func TestAJobEndsAsWhatTheStoreShowsOfIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{})
		who := gatewaytest.Person("analyst")
		for _, c := range []struct {
			name, sql, logged string // the code of a refusal that stands on the log
			state             gateway.JobState
			code              string
		}{
			{"released", gatewaytest.Release, "", gateway.JobReleased, ""},
			{"waiting", gatewaytest.Wait, "", gateway.JobWaiting, ""},
			{"refused", gatewaytest.Deny, "policy.not-analyst", gateway.JobDenied, "gateway.refused-unheard"},
			{"failed", gatewaytest.Fail, "internal", gateway.JobFailed, "gateway.job-interrupted"},
			{"refused with a code of another version", gatewaytest.Deny, "policy.of-tomorrow", gateway.JobFailed, "gateway.job-interrupted"},
			{"nothing", gatewaytest.Fail, "", gateway.JobFailed, "gateway.job-interrupted"},
		} {
			t.Run(c.name, func(t *testing.T) {
				job := wait(t, p.Jobs, submit(t, p.Jobs, who, p.Grant.ID, c.sql).ID)
				if c.logged != "" {
					event := audit.Event{Kind: "job.refused", Job: audit.Registered(job.ID), Facts: audit.Facts{"code": audit.Registered(c.logged)}}
					if _, err := p.Log.Append(t.Context(), event); err != nil {
						t.Fatal(err)
					}
				}
				_, err := db.NewUpdate().Table("gateway_jobs").Set("state = 'running', problem = '', node = 'dead', lease_until = 1").
					Where("id = ?", job.ID).Exec(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				next := p.Start(t, gateway.JobOptions{})
				got, err := next.Find(t.Context(), job.ID)
				if err != nil || got.State != c.state || codeOf(got.Problem) != c.code {
					t.Errorf("got %+v %v, %v", got.State, got.Problem, err)
				}
				if n := p.Flow.Runs(job.ID); n != 1 {
					t.Errorf("it ran %d times", n)
				}
			})
		}
	})
}

func TestInterruptedJobsThatCannotBeLoggedStayAsTheyAre(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{Workers: 2})
	who := gatewaytest.Person("analyst")
	for range 2 {
		submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
	}
	options := gateway.JobOptions{Secret: make([]byte, 32)}
	for working := range 2 { // the log takes so many of the two entries
		parts := p.JobsParts()
		parts.Record = &faulty{Recorder: p.Log, from: working}
		_, err := gateway.NewJobs(t.Context(), parts, options)
		if !errors.Is(err, errPowerCut) {
			t.Fatalf("jobs start without a log: %v", err)
		}
		if alive := states(t, p, who, gateway.JobQueued, gateway.JobRunning); alive != 2-working {
			t.Errorf("%d jobs are alive, want %d", alive, 2-working)
		}
	}
	p.Start(t, options)
	if failed := states(t, p, who, gateway.JobFailed); failed != 2 {
		t.Errorf("%d jobs failed", failed)
	}
}

func states(t *testing.T, p *gatewaytest.Platform, who policy.Principal, in ...gateway.JobState) (n int) {
	t.Helper()
	jobs, err := p.Jobs.List(t.Context(), who, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs {
		if slices.Contains(in, job.State) {
			n++
		}
	}
	return n
}

func TestCloseEndsWhatRunsAndTakesNothingMore(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{Workers: 1})
	who := gatewaytest.Person("analyst")
	running := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
	receive(t, p.Flow.Started)
	queued := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release)
	ended, done := context.WithCancel(t.Context())
	done()
	p.Jobs.Close(ended)
	p.Jobs.Close(ended)
	if got, err := p.Jobs.Find(t.Context(), running.ID); err != nil || got.State != gateway.JobFailed || codeOf(got.Problem) != "gateway.job-interrupted" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := p.Jobs.Find(t.Context(), queued.ID); err != nil || got.State != gateway.JobQueued {
		t.Errorf("what waited is %s, %v", got.State, err)
	}
	if _, err := p.Jobs.Submit(t.Context(), who, "key-after", p.Grant.ID, gatewaytest.Release); codeOf(err) != "gateway.stopping" {
		t.Errorf("submit after close: %v", err)
	}
}
