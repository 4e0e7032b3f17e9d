package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/gateway"
	"weir/policy"
	"weir/sandbox"
)

// leastRuns of the flow are timed, so that there is a 99th percentile.
const leastRuns = 200

// BenchmarkSmallJob times a small job from request to release, with its parts, through the real parts, with processes
// that are started for it and with such that wait. Its peer is the same aggregation without the platform: a worker
// process, the plain SQL, and its end.
func BenchmarkSmallJob(b *testing.B) {
	c := newCity(b)
	sql := flowQueries["finish in the planner"]
	var tables strings.Builder
	cold := c.parts
	for _, run := range []struct {
		mode policy.Mode
		warm int // planners, and as many workers, that wait for jobs
	}{{policy.Perturbed, 0}, {policy.Perturbed, sandbox.WarmPlanners}, {policy.Exact, sandbox.WarmPlanners}} {
		b.Run(fmt.Sprintf("%s/warm=%d", run.mode, run.warm), func(b *testing.B) {
			grant := c.grant(b, grantOf(run.mode))
			if c.parts = cold; run.warm > 0 {
				planner := sandbox.NewPlanner(realWorker(b), cityLimits).KeepWarm(run.warm)
				defer planner.Close()
				workers := sandbox.NewWorkers(realWorker(b), c.vault, cityLimits).KeepWarm(run.warm)
				defer workers.Close()
				c.parts.Planners, c.parts.Workers = gateway.RealPlanners{Planner: planner}, gateway.RealWorkers{Workers: workers}
			}
			t := &timings{parts: map[string][]time.Duration{}}
			once := func() {
				s, req := c.stage(), c.request(recording{SQL: sql})
				req.Grant = grant
				begin := time.Now()
				_, err := s.run(b.Context(), analyst, req)
				end := time.Now()
				if err != nil {
					b.Fatal(err)
				}
				t.add(s.spans, begin, end)
				t.peer = append(t.peer, benchBare(b, c))
			}
			for b.Loop() {
				once()
			}
			for len(t.whole) < leastRuns {
				once()
			}
			b.ReportMetric(ms(quantile(t.whole, 0.5)), "p50-ms")
			b.ReportMetric(ms(quantile(t.whole, 0.99)), "p99-ms")
			b.ReportMetric(ms(quantile(t.peer, 0.5)), "peer-p50-ms")
			b.ReportMetric(ms(quantile(t.peer, 0.99)), "peer-p99-ms")
			b.ReportMetric(float64(quantile(t.whole, 0.5))/float64(quantile(t.peer, 0.5)), "job/peer")
			b.ReportMetric(0, "ns/op") // of a job and its peer together
			fmt.Fprintf(&tables, "%s: %s\n", b.Name(), t.table())
		})
	}
	fmt.Print(tables.String()) // and not logged, which cuts after ten lines
}

// benchBare is the peer: what the engine takes in a process of its own.
func benchBare(b *testing.B, c *city) time.Duration {
	begin := time.Now()
	session, err := sandbox.NewWorkers(realWorker(b), c.vault, cityLimits).Start(b.Context(), "peer", c.data[:1])
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	plain := `SELECT district, count(*), sum(income) FROM "ds_residents"."main"."data" WHERE sex <> 'markliteral' GROUP BY district ORDER BY district`
	if _, err := session.Query(b.Context(), sandbox.Query{SQL: plain}); err != nil {
		b.Fatal(err)
	}
	session.Close()
	return time.Since(begin)
}

// timings of many runs, by part.
type timings struct {
	whole, peer []time.Duration
	names       []string // of the parts, in the order of the flow
	parts       map[string][]time.Duration
}

// partOf names a call as a part of the job, and what lies between it and the next call, where that is work.
var partOf = map[string]struct{ part, then string }{
	"authorize": {"authorise", ""}, "look up": {"look up", ""}, "charge job": {"charge", ""}, "charge cells": {"charge", ""},
	"start planner": {"spawn planner", ""}, "bind": {"bind", "check"}, "log job.intent": {"intent", ""},
	"start worker": {"spawn worker", ""}, "query": {"query", "judge"}, "close worker": {"end worker", ""},
	"finish": {"finish", "judge"}, "log job.outcome": {"outcome", "release"}, "write history": {"judge", "judge"},
	"queue": {"release", "release"},
}

// add takes apart one run. Whatever lies outside the named parts is "end planner" after the last call, or "between".
func (t *timings) add(spans []span, begin, end time.Time) {
	one := map[string]time.Duration{}
	count := func(name string, d time.Duration) {
		if _, known := t.parts[name]; !known {
			t.parts[name], t.names = nil, append(t.names, name)
		}
		one[name] += d
	}
	last, then := begin, "between"
	for _, s := range spans {
		count(then, s.begin.Sub(last))
		name := s.name
		for key := range partOf {
			if strings.HasPrefix(s.name, key) {
				name = key
			}
		}
		count(partOf[name].part, s.end.Sub(s.begin))
		if last, then = s.end, partOf[name].then; then == "" {
			then = "between"
		}
	}
	count("release, end planner", end.Sub(last))
	for name, d := range one {
		t.parts[name] = append(t.parts[name], d)
	}
	t.whole = append(t.whole, end.Sub(begin))
}

// table writes the parts as a table, one a line.
func (t *timings) table() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d jobs; milliseconds\n%-22s %8s %8s\n", len(t.whole), "part", "p50", "p99")
	for _, name := range append(append([]string{}, t.names...), "whole") {
		list := t.parts[name]
		if name == "whole" {
			list = t.whole
		}
		fmt.Fprintf(&out, "%-22s %8.2f %8.2f\n", name, ms(quantile(list, 0.5)), ms(quantile(list, 0.99)))
	}
	return out.String()
}
