package gateway_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

// patience is longer than anything here takes; only a failing test waits for it.
const patience = 20 * time.Second

func TestAJobFromQueuedToItsEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{})
		for _, c := range []struct {
			sql    string
			state  gateway.JobState
			code   string // of the problem
			result string // code of the error of Result, "" if there is a result
		}{
			{gatewaytest.Release, gateway.JobReleased, "", ""},
			{gatewaytest.Wait, gateway.JobWaiting, "", ""},
			{gatewaytest.Deny, gateway.JobDenied, "policy.not-analyst", "policy.not-analyst"},
			{gatewaytest.Fail, gateway.JobFailed, "internal", "internal"},
			{gatewaytest.Panic, gateway.JobFailed, "internal", "internal"},
		} {
			t.Run(c.sql, func(t *testing.T) {
				who := gatewaytest.Person("analyst")
				job := submit(t, p.Jobs, who, p.Grant.ID, c.sql)
				if job.State != gateway.JobQueued {
					t.Errorf("a submitted job is %s", job.State)
				}
				job = wait(t, p.Jobs, job.ID)
				if job.State != c.state || job.Created.After(job.Started) || job.Started.After(job.Ended) || job.Created.IsZero() {
					t.Errorf("got %+v, want state %s and times in order", job, c.state)
				}
				if code := codeOf(job.Problem); code != c.code {
					t.Errorf("problem %q, want %q", code, c.code)
				}
				result, err := p.Jobs.Result(t.Context(), who, job.ID)
				if code := codeOf(err); code != c.result {
					t.Errorf("result: %q, want %q", code, c.result)
				}
				if err == nil && string(result.State()) != string(c.state) {
					t.Errorf("the result is %s, the job %s", result.State(), c.state)
				}
				if n := p.Flow.Runs(job.ID); n != 1 {
					t.Errorf("it ran %d times", n)
				}
			})
		}
		if found := search(t, db, gatewaytest.Secret, "SELECT 'deny'"); found != "" {
			t.Errorf("the table of jobs holds what it must not: %s", found)
		}
	})
}

func TestARememberedProblemSpeaksBothLanguagesAndKnowsThePlace(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	job := wait(t, p.Jobs, submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Deny).ID)
	want := problem.New("policy.not-analyst").Place(problem.Position{Line: 2, Column: 8})
	if job.Problem.At != want.At || job.Problem.Status != want.Status() {
		t.Errorf("got %+v", job.Problem)
	}
	for _, lang := range []problem.Lang{problem.Chinese, problem.English} {
		if got := job.Problem.In(lang); got != want.In(lang) {
			t.Errorf("%s: got %+v", lang, got)
		}
	}
}

func TestIdempotencyKeys(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{})
		who := gatewaytest.Person("analyst")
		first, err := p.Jobs.Submit(t.Context(), who, "key-00000001", p.Grant.ID, gatewaytest.Release)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, p.Jobs, first.ID)

		again, err := p.Jobs.Submit(t.Context(), who, "key-00000001", p.Grant.ID, gatewaytest.Release)
		if err != nil || again.ID != first.ID || again.State != gateway.JobReleased {
			t.Errorf("the same request: %+v, %v", again, err)
		}
		_, err = p.Jobs.Submit(t.Context(), who, "key-00000001", p.Grant.ID, gatewaytest.Release+" ")
		if codeOf(err) != "gateway.key-reused" {
			t.Errorf("another text: %v", err)
		}
		_, err = p.Jobs.Submit(t.Context(), who, "key-00000001", p.Other.ID, gatewaytest.Release)
		if codeOf(err) != "gateway.key-reused" {
			t.Errorf("another grant: %v", err)
		}
		other, err := p.Jobs.Submit(t.Context(), gatewaytest.Person("colleague"), "key-00000001", p.Grant.ID, gatewaytest.Release)
		if err != nil || other.ID == first.ID {
			t.Errorf("another person's key: %+v, %v", other, err)
		}
		if n := p.Flow.Runs(first.ID); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

func TestOneKeyAtOnceMakesOneJob(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{})
		var group sync.WaitGroup
		ids := make([]string, 8)
		for i := range ids {
			group.Go(func() {
				job, err := p.Jobs.Submit(t.Context(), gatewaytest.Person("analyst"), "key-at-once", p.Grant.ID, gatewaytest.Release)
				if err != nil {
					t.Error(err)
				}
				ids[i] = job.ID
			})
		}
		group.Wait()
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("several jobs: %v", ids)
			}
		}
		wait(t, p.Jobs, ids[0])
		if n := p.Flow.Runs(ids[0]); n != 1 {
			t.Errorf("it ran %d times", n)
		}
		if jobs, err := p.Jobs.List(t.Context(), gatewaytest.Person("analyst"), "", 10); err != nil || len(jobs) != 1 {
			t.Errorf("%d jobs, %v", len(jobs), err)
		}
	})
}

