package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/problem"
)

// platformProcess is a real `weir serve` with a real worker beside it.
type platformProcess struct {
	command *exec.Cmd
	url     string
	data    string
	program string
	errors  *bytes.Buffer
}

// programs makes both programs once, as `make build` does.
var programs = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "weir-programs-")
	if err != nil {
		return "", err
	}
	for _, arguments := range [][]string{
		{"weir/cmd/weir"},
		{"-tags", "netgo,osusergo", "-ldflags", "-s -w -linkmode external -extldflags -static", "weir/cmd/weir-worker"},
	} {
		out, err := exec.Command("go", append([]string{"build", "-o", folder}, arguments...)...).CombinedOutput()
		if err != nil {
			return folder, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	return folder, nil
})

var built bool // whether there is something to remove

func TestMain(m *testing.M) {
	code := m.Run()
	if built {
		folder, _ := programs()
		os.RemoveAll(folder)
	}
	os.Exit(code)
}

func build(t testing.TB) string {
	t.Helper()
	built = true
	folder, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "weir")
}

// startPlatform runs the platform on any free port and waits until it says where.
func startPlatform(t testing.TB, program, data string) *platformProcess {
	t.Helper()
	p := &platformProcess{data: data, program: program, errors: &bytes.Buffer{}}
	p.command = exec.Command(program, "--lang", "en", "serve")
	p.command.Env = append(os.Environ(), "WEIR_DATA="+data, "WEIR_LISTEN=127.0.0.1:0")
	p.command.Stderr = p.errors
	out, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.command.ProcessState == nil {
			p.command.Process.Kill()
			p.command.Wait()
		}
	})
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	if err != nil {
		t.Fatalf("the platform did not start: %v\n%s", err, p.errors)
	}
	go io.Copy(io.Discard, said)
	p.url = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "Weir listens on "), ".")
	return p
}

// stop ends the platform as a service manager does, and expects a clean end.
func (p *platformProcess) stop(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.command.Wait(); err != nil {
		t.Fatalf("the platform ended with %v\n%s", err, p.errors)
	}
}

const endToEndPassword = "slow-river-over-the-weir-44"

// person runs a command as somebody and expects an exit status.
func person(t testing.TB, at recorded, url, who string, code int, args ...string) string {
	t.Helper()
	at.out.Reset()
	at.err.Reset()
	at.in = strings.NewReader(endToEndPassword + "\n")
	args = append([]string{"--lang", "en", "--server", url, "--as", who}, args...)
	if got := run(t.Context(), args, at.terminal); got != code {
		t.Fatalf("%s: ended with %d, want %d\n%s%s", strings.Join(args, " "), got, code, at.out, at.err)
	}
	return at.out.String()
}

