package gateway_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
	"weir/policy"
)

func TestTheQueueIsFairBetweenOperators(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		const many = 1000
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 1, PerAccount: 2 * many, Platform: gateway.Allowance{Queued: 2 * many}})
		crowd, single := gatewaytest.Person("analyst"), gatewaytest.Person("stranger")
		first := submit(t, p.Jobs, crowd, p.Grant.ID, gatewaytest.Block)
		if got := receive(t, p.Flow.Started); got != first.ID {
			t.Fatal("another job began")
		}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range many / 8 {
					if _, err := p.Jobs.Submit(t.Context(), crowd, fmt.Sprintf("test-key-%d", keys.Add(1)), p.Grant.ID, gatewaytest.Release); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		late := submit(t, p.Jobs, single, p.Other.ID, gatewaytest.Release)
		p.Flow.Open()
		if got := receive(t, p.Flow.Started); got != late.ID {
			t.Error("the single job of another operator was not the next")
		}
		if got := wait(t, p.Jobs, late.ID); got.State != gateway.JobReleased {
			t.Errorf("it is %s", got.State)
		}
		if err := p.Jobs.StopGrant(t.Context(), p.Grant.ID); err != nil {
			t.Fatal(err)
		}
		if left, err := db.NewSelect().Table("gateway_jobs").Where("state IN ('queued', 'running')").Count(t.Context()); left != 0 || err != nil {
			t.Errorf("%d jobs are alive after their grant was closed, %v", left, err)
		}
		if texts, err := db.NewSelect().Table("gateway_job_texts").Count(t.Context()); texts != 0 || err != nil {
			t.Errorf("%d texts are kept of jobs that have ended, %v", texts, err)
		}
	})
}

// TestOperatorsTakeTurns has three operators with jobs in a row, and one worker.
func TestOperatorsTakeTurns(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{Workers: 1})
	harbour, canal := gatewaytest.Person("analyst"), gatewaytest.Person("stranger")
	owner := map[string]string{}
	put := func(who policy.Principal, grant, sql string) {
		owner[submit(t, p.Jobs, who, grant, sql).ID] = who.Organisation
	}
	put(harbour, p.Grant.ID, gatewaytest.Block)
	receive(t, p.Flow.Started)
	for range 4 {
		put(harbour, p.Grant.ID, gatewaytest.Release)
	}
	for range 3 {
		put(canal, p.Other.ID, gatewaytest.Release)
	}
	p.Flow.Open()
	var order []string
	for range 7 {
		order = append(order, owner[receive(t, p.Flow.Started)])
	}
	want := []string{"canal", "harbour", "canal", "harbour", "canal", "harbour", "harbour"}
	if !slices.Equal(order, want) {
		t.Errorf("served %v", order)
	}
}

func TestNodesShareTheQueue(t *testing.T) {
	source := storetest.Postgres(t)
	options := gateway.JobOptions{Workers: 4, PerAccount: 1000, Operator: gateway.Allowance{Running: 3}}
	p := gatewaytest.New(t, storetest.Open(t, source), options)
	nodes := []*gateway.Jobs{p.Jobs}
	for range 2 {
		nodes = append(nodes, p.Beside(t, storetest.Open(t, source), p.Flow, options))
	}
	// Three at once is what the operator may have, however many places there are.
	var blocked []gateway.Job
	for i := range 8 {
		blocked = append(blocked, submit(t, nodes[i%3], gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Block))
	}
	for range 3 {
		receive(t, p.Flow.Started)
	}
	stranger := submit(t, nodes[0], gatewaytest.Person("stranger"), p.Other.ID, gatewaytest.Release)
	if got := wait(t, nodes[2], stranger.ID); got.State != gateway.JobReleased {
		t.Errorf("another operator's job is %s", got.State)
	}
	running, err := p.DB.NewSelect().Table("gateway_jobs").Where("state = 'running'").Count(t.Context())
	if err != nil || running != 3 {
		t.Errorf("%d jobs run at once, %v", running, err)
	}
	p.Flow.Open()
	var group sync.WaitGroup
	for i := range 60 {
		group.Go(func() {
			job, err := nodes[i%3].Submit(t.Context(), gatewaytest.Person("analyst"), fmt.Sprintf("test-key-%d", keys.Add(1)), p.Grant.ID, gatewaytest.Release)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := nodes[(i+1)%3].Wait(t.Context(), job.ID, patience); err != nil || got.State != gateway.JobReleased {
				t.Errorf("%s, %v", got.State, err)
			}
			if n := p.Flow.Runs(job.ID); n != 1 {
				t.Errorf("it ran %d times", n)
			}
		})
	}
	group.Wait()
	for _, job := range blocked {
		if got := wait(t, nodes[0], job.ID); got.State != gateway.JobReleased || p.Flow.Runs(job.ID) != 1 {
			t.Errorf("%s after %d runs", got.State, p.Flow.Runs(job.ID))
		}
	}
	var busy []string
	if err := p.DB.NewSelect().Table("gateway_jobs").ColumnExpr("DISTINCT node").Scan(t.Context(), &busy); err != nil || len(busy) != 3 {
		t.Errorf("%d nodes had something to do, %v", len(busy), err)
	}
}

