package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/audit"
	"weir/export"
	"weir/gateway"
	"weir/internal/problem"
	"weir/policy"
)

func TestAFlowNeedsAllItsParts(t *testing.T) {
	th := newTheatre(t)
	whole := th.play(recording{}, nil).parts
	if _, err := gateway.NewFlow(whole); err != nil {
		t.Fatal(err)
	}
	for i := range reflect.TypeFor[gateway.FlowParts]().NumField() {
		parts := whole
		reflect.ValueOf(&parts).Elem().Field(i).SetZero()
		if _, err := gateway.NewFlow(parts); err == nil {
			t.Errorf("a flow without %s", reflect.TypeFor[gateway.FlowParts]().Field(i).Name)
		}
	}
}

// TestAQueryFromRequestToRelease shows every call of a whole run, in order.
func TestAQueryFromRequestToRelease(t *testing.T) {
	th := newTheatre(t)
	r := recorded(t, policy.Perturbed)["finish over open data"]
	s, req := th.play(r, nil), th.request(r)
	released, err := s.run(t.Context(), analyst, req)
	if err != nil || released.State() != export.StateReleased {
		t.Fatal(released.State(), err)
	}
	check(t, th, s, req, released, err)
	want := []string{
		"authorize", "look up residents", "look up sales", "look up districts", "list tables", "start planner", "bind", "charge job",
		"log job.intent", "start worker on residents", "ask for the share", "charge budget", "query", "keep answer", "start worker on districts", "query",
		"charge cells", "usable", "log job.outcome", "queue",
	}
	if diff := cmp.Diff(want, s.done); diff != "" {
		t.Error(diff)
	}
	text := encode(t, released)
	if !strings.Contains(text, `"sources":["districts","residents"]`) || !strings.Contains(text, `"log":1`) || !strings.Contains(text, `"North"`) {
		t.Errorf("the result is %s", text)
	}
	intent, outcome := s.log[0].Facts, s.log[1].Facts
	if intent["mode"].String() != "perturbed" || intent["k"].String() != "10" || intent["releases"].String() != "1" || !strings.Contains(intent["data"].String(), "residents v1") {
		t.Errorf("the intent says %v", intent)
	}
	if outcome["intent"].String() != "0" || outcome["cells"].String() != "4" || outcome["cpu_ms"].String() != "3" || outcome["peak_bytes"].String() != fmt.Sprint(40<<20) {
		t.Errorf("the outcome says %v", outcome)
	}
}

// TestWorkersNeverGetTheText: what the analyst wrote for people (names, comments) goes to the planner alone; what
// they wrote as a constant reaches the data as a constant that was read and written again.
func TestWorkersNeverGetTheText(t *testing.T) {
	th := newTheatre(t)
	for _, name := range []string{"finish in the planner", "finish over open data"} {
		r := recorded(t, policy.Perturbed)[name]
		s, req := th.play(r, nil), th.request(r)
		released, err := s.run(t.Context(), analyst, req)
		if err != nil || !strings.Contains(encode(t, released), "markalias") {
			t.Fatalf("%s: %v %s", name, err, encode(t, released))
		}
		given := strings.Join(s.given, "\n")
		if words := strings.ReplaceAll(given, "'markliteral'", ""); strings.Contains(words, "mark") {
			t.Errorf("%s: the worker was given %s", name, given)
		}
		if !strings.Contains(given, "CAST('markliteral' AS VARCHAR)") {
			t.Errorf("%s: the constant is not in what the worker was given", name)
		}
	}
}

