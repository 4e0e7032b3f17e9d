package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
)

func TestACommandLineIsUnderstoodOrRefused(t *testing.T) {
	for _, c := range []struct {
		line string
		code int
	}{
		{"--help", exitReleased},
		{"query --help", exitReleased},
		{"", exitUsage},
		{"nonsense", exitUsage},
		{"query SELECT", exitUsage}, // no grant
		{"query --grant g --format xml SELECT", exitUsage},
		{"grant suspend g", exitUsage}, // no reason
		{"release approve 7", exitUsage},
		{"account create li", exitUsage},
		{"audit search --from yesterday", exitUsage},
		{"job show", exitUsage},
	} {
		t.Run(c.line, func(t *testing.T) {
			term := testTerminal(t, problem.English)
			if code := run(t.Context(), strings.Fields(c.line), term.terminal); code != c.code {
				t.Errorf("ended with %d, want %d: %s", code, c.code, term.err)
			}
		})
	}
}

func TestCommandsAskThePlatform(t *testing.T) {
	const grant = `{"id":"g","operator":"o","scenario":"s","title":"住房","datasets":[{"name":"residents","columns":["district","age"]}],
		"mode":"exact","rules":{"k":10,"dominance_p":10,"dominance_share":90,"digits":10},"quota":{"jobs_per_day":1,"cells_per_day":2000},
		"from":"2026-01-01T00:00:00Z","until":"2027-01-01T00:00:00Z","state":"suspended"}`
	const budget = `{"domain":"person","left":0.25,"spent":3.310000001,"delta":0,"refills":1,"refilled":"2026-12-01T00:00:00Z","shares":[{"operator":"o","spent":0.75,"total":0.75}]}`
	for _, c := range []struct {
		line   string
		script answers
		asked  string
		out    string
	}{
		{"grant show g", answers{"GET /api/v1/grants/g": {{200, grant}}}, "GET /api/v1/grants/g Bearer access-1", "at most 1 jobs and 2,000 cells a day"},
		{"grant show g", answers{"GET /api/v1/grants/g": {{200, strings.TrimSuffix(grant, "}") + `,"left":{"jobs":1,"cells":1500},
			"history":[{"at":"2026-01-01T00:00:00Z","by":"wang","state":"active","reason":"created"},{"at":"2026-02-01T00:00:00Z","by":"wang","state":"suspended","reason":"a leak is looked into"}]}`}}},
			"GET /api/v1/grants/g Bearer access-1", "suspended  wang  a leak is looked into"},
		{"release list --state decided", answers{"GET /api/v1/releases": {{200, `{"releases":[{"id":"r1","job":"7","grant":"g","operator":"o","owner":"li","state":"refused","asked":"2026-01-01T00:00:00Z","decided":"2026-01-02T00:00:00Z","officer":"zhao","reason":"too fine"}]}`}}},
			"GET /api/v1/releases?state=decided Bearer access-1", "zhao        too fine"},
		{"job show 7", answers{"GET /api/v1/jobs/7": {state(200, "denied", `,"sql":"SELECT a","decision":{"at":"2026-01-02T00:00:00Z","reason":"too fine"},"problem":`, denial)}},
			"GET /api/v1/jobs/7 Bearer access-1", "    SELECT a\n\nAn officer decided at "},
		{"explain --grant g SELECT", answers{"POST /api/v1/explain": {{200, `{"mode":"exact","releases":1,"plan":{"operator":"projection","type":"Released","columns":["n open"]},"left":{"jobs":3,"cells":40,"privacy":{"residents":0.5}}}`}}},
			`POST /api/v1/explain Bearer access-1 {"grant":"g","sql":"SELECT"}`, "Left of today: 3 jobs, 40 cells\nLeft of the privacy budget on residents: epsilon 0.5\n"},
		{"--lang zh explain --grant g SELECT", answers{"POST /api/v1/explain": {{200, `{"mode":"exact","releases":1,"plan":{"operator":"aggregate and group by","type":"Protected","units":["person"],"columns":["身份证 unit key"]},"left":{"jobs":3,"cells":40}}`}}},
			`POST /api/v1/explain Bearer access-1 {"grant":"g","sql":"SELECT"}`, "聚合与分组  受保护(person)  身份证 主体键\n受保护的聚合：1 个。模式：精确。\n今日剩余：3 个任务，40 个单元格\n"},
		{"whoami", answers{"GET /api/v1/session": {{200, `{"subject":"li","organisation":"o","roles":["analyst"]}`}}}, "GET /api/v1/session Bearer access-1", "li       o             analyst"},
		{"job list --state failed --grant g --limit 1", answers{"GET /api/v1/jobs": {{200, `{"jobs":[{"id":"9","grant":"h","state":"failed","created":"2026-01-01T00:00:00Z"},{"id":"8","grant":"g","state":"released","created":"2026-01-01T00:00:00Z"}],"next":"8"}`},
			{200, `{"jobs":[{"id":"7","grant":"g","state":"failed","sql":"SELECT a,\\n  b","created":"2026-01-01T00:00:00Z"}]}`}}},
			"GET /api/v1/jobs?limit=500&sql=true Bearer access-1\nGET /api/v1/jobs?limit=500&before=8&sql=true Bearer access-1", "7    g      failed"},
		{"grant suspend g --reason leak", answers{"POST /api/v1/grants/g/suspend": {{200, grant}}},
			`POST /api/v1/grants/g/suspend Bearer access-1 {"reason":"leak"}`, "Grant g is now suspended."},
		{"grant restore g --reason mended", answers{"POST /api/v1/grants/g/restore": {{200, grant}}},
			`POST /api/v1/grants/g/restore Bearer access-1 {"reason":"mended"}`, "Grant g"},
		{"grant terminate g --reason over", answers{"POST /api/v1/grants/g/terminate": {{200, grant}}},
			`POST /api/v1/grants/g/terminate Bearer access-1 {"reason":"over"}`, "Grant g"},
		{"release list", answers{"GET /api/v1/releases": {{200, `{"releases":[{"id":"r1","job":"7","grant":"g","operator":"o","owner":"li","asked":"2026-01-01T00:00:00Z"}]}`}}},
			"GET /api/v1/releases Bearer access-1", "r1       7    g      o         li"},
		{"release approve r1 --reason fine", answers{"POST /api/v1/releases/r1/approve": {{204, ""}}},
			`POST /api/v1/releases/r1/approve Bearer access-1 {"reason":"fine"}`, "Release r1 was let out."},
		{"release refuse r1 --reason small", answers{"POST /api/v1/releases/r1/refuse": {{204, ""}}},
			`POST /api/v1/releases/r1/refuse Bearer access-1 {"reason":"small"}`, "Release r1 was refused."},
		{"job cancel 7", answers{"POST /api/v1/jobs/7/cancel": {state(200, "cancelled")}}, "POST /api/v1/jobs/7/cancel Bearer access-1", ""},
		{"job list", answers{"GET /api/v1/jobs": {{200, `{"jobs":[{"id":"7","grant":"g","state":"denied","created":"2026-01-01T00:00:00Z","problem":` + denial + `}]}`}}},
			"GET /api/v1/jobs?limit=20&sql=true Bearer access-1", "guard.raw"},
		{"job result 7 --page 2 --rows 10", answers{
			"GET /api/v1/jobs/7":        {state(200, "released")},
			"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[11]],"withheld":false,"ms":1}`}},
		}, "GET /api/v1/jobs/7 Bearer access-1\nGET /api/v1/jobs/7/result?page=2&rows=10 Bearer access-1", "n\n--\n11"},
		{"usage --operator o --from 2026-11-01 --to 2026-11-30", answers{"GET /api/v1/usage": {{200,
			`{"usage":[{"day":"2026-11-21","operator":"o","grant":"g","jobs":3,"cpu_seconds":4,"wall_seconds":5,"read_bytes":67108864}]}`}}},
			"GET /api/v1/usage?operator=o&from=2026-11-01&to=2026-11-30 Bearer access-1", "2026-11-21  o         g         3        4         5          64"},
		{"usage --jobs --from 2026-11-01 --to 2026-11-30", answers{"GET /api/v1/usage/jobs": {{200,
			`{"jobs":[{"job":"7","operator":"o","grant":"g","state":"failed","started":"2026-01-01T00:00:00Z","ended":"2026-01-01T00:00:01Z","cpu_ms":900,"wall_ms":1000,"peak_bytes":5242880,"read_bytes":1048576}]}`}}},
			"GET /api/v1/usage/jobs?from=2026-11-01&to=2026-11-30 Bearer access-1", "900"},
		{"usage --format csv --from 2026-11-01 --to 2026-11-30", answers{"GET /api/v1/usage": {{200, "day,operator\n"}}},
			"GET /api/v1/usage?from=2026-11-01&to=2026-11-30 Bearer access-1", "day,operator\n"},
		{"budget list --operator o", answers{"GET /api/v1/budgets": {{200, `{"budgets":[` + budget + `]}`}}},
			"GET /api/v1/budgets?operator=o Bearer access-1", "person      0.25     3.310000001        1  2026-12-01"},
		{"budget list --format json", answers{"GET /api/v1/budgets": {{200, `{"budgets":[` + budget + `]}`}}},
			"GET /api/v1/budgets Bearer access-1", `"left":0.25`},
		{"budget show person", answers{"GET /api/v1/budgets": {{200, `{"budgets":[` + budget + `]}`}}},
			"GET /api/v1/budgets Bearer access-1", "Refilled 1 times, last on 2026-12-01"},
		{"budget set person 0.25 --reason yearly", answers{"PUT /api/v1/budgets/person": {{200, budget}}},
			`PUT /api/v1/budgets/person Bearer access-1 {"left":0.25,"reason":"yearly"}`, "Domain person: 0.25 ρ left for everybody, 3.310000001 spent ever"},
		{"dataset list", answers{"GET /api/v1/datasets": {{200, `{"datasets":[{"name":"residents","title":"居民","provider":"公安局","open":false,"version":2,"rows_about":120000,"units":[{"domain":"person","key":"id"}],"columns":[]}]}`}}},
			"GET /api/v1/datasets Bearer access-1", "residents  居民   公安局    person(id)        2       120000"},
		{"audit verify", answers{"POST /api/v1/log/verify": {{200, `{"ok":true,"size":12,"root":"abc","findings":[]}`}}},
			"POST /api/v1/log/verify Bearer access-1", "The log verifies: 12 entries, root abc."},
		{"audit checkpoint", answers{"GET /api/v1/log/checkpoint": {{200, "weir\n12\nabc\n"}}}, "GET /api/v1/log/checkpoint Bearer access-1", "weir\n12\nabc\n"},
		{"account unlock wang", answers{"POST /api/v1/accounts/wang/unlock": {{204, ""}}}, "POST /api/v1/accounts/wang/unlock Bearer access-1", "Account wang may sign in again at once."},
		{"account disable wang --reason left", answers{"POST /api/v1/accounts/wang/disable": {{204, ""}}},
			`POST /api/v1/accounts/wang/disable Bearer access-1 {"reason":"left"}`, "Account wang is disabled."},
	} {
		t.Run(c.line, func(t *testing.T) {
			f := platformWith(t, c.script)
			term := signedIn(t, f, time.Now().Add(time.Hour))
			if code := run(t.Context(), strings.Fields(c.line), term.terminal); code != exitReleased {
				t.Fatalf("ended with %d: %s", code, term.err)
			}
			if diff := cmp.Diff(strings.Split(c.asked, "\n"), f.asked); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(term.out.String(), c.out) {
				t.Errorf("said:\n%s", term.out)
			}
		})
	}
}

