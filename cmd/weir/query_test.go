package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
)

// fake answers as a platform would, from a script, and remembers what it was asked.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	keys  map[string]bool
}

// answers maps a method and path to the bodies that are given one after the other; the last stays.
type answers map[string][]scripted

type scripted struct {
	status int
	body   string
}

func platformWith(t *testing.T, script answers) *fake {
	t.Helper()
	f := &fake{keys: map[string]bool{}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		what := r.Method + " " + r.URL.Path
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked := what
		if r.Method == http.MethodGet && r.URL.RawQuery != "" {
			asked += "?" + r.URL.RawQuery
		}
		f.asked = append(f.asked, strings.TrimSpace(asked+" "+r.Header.Get("Authorization")+" "+string(body)))
		if key := r.Header.Get("Idempotency-Key"); key != "" {
			f.keys[key] = true
		}
		next := script[what]
		if len(next) == 0 {
			t.Errorf("unexpected request: %s", what)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		if len(next) > 1 {
			script[what] = next[1:]
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(next[0].status)
		fmt.Fprint(w, next[0].body)
	}))
	t.Cleanup(f.Close)
	return f
}

// signedIn is a terminal with a session on the platform that ends at the given time.
func signedIn(t *testing.T, f *fake, until time.Time) recorded {
	t.Helper()
	term := testTerminal(t, problem.English)
	if err := keep(term.terminal, session{Server: f.URL, Account: "li", Access: "access-1", Refresh: "refresh-1", Expires: until}, nil); err != nil {
		t.Fatal(err)
	}
	return term
}

const job = `{"id":"7","grant":"g","state":%q,"created":"2026-01-01T00:00:00Z"%s}`

func state(status int, name string, more ...string) scripted {
	return scripted{status, fmt.Sprintf(job, name, strings.Join(more, ""))}
}

const denial = `{"type":"urn:weir:problem:guard.raw","title":"Raw data","status":422,"detail":"This would show rows.","help":"Aggregate.","code":"guard.raw","line":1,"column":8,"instance":"urn:weir:request:1"}`

const table2 = `{"id":"7","state":"released","columns":["区","n"],"types":["VARCHAR","BIGINT"],"rows":[["船营区",12345678901234567890],["丰满区",null]],"withheld":true,"sources":["民政局 residents"],"ms":12}`