func TestOnlyTheDataThatIsReadIsOpened(t *testing.T) {
	th := newTheatre(t)
	for name, want := range map[string][][]string{
		"finish in the planner": {{"residents"}},
		"two aggregations":      {{"residents"}},
		"finish over open data": {{"residents"}, {"districts"}}, // the second worker sees cells, and open data alone
		"rows of persons":       nil,
	} {
		r := recorded(t, policy.Perturbed)[name]
		s, req := th.play(r, nil), th.request(r)
		s.run(t.Context(), analyst, req)
		if diff := cmp.Diff(want, s.opened); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		// The planner knows what is granted, without the names of persons.
		granted := [][]string{{"residents", "district", "sex", "income"}, {"sales", "buyer", "price"}, {"districts", "name", "title"}}
		if diff := cmp.Diff(granted, s.granted); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestWhatWaits: exact values and whatever policy wants to be reviewed wait, and show nothing until then.
func TestWhatWaits(t *testing.T) {
	th := newTheatre(t)
	for _, c := range []struct {
		mode   policy.Mode
		review bool
		want   export.State
	}{
		{policy.Perturbed, false, export.StateReleased},
		{policy.Perturbed, true, export.StateWaiting},
		{policy.Exact, true, export.StateWaiting},
		{policy.Exact, false, export.StateWaiting}, // whatever the decision says
	} {
		t.Run(fmt.Sprint(c.mode, c.review), func(t *testing.T) {
			r := recorded(t, c.mode)["finish in the planner"]
			s := th.play(r, func(p *played) { p.decision.Mode, p.decision.Review = c.mode, c.review })
			req := th.request(r)
			released, err := s.run(t.Context(), analyst, req)
			check(t, th, s, req, released, err)
			if err != nil || released.State() != c.want || queued(t, th.db, req.Job) != string(c.want) {
				t.Fatalf("%s in the queue %s, %v (%v)", released.State(), queued(t, th.db, req.Job), err, errors.Unwrap(problem.Of(err)))
			}
			if c.want == export.StateReleased {
				return
			}
			officer := policy.Principal{Subject: "lan", Organisation: "review", Roles: []policy.Role{policy.Officer}}
			if err := th.queue.Approve(t.Context(), req.Job, officer, "looked at"); err != nil {
				t.Fatal(err)
			}
			released, err = th.queue.Result(t.Context(), req.Job)
			if err != nil || released.State() != export.StateReleased || !strings.Contains(encode(t, released), `"d0"`) {
				t.Errorf("after the officer: %s %v", encode(t, released), err)
			}
		})
	}
	for _, mode := range []policy.Mode{"", "raw"} { // modes unheard of
		r := recorded(t, policy.Perturbed)["finish in the planner"]
		s := th.play(r, func(p *played) { p.decision.Mode = mode })
		req := th.request(r)
		released, err := s.run(t.Context(), analyst, req)
		check(t, th, s, req, released, err)
		if flowCode(err) != "internal" || len(s.opened) > 0 {
			t.Errorf("mode %s: %v, opened %v", mode, err, s.opened)
		}
	}
}

func TestAnExhaustedQuotaDeniesAndIsLogged(t *testing.T) {
	th := newTheatre(t)
	r := recorded(t, policy.Perturbed)["finish in the planner"]
	for _, c := range []struct {
		name        string
		jobs, cells int // what is left
		code, log   string
	}{
		{"enough for this one", 1, 8, "", "intent outcome:released"},
		{"no job left", 0, 8, "policy.quota-jobs", "refused:policy.quota-jobs"},
		{"one cell too few", 1, 7, "policy.quota-cells", "intent outcome:failed:policy.quota-cells"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := th.play(r, func(p *played) {
				p.charge = func(jobs, cells int) error {
					switch {
					case jobs > c.jobs:
						return problem.New("policy.quota-jobs")
					case cells > c.cells:
						return problem.New("policy.quota-cells")
					}
					return nil
				}
			})
			req := th.request(r)
			released, err := s.run(t.Context(), analyst, req)
			check(t, th, s, req, released, err)
			if flowCode(err) != c.code || s.onLog() != c.log {
				t.Errorf("%v, on the log: %s", err, s.onLog())
			}
			if c.code != "" && export.Denied(req.Job, err, 0).State() != export.StateDenied {
				t.Errorf("it is told as %s", export.Denied(req.Job, err, 0).State())
			}
		})
	}
}

// TestWhatAPersonWroteCanBeErased: the text stands on the log once, as payload.
func TestWhatAPersonWroteCanBeErased(t *testing.T) {
	th := newTheatre(t)
	for name, r := range recorded(t, policy.Perturbed) {
		s, req := th.play(r, nil), th.request(r)
		s.run(t.Context(), analyst, req)
		for i, e := range s.log {
			if i == 0 && string(e.Payload) != r.SQL || i > 0 && len(e.Payload) > 0 {
				t.Errorf("%s: %s has the payload %q", name, e.Kind, e.Payload)
			}
		}
		if len(s.log) == 0 {
			t.Errorf("%s: nothing on the log", name)
		}
	}
}

// TestTheAnalystGoesAway: once the result is there and charged for, its outcome is logged and it is kept, whether
// somebody waits for it or not. Until then, going away ends the job, and the log says so.
func TestTheAnalystGoesAway(t *testing.T) {
	th := newTheatre(t)
	r := recorded(t, policy.Perturbed)["finish in the planner"]
	for _, c := range []struct{ after, log, queue string }{
		{"start planner", "refused", "nothing"},
		{"query", "intent outcome:failed", "nothing"},
		{"finish", "intent outcome:failed", "nothing"},
		{"charge cells", "intent outcome:released", "released"},
		{"log job.outcome", "intent outcome:released", "released"},
	} {
		t.Run(c.after, func(t *testing.T) {
			probe, req := th.play(r, nil), th.request(r)
			probe.run(t.Context(), analyst, req)
			s := th.play(r, nil)
			s.fault, s.strike = leavesAfter, indexOf(probe.calls, c.after)
			req = th.request(r)
			released, err := s.run(t.Context(), analyst, req)
			check(t, th, s, req, released, err)
			if s.struck != c.after || !strings.HasPrefix(s.onLog(), c.log) || queued(t, th.db, req.Job) != c.queue {
				t.Errorf("struck %q, on the log: %s, in the queue: %s", s.struck, s.onLog(), queued(t, th.db, req.Job))
			}
		})
	}
}

func indexOf(list []string, name string) int {
	for i, n := range list {
		if n == name {
			return i
		}
	}
	return -1
}

// TestALostReceiptReleasesNothing: the log took the event, but could not say so. The person gets nothing, and what
// the log then says (a release that did not happen) errs on the side of more.
func TestALostReceiptReleasesNothing(t *testing.T) {
	th := newTheatre(t)
	r := recorded(t, policy.Perturbed)["finish in the planner"]
	for kind, want := range map[string]string{"job.intent": "gateway.not-logged", "job.outcome": "gateway.outcome-not-logged"} {
		s := th.play(r, nil)
		s.parts.Log = lossy{s.parts.Log, kind}
		req := th.request(r)
		released, err := s.run(t.Context(), analyst, req)
		if flowCode(err) != want || !errors.Is(err, audit.ErrUncertain) || released.State() != export.StateDenied || queued(t, th.db, req.Job) != "nothing" {
			t.Errorf("%s: %s %v, in the queue: %s", kind, released.State(), err, queued(t, th.db, req.Job))
		}
		if kind == "job.intent" && len(s.opened) > 0 {
			t.Error("data was opened without a receipt for the intent")
		}
	}
}

type lossy struct {
	gateway.Recorder
	kind string
}

func (l lossy) Append(ctx context.Context, event audit.Event) (audit.Receipt, error) {
	receipt, err := l.Recorder.Append(ctx, event)
	if err == nil && event.Kind == l.kind {
		return audit.Receipt{}, audit.ErrUncertain
	}
	return receipt, err
}
