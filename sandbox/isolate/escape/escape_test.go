package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
)

// nobody is an ordinary user that every Debian machine has.
const nobody = 65534

// program is this program, static as a worker is, where an ordinary user can run it, and once more as one that
// makes whoever runs it its owner.
func program(t *testing.T) (plain, setuid string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-escape-") // and not T.TempDir, which only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	plain, setuid = filepath.Join(dir, "escape"), filepath.Join(dir, "setuid")
	for _, to := range []string{plain, setuid} {
		build := exec.Command("go", "build", "-o", to, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return plain, setuid
}

// TestNothingEscapes tries every case against the whole confinement and each layer alone, as root where the test
// is root, and as an ordinary user. A layer that the machine lacks fails it.
func TestNothingEscapes(t *testing.T) {
	plain, setuid := program(t)
	if os.Geteuid() != 0 {
		t.Run("ordinary user", func(t *testing.T) { suite(t, exec.Command(plain, "run"), false) })
		return
	}
	t.Run("root", func(t *testing.T) { suite(t, exec.Command(plain, "run"), true) })
	t.Run("ordinary user", func(t *testing.T) {
		if err := os.Chmod(setuid, 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
		run := exec.Command(plain, "run")
		run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if !mountedNosuid(t, setuid) {
			run.Env = []string{"ESCAPE_SETUID=" + setuid}
		}
		suite(t, run, false)
	})
}

// mountedNosuid reports whether a program there cannot make root in any case.
func mountedNosuid(t *testing.T, path string) bool {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Flags&unix.ST_NOSUID != 0
}

func suite(t *testing.T, run *exec.Cmd, root bool) {
	var said, wrong bytes.Buffer
	run.Stdout, run.Stderr = &said, &wrong
	if err := run.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &wrong)
	}
	var rows []row
	if err := json.Unmarshal(said.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		own := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.Kind != k.name })
		t.Logf("%s\n%s", k.name, table(own))
		for _, c := range cases {
			i := slices.IndexFunc(own, func(r row) bool { return r.Case == c.name })
			if i < 0 && c.concerns(k) && !c.needsSetuid {
				t.Errorf("%s: %s was not tried", k.name, c.name)
			}
			if i >= 0 {
				judge(t, c, k, own[i], root)
			}
		}
	}
}

func judge(t *testing.T, c escape, k kind, r row, root bool) {
	t.Helper()
	name := k.name + ": " + c.name
	if r.Why != "" {
		t.Errorf("%s: this machine lacks a layer: %s", name, r.Why)
	}
	if r.Whole != stopped && r.Whole != killed {
		t.Errorf("%s: the whole confinement: %s", name, r.Whole)
	}
	// The control: without a layer it gets through, so the case does test something.
	if (c.free || c.privileged && root) && r.None != through {
		t.Errorf("%s: with no layer at all: %s", name, r.None)
	}
	for _, l := range c.stops(k) {
		if got := r.Alone[l.String()]; got != stopped && got != killed {
			t.Errorf("%s: %s alone: %s", name, l, got)
		}
	}
}

// table shows case × layer: "·" got through, "e" stopped by an error, "K" killed.
func table(rows []row) string {
	signs := map[outcome]string{through: "·", stopped: "e", killed: "K", absent: "?"}
	var b strings.Builder
	for i, l := range isolate.AllLayers() {
		fmt.Fprintf(&b, "%40s%s %s\n", "", strings.Repeat(" ", 14+3*i), l)
	}
	fmt.Fprintf(&b, "%-40s %6s %6s\n", "", "none", "all")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-40s %6s %6s ", r.Case, signs[r.None], signs[r.Whole])
		for _, l := range isolate.AllLayers() {
			sign, tried := signs[r.Alone[l.String()]]
			if !tried {
				sign = " "
			}
			fmt.Fprintf(&b, " %s ", sign)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// A layer that no case names is one that nobody would miss.
func TestEveryLayerIsTried(t *testing.T) {
	named := map[isolate.Layer]bool{}
	for _, c := range cases {
		if len(c.by) == 0 {
			t.Errorf("%s says of no layer that it stops it", c.name)
		}
		for _, l := range c.by {
			named[l] = true
		}
	}
	for _, l := range isolate.AllLayers() {
		if !named[l] {
			t.Errorf("no case needs %s", l)
		}
	}
}
