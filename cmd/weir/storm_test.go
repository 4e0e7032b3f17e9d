package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/audit"
	"weir/gateway/api/client"
	"weir/internal/problem"
	"weir/internal/store"
)

const (
	stormAnalysts = 64
	stormAccounts = 16 // four of them sit together, since proving a password is made to cost
	stormPatience = 300 * time.Second
)

var stormKills = flag.Int("storm", 8, "how many processes TestStorm kills")

// stormQueries are what the analysts ask, with the state in which each ends when nobody disturbs it.
var stormQueries = []struct{ sql, state string }{
	{"SELECT district, count(*) AS people FROM residents GROUP BY district", "released"},
	{"SELECT count(*) AS people, avg(annual_income) AS income FROM residents WHERE age > 30", "released"},
	{"SELECT district, age FROM residents", "denied"},
	{"SELECT a.district, a.n, b.s FROM (SELECT district, count(*) AS n FROM residents GROUP BY district) AS a " +
		"JOIN (SELECT district, sum(annual_income) AS s FROM residents GROUP BY district) AS b ON a.district = b.district", "released"},
}

// storm is a platform that is killed again and again, with people who keep asking it.
type storm struct {
	program, data, temp string
	address             string
	begun               []string // the files of the data folder before

	mu     sync.Mutex
	server *exec.Cmd
	errors *strings.Builder

	grant string
	over  atomic.Bool
	asked atomic.Int64
	calm  atomic.Bool // nobody is killed, so nothing may go wrong
}

// TestStorm has 64 analysts ask at once, first undisturbed and without an error, and then while the platform, its
// planners and its workers are killed at random. Afterwards nothing is lost, released twice, or left behind.
func TestStorm(t *testing.T) {
	s := newStorm(t)
	at := testTerminal(t, problem.English)
	at.environ = func() []string { return []string{"WEIR_DATA=" + s.data} }
	admit(t, at, &platformProcess{url: s.url()})
	folder := t.TempDir()
	person(t, at, s.url(), "zhang", 0, "dataset", "import", residents(t, folder, 3000))
	s.grant = strings.TrimSpace(person(t, at, s.url(), "wang", 0, "grant", "create", stormGrant(t, folder)))
	s.begun = s.files(t)

	var analysts []*stormAnalyst
	for i := range stormAnalysts {
		a := &stormAnalyst{storm: s, t: t, number: i, from: net.IPv4(127, 0, 1, byte(1+i))}
		if i < stormAccounts {
			a.session = &stormSession{name: fmt.Sprintf("analyst%02d", i)}
			person(t, at, s.url(), "wang", 0, "account", "create", a.session.name, "--person", "分析员", "--organisation", "op-housing", "--role", "analyst")
			a.signIn("")
		} else {
			a.session = analysts[i%stormAccounts].session
		}
		analysts = append(analysts, a)
	}
	begin := time.Now()
	s.calm.Store(true)
	each(analysts, func(a *stormAnalyst) { a.ask(stormQueries[a.number%2]) })
	s.calm.Store(false)
	t.Logf("%d analysts at once: each was answered within %v", stormAnalysts, time.Since(begin).Round(time.Millisecond))
	if t.Failed() {
		s.end(t)
		t.Fatalf("64 analysts at once; the platform said:\n%s", s.errors)
	}

	var asking sync.WaitGroup
	for i, a := range analysts {
		asking.Go(func() {
			for n := i; !s.over.Load(); n++ {
				a.ask(stormQueries[n%len(stormQueries)])
			}
		})
	}
	killed := map[string]int{}
	for range *stormKills {
		time.Sleep(rand.N(400 * time.Millisecond)) // a storm does not wait for anything
		killed[s.kill(t)]++
	}
	s.over.Store(true)
	asking.Wait()
	t.Logf("%d questions; killed: %v", s.asked.Load(), killed)
	s.stop(t)
	s.check(t, at)
}

func each(analysts []*stormAnalyst, do func(*stormAnalyst)) {
	var group sync.WaitGroup
	for _, a := range analysts {
		group.Go(func() { do(a) })
	}
	group.Wait()
}

func stormGrant(t *testing.T, folder string) string {
	return sample(t, folder, "grant.yaml", map[string]string{
		"rules: {k: 20,":                           "rules: {k: 10,",
		"2027-06-30T23:59":                         time.Now().AddDate(0, 1, 0).Format("2006-01-02T15:04"),
		"{jobs_per_day: 200, cells_per_day: 5000}": "{jobs_per_day: 100000, cells_per_day: 100000}",
	})
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &storm{program: build(t), data: filepath.Join(t.TempDir(), "var"), temp: t.TempDir(), address: free.Addr().String()}
	free.Close()
	s.start(t)
	t.Cleanup(func() {
		s.over.Store(true)
		s.end(t)
	})
	return s
}

func (s *storm) url() string { return "http://" + s.address }

