package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox/isolate"
)

// session starts a job on the data set people.
func session(t testing.TB, v *Vault, l Limits) *Session {
	t.Helper()
	d, err := v.Dataset(t.Context(), "people")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewWorkers(worker, v, l).Start(t.Context(), "job-1", []policy.Dataset{d})
	if err != nil {
		t.Fatal(cause(err))
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// patient starts a job whose wall clock begins when it has started, however long that takes on a busy machine.
func patient(t testing.TB, v *Vault, l Limits) *Session {
	t.Helper()
	wall := l.Wall
	l.Wall = DefaultLimits.Wall
	s := session(t, v, l)
	s.wall.left = wall
	return s
}

func withPeople(t testing.TB) *Vault {
	t.Helper()
	v := vault(t)
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
		t.Fatal(cause(err))
	}
	return v
}

// jobFailedBecause fails unless err is the one problem of failed jobs, with a cause that holds the words.
func jobFailedBecause(t testing.TB, err error, words ...string) {
	t.Helper()
	p := problem.Of(err)
	if err == nil || p.Code != "sandbox.job-failed" || p.In(problem.English) != problem.New("sandbox.job-failed").In(problem.English) {
		t.Fatalf("got %v", err)
	}
	for _, word := range words {
		if strings.Contains(p.Unwrap().Error(), word) {
			return
		}
	}
	t.Errorf("the cause is %q, want one of %q", p.Unwrap(), words)
}

func TestQuery(t *testing.T) {
	v := withPeople(t)
	s := session(t, v, DefaultLimits)
	cells := Named{Name: "cells", Table: Table{Columns: columns("区 VARCHAR", "k BIGINT"), Rows: [][]any{{"区1", number("10")}}}}
	got, err := s.Query(t.Context(), Query{
		SQL: `SELECT "select", count(*) AS n, count(DISTINCT "__unit_0") AS u, sum(income) AS s, max(born) AS b, any_value(k) AS k
			FROM "ds_people"."main"."data" LEFT JOIN cells ON "select" = 区 GROUP BY 1 ORDER BY 1`,
		Tables: []Named{cells},
	})
	if err != nil {
		t.Fatal(cause(err))
	}
	want := Table{
		Columns: columns("select VARCHAR", "n BIGINT", "u BIGINT", "s DECIMAL(38,2)", "b DATE", "k BIGINT"),
		Rows: [][]any{
			{"区0", number("50"), number("50"), number("84325.00"), "1998-05-14", nil},
			{"区1", number("50"), number("50"), number("84675.00"), "1999-06-15", number("10")},
			{"区2", number("50"), number("50"), number("85025.00"), "1998-09-18", nil},
			{"区3", number("50"), number("50"), number("85375.00"), "1999-02-11", nil},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	usage := s.Close()
	if usage.CPU <= 0 || usage.Wall <= 0 || usage.PeakMemory < 1<<20 {
		t.Errorf("usage %+v", usage)
	}
	mustBeGone(t, s.process)
	_, err = s.Query(t.Context(), Query{SQL: "SELECT 1"})
	jobFailedBecause(t, err, "closed")
}

// What the engine's settings close. The case beside them shows that the attached data can be read.
func TestEngineIsShut(t *testing.T) {
	v := withPeople(t)
	file := isolate.Inside(0)
	outside := filepath.Join(t.TempDir(), "x")
	cases := map[string]bool{
		`SELECT count(*) FROM "ds_people"."main"."data"`:                            true,
		`SELECT content FROM read_blob('` + file + `')`:                             false,
		`SELECT content FROM read_text('` + file + `')`:                             false,
		`SELECT content FROM read_text('/etc/hostname')`:                            false,
		`SELECT * FROM read_csv('/etc/passwd')`:                                     false,
		`SELECT * FROM glob('/*')`:                                                  false,
		`COPY (SELECT 1) TO '` + file + `.wal'`:                                     false,
		`COPY (SELECT 1) TO '` + outside + `'`:                                      false,
		`ATTACH '` + file + `' AS other (READ_ONLY)`:                                false,
		`ATTACH '` + outside + `' AS other`:                                         false,
		`EXPORT DATABASE '` + outside + `'`:                                         false,
		`DELETE FROM "ds_people"."main"."data"`:                                     false,
		`CREATE TABLE "ds_people"."main"."more" AS SELECT 1 AS x`:                   false,
		`SET enable_external_access = true`:                                         false,
		`SET disabled_filesystems = ''`:                                             false,
		`SET memory_limit = '9GB'`:                                                  false,
		`RESET lock_configuration`:                                                  false,
		`INSTALL httpfs`:                                                            false,
		`LOAD httpfs`:                                                               false,
		`SELECT * FROM read_csv('https://127.0.0.1/x.csv')`:                         false,
		`CREATE PERSISTENT SECRET s (TYPE http, EXTRA_HTTP_HEADERS MAP {'a': 'b'})`: false,
		`SET VARIABLE x = 1`:                                                        true, // a variable reaches nothing
	}
	for sql, allowed := range cases {
		t.Run(sql, func(t *testing.T) {
			_, err := session(t, v, DefaultLimits).Query(t.Context(), Query{SQL: sql})
			if allowed && err != nil {
				t.Error(cause(err))
			}
			if !allowed {
				jobFailedBecause(t, err, "permission", "invalid input", "binder", "input or output", "catalog", "parser", "engine", "not implemented")
			}
		})
	}
	if diff := cmp.Diff([]string{"people", "people/v1", "people/v1/data.1.sealed"}, left(t, v)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(outside); !os.IsNotExist(err) {
		t.Error("a file was written outside")
	}
}

// Each way to fail ends in the same problem, within its limit, with nothing left, while another job goes on. What is
// meant to do harm is in testdata/bombs.yaml.
func TestFailuresLookAlike(t *testing.T) {
	v := withPeople(t)
	small := DefaultLimits
	small.Rows, small.Bytes = 1000, 100_000
	quick := DefaultLimits
	quick.Wall = 400 * time.Millisecond
	cheap := DefaultLimits
	cheap.CPU = time.Second
	people := `"ds_people"."main"."data"`
	cases := []struct {
		name   string
		limits Limits
		sql    string
		words  []string
	}{
		{"conversion", DefaultLimits, `SELECT CAST("select" AS INTEGER) FROM ` + people, []string{"conversion"}},
		{"overflow", DefaultLimits, `SELECT CAST(年龄 AS TINYINT) * 100::TINYINT FROM ` + people, []string{"out of range"}},
		{"raised on a value", DefaultLimits, `SELECT error("select") FROM ` + people, []string{"invalid input"}},
		{"no such table", DefaultLimits, "SELECT * FROM nothing", []string{"catalog"}},
		{"list bomb", DefaultLimits, "SELECT len(range(400000000))", []string{"out of memory", "ended by itself"}},
		{"processor", cheap, "SELECT sum(sin(i)) FROM range(100000000000) t(i)", []string{"signal: killed"}},
		{"wall clock", quick, "SELECT sum(sin(i)) FROM range(100000000000) t(i)", []string{"wall clock"}},
		{"too many rows", small, "FROM range(1001)", []string{"too many rows"}},
		{"too many bytes", small, "SELECT repeat('x', 90000) FROM range(2)", []string{"result too large"}},
		{"one large value", small, "SELECT repeat('x', 200000)", []string{"result too large"}},
		{"blob", DefaultLimits, "SELECT 'x'::BLOB", []string{"does not travel"}},
	}
	other := session(t, v, DefaultLimits)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := patient(t, v, c.limits)
			begin := time.Now()
			_, err := s.Query(t.Context(), Query{SQL: c.sql})
			jobFailedBecause(t, err, c.words...)
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if why := problem.Of(err).Unwrap().Error(); strings.Contains(why, "区") {
				t.Errorf("a value in %q", why)
			}
			_, err = s.Query(t.Context(), Query{SQL: "SELECT 1"})
			jobFailedBecause(t, err, c.words...)
			s.Close()
			mustBeGone(t, s.process)
			if got, err := other.Query(t.Context(), Query{SQL: "SELECT count(*) FROM " + people}); err != nil || got.Rows[0][0] != number("200") {
				t.Errorf("another job was harmed: %v %s", got, cause(err))
			}
		})
	}
}

func TestNearestAllowed(t *testing.T) {
	v := withPeople(t)
	small := DefaultLimits
	small.Rows, small.Bytes = 1000, 100_000
	for _, sql := range []string{"FROM range(1000)", "SELECT repeat('x', 90000)", "SELECT len(range(1000000))"} {
		if _, err := session(t, v, small).Query(t.Context(), Query{SQL: sql}); err != nil {
			t.Errorf("%s: %s", sql, cause(err))
		}
	}
}

func TestKilledFromOutside(t *testing.T) {
	v := withPeople(t)
	endless := Query{SQL: "SELECT sum(sin(i)) FROM range(100000000000) t(i)"}
	t.Run("child", func(t *testing.T) {
		s := session(t, v, DefaultLimits)
		whenBusy(t, s.process, func() { unix.Kill(s.process.cmd.Process.Pid, unix.SIGKILL) })
		_, err := s.Query(t.Context(), endless)
		jobFailedBecause(t, err, "signal: killed")
		mustBeGone(t, s.process)
	})
	t.Run("context of the call", func(t *testing.T) {
		s := session(t, v, DefaultLimits)
		ctx, cancel := context.WithCancel(t.Context())
		whenBusy(t, s.process, cancel)
		_, err := s.Query(ctx, endless)
		jobFailedBecause(t, err, "context canceled")
		if !errors.Is(err, context.Canceled) {
			t.Error("the operation log cannot see that it was cancelled")
		}
		mustBeGone(t, s.process)
	})
	t.Run("context of the session", func(t *testing.T) {
		d, _ := v.Dataset(t.Context(), "people")
		ctx, cancel := context.WithCancelCause(t.Context())
		s, err := NewWorkers(worker, v, DefaultLimits).Start(ctx, "job", []policy.Dataset{d})
		if err != nil {
			t.Fatal(cause(err))
		}
		whenBusy(t, s.process, func() { cancel(errors.New("grant ended")) })
		_, err = s.Query(t.Context(), endless)
		jobFailedBecause(t, err, "grant ended")
		s.Close()
		mustBeGone(t, s.process)
	})
	t.Run("closed", func(t *testing.T) {
		s := session(t, v, DefaultLimits)
		whenBusy(t, s.process, func() { s.Close() })
		_, err := s.Query(t.Context(), endless)
		jobFailedBecause(t, err, "closed")
		mustBeGone(t, s.process)
	})
}

// whenBusy calls f as soon as the process has used some processor time more than now: it is at work then.
func whenBusy(t testing.TB, p *process, f func()) {
	before := ticks(t, p)
	go func() {
		for ticks(t, p) < before+5 {
			select {
			case <-p.gone:
				return
			default:
				unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil)
			}
		}
		f()
	}()
}