func TestQueryEndsAsItWent(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		script answers
		code   int
		out    string
		err    string
	}{
		{
			name: "released, as a table",
			script: answers{"POST /api/v1/jobs": {state(200, "released")},
				"GET /api/v1/jobs/7/result": {{200, table2}}},
			code: exitReleased,
			out:  "区                         n\n------  --------------------\n船营区  12345678901234567890\n丰满区                  NULL\n",
			err:  "Something was withheld, because it would have shown too few units.\nSource: 民政局 residents\n",
		},
		{
			name: "released, as JSON with every digit", args: []string{"--format", "json"},
			script: answers{"POST /api/v1/jobs": {state(200, "released")},
				"GET /api/v1/jobs/7/result": {{200, table2}}},
			code: exitReleased,
			out:  `{"id":"7","state":"released","columns":["区","n"],"types":["VARCHAR","BIGINT"],"rows":[["船营区",12345678901234567890],["丰满区",null]],"withheld":true,"sources":["民政局 residents"],"ms":12}` + "\n",
		},
		{
			name: "released, as CSV that no spreadsheet runs", args: []string{"--format", "csv"},
			script: answers{"POST /api/v1/jobs": {state(200, "released")},
				"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["a","b"],"rows":[["=1+1",-5],["x,y",null]]}`}}},
			code: exitReleased,
			out:  "a,b\n'=1+1,-5\n\"x,y\",\n",
		},
		{
			name: "released after a while: the same submission is asked again",
			script: answers{"POST /api/v1/jobs": {state(202, "queued"), state(202, "running"), state(200, "released")},
				"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[1]]}`}}},
			code: exitReleased,
			out:  "n\n-\n1\n",
			err:  "Job 7. It goes on without you: weir job wait 7 takes it up, weir job cancel 7 stops it.\n",
		},
		{
			name:   "denied by the guard",
			script: answers{"POST /api/v1/jobs": {state(200, "denied", `,"problem":`, denial)}},
			code:   exitDenied,
			err:    "Raw data\n  This would show rows.\n    SELECT * FROM residents\n           ^\n  Aggregate.\n  [guard.raw]\n",
		},
		{
			name: "denied by the guard, as JSON", args: []string{"--format", "json"},
			script: answers{"POST /api/v1/jobs": {state(200, "denied", `,"ended":"2026-01-01T00:00:00.025Z","problem":`, denial)}},
			code:   exitDenied,
			out:    `{"id":"7","state":"denied","code":"guard.raw","message":"This would show rows.","help":"Aggregate.","line":1,"column":8,"columns":[],"rows":[],"withheld":false,"ms":25}` + "\n",
		},
		{
			name:   "denied before it became a job",
			script: answers{"POST /api/v1/jobs": {{422, denial}}},
			code:   exitDenied,
			err:    "Raw data\n  This would show rows.\n    SELECT * FROM residents\n           ^\n  Aggregate.\n  [guard.raw]\n",
		},
		{
			name:   "waits for an officer",
			script: answers{"POST /api/v1/jobs": {state(200, "waiting")}},
			code:   exitWaiting,
			err:    "Job 7 waits for an officer's decision. Fetch it later with: weir job result 7\n",
		},
		{
			name:   "failed",
			script: answers{"POST /api/v1/jobs": {state(200, "failed", `,"problem":`, strings.Replace(denial, "422", "500", 1))}},
			code:   exitFailed,
			err:    "Raw data\n  This would show rows.\n    SELECT * FROM residents\n           ^\n  Aggregate.\n  [guard.raw]\n",
		},
		{
			name:   "stopped by somebody",
			script: answers{"POST /api/v1/jobs": {state(200, "cancelled")}},
			code:   exitFailed,
			err:    "Job 7 was cancelled.\n",
		},
		{
			name:   "the platform fails",
			script: answers{"POST /api/v1/jobs": {{503, strings.Replace(denial, "422", "503", 1)}}},
			code:   exitFailed,
			err:    "Raw data\n  This would show rows.\n  Aggregate.\n  [guard.raw]\n",
		},
		{
			name:   "something else answers",
			script: answers{"POST /api/v1/jobs": {{200, "<html>"}}},
			code:   exitFailed,
			err:    "The answer cannot be understood\n",
		},
		{
			name: "rows that do not fit their columns",
			script: answers{"POST /api/v1/jobs": {state(200, "released")},
				"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[1,2]]}`}}},
			code: exitFailed,
			err:  "The answer cannot be understood\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := platformWith(t, c.script)
			term := signedIn(t, f, time.Now().Add(time.Hour))
			args := append([]string{"query", "--grant", "g"}, c.args...)
			code := run(t.Context(), append(args, "SELECT * FROM residents"), term.terminal)
			if code != c.code {
				t.Errorf("ended with %d, want %d", code, c.code)
			}
			if diff := cmp.Diff(c.out, term.out.String()); diff != "" {
				t.Error("output:", diff)
			}
			if !strings.HasPrefix(term.err.String(), c.err) || (c.err == "") != (term.err.Len() == 0) {
				t.Errorf("beside it:\n%s\nwant:\n%s", term.err, c.err)
			}
			if len(f.keys) != 1 {
				t.Errorf("%d submissions, want one", len(f.keys))
			}
		})
	}
}

func TestQueryTakesItsTextFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.sql")
	if err := os.WriteFile(path, []byte("SELECT 2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		input string
		want  string
		code  int
	}{
		{"the argument", []string{"SELECT 1"}, "SELECT 3", "SELECT 1", exitReleased},
		{"a file", []string{"-f", path}, "SELECT 3", "SELECT 2", exitReleased},
		{"standard input", nil, "SELECT 3", "SELECT 3", exitReleased},
		{"standard input by name", []string{"-f", "-"}, "SELECT 3", "SELECT 3", exitReleased},
		{"nothing", nil, " \n", "", exitFailed},
		{"a file that is not there", []string{"-f", path + "x"}, "SELECT 3", "", exitFailed},
		{"too much", nil, "SELECT " + strings.Repeat("1", maxSQL), "", exitFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := platformWith(t, answers{"POST /api/v1/jobs": {state(200, "released")},
				"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[1]]}`}}})
			term := signedIn(t, f, time.Now().Add(time.Hour))
			term.in = strings.NewReader(c.input)
			if code := run(t.Context(), append([]string{"query", "--grant", "g"}, c.args...), term.terminal); code != c.code {
				t.Fatalf("ended with %d, want %d: %s", code, c.code, term.err)
			}
			if c.want == "" {
				if len(f.asked) != 0 {
					t.Errorf("asked %v", f.asked)
				}
				return
			}
			want := `POST /api/v1/jobs Bearer access-1 {"grant":"g","sql":"` + c.want + `"}`
			if f.asked[0] != want {
				t.Errorf("asked %s, want %s", f.asked[0], want)
			}
		})
	}
}

func TestSessionIsRefreshedBeforeItEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		until time.Duration
		fresh scripted
		asked []string
		code  int
		kept  string
	}{
		{"much life left", time.Hour, scripted{}, []string{"GET /api/v1/grants Bearer access-1"}, exitReleased, "refresh-1"},
		{"nearly over", refreshBefore / 2, scripted{200, `{"access_token":"access-2","token_type":"Bearer","expires_in":300,"refresh_token":"refresh-2"}`},
			[]string{`POST /api/v1/session/refresh  {"refresh_token":"refresh-1"}`, "GET /api/v1/grants Bearer access-2"}, exitReleased, "refresh-2"},
		{"over, and ended there", -time.Hour, scripted{401, strings.Replace(denial, "422", "401", 1)},
			[]string{`POST /api/v1/session/refresh  {"refresh_token":"refresh-1"}`}, exitFailed, ""},
		{"over, and the platform fails", -time.Hour, scripted{503, strings.Replace(denial, "422", "503", 1)},
			[]string{`POST /api/v1/session/refresh  {"refresh_token":"refresh-1"}`}, exitFailed, "refresh-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := platformWith(t, answers{"GET /api/v1/grants": {{200, `{"grants":[]}`}}, "POST /api/v1/session/refresh": {c.fresh}})
			term := signedIn(t, f, time.Now().Add(c.until))
			if code := run(t.Context(), []string{"grant", "list"}, term.terminal); code != c.code {
				t.Errorf("ended with %d, want %d: %s", code, c.code, term.err)
			}
			if diff := cmp.Diff(c.asked, f.asked); diff != "" {
				t.Error(diff)
			}
			w := opened(t, term.config)
			defer w.close()
			if s, _ := w.find("", ""); s.Refresh != c.kept {
				t.Errorf("kept %q, want %q", s.Refresh, c.kept)
			}
		})
	}
}

func TestNobodySignedInAsksNothing(t *testing.T) {
	term := testTerminal(t, problem.Chinese)
	if code := run(t.Context(), []string{"--lang=zh", "grant", "list"}, term.terminal); code != exitFailed {
		t.Errorf("ended with %d", code)
	}
	if !strings.Contains(term.err.String(), "尚未登录") || !strings.Contains(term.err.String(), "[cli.not-signed-in]") {
		t.Errorf("said %s", term.err)
	}
}

func TestTheOutcomeHasTheSameFieldsInEveryState(t *testing.T) {
	for _, o := range []outcome{{ID: "1", State: "released"}, {ID: "1", State: "waiting"}, {ID: "1", State: "denied", Code: "x"}} {
		term := testTerminal(t, problem.English)
		if err := o.print(term.terminal, "json", ""); (err == nil) != (o.State == "released") {
			t.Errorf("%s: %v", o.State, err)
		}
		var got map[string]any
		if err := json.Unmarshal(term.out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"id", "state", "columns", "rows", "withheld", "ms"} {
			if got[field] == nil {
				t.Errorf("%s: no %s", o.State, field)
			}
		}
	}
}