// start runs the platform and waits until it answers.
func (s *storm) start(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errors = &strings.Builder{}
	s.server = exec.Command(s.program, "--lang", "en", "serve")
	s.server.Env = append(os.Environ(), "WEIR_DATA="+s.data, "WEIR_LISTEN="+s.address, "TMPDIR="+s.temp)
	s.server.Stderr = s.errors
	if err := s.server.Start(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; {
		answer, err := http.Get(s.url() + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		var info unix.Siginfo
		unix.Waitid(unix.P_PID, s.server.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if info.Signo != 0 || time.Since(begin) > stormPatience {
			s.server.Process.Kill()
			s.server.Wait()
			t.Fatalf("the platform does not come back: %v\n%s", err, s.errors)
		}
		time.Sleep(10 * time.Millisecond) // another process has nothing else to tell by
	}
}

// end kills the platform and waits for it.
func (s *storm) end(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.Process.Kill()
	s.server.Wait()
}

// stop ends the platform as a service manager does.
func (s *storm) stop(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.server.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.server.Wait(); err != nil {
		t.Errorf("the platform ended with %v\n%s", err, s.errors)
	}
}

// kill kills the platform itself or one of the processes that it has started, and says which.
func (s *storm) kill(t *testing.T) string {
	t.Helper()
	if rand.IntN(4) == 0 {
		s.end(t)
		s.alone(t)
		s.start(t)
		return "platform"
	}
	children := descendants(s.server.Process.Pid)
	if len(children) == 0 {
		return "nobody"
	}
	pid := children[rand.IntN(len(children))]
	// A number may belong to another process by now; what a descriptor stands for stays the same.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "nobody"
	}
	defer unix.Close(fd)
	if !slices.Contains(descendants(s.server.Process.Pid), pid) || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return "nobody"
	}
	return "planner or worker"
}

// descendants are the processes that a process has started, and those that they have.
func descendants(of int) []int {
	parents := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name in brackets may hold anything; the state and the parent follow it. Source: proc_pid_stat(5).
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if parent, err := strconv.Atoi(fields[1]); err == nil && fields[0] != "Z" {
			parents[pid] = parent
		}
	}
	var found []int
	for pid := range parents {
		for up := parents[pid]; up > 1; up = parents[up] {
			if up == of {
				found = append(found, pid)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// alone waits until no process of the dead platform is left. The kernel kills them with it; that it takes its time
// is no fault.
func (s *storm) alone(t *testing.T) {
	t.Helper()
	worker, err := os.Stat(filepath.Join(filepath.Dir(s.program), "weir-worker"))
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			if program, err := os.Stat(link); err == nil && os.SameFile(program, worker) {
				left = append(left, link)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("processes outlive the platform: %v", left)
		}
	}
}

// files lists what the data folder holds, but for the database's own.
func (s *storm) files(t *testing.T) (names []string) {
	t.Helper()
	err := filepath.WalkDir(s.data, func(path string, _ os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if name, _ := filepath.Rel(s.data, path); !strings.HasPrefix(name, storeFile) {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// stormAnalyst is one person at one desk, with a network address of their own, as the platform bounds what comes from one.
type stormAnalyst struct {
	*storm
	t       *testing.T
	number  int
	from    net.IP
	session *stormSession
	asks    int
}

// stormSession is a token that those who sit together share.
type stormSession struct {
	name  string
	mu    sync.Mutex
	token string
}

func (a *stormAnalyst) dial(options ...client.ClientOption) *client.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: a.from}}
	doer := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	c, err := client.NewClient(a.url(), append(options, client.WithHTTPClient(doer))...)
	if err != nil {
		a.t.Error(err)
	}
	return c
}

// signIn gets another token than the one that was refused, however often it takes.
func (a *stormAnalyst) signIn(refused string) {
	a.session.mu.Lock()
	defer a.session.mu.Unlock()
	for a.session.token == refused && !a.t.Failed() {
		tokens, err := answer[client.Session](a.dial().SignIn(context.Background(), client.Credentials{Account: a.session.name, Password: endToEndPassword}))
		if err != nil {
			a.trouble(err)
			continue
		}
		a.session.token = tokens.AccessToken
	}
}

func (a *stormAnalyst) token() string {
	a.session.mu.Lock()
	defer a.session.mu.Unlock()
	return a.session.token
}

// trouble is an error that only a storm excuses.
func (a *stormAnalyst) trouble(err error) {
	if a.calm.Load() {
		a.t.Errorf("analyst %d, undisturbed: %v, %v", a.number, err, errors.Unwrap(err))
	}
	time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond)) // a person tries again
}

// ask asks one question and waits for its end, with the same key however often it must be sent.
func (a *stormAnalyst) ask(question struct{ sql, state string }) {
	a.asks++
	key := fmt.Sprintf("question-%d-%d", a.number, a.asks)
	a.asked.Add(1)
	job := ""
	for begin := time.Now(); !a.t.Failed(); {
		token, wait := a.token(), 10
		got, err := answer[client.Job](a.dial(bearer(token)).SubmitJob(context.Background(), &client.SubmitJobParams{IdempotencyKey: key, Wait: &wait},
			client.Query{Grant: a.grant, SQL: question.sql}))
		var refused *refusal
		switch {
		case errors.As(err, &refused) && refused.Status == http.StatusUnauthorized:
			a.signIn(token)
			continue
		case err != nil:
			a.trouble(err)
		case job != "" && got.ID != job:
			a.t.Errorf("one submission became two jobs, %s and %s", job, got.ID)
		case string(got.State) == question.state:
			return
		case got.State == client.JobStateQueued || got.State == client.JobStateRunning:
			job = got.ID
		case a.calm.Load():
			a.t.Errorf("analyst %d, undisturbed: %s %+v", a.number, got.State, got.Problem)
			return
		default: // it was hit
			return
		}
		if time.Since(begin) > stormPatience {
			a.t.Errorf("analyst %d: job %s has no end", a.number, job)
			return
		}
	}
}

// check looks at what the storm has left.
func (s *storm) check(t *testing.T, at recorded) {
	t.Helper()
	s.alone(t)
	if after := s.files(t); !slices.Equal(after, s.begun) {
		t.Errorf("before the storm there were %v, after it %v", s.begun, after)
	}
	if left, err := os.ReadDir(s.temp); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), s.data) {
		t.Errorf("something of the platform is still mounted, %v", err)
	}
	at.out.Reset()
	if code := run(t.Context(), []string{"--lang", "en", "audit", "verify", "--data", s.data}, at.terminal); code != 0 {
		t.Errorf("the log does not verify: %s%s", at.out, at.err)
	}
	s.count(t)
}

