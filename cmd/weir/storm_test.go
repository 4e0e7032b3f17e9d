package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/gateway/api/client"
	"weir/internal/problem"
	"weir/internal/store/storetest"
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

// storm is a platform of one node or several over one store and one data folder, with people who keep asking it.
type storm struct {
	nodes  []*stormNode
	data   string
	source string   // of the store
	begun  []string // the files of the data folder before

	analysts []*stormAnalyst
	grant    string
	over     atomic.Bool
	asked    atomic.Int64
	calm     atomic.Bool // nobody is killed, so nothing may go wrong
}

// TestStorm has 64 analysts ask at once, first undisturbed and without an error, and then while the platform, its
// planners and its workers are killed at random. Afterwards nothing is lost, released twice, or left behind.
func TestStorm(t *testing.T) {
	data := filepath.Join(t.TempDir(), "var")
	node := newStormNode(t, "WEIR_DATA="+data)
	s := &storm{nodes: []*stormNode{node}, data: data, source: filepath.Join(data, storeFile)}
	node.start(t)
	at := s.begin(t, stormAnalysts, stormAccounts)
	asking := s.ask()
	killed, begin := map[string]int{}, time.Now()
	for range *stormKills {
		time.Sleep(rand.N(400 * time.Millisecond)) // a storm does not wait for anything
		if rand.IntN(4) > 0 {
			killed[node.hit()]++
			continue
		}
		killed["platform"]++
		node.end()
		node.alone(t)
		node.start(t)
	}
	s.over.Store(true)
	asking.Wait()
	t.Logf("%d questions in %v; killed: %v", s.asked.Load(), time.Since(begin).Round(time.Second), killed)
	s.check(t, at)
}

// stormLease is after how long a dead node's jobs are taken over.
const stormLease = 4 * time.Second

// TestStormOfTwoNodes kills nodes that share a store, a data folder and a queue. While one is dead, the other ends all
// that ran on it and goes on with what waits; nothing is lost or released twice.
func TestStormOfTwoNodes(t *testing.T) {
	s := &storm{data: filepath.Join(t.TempDir(), "var"), source: storetest.Postgres(t)}
	environ := []string{"WEIR_DATA=" + s.data, "WEIR_STORE=" + s.source, "WEIR_URL=http://weir.test", "WEIR_JOBS_LEASE=" + stormLease.String()}
	for range 2 {
		node := newStormNode(t, environ...)
		node.start(t)
		s.nodes = append(s.nodes, node)
	}
	at := s.begin(t, stormAnalysts/4, stormAccounts/4, environ...)
	db := storetest.Open(t, s.source)
	asking := s.ask()
	killed, moved, begin := map[string]int{}, 0, time.Now()
	for i := 0; i < *stormKills/2 || moved == 0 && i < *stormKills; i++ {
		time.Sleep(rand.N(400 * time.Millisecond))
		node := s.nodes[rand.IntN(len(s.nodes))]
		if i%4 > 0 {
			killed[node.hit()]++
			continue
		}
		killed["platform"]++
		node.end()
		node.alone(t)
		moved += s.takenOver(t, db)
		node.start(t)
	}
	s.over.Store(true)
	asking.Wait()
	t.Logf("%d questions in %v; killed: %v; the other node ended %d jobs", s.asked.Load(), time.Since(begin).Round(time.Second), killed, moved)
	if moved == 0 {
		t.Error("no node died with a job")
	}
	s.check(t, at)
}

// begin admits everybody, takes in the data, and has all ask at once while nobody disturbs them.
func (s *storm) begin(t testing.TB, analysts, accounts int, environ ...string) recorded {
	t.Helper()
	t.Cleanup(func() { s.over.Store(true) })
	at, url, folder := testTerminal(t, problem.English), s.nodes[0].url(), t.TempDir()
	at.environ = func() []string { return append([]string{"WEIR_DATA=" + s.data}, environ...) }
	admit(t, at, &platformProcess{url: url})
	person(t, at, url, "zhang", 0, "dataset", "import", residents(t, folder, 3000))
	person(t, at, url, "wang", 0, "dataset", "approve", "residents", "1", "--reason", "checked")
	s.grant = strings.TrimSpace(person(t, at, url, "wang", 0, "grant", "create", stormGrant(t, folder)))
	s.begun = s.files(t)
	for i := range analysts {
		a := &stormAnalyst{storm: s, t: t, number: i, from: net.IPv4(127, 0, 1, byte(1+i))}
		if i < accounts {
			a.session = &stormSession{name: fmt.Sprintf("analyst%02d", i)}
			admitOne(t, at, url, "zhu", []string{a.session.name, "分析员", "op-housing", "analyst"})
			a.signIn("")
		} else {
			a.session = s.analysts[i%accounts].session
		}
		s.analysts = append(s.analysts, a)
	}
	begin := time.Now()
	s.calm.Store(true)
	each(s.analysts, func(a *stormAnalyst) { a.ask(stormQueries[a.number%2]) })
	s.calm.Store(false)
	t.Logf("%d analysts at once: each was answered within %v", analysts, time.Since(begin).Round(time.Millisecond))
	if t.Failed() {
		for _, n := range s.nodes {
			n.end()
			t.Logf("%s said:\n%s", n.address, n.errors)
		}
		t.FailNow()
	}
	return at
}

// ask has everybody go on asking until it is over.
func (s *storm) ask() *sync.WaitGroup {
	asking := &sync.WaitGroup{}
	for i, a := range s.analysts {
		asking.Go(func() {
			for n := i; !s.over.Load(); n++ {
				a.ask(stormQueries[n%len(stormQueries)])
			}
		})
	}
	return asking
}

func each(analysts []*stormAnalyst, do func(*stormAnalyst)) {
	var group sync.WaitGroup
	for _, a := range analysts {
		group.Go(func() { do(a) })
	}
	group.Wait()
}

func stormGrant(t testing.TB, folder string) string {
	return sample(t, folder, "grant.yaml", map[string]string{
		"rules: {k: 20,":                           "rules: {k: 10,",
		"2027-06-30T23:59":                         time.Now().AddDate(0, 1, 0).Format("2006-01-02T15:04"),
		"{jobs_per_day: 200, cells_per_day: 5000}": "{jobs_per_day: 100000, cells_per_day: 100000}",
	})
}

// stormAnalyst is one person at one desk, with a network address of their own, as the platform bounds what comes from one.
type stormAnalyst struct {
	*storm
	t       testing.TB
	number  int
	from    net.IP
	session *stormSession
	asks    int
	trials  int // what went wrong, each time at another node
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
	c, err := client.NewClient(a.nodes[(a.number+a.trials)%len(a.nodes)].url(), append(options, client.WithHTTPClient(doer))...)
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
	a.trials++
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