func TestWhoSeesAJob(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	job := wait(t, p.Jobs, submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Release).ID)
	for _, c := range []struct {
		person        string
		state, result string
	}{
		{"analyst", "", ""},
		{"operator", "", ""}, // answers for its analysts
		{"supervisor", "", "policy.forbidden"},
		{"colleague", "gateway.job-unknown", "gateway.job-unknown"},
		{"stranger", "gateway.job-unknown", "gateway.job-unknown"},
		{"officer", "gateway.job-unknown", "gateway.job-unknown"},
		{"authority", "gateway.job-unknown", "gateway.job-unknown"},
		{"maintainer", "gateway.job-unknown", "gateway.job-unknown"},
	} {
		who := gatewaytest.Person(c.person)
		if _, err := p.Jobs.Get(t.Context(), who, job.ID); codeOf(err) != c.state {
			t.Errorf("%s: state: %v", c.person, err)
		}
		if _, err := p.Jobs.Result(t.Context(), who, job.ID); codeOf(err) != c.result {
			t.Errorf("%s: result: %v", c.person, err)
		}
	}
	if _, err := p.Jobs.Get(t.Context(), gatewaytest.Person("analyst"), "no-such"); codeOf(err) != "gateway.job-unknown" {
		t.Errorf("no such job: %v", err)
	}
}

func TestFollowTellsEachChangeOnceAndEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 1})
		who := gatewaytest.Person("analyst")
		job := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
		var seen []string
		err := p.Jobs.Follow(t.Context(), who, job.ID, 0, time.Hour, func(e gateway.JobEvent) error {
			seen = append(seen, fmt.Sprintf("%d %s %d%%", e.Number, e.Job.State, e.Job.Progress))
			if e.Job.State == gateway.JobRunning {
				if !e.Job.Ended.IsZero() || e.Job.Started.IsZero() {
					t.Errorf("a running job has times %v, %v", e.Job.Started, e.Job.Ended)
				}
			}
			if e.Job.Progress > 0 {
				p.Flow.Open()
			}
			return nil
		}, func() error { return errors.New("idle") })
		if got := strings.Join(seen, ", "); err != nil || got != "1 queued 0%, 2 running 0%, 0 running 30%, 3 released 0%" {
			t.Errorf("%s, %v", got, err)
		}
		seen = nil
		err = p.Jobs.Follow(t.Context(), who, job.ID, 2, time.Hour, func(e gateway.JobEvent) error {
			seen = append(seen, fmt.Sprint(e.Number))
			return nil
		}, nil)
		if len(seen) != 1 || seen[0] != "3" || err != nil {
			t.Errorf("after 2: %v, %v", seen, err)
		}
		if err := p.Jobs.Follow(t.Context(), who, job.ID, 3, time.Hour, nil, nil); err != nil {
			t.Errorf("after the end: %v", err)
		}
		if err := p.Jobs.Follow(t.Context(), gatewaytest.Person("stranger"), job.ID, 0, time.Hour, nil, nil); codeOf(err) != "gateway.job-unknown" {
			t.Errorf("a stranger: %v", err)
		}
	})
}

func TestNewJobsRefuses(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	whole := make([]byte, 32)
	for _, options := range []gateway.JobOptions{
		{}, {Secret: whole[1:]}, {Secret: whole, Workers: -1}, {Secret: whole, Lease: -1}, {Secret: whole, Platform: gateway.Allowance{Read: -1}},
		{Secret: whole, Operators: map[string]gateway.Allowance{"harbour": {CPU: -1}}},
	} {
		if jobs, err := gateway.NewJobs(t.Context(), p.JobsParts(), options); err == nil {
			jobs.Close(t.Context())
			t.Errorf("%+v is accepted", options)
		}
	}
	parts := p.JobsParts()
	parts.People = nil
	if jobs, err := gateway.NewJobs(t.Context(), parts, gateway.JobOptions{Secret: whole}); err == nil {
		jobs.Close(t.Context())
		t.Error("jobs of nobody are accepted")
	}
}

var keys atomic.Int64

func submit(t *testing.T, jobs *gateway.Jobs, who policy.Principal, grant, sql string) gateway.Job {
	t.Helper()
	job, err := jobs.Submit(t.Context(), who, fmt.Sprintf("test-key-%d", keys.Add(1)), grant, sql)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func wait(t *testing.T, jobs *gateway.Jobs, id string) gateway.Job {
	t.Helper()
	job, err := jobs.Wait(t.Context(), id, patience)
	if err != nil || job.State.Alive() {
		t.Fatalf("job %s is %s, %v", id, job.State, err)
	}
	return job
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// codeOf is the code of an error for people, "" for none.
func codeOf(err error) string {
	var remembered *gateway.JobProblem
	if errors.As(err, &remembered) {
		if remembered == nil {
			return ""
		}
		return remembered.Code
	}
	if err == nil {
		return ""
	}
	return problem.Of(err).Code
}

// search looks for texts in every column of the gateway's tables.
func search(t *testing.T, db *bun.DB, texts ...string) string {
	t.Helper()
	for _, table := range []string{"gateway_jobs", "gateway_job_events", "gateway_usage"} {
		var rows []map[string]any
		if err := db.NewSelect().Table(table).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			t.Fatalf("%s is empty", table)
		}
		for _, row := range rows {
			for column, value := range row {
				if bytes, ok := value.([]byte); ok {
					value = string(bytes)
				}
				for _, text := range texts {
					if strings.Contains(fmt.Sprint(value), text) {
						return table + "." + column
					}
				}
			}
		}
	}
	return ""
}
