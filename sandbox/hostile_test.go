package sandbox

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/problem"
)

// script makes a worker of a shell script: what a worker would be that an attacker took over. Descriptor 3 gives
// requests, 4 takes replies.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "worker")
	syscall.ForkLock.RLock() // or a process that another test starts has it open, and it is not executed
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// frame is a frame as a shell's printf writes it.
func frame(message string) string {
	var octal strings.Builder
	for _, c := range append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...) {
		octal.WriteString(`\0` + strconv.FormatInt(int64(c), 8))
	}
	return "printf '%b' '" + octal.String() + "' >&4\n"
}

const hang = "exec sleep 600\n"

func TestHostileWorker(t *testing.T) {
	v := vault(t)
	limits := DefaultLimits
	limits.Wall = time.Second
	limits.Bytes = 1 << 20
	ok := frame("{}") + frame("{}") // opened, attached
	cases := []struct{ name, script, word string }{
		{"never answers", ok + hang, "wall clock"},
		{"ends at once", ok, "ended by itself"},
		{"fails", ok + "exit 7\n", "exit status 7"},
		{"half a header", ok + "printf 'xx' >&4\n" + hang, "wall clock"},
		{"half a header and ends", ok + "printf 'xx' >&4\n", "malformed reply|ended by itself"}, // as it meets the request
		{"a header larger than allowed", ok + `printf '\377\377\377\377' >&4` + "\n" + hang, "malformed reply"},
		{"no JSON", ok + `printf '\0\0\0\4oops' >&4` + "\n" + hang, "malformed reply"},
		{"two values", ok + frame("{} {}") + hang, "malformed reply"},
		{"unknown field", ok + frame(`{"table":{"columns":[],"rows":[]},"more":1}`) + hang, "malformed reply"},
		{"no table", ok + frame("{}") + hang, "malformed reply"},
		{"ragged table", ok + frame(`{"table":{"columns":[{"name":"a","type":"B"}],"rows":[[1,2]]}}`) + hang, "malformed reply"},
		{"nested value", ok + frame(`{"table":{"columns":[{"name":"a","type":"B"}],"rows":[[{"x":1}]]}}`) + hang, "malformed reply"},
		{"text as class", ok + frame(`{"failure":{"class":"could not convert 110101199003074321"}}`) + hang, "unknown class"},
		{"progress of nothing", ok + frame(`{"progress":-1}`) + hang, "malformed reply"},
		{"progress beyond the end", ok + frame(`{"progress":101}`) + hang, "malformed reply"},
		{"progress backwards", ok + frame(`{"progress":50}`) + frame(`{"progress":50}`) + hang, "malformed reply"},
		{"progress and then nothing", ok + frame(`{"progress":50}`) + hang, "wall clock"},
		{"endless output", ok + "exec cat /dev/zero >&4\n", "malformed reply"},
		{"never reads", hang, "wall clock"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// A shell cannot be limited as a worker limits itself, so only what the platform does is tested here.
			s, err := NewWorkers(script(t, c.script), v, limits).Start(t.Context(), "job", nil)
			if err == nil {
				_, err = s.Query(t.Context(), Query{SQL: "SELECT 1"})
				s.Close()
				mustBeGone(t, s.process)
			}
			jobFailedBecause(t, err, strings.Split(c.word, "|")...)
			if strings.Contains(cause(err), "110101199003074321") {
				t.Errorf("what the worker said was repeated: %s", cause(err))
			}
		})
	}
}