func TestCancelOnAnotherNode(t *testing.T) {
	source := storetest.Postgres(t)
	p := gatewaytest.New(t, storetest.Open(t, source), gateway.JobOptions{Workers: 1})
	job := submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Block)
	receive(t, p.Flow.Started)
	other := p.Beside(t, storetest.Open(t, source), p.Flow, gateway.JobOptions{})
	if got, err := other.Cancel(t.Context(), job.ID); err != nil || got.State != gateway.JobCancelled {
		t.Fatalf("%s, %v", got.State, err)
	}
	if why := receive(t, p.Flow.Ended); why == nil {
		t.Error("it ran on")
	}
}

func TestLimitsOnJobs(t *testing.T) {
	for _, c := range []struct {
		name    string
		options gateway.JobOptions
		people  []string // who submits, one after the other; the first one's runs
		want    []string
	}{
		{"of a person", gateway.JobOptions{PerAccount: 2},
			[]string{"analyst", "analyst", "analyst", "colleague"}, []string{"", "", "gateway.too-many-jobs", ""}},
		{"of an operator", gateway.JobOptions{Operator: gateway.Allowance{Queued: 1}},
			[]string{"analyst", "colleague", "analyst", "stranger"}, []string{"", "", "gateway.operator-queue-full", ""}},
		{"of one operator that is tighter", gateway.JobOptions{Operator: gateway.Allowance{Queued: 2}, Operators: map[string]gateway.Allowance{"harbour": {Queued: 1}}},
			[]string{"analyst", "analyst", "analyst", "stranger", "stranger"}, []string{"", "", "gateway.operator-queue-full", "", ""}},
		{"of one operator that would be looser", gateway.JobOptions{Operator: gateway.Allowance{Queued: 1}, Operators: map[string]gateway.Allowance{"harbour": {Queued: 5}}},
			[]string{"analyst", "analyst", "analyst"}, []string{"", "", "gateway.operator-queue-full"}},
		{"of the platform", gateway.JobOptions{Platform: gateway.Allowance{Queued: 2}},
			[]string{"analyst", "analyst", "stranger", "stranger"}, []string{"", "", "", "gateway.queue-full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				c.options.Workers = 1
				p := gatewaytest.New(t, db, c.options)
				for i, person := range c.people {
					grant := p.Grant.ID
					if person == "stranger" {
						grant = p.Other.ID
					}
					_, err := p.Jobs.Submit(t.Context(), gatewaytest.Person(person), fmt.Sprintf("test-key-%d", keys.Add(1)), grant, gatewaytest.Block)
					if codeOf(err) != c.want[i] {
						t.Errorf("submission %d: %v, want %q", i, err, c.want[i])
					}
					if i == 0 {
						receive(t, p.Flow.Started)
					}
				}
			})
		})
	}
}

func TestTheLongestText(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	who := gatewaytest.Person("analyst")
	longest := gatewaytest.Release + fmt.Sprintf("%*s", gateway.MaxSQL-len(gatewaytest.Release), "")
	if _, err := p.Jobs.Submit(t.Context(), who, "key-longest", p.Grant.ID, longest+" "); codeOf(err) != "gateway.sql-too-long" {
		t.Errorf("too long: %v", err)
	}
	job, err := p.Jobs.Submit(t.Context(), who, "key-longest", p.Grant.ID, longest)
	if err != nil {
		t.Fatal(err)
	}
	if got := wait(t, p.Jobs, job.ID); got.State != gateway.JobReleased {
		t.Errorf("it is %s", got.State)
	}
}