// count compares the jobs with what the log and the release queue say of them.
func (s *storm) count(t *testing.T) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(s.data, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(table, expression string) map[string]string {
		t.Helper()
		var rows []struct{ ID, Value string }
		if err := db.NewRaw("SELECT "+expression+" FROM "+table).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for _, row := range rows {
			values[row.ID] = row.Value
		}
		return values
	}
	states := list("gateway_jobs", "id, state AS value")
	released := list("export_releases", "id, state AS value")
	charged := list("gateway_usage", "job AS id, state AS value")
	started := list("gateway_jobs", "id, started_at AS value")
	intents, outcomes := s.logged(t)
	tally := map[string]int{}
	for job, state := range states {
		tally[state]++
		switch state {
		case "released", "waiting", "denied", "failed", "cancelled":
		default:
			t.Errorf("job %s is %s", job, state)
		}
		if (released[job] == "released") != (state == "released") {
			t.Errorf("job %s is %s, and in the release queue %q", job, state, released[job])
		}
		if state == "released" && (intents[job] != 1 || outcomes[job] != 1) {
			t.Errorf("job %s was released with %d intents and %d outcomes on the log", job, intents[job], outcomes[job])
		}
		if intents[job] > 1 || outcomes[job] > 1 {
			t.Errorf("job %s has %d intents and %d outcomes on the log", job, intents[job], outcomes[job])
		}
		if _, ok := charged[job]; ok != (started[job] != "0") {
			t.Errorf("job %s began at %s, and is charged: %v", job, started[job], ok)
		}
	}
	for job := range released {
		if states[job] == "" {
			t.Errorf("%s is in the release queue and no job", job)
		}
	}
	if int64(len(states)) != s.asked.Load() {
		t.Errorf("%d jobs of %d questions", len(states), s.asked.Load())
	}
	if texts := list("gateway_job_texts", "job AS id, '' AS value"); len(texts) > 0 {
		t.Errorf("%d texts are kept of jobs that have ended", len(texts))
	}
	t.Logf("jobs: %v", tally)
	if tally["released"] == 0 || tally["denied"] == 0 {
		t.Errorf("the storm left nothing to look at: %v", slices.Sorted(maps.Keys(tally)))
	}
}

// logged counts what stands on the log of each job: announcements, and outcomes that let something out.
func (s *storm) logged(t *testing.T) (intents, outcomes map[string]int) {
	t.Helper()
	intents, outcomes = map[string]int{}, map[string]int{}
	db, err := store.Open(t.Context(), filepath.Join(s.data, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	key, err := audit.LoadKey(filepath.Join(s.data, keysFolder), defaults.Origin)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), db, audit.Options{Origin: defaults.Origin, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for after := int64(0); ; {
		records, err := log.Search(t.Context(), audit.Filter{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return intents, outcomes
		}
		for _, r := range records {
			after = r.Index + 1
			switch {
			case r.Kind == "job.intent":
				intents[r.Job]++
			case r.Kind == "job.outcome" && r.Facts["outcome"] == "released":
				outcomes[r.Job]++
			}
		}
	}
}
