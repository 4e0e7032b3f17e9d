package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/problem"
	"weir/sandbox"
)

// workerThatEnds stands for a worker that ends with a status: 0 when it is confined, 100 and more for the layer that
// it lacks.
func workerThatEnds(t *testing.T, status int) {
	t.Helper()
	workerThatRuns(t, fmt.Sprintf("exit %d", status))
}

func workerThatRuns(t *testing.T, script string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weir-worker")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WEIR_WORKER", path)
}

// A worker is told on its standard input whether it is to mount what it is shown, and ends with 114 if it cannot.
func TestDoctorMissesFUSE(t *testing.T) {
	real := filepath.Join(filepath.Dir(build(t)), "weir-worker")
	workerThatRuns(t, "grep -q device /proc/self/fd/0 && exit 114; exec '"+real+"' \"$@\"")
	term := testTerminal(t, problem.English)
	code := run(t.Context(), []string{"doctor"}, term.terminal)
	if code != exitFailed || !strings.Contains(term.err.String(), "sandbox.cannot-show") {
		t.Errorf("ended with %d: %s", code, term.err)
	}
}

func TestDoctor(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		lang   string
		code   int
		says   []string
	}{
		{"all on", 0, "en", exitReleased, []string{"seccomp             on ", "Every layer is on: workers are confined."}},
		{"all on, in Chinese", 0, "zh", exitReleased, []string{"用户命名空间", "各层均已启用"}},
		{"no Landlock", 110, "en", exitFailed, []string{"MISSING", "Landlock: needs Linux 6.2", "Workers do not start on this machine"}},
		{"no MDWE", 109, "en", exitFailed, []string{"MDWE: needs Linux 6.3"}},
		{"no namespaces, in Chinese", 100, "zh", exitFailed, []string{"缺失", "用户命名空间：请允许用户命名空间", "平台也不会启动"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			workerThatEnds(t, c.status)
			if c.status == 0 {
				t.Setenv("WEIR_WORKER", filepath.Join(filepath.Dir(build(t)), "weir-worker"))
			}
			term := testTerminal(t, problem.English)
			if code := run(t.Context(), []string{"--lang", c.lang, "doctor"}, term.terminal); code != c.code {
				t.Errorf("ended with %d: %s", code, term.err)
			}
			for _, want := range c.says {
				if !strings.Contains(term.out.String(), want) {
					t.Errorf("does not say %q:\n%s", want, term.out)
				}
			}
		})
	}
}

// Every layer has words of its own.
func TestDoctorKnowsEveryLayer(t *testing.T) {
	workerThatEnds(t, 0)
	worker, err := sandbox.FindWorker()
	if err != nil {
		t.Fatal(err)
	}
	states, err := sandbox.Diagnose(worker)
	if err != nil || len(states) == 0 {
		t.Fatal(states, err)
	}
	term := testTerminal(t, problem.Chinese)
	for _, s := range states {
		if term.purpose(s.Layer) == "" || term.remedy(s.Layer) == "" {
			t.Errorf("nothing to say about %s", s.Layer)
		}
	}
}

// What the machine does not delegate is told, and what holds instead.
func TestDoctorTellsOfControlGroups(t *testing.T) {
	refused := errors.New("permission denied")
	for _, c := range []struct {
		groups sandbox.ControlGroups
		en, zh string
	}{
		{sandbox.ControlGroups{Version: 2, Controllers: []string{"memory", "pids", "cpu"}}, "control group  on ", "控制组  已启用 "},
		{sandbox.ControlGroups{Version: 1, Controllers: []string{"memory", "cpu"}, Cause: refused}, "on for memory, cpu; for the rest the limits hold", "已启用：memory, cpu；其余由资源限制约束"},
		{sandbox.ControlGroups{Cause: refused}, "not delegated here; the limits hold", "本机未委派；由资源限制约束"},
	} {
		for lang, want := range map[problem.Lang]string{problem.English: c.en, problem.Chinese: c.zh} {
			term := testTerminal(t, lang)
			if err := term.showLayers(nil, c.groups); err != nil || !strings.Contains(term.out.String(), want) {
				t.Errorf("%+v does not say %q: %v\n%s", c.groups, want, err, term.out)
			}
		}
	}
}

// The laboratory starts nothing on a machine that cannot confine.
func TestLabNeedsConfinement(t *testing.T) {
	workerThatEnds(t, 110)
	term := testTerminal(t, problem.English)
	code := run(t.Context(), []string{"lab", "--dataset", "none.yaml", "SELECT 1"}, term.terminal)
	if code != exitFailed || !strings.Contains(term.err.String(), "sandbox.not-confined") {
		t.Errorf("ended with %d: %s", code, term.err)
	}
}