func TestALogThatDoesNotVerifyEndsWithFailure(t *testing.T) {
	f := platformWith(t, answers{"POST /api/v1/log/verify": {{200, `{"ok":false,"size":12,"findings":[{"place":"entry 3","problem":"was changed"}]}`}}})
	term := signedIn(t, f, time.Now().Add(time.Hour))
	if code := run(t.Context(), []string{"audit", "verify"}, term.terminal); code != exitFailed {
		t.Errorf("ended with %d", code)
	}
	if !strings.Contains(term.out.String(), "entry 3: was changed\nThe log does NOT verify.") {
		t.Errorf("said %s", term.out)
	}
}

func TestSigningInAndOut(t *testing.T) {
	f := platformWith(t, answers{
		"POST /api/v1/session":   {{200, `{"access_token":"a","token_type":"Bearer","expires_in":300,"refresh_token":"r"}`}},
		"GET /api/v1/session":    {{200, `{"subject":"li","organisation":"o","roles":["analyst"]}`}},
		"DELETE /api/v1/session": {{204, ""}},
	})
	term := testTerminal(t, problem.English)
	term.in = strings.NewReader("correct horse\nmore\n")
	if code := run(t.Context(), []string{"--server", f.URL + "/", "login", "li"}, term.terminal); code != 0 {
		t.Fatalf("login ended with %d: %s", code, term.err)
	}
	if strings.Contains(term.err.String()+term.out.String(), "horse") {
		t.Error("the password was printed")
	}
	if code := run(t.Context(), []string{"logout"}, term.terminal); code != 0 {
		t.Fatalf("logout ended with %d: %s", code, term.err)
	}
	want := []string{
		`POST /api/v1/session  {"account":"li","password":"correct horse"}`,
		"GET /api/v1/session Bearer a",
		"DELETE /api/v1/session Bearer a",
	}
	if diff := cmp.Diff(want, f.asked); diff != "" {
		t.Error(diff)
	}
	w := opened(t, term.config)
	defer w.close()
	if len(w.sessions) != 0 {
		t.Errorf("kept %v", w.sessions)
	}
}