func TestHostilePlanner(t *testing.T) {
	limits := DefaultLimits
	limits.Bytes = 1 << 20
	ok := frame("{}")
	cases := []struct{ name, reply, code, detail string }{
		{"unknown kind", `{"failure":{"class":"text","text":{"kind":"job-failed","name":"a","offset":0}}}`, "sql.other", ""},
		{"a word that is not the person's", `{"failure":{"class":"text","text":{"kind":"unknown-column","name":"secret","offset":7}}}`, "sql.unknown-column", `"?"`},
		{"a word that is", `{"failure":{"class":"text","text":{"kind":"unknown-column","name":"abc","offset":7}}}`, "sql.unknown-column", `"abc"`},
		{"a place far away", `{"failure":{"class":"text","text":{"kind":"syntax","offset":99999}}}`, "sql.syntax", ""},
		{"no plan", `{"bound":{"bytes":0,"names":["a"],"types":["B"]}}`, "sandbox.job-failed", ""},
		{"less than no plan", `{"bound":{"bytes":-1,"names":["a"],"types":["B"]}}`, "sandbox.job-failed", ""},
		{"a plan larger than allowed", `{"bound":{"bytes":1048577,"names":["a"],"types":["B"]}}`, "sandbox.job-failed", ""},
		{"no columns", `{"bound":{"bytes":2,"names":[],"types":[]}}`, "sandbox.job-failed", ""},
		{"names without types", `{"bound":{"bytes":2,"names":["a"],"types":[]}}`, "sandbox.job-failed", ""},
		{"a table", `{"table":{"columns":[],"rows":[]}}`, "sandbox.job-failed", ""},
		{"failure on its own", `{"failure":{"class":"internal"}}`, "sql.too-large", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := NewPlanner(script(t, ok+ok+frame(c.reply)+hang), limits).Start(t.Context(), schema)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Bind(t.Context(), "SELECT abc")
			s.Close()
			mustBeGone(t, s.process)
			p := problem.Of(err)
			if p.Code != c.code || !strings.Contains(p.In(problem.English).Detail, c.detail) {
				t.Errorf("got %v", err)
			}
			if p.At.Column > 11 {
				t.Errorf("a place outside the text: %+v", p.At)
			}
		})
	}
}

// A plan may end before its announced length.
func TestHostilePlan(t *testing.T) {
	half := frame("{}") + frame("{}") + frame(`{"bound":{"bytes":2,"names":["a"],"types":["B"]}}`) + "printf '{' >&4\n" + hang
	s, err := NewPlanner(script(t, half), DefaultLimits).Start(t.Context(), schema)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Bind(t.Context(), "SELECT abc")
	s.Close()
	mustBeGone(t, s.process)
	jobFailedBecause(t, err, "wall clock")
}

func TestHostileIntake(t *testing.T) {
	hash, self := strings.Repeat("a", 64), program(t)
	cases := []struct{ name, script, code string }{
		{"nothing found", frame(`{}`) + hang, "intake.failed"},
		{"no rows", frame(`{"taken":{"bytes":3,"rows":0,"hash":"`+hash+`","units":[{"most":1}],"undeclared":0}}`) + hang, "intake.failed"},
		{"a hash that is none", frame(`{"taken":{"bytes":3,"rows":1,"hash":"110101199003074321","units":[{"most":1}],"undeclared":0}}`) + hang, "intake.failed"},
		{"another number of units", frame(`{"taken":{"bytes":3,"rows":1,"hash":"`+hash+`","units":[],"undeclared":0}}`) + hang, "intake.failed"},
		{"an empty file", frame(`{"taken":{"bytes":0,"rows":1,"hash":"`+hash+`","units":[{"most":1}],"undeclared":0}}`) + hang, "intake.failed"},
		{"a file larger than its memory", frame(`{"taken":{"bytes":4611686018427387904,"rows":1,"hash":"`+hash+`","units":[{"most":1}],"undeclared":0}}`) + hang, "intake.failed"},
		{"half of the file", frame(`{"taken":{"bytes":3,"rows":1,"hash":"`+hash+`","units":[{"most":1}],"undeclared":0}}`) + "printf 'x' >&4\n", "intake.failed"},
		{"a unit without rows", frame(`{"taken":{"bytes":3,"rows":1,"hash":"`+hash+`","units":[{"most":0}],"undeclared":0}}`) + hang, "intake.failed"},
		{"a unit with more rows than there are", frame(`{"taken":{"bytes":3,"rows":1,"hash":"`+hash+`","units":[{"most":2}],"undeclared":0}}`) + hang, "intake.failed"},
		{"a total below nothing", frame(`{"taken":{"bytes":3,"rows":1,"hash":"`+hash+`","units":[{"most":1,"totals":{"n":-1}}],"undeclared":0}}`) + hang, "intake.failed"},
		{"unknown fault", frame(`{"failure":{"class":"file","intake":{"kind":"busy","row":3,"column":"110101199003074321"}}}`) + hang, "intake.unreadable-row"},
		{"a column that is a value", frame(`{"failure":{"class":"file","intake":{"kind":"empty-key","row":3,"column":"110101199003074321"}}}`) + hang, "intake.empty-key"},
		{"dies", "exit 1\n", "intake.failed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := vault(t)
			v.executable = shownScript(t, self, c.script)
			_, err := v.Import(t.Context(), "testdata/people.yaml")
			if problem.Of(err).Code != c.code || strings.Contains(cause(err), "110101199003074321") {
				t.Errorf("got %s", cause(err))
			}
			if rest := left(t, v); len(rest) > 0 {
				t.Errorf("left %q", rest)
			}
		})
	}
}

