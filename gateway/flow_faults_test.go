package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/export"
	"weir/gateway"
	"weir/internal/problem"
	"weir/policy"
)

// TestFlowFaults makes every call of a query go wrong in turn, in each way, and shows for each of them what the
// person gets, what stands on the log and what is in the queue. The lists are in testdata/flow.
func TestFlowFaults(t *testing.T) {
	for _, name := range []string{"finish in the planner", "finish over open data", "two aggregations", "rows of persons"} {
		t.Run(name, func(t *testing.T) {
			th, r := newTheatre(t), recorded(t, policy.Perturbed)[name]
			compareGolden(t, name, everyFault(t, th, func() (*stage, gateway.Request) {
				return th.play(r, nil), th.request(r)
			}))
		})
	}
	t.Run("exact values", func(t *testing.T) {
		th, r := newTheatre(t), recorded(t, policy.Exact)["finish in the planner"]
		compareGolden(t, "exact values", everyFault(t, th, func() (*stage, gateway.Request) {
			req := th.request(r)
			return th.play(r, func(p *played) {
				p.decision.Mode, p.decision.Grant.Operator = policy.Exact, req.Job // an operator without a history
			}), req
		}))
	})
	t.Run("private values", func(t *testing.T) {
		th, r := newTheatre(t), recorded(t, policy.Private)["finish in the planner"]
		compareGolden(t, "private values", everyFault(t, th, func() (*stage, gateway.Request) {
			return th.play(r, func(p *played) {
				p.decision.Mode, p.decision.Grant = policy.Private, grantOf(policy.Private)
			}), th.request(r)
		}))
	})
}

// everyFault runs a query again and again, with call 0, 1, 2, … going wrong, until there is no such call and the run
// is what it is without a fault.
func everyFault(t *testing.T, th *theatre, next func() (*stage, gateway.Request)) string {
	t.Helper()
	s, req := next()
	released, err := s.run(t.Context(), analyst, req)
	check(t, th, s, req, released, err)
	whole := s.line(t, th, req, released, err)

	var list strings.Builder
	list.WriteString("# how it goes wrong · at which call · what the person gets | on the log | in the queue\n")
	list.WriteString(whole)
	for _, f := range faults {
		list.WriteString("\n")
		for strike := 0; ; strike++ {
			s, req := next()
			s.fault, s.strike = f, strike
			released, err := s.run(t.Context(), analyst, req)
			check(t, th, s, req, released, err)
			if s.struck == "" {
				if last := s.line(t, th, req, released, err); last != whole {
					t.Errorf("after every fault: %s, before: %s", last, whole)
				}
				break
			}
			if released.State() != export.StateDenied && (f == fails || f == panics) {
				t.Errorf("%s at %s: released", f, s.struck)
			}
			if line := s.line(t, th, req, released, err); !strings.HasSuffix(list.String(), line) {
				list.WriteString(line) // once, where the same call is made several times
			}
		}
	}
	return list.String()
}

// line writes down how a run ended.
func (s *stage) line(t *testing.T, th *theatre, req gateway.Request, released export.Released, err error) string {
	t.Helper()
	got := string(released.State())
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "panic: "):
		got = "panic"
	case err != nil:
		got = flowCode(err)
	}
	how := strings.TrimSpace(string(s.fault) + " · " + s.struck)
	if s.struck == "" {
		how = "nothing goes wrong"
	}
	return fmt.Sprintf("%s · %s | %s | %s\n", how, got, s.onLog(), queued(t, th.db, req.Job))
}

// check holds of every run, however it went.
func check(t *testing.T, th *theatre, s *stage, req gateway.Request, released export.Released, err error) {
	t.Helper()
	where := fmt.Sprintf("%s %s at %q", req.Job, s.fault, s.struck)
	text := encode(t, released)
	shown := released.State() == export.StateReleased

	// An error never comes with a result, and only a released result has a table.
	if err != nil && (shown || !strings.Contains(text, `"state":"denied"`)) {
		t.Errorf("%s: an error beside a result: %v %s", where, err, text)
	}
	if !shown && !strings.Contains(text, `"columns":[],"types":[],"rows":[]`) {
		t.Errorf("%s: %s with a table: %s", where, released.State(), text)
	}
	if err != nil {
		for _, lang := range []problem.Lang{problem.English, problem.Chinese} {
			if told := encode(t, export.Denied(req.Job, err, 0).In(lang)); strings.Contains(told, secret) || strings.Contains(told, "engine said") {
				t.Errorf("%s: the person is told %s", where, told)
			}
		}
	}

	// The order of the steps: the charge and intent before a worker, outcome before the queue, nothing before permission.
	for _, order := range [][2]string{
		{"authorize", "start planner"}, {"bind", "charge job"}, {"charge job", "log job.intent"},
		{"log job.intent", "start worker"}, {"log job.intent", "query"}, {"log job.intent", "charge budget"}, {"charge budget", "keep answer"}, {"log job.outcome", "queue"},
	} {
		if !s.before(order[0], order[1]) {
			t.Errorf("%s: %s before %s: %v", where, order[1], order[0], s.done)
		}
	}

	// Nothing is in the queue, or shown, but as the log says.
	outcome := ""
	for _, e := range s.log {
		outcome = e.Facts["outcome"].String()
	}
	if state := queued(t, th.db, req.Job); state != "nothing" && state != outcome {
		t.Errorf("%s: %s in the queue, %q on the log", where, state, outcome)
	}
	if err == nil && string(released.State()) != outcome {
		t.Errorf("%s: %s, and %q on the log", where, released.State(), outcome)
	}

	// The log never holds the text outside the part that can be erased.
	for _, e := range s.log {
		if facts := fmt.Sprint(e.Kind, e.Grant, e.Job, e.Object, e.Facts); strings.Contains(facts, "mark") || strings.Contains(facts, "SELECT") {
			t.Errorf("%s: the text is in the facts: %s", where, facts)
		}
		if e.Actor != analyst.Subject || e.Job.String() != req.Job || e.Grant.String() != req.Grant {
			t.Errorf("%s: the log does not say who did what: %+v", where, e)
		}
	}

	// No process outlives its job.
	if s.running != 0 && s.fault != panics {
		t.Errorf("%s: %d processes run on", where, s.running)
	}
}

// compareGolden compares a list with the one that is kept.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata/flow", strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (kept, now):\n%s", path, diff)
	}
}

func encode(t testing.TB, released export.Released) string {
	t.Helper()
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(released); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// flowCode is the code of the problem that a person reads, "" where there is none.
func flowCode(err error) string {
	if err == nil {
		return ""
	}
	return problem.Of(err).Code
}
