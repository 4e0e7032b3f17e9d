package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/problem"
	"weir/sandbox/wire"
)

// Without a layer nothing starts, and the error names it. 110 is what a worker without Landlock ends with.
func TestMissingConfinement(t *testing.T) {
	lacking, broken := script(t, "exit 110\n"), script(t, "exit 1\n")
	if err := CheckConfinement(worker); err != nil {
		t.Error(cause(err))
	}
	err := CheckConfinement(lacking)
	if p := problem.Of(err); p.Code != "sandbox.not-confined" || !strings.Contains(p.In(problem.English).Detail, `"Landlock"`) {
		t.Error(cause(err))
	}
	for _, program := range []string{broken, "/nonexistent"} {
		if err := CheckConfinement(program); problem.Of(err).Code != "sandbox.bad-worker" {
			t.Error(cause(err))
		}
	}
	_, err = NewPlanner(lacking, DefaultLimits).Start(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "not confined: Landlock") {
		t.Errorf("the operation log gets %v", err)
	}
}

// A worker that does not come to its work says why by its status alone, which the operation log gets in words.
func TestWorkersThatDoNotBegin(t *testing.T) {
	for status, want := range map[int]string{
		115: "describes its cell", 117: "first thread", 118: "leave this process behind", wire.EndReply: "reply could not be sent", 2: "refused threads", 1: "exit status 1",
	} {
		_, err := NewPlanner(script(t, fmt.Sprintf("exit %d\n", status)), DefaultLimits).Start(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: the operation log gets %v", status, err)
		}
	}
}

func TestDiagnose(t *testing.T) {
	states, err := Diagnose(worker)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		if s.Missing != "" {
			t.Errorf("%s: %s is missing: %v", s.Layer, s.Missing, s.Cause)
		}
	}
	states, err = Diagnose(script(t, "exit 110\n"))
	if err != nil || len(states) == 0 || states[0].Missing != "Landlock" || states[0].Cause == nil {
		t.Errorf("%+v, %v", states, err)
	}
	if _, err := Diagnose(script(t, "exit 1\n")); err == nil {
		t.Error("a program that does not confine itself is no worker")
	}
	if groups := DelegatedGroups(); (groups.Version == 0) != (len(groups.Controllers) == 0) || len(groups.Controllers) < 3 && groups.Cause == nil {
		t.Errorf("%+v", groups)
	}
}