// A worker that made another process before it was killed leaves nothing either.
func TestGroupDies(t *testing.T) {
	limits := DefaultLimits
	limits.Wall = 300 * time.Millisecond
	held := filepath.Join(t.TempDir(), "held")
	if err := unix.Mkfifo(held, 0o600); err != nil {
		t.Fatal(err)
	}
	// The other process alone holds the pipe's other end, so the pipe ends when it does.
	s, err := NewPlanner(script(t, "sleep 600 > "+held+" &\n"+frame("{}")+frame("{}")+hang), limits).Start(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := os.Open(held)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	_, err = s.Finish(t.Context(), Query{SQL: "SELECT 1"})
	jobFailedBecause(t, err, "wall clock")
	s.Close()
	if err := pipe.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := pipe.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the other process is still there: %v", err)
	}
}

// mustEnd fails unless the process has ended, or ends now. Who collects it is another matter.
func mustEnd(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000); err != nil || n != 1 {
		t.Errorf("process %d is still running: %d %v", pid, n, err)
	}
}

// The platform is killed in the middle of a job: its workers must not outlive it.
func TestPlatformDies(t *testing.T) {
	parent := exec.Command(os.Args[0], "-test.run", "^$")
	parent.Env = append(os.Environ(), "WEIR_TEST_PLATFORM="+worker)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		t.Fatalf("the platform says %q", line)
	}
	var pids []int
	for _, word := range words {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(pid, 0); err != nil {
			t.Fatal("the worker is not there:", err)
		}
		pids = append(pids, pid)
	}
	parent.Process.Kill()
	parent.Wait()
	for _, pid := range pids {
		mustEnd(t, pid)
	}
}

// platform is what TestPlatformDies kills: it runs a query that does not end, and has two more processes wait.
func platform(executable string) int {
	planner := NewPlanner(executable, DefaultLimits).KeepWarm(1)
	planner.warm.filler.Wait()
	s, err := planner.Start(testContext, nil)
	if err != nil {
		return 1
	}
	planner.warm.size = 2
	planner.warm.fill()
	planner.warm.filler.Wait()
	line := strconv.Itoa(s.process.cmd.Process.Pid)
	for _, p := range planner.warm.waiting {
		line += " " + strconv.Itoa(p.cmd.Process.Pid)
	}
	os.Stdout.WriteString(line + "\n")
	s.Finish(testContext, Query{SQL: "SELECT sum(sin(i)) FROM range(100000000000) t(i)"})
	return 1
}

func TestMissingWorker(t *testing.T) {
	if _, err := NewPlanner("/nonexistent", DefaultLimits).Start(t.Context(), nil); problem.Of(err).Code != "internal" {
		t.Error(err)
	}
	t.Setenv("WEIR_WORKER", worker)
	if path, err := FindWorker(); err != nil || path != worker {
		t.Error(path, err)
	}
	t.Setenv("WEIR_WORKER", "")
	if path, err := FindWorker(); err == nil {
		t.Error("found ", path)
	}
}

// Started by a person, by hand, a worker does nothing.
func TestWorkerByHand(t *testing.T) {
	for _, arguments := range [][]string{{}, {"job"}, {"job", "1", "2", "3", "x"}, {"job", "1", "2", "3", "4", "confined"}} {
		if err := exec.Command(worker, arguments...).Run(); err == nil {
			t.Errorf("%q succeeded", arguments)
		}
	}
}