func TestAPasswordOrTokenGoesNowhereElse(t *testing.T) {
	t.Run("in the clear to another machine", func(t *testing.T) {
		for server, code := range map[string]string{
			"http://weir.example.org": "cli.no-tls", "http://192.0.2.1:8440": "cli.no-tls", "ftp://127.0.0.1": "cli.bad-server", "weir": "cli.bad-server",
		} {
			_, err := (&commands{}).dial(testTerminal(t, problem.English).terminal, server)
			if err == nil || problem.Of(err).Code != code {
				t.Errorf("%s: got %v, want %s", server, err, code)
			}
		}
	})
	t.Run("where a redirection points", func(t *testing.T) {
		var reached bool
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
		defer other.Close()
		f := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
		defer f.Close()
		term := testTerminal(t, problem.English)
		term.in = strings.NewReader("secret\n")
		if code := run(t.Context(), []string{"--server", f.URL, "login", "li"}, term.terminal); code != exitFailed || reached {
			t.Errorf("ended with %d, reached %v", code, reached)
		}
	})
	t.Run("to a server with an unknown certificate", func(t *testing.T) {
		f := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
		f.Config.ErrorLog = log.New(io.Discard, "", 0)
		defer f.Close()
		term := testTerminal(t, problem.English)
		term.in = strings.NewReader("secret\n")
		if code := run(t.Context(), []string{"--server", f.URL, "login", "li"}, term.terminal); code != exitFailed {
			t.Errorf("ended with %d", code)
		}
	})
}