// TestADayIsUsedUp has jobs that take two seconds and seven MiB each, whatever they do.
func TestADayIsUsedUp(t *testing.T) {
	for _, c := range []struct {
		name    string
		options gateway.JobOptions
		want    string // for the one that has used it up
		other   string // for another operator
	}{
		{"processor time of an operator", gateway.JobOptions{Operator: gateway.Allowance{CPU: 4 * time.Second}}, "gateway.day-used-up", ""},
		{"bytes of an operator", gateway.JobOptions{Operators: map[string]gateway.Allowance{"harbour": {Read: 14 << 20}}}, "gateway.day-used-up", ""},
		{"processor time of the platform", gateway.JobOptions{Platform: gateway.Allowance{CPU: 4 * time.Second}}, "gateway.platform-used-up", "gateway.platform-used-up"},
		{"nothing", gateway.JobOptions{Operator: gateway.Allowance{CPU: 4*time.Second + 1000, Read: 14<<20 + 1}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				var clock atomicTime
				clock.set(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
				c.options.Clock = clock.now
				p := gatewaytest.New(t, db, c.options)
				try := func(person string, grant policy.Grant) string {
					job, err := p.Jobs.Submit(t.Context(), gatewaytest.Person(person), fmt.Sprintf("test-key-%d", keys.Add(1)), grant.ID, gatewaytest.Release)
					if err == nil {
						wait(t, p.Jobs, job.ID)
					}
					return codeOf(err)
				}
				for range 2 {
					if code := try("analyst", p.Grant); code != "" {
						t.Fatalf("within the allowance: %s", code)
					}
				}
				if code := try("analyst", p.Grant); code != c.want {
					t.Errorf("beyond it: %q, want %q", code, c.want)
				}
				if code := try("stranger", p.Other); code != c.other {
					t.Errorf("another operator: %q, want %q", code, c.other)
				}
				clock.set(clock.now().Add(12 * time.Hour))
				if code := try("analyst", p.Grant); code != "" {
					t.Errorf("the next day: %s", code)
				}
			})
		})
	}
}

// TestWhatWaitsForTheNextDay queues a job behind one that uses the day up.
func TestWhatWaitsForTheNextDay(t *testing.T) {
	var clock atomicTime
	clock.set(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{
		Workers: 1, Operator: gateway.Allowance{CPU: time.Second}, Clock: clock.now,
	})
	who := gatewaytest.Person("analyst")
	first := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
	receive(t, p.Flow.Started)
	second := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release)
	other := submit(t, p.Jobs, gatewaytest.Person("stranger"), p.Other.ID, gatewaytest.Release)
	p.Flow.Open()
	wait(t, p.Jobs, first.ID)
	wait(t, p.Jobs, other.ID) // which came later
	if got, err := p.Jobs.Find(t.Context(), second.ID); err != nil || got.State != gateway.JobQueued {
		t.Errorf("with its day used up it is %s, %v", got.State, err)
	}
	clock.set(clock.now().Add(12 * time.Hour))
	if got := wait(t, p.Jobs, second.ID); got.State != gateway.JobReleased {
		t.Errorf("the next day it is %s", got.State)
	}
}

func TestATextIsSealed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 1})
		who := gatewaytest.Person("analyst")
		running := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
		sealed := func(job string) (texts [][]byte) {
			t.Helper()
			if err := db.NewSelect().Table("gateway_job_texts").Column("sealed").Where("job = ?", job).Scan(t.Context(), &texts); err != nil {
				t.Fatal(err)
			}
			return texts
		}
		if left := sealed(running.ID); len(left) != 0 {
			t.Error("the text of a job that has begun is kept")
		}
		var queued []gateway.Job
		for range 3 {
			queued = append(queued, submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release))
		}
		for _, job := range queued {
			if got := sealed(job.ID); len(got) != 1 || len(got[0]) < len(gatewaytest.Release) || bytes.Contains(got[0], []byte("SELECT")) {
				t.Errorf("kept %q", got)
			}
		}
		// One is another's, one is changed: neither is run.
		swap := func(job string, text []byte) {
			t.Helper()
			if _, err := db.NewUpdate().Table("gateway_job_texts").Set("sealed = ?", text).Where("job = ?", job).Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		swap(queued[0].ID, sealed(queued[2].ID)[0])
		broken := sealed(queued[1].ID)[0]
		broken[len(broken)-1] ^= 1
		swap(queued[1].ID, broken)
		p.Flow.Open()
		for _, job := range queued[:2] {
			if got := wait(t, p.Jobs, job.ID); got.State != gateway.JobFailed || codeOf(got.Problem) != "gateway.text-lost" || p.Flow.Runs(job.ID) != 0 {
				t.Errorf("%s, %v, ran %d times", got.State, got.Problem, p.Flow.Runs(job.ID))
			}
		}
		if got := wait(t, p.Jobs, queued[2].ID); got.State != gateway.JobReleased {
			t.Errorf("the whole one is %s", got.State)
		}
		if n := count(p.Kinds(t), "job.refused"); n != 2 {
			t.Errorf("%d refusals on the log", n)
		}
	})
}

// atomicTime is a clock that is set while others read it.
type atomicTime struct {
	mu sync.Mutex
	at time.Time
}

func (c *atomicTime) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *atomicTime) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}
