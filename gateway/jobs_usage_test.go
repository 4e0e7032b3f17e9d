package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/uptrace/bun"

	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
)

// TestUsageIsKept runs jobs that end in every way, on two days, and forgets them.
func TestUsageIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		var clock atomicTime
		clock.set(time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC))
		p := gatewaytest.New(t, db, gateway.JobOptions{Workers: 1, Clock: clock.now})
		who := gatewaytest.Person("analyst")
		states := map[string]gateway.JobState{}
		for _, sql := range []string{gatewaytest.Release, gatewaytest.Wait, gatewaytest.Deny, gatewaytest.Fail, gatewaytest.Panic} {
			job := wait(t, p.Jobs, submit(t, p.Jobs, who, p.Grant.ID, sql).ID)
			states[job.ID] = job.State
			receive(t, p.Flow.Started)
		}
		stopped := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Block)
		receive(t, p.Flow.Started)
		unbegun := submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release)
		for _, job := range []gateway.Job{unbegun, stopped} {
			if _, err := p.Jobs.Cancel(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
		}
		states[stopped.ID] = gateway.JobCancelled
		clock.set(clock.now().Add(2 * time.Hour)) // the next day
		next := wait(t, p.Jobs, submit(t, p.Jobs, who, p.Grant.ID, gatewaytest.Release).ID)
		ended, done := context.WithTimeout(context.Background(), patience)
		defer done()
		p.Jobs.Close(ended) // what the stopped job took is written

		whole := gateway.Days{From: "2026-11-21", To: "2026-11-22"}
		both := []gateway.Usage{
			{Day: "2026-11-21", Operator: "harbour", Grant: p.Grant.ID, Jobs: 6, CPU: 12 * time.Second, Wall: 18 * time.Second, Read: 64 << 20},
			{Day: "2026-11-22", Operator: "harbour", Grant: p.Grant.ID, Jobs: 1, CPU: 2 * time.Second, Wall: 3 * time.Second, Read: 64 << 20},
		}
		for _, c := range []struct {
			days gateway.Days
			want []gateway.Usage
		}{
			{whole, both},
			{gateway.Days{Operator: "harbour", From: "2026-11-21", To: "2026-11-21"}, both[:1]},
			{gateway.Days{Operator: "harbour", From: "2026-11-22", To: "2026-12-22"}, both[1:]},
			{gateway.Days{Operator: "canal", From: "2026-11-21", To: "2026-11-22"}, nil},
			{gateway.Days{From: "2026-11-20", To: "2026-11-20"}, nil},
		} {
			got, err := p.Jobs.Totals(t.Context(), c.days)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%+v: %s", c.days, diff)
			}
		}
		each := func() {
			t.Helper()
			list, err := p.Jobs.Taken(t.Context(), gateway.Days{From: "2026-11-21", To: "2026-11-21"})
			if err != nil || len(list) != len(states) {
				t.Fatalf("%d jobs, %v", len(list), err)
			}
			for _, u := range list {
				if u.State != states[u.Job] || u.CPU != gatewaytest.Took.CPU || u.Wall != gatewaytest.Took.Wall || u.Peak != gatewaytest.Took.PeakMemory ||
					u.Read != gatewaytest.Took.Read || u.Started.After(u.Ended) || u.Operator != "harbour" || u.Grant != p.Grant.ID {
					t.Errorf("%s: %+v", states[u.Job], u)
				}
			}
		}
		each()

		// What ended before the retention is forgotten, but for what it took; what waits for an officer never is.
		later := p.Start(t, gateway.JobOptions{Clock: clock.now, Retention: 90 * time.Minute})
		if err := later.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		left, err := later.List(t.Context(), who, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for _, job := range left {
			got[fmt.Sprint(job.State, job.ID == next.ID)] = true
		}
		if len(left) != 2 || !got["releasedtrue"] || !got["waitingfalse"] {
			t.Errorf("left are %v", got)
		}
		each()
		var kept []string
		if err := db.NewRaw("SELECT id FROM export_releases WHERE result <> '{}'").Scan(t.Context(), &kept); err != nil || len(kept) != 2 {
			t.Errorf("results are left of %v, %v", kept, err)
		}
		for _, job := range left {
			if !slices.Contains(kept, job.ID) {
				t.Errorf("the result of job %s, which is %s, was forgotten", job.ID, job.State)
			}
		}
	})
}