func TestAnInterruptedQueryIsCancelled(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var asked []string
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		if r.URL.Query().Get("wait") == "30" {
			interrupt()
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"id":"7","grant":"g","state":"running","created":"2026-01-01T00:00:00Z"}`)
	}))
	defer f.Close()
	term := signedIn(t, &fake{Server: f}, time.Now().Add(time.Hour))
	if code := run(ctx, []string{"query", "--grant", "g", "SELECT 1"}, term.terminal); code != exitFailed {
		t.Errorf("ended with %d", code)
	}
	want := []string{"POST /api/v1/jobs?wait=30", "POST /api/v1/jobs?wait=0", "POST /api/v1/jobs/7/cancel?"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(term.err.String(), "[cli.interrupted]") {
		t.Errorf("said %s", term.err)
	}
}

func TestAnImportSendsTheManifestAndThenTheFile(t *testing.T) {
	folder := t.TempDir()
	manifest := "# 居民\nname: residents\nfile: data/居民.csv\nopen: false\n"
	write(t, filepath.Join(folder, "residents.yaml"), manifest)
	write(t, filepath.Join(folder, "data/居民.csv"), strings.Repeat("1,船营\n", 100_000))
	var parts []string
	f := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := r.MultipartReader()
		if err != nil {
			t.Error(err)
			return
		}
		for part, err := body.NextPart(); err == nil; part, err = body.NextPart() {
			text, err := io.ReadAll(part)
			if err != nil {
				t.Error(err)
			}
			parts = append(parts, part.FormName()+" "+part.FileName(), string(text))
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"dataset":{"name":"residents","title":"","provider":"","open":false,"membership":"secret","version":1,"rows_about":100000,`+
			`"units":[],"columns":[]},"state":"waiting","hash":"feed","rows":123456,"taken":"2026-11-30T12:00:00Z",`+
			`"weaker":[{"what":"class","column":"diagnosis"}]}`)
	}))
	defer f.Close()
	term := signedIn(t, &fake{Server: f}, time.Now().Add(time.Hour))
	if code := run(t.Context(), []string{"dataset", "import", filepath.Join(folder, "residents.yaml")}, term.terminal); code != 0 {
		t.Fatalf("ended with %d: %s", code, term.err)
	}
	if said := term.out.String(); !strings.Contains(said, "123,456") || !strings.Contains(said, "diagnosis") {
		t.Errorf("the provider hears neither how many rows came in nor why they wait: %s", said)
	}
	want := []string{"manifest residents.yaml", strings.Replace(manifest, "data/", "", 1), "file 居民.csv", strings.Repeat("1,船营\n", 100_000)}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{"a file that is not there": "file: none.csv", "no file": "name: x", "no YAML": "a: b: c"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.yaml")
			write(t, path, text)
			if code := run(t.Context(), []string{"dataset", "import", path}, term.terminal); code != exitFailed {
				t.Errorf("ended with %d", code)
			}
		})
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