// ticks is the processor time of a process, in hundredths of a second.
func ticks(t testing.TB, p *process) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var user, system int
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	fmt.Sscan(fields[11], &user)
	fmt.Sscan(fields[12], &system)
	return user + system
}

func TestUnknownVersion(t *testing.T) {
	v := withPeople(t)
	d, _ := v.Dataset(t.Context(), "people")
	d.Version = 2
	_, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	jobFailedBecause(t, err, "no version 2")
	d.Name = "../people"
	_, err = NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	jobFailedBecause(t, err, "no version")
}

func TestManyAtOnce(t *testing.T) {
	v := withPeople(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			s := session(t, v, DefaultLimits)
			got, err := s.Query(t.Context(), Query{SQL: fmt.Sprintf(`SELECT count(*) + %d FROM "ds_people"."main"."data"`, i)})
			if err != nil || got.Rows[0][0] != number(itoa(200+i)) {
				t.Errorf("%v %s", got, cause(err))
			}
			s.Close()
			mustBeGone(t, s.process)
		})
	}
	group.Wait()
}

// What a child has and has not, read from the kernel.
func TestChild(t *testing.T) {
	t.Setenv("WEIR_SECRET", "not for children")
	leak, err := os.Open("/etc/hostname")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil { // a descriptor that forgets to close on exec
		t.Fatal(err)
	}
	s := session(t, withPeople(t), DefaultLimits)
	proc := fmt.Sprintf("/proc/%d/", s.process.cmd.Process.Pid)
	read := func(name string) string {
		content, err := os.ReadFile(proc + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if env := read("environ"); env != "" {
		t.Errorf("environment %q", env)
	}
	if status := read("status"); !strings.Contains(status, "NoNewPrivs:\t1") {
		t.Error("no_new_privs is not set")
	}
	limits := strings.Join(strings.Fields(read("limits")), " ")
	for _, want := range []string{"Max core file size 0 0", "Max file size 0 0", "Max open files 128 128", "Max cpu time 120 120",
		fmt.Sprintf("Max address space %[1]d %[1]d", DefaultLimits.Memory+addressSpace)} {
		if !strings.Contains(limits, want) {
			t.Errorf("limits lack %q: %s", want, limits)
		}
	}
	descriptors, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		target, _ := os.Readlink(proc + "fd/" + d.Name())
		var node unix.Stat_t // it has no path: the mount that it was opened in holds nothing else
		null := unix.Stat(proc+"fd/"+d.Name(), &node) == nil && node.Mode&unix.S_IFMT == unix.S_IFCHR && node.Rdev == unix.Mkdev(1, 3)
		ordinary := slices.Contains([]string{"0", "1", "2"}, d.Name()) && null ||
			slices.Contains([]string{"3", "4"}, d.Name()) && strings.HasPrefix(target, "pipe:") ||
			strings.HasPrefix(target, "anon_inode:") || target == "/data/0" ||
			strings.HasPrefix(target, "/sys/fs/cgroup/")
		if !ordinary {
			t.Errorf("descriptor %s is %s", d.Name(), target)
		}
	}
}