// TestFromTheFirstAccountToTheVerifiedLog takes one question all the way, with real processes.
func TestFromTheFirstAccountToTheVerifiedLog(t *testing.T) {
	program, folder := build(t), t.TempDir()
	data := filepath.Join(folder, "var")
	at := testTerminal(t, problem.English)
	at.environ = func() []string { return []string{"WEIR_DATA=" + data} }
	p := startPlatform(t, program, data)

	admit(t, at, p)
	person(t, at, p.url, "zhang", 0, "dataset", "import", residents(t, folder, 3000))
	person(t, at, p.url, "wang", 0, "dataset", "approve", "residents", "1", "--reason", "checked")
	released := strings.TrimSpace(person(t, at, p.url, "wang", 0, "grant", "create", grantFile(t, folder, "perturbed")))
	reviewed := strings.TrimSpace(person(t, at, p.url, "wang", 0, "grant", "create", grantFile(t, folder, "exact")))

	const question = "SELECT district, count(*) AS people FROM residents GROUP BY district ORDER BY district"
	var o outcome
	decode(t, person(t, at, p.url, "li", exitReleased, "query", "--grant", released, "--format", "json", question), &o)
	if o.State != "released" || len(o.Rows) != 3 || !o.Withheld {
		t.Errorf("released %+v", o)
	}
	person(t, at, p.url, "li", exitDenied, "query", "--grant", released, "SELECT district FROM residents")
	if !strings.Contains(at.err.String(), "    SELECT district FROM residents\n    ^\n") {
		t.Errorf("a denial shows no place:\n%s", at.err)
	}
	person(t, at, p.url, "li", exitReleased, "explain", "--grant", released, question)

	decode(t, person(t, at, p.url, "li", exitWaiting, "query", "--grant", reviewed, "--format", "json", question), &o)
	person(t, at, p.url, "li", exitWaiting, "job", "result", o.ID)
	person(t, at, p.url, "li", exitFailed, "release", "approve", o.ID, "--reason", "my own")
	shown := person(t, at, p.url, "zhao", 0, "release", "show", o.ID)
	for _, want := range []string{question, "min units ", "999"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the officer does not see %q:\n%s", want, shown)
		}
	}
	person(t, at, p.url, "zhao", 0, "release", "approve", o.ID, "--reason", "fine")
	if csv := person(t, at, p.url, "li", exitReleased, "job", "result", o.ID, "--format", "csv"); csv != "district,people\n昌邑区,999\n船营区,999\n龙潭区,999\n" {
		t.Errorf("released:\n%s", csv)
	}

	person(t, at, p.url, "wang", 0, "grant", "suspend", released, "--reason", "evaluation")
	person(t, at, p.url, "li", exitDenied, "query", "--grant", released, question)
	checkpoint := filepath.Join(folder, "kept")
	write(t, checkpoint, person(t, at, p.url, "sun", 0, "audit", "checkpoint"))
	person(t, at, p.url, "sun", 0, "audit", "verify")
	person(t, at, p.url, "li", 0, "logout")
	person(t, at, p.url, "li", exitFailed, "job", "list")
	p.stop(t)

	verifyOffline(t, at, data, checkpoint)
}

// enter signs somebody in by a first password, in whose place they choose the tests' own.
func enter(t testing.TB, at recorded, url, who, first string) {
	t.Helper()
	at.out.Reset()
	at.err.Reset()
	at.in = strings.NewReader(first + "\n" + endToEndPassword + "\n")
	if code := run(t.Context(), []string{"--lang", "en", "--server", url, "login", who}, at.terminal); code != 0 {
		t.Fatalf("login of %s ended with %d: %s", who, code, at.err)
	}
}

// admit makes the first two accounts on the machine, signs in with them, and has them admit the others.
func admit(t testing.TB, at recorded, p *platformProcess) {
	t.Helper()
	firsts := map[string]string{}
	for _, who := range [][]string{{"wang", "王芳"}, {"qian", "钱进"}, {"hong", "洪亮"}} {
		at.out.Reset()
		code := run(t.Context(), []string{"--lang", "en", "account", "bootstrap", who[0], "--person", who[1], "--organisation", "政务局"}, at.terminal)
		if who[0] == "hong" {
			if code == 0 || !strings.Contains(at.err.String(), "[cli.not-first]") {
				t.Fatalf("a third first account: %d %s", code, at.err)
			}
			continue
		}
		if code != 0 {
			t.Fatalf("bootstrap ended with %d: %s", code, at.err)
		}
		said := strings.Split(at.out.String(), "\n")
		firsts[who[0]] = lastWord(said[1])
		enter(t, at, p.url, who[0], firsts[who[0]])
	}
	for _, o := range [][]string{
		{"公安局", "--capacity", "provider"}, {"op-housing", "--capacity", "operator", "--first", "zhu"},
		{"审核中心", "--capacity", "review"}, {"审计局", "--capacity", "supervision"},
	} {
		person(t, at, p.url, "wang", 0, append([]string{"organisation", "admit", "--reason", "test"}, o...)...)
	}
	for _, who := range [][]string{
		{"wang", "zhang", "张伟", "公安局", "provider"}, {"wang", "zhu", "朱红", "op-housing", "operator"},
		{"zhu", "li", "李娜", "op-housing", "analyst"}, {"wang", "zhao", "赵敏", "审核中心", "officer"},
		{"wang", "sun", "孙强", "审计局", "supervisor"},
	} {
		admitOne(t, at, p.url, who[0], who[1:])
	}
}

// admitOne makes one account, with the second person's consent where that is needed, and signs it in.
func admitOne(t testing.TB, at recorded, url, by string, who []string) {
	t.Helper()
	first := lastWord(person(t, at, url, by, 0, "account", "create", who[0], "--person", who[1],
		"--organisation", who[2], "--role", who[3], "--reason", "test"))
	if who[3] == "officer" || who[3] == "supervisor" {
		lines := strings.Split(strings.TrimSpace(person(t, at, url, "qian", 0, "account", "proposals")), "\n")
		id := strings.Fields(lines[len(lines)-1])[0]
		person(t, at, url, by, exitFailed, "account", "confirm", id) // nobody confirms their own
		first += lastWord(person(t, at, url, "qian", 0, "account", "confirm", id))
	}
	enter(t, at, url, who[0], first)
}

// residents writes the data of the sample's description: three districts of equal size, and one with three people.
func residents(t testing.TB, folder string, people int) string {
	t.Helper()
	var rows strings.Builder
	rows.WriteString("resident_id,district,age,marital_status,annual_income\n")
	for i := range people {
		district := []string{"船营区", "昌邑区", "龙潭区"}[i%3]
		if i < 3 {
			district = "小区"
		}
		fmt.Fprintf(&rows, "R%d,%s,%d,未婚,%d.50\n", i, district, 18+i%60, 1000+i)
	}
	write(t, filepath.Join(folder, "residents.csv"), rows.String())
	return sample(t, folder, "residents.yaml", nil)
}

// grantFile writes the sample's grant in another mode, with thresholds of the model's own.
func grantFile(t *testing.T, folder, mode string) string {
	t.Helper()
	return sample(t, folder, "grant.yaml", map[string]string{
		"mode: perturbed":  "mode: " + mode,
		"rules: {k: 20,":   "rules: {k: 10,",
		"2027-06-30T23:59": time.Now().AddDate(0, 1, 0).Format("2006-01-02T15:04"),
	})
}

// sample copies a file of deploy/sample, with some of its text replaced.
func sample(t testing.TB, folder, name string, replace map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/sample", name))
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range replace {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("%s does not hold %q", name, old)
		}
		text = bytes.ReplaceAll(text, []byte(old), []byte(new))
	}
	path := filepath.Join(folder, name)
	write(t, path, string(text))
	return path
}

// verifyOffline verifies the store that the platform left, with its own key and with the published one; then it
// changes one byte of an entry and expects that to be found.
func verifyOffline(t *testing.T, at recorded, data, checkpoint string) {
	t.Helper()
	verify := func(code int, args ...string) {
		t.Helper()
		at.out.Reset()
		at.err.Reset()
		if got := run(t.Context(), append([]string{"--lang", "en", "audit", "verify"}, args...), at.terminal); got != code {
			t.Errorf("audit verify %v: ended with %d, want %d\n%s%s", args, got, code, at.out, at.err)
		}
	}
	verify(0, "--data", data)
	verify(0, "--data", data, "--kept", checkpoint)
	verify(exitFailed, "--data", filepath.Join(data, "nowhere"))
	verify(exitFailed, "--data", data, "--trust", "weir.local/audit+c3a7f5d1+AUPgoXq7sUBMiKjhTqNdIIYMfOCh1PvMzTdlbT2kLHqj")

	store := filepath.Join(data, storeFile)
	text, err := os.ReadFile(store)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("grant.suspend.intent")); n == 0 {
		t.Fatal("the entry to change is not in the file")
	}
	text = bytes.ReplaceAll(text, []byte("grant.suspend.intent"), []byte("grant.restore.intent"))
	if err := os.WriteFile(store, text, 0o600); err != nil {
		t.Fatal(err)
	}
	verify(exitFailed, "--data", data)
	if !strings.Contains(at.out.String(), "The log does NOT verify.") {
		t.Errorf("said:\n%s%s", at.out, at.err)
	}
}

func decode(t testing.TB, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// TestTheEmbeddedStoreHasOnePlatform starts a second one on the same folder, and another after the first was killed.
func TestTheEmbeddedStoreHasOnePlatform(t *testing.T) {
	program, data := build(t), filepath.Join(t.TempDir(), "var")
	first := startPlatform(t, program, data)
	second := exec.Command(program, "--lang", "en", "serve")
	second.Env = append(os.Environ(), "WEIR_DATA="+data, "WEIR_LISTEN=127.0.0.1:0")
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "[cli.already-serving]") {
		t.Errorf("a second platform: %v\n%s", err, out)
	}
	if err := first.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.command.Wait()
	startPlatform(t, program, data).stop(t)
}
