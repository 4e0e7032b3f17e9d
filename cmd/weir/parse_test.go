package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"

	"weir/gateway/api"
	"weir/internal/problem"
)

// A query that begins with a comment is a query, and what only looks like it is a flag.
func TestAQueryMayBeginWithAComment(t *testing.T) {
	f := platformWith(t, answers{"POST /api/v1/jobs": {state(200, "denied", `,"problem":`, denial)}})
	term := signedIn(t, f, time.Now().Add(time.Hour))
	sql := "-- how many\nSELECT 1"
	if code := run(t.Context(), []string{"query", "--grant", "g", sql}, term.terminal); code != exitDenied {
		t.Fatalf("ended with %d: %s", code, term.err)
	}
	var sent struct{ SQL string }
	_, body, _ := strings.Cut(f.asked[0], "access-1 ")
	if err := json.Unmarshal([]byte(body), &sent); err != nil || sent.SQL != sql {
		t.Errorf("sent %s (%v)", body, err)
	}
	term = testTerminal(t, problem.English)
	if code := run(t.Context(), []string{"query", "--grant", "g", "--nothing"}, term.terminal); code != exitUsage || !strings.Contains(term.err.String(), "unknown flag --nothing") {
		t.Errorf("ended with %d: %s", code, term.err)
	}
}

func TestTheGrantOfTheEnvironment(t *testing.T) {
	t.Setenv("WEIR_GRANT", "g-env")
	f := platformWith(t, answers{"POST /api/v1/jobs": {state(200, "denied", `,"problem":`, denial)}})
	term := signedIn(t, f, time.Now().Add(time.Hour))
	if code := run(t.Context(), []string{"query", "SELECT 1"}, term.terminal); code != exitDenied || !strings.Contains(f.asked[0], `"grant":"g-env"`) {
		t.Errorf("ended with %d, asked %v", code, f.asked)
	}
}

// What the parser finds wrong is said in the person's language, and so are its help pages.
func TestUsageIsChinese(t *testing.T) {
	for _, c := range []struct {
		args []string
		says []string
	}{
		{[]string{"query", "SELECT 1"}, []string{"缺少参数：--grant=ID"}},
		{[]string{"querry"}, []string{"多余的参数：querry；是否想写 \"query\"？"}},
		{[]string{"job", "list", "--limitt", "5"}, []string{"没有该参数：--limitt；是否想写 \"--limit\"？"}},
		{[]string{"job", "list", "--limit", "many"}, []string{"--limit：应为整数，不能是 many"}},
		{[]string{"job", "list", "--format", "xml"}, []string{`--format 只能是 "table","json","csv"，不能是 "xml"`}},
		{[]string{"audit", "search", "--from", "2026-11-30 8h"}, []string{"应为日期（如 2026-11-30）"}},
		{[]string{"job", "show"}, []string{`缺少参数："<job>"`}},
		{[]string{"account", "disable", "x"}, []string{"缺少参数：--reason=STRING"}},
		{[]string{"job", "list", "--help"}, []string{"用法：weir job list [选项]", "选项："}},
		{[]string{"--help"}, []string{"用法：weir <命令>", "命令：", "运行“weir <命令> --help”查看各命令的说明。"}},
		{[]string{"job", "list", "--lang", "fr"}, []string{"没有语言“fr”", "cli.no-such-language"}},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			term := testTerminal(t, problem.Chinese)
			term.getenv = func(name string) string { return map[string]string{"LANG": "zh_CN.UTF-8"}[name] }
			want := exitUsage
			if c.args[len(c.args)-1] == "--help" {
				want = exitReleased
			}
			if code := run(t.Context(), c.args, term.terminal); code != want {
				t.Errorf("ended with %d", code)
			}
			text := term.out.String() + term.err.String()
			for _, says := range c.says {
				if !strings.Contains(text, says) {
					t.Errorf("does not say %q:\n%s", says, text)
				}
			}
			for _, english := range []string{"Usage", "Flags:", "expected", "missing", "unknown flag", "did you mean", "must be one of"} {
				if strings.Contains(text, english) {
					t.Errorf("English in it: %q\n%s", english, text)
				}
			}
		})
	}
}

// A language that nobody speaks here is refused by name, in the other languages' order too.
func TestAnotherLanguageIsRefused(t *testing.T) {
	for _, c := range []struct {
		lang string
		code int
	}{{"zh", exitReleased}, {"en", exitReleased}, {"fr", exitUsage}, {"zh_CN", exitUsage}} {
		term := testTerminal(t, problem.English)
		if code := run(t.Context(), []string{"docs", "errors", "--lang", c.lang}, term.terminal); code != c.code {
			t.Errorf("%s: ended with %d: %s", c.lang, code, term.err)
		}
	}
}

// Every word of the interface's lists that a person reads has a Chinese one.
func TestWordsAreChinese(t *testing.T) {
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Enum       []string `yaml:"enum"`
				Properties map[string]struct {
					Enum []string `yaml:"enum"`
				} `yaml:"properties"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(api.Specification, &document); err != nil {
		t.Fatal(err)
	}
	looked := 0
	check := func(where string, words []string) {
		for _, w := range words {
			if looked++; chineseWords[w] == "" {
				t.Errorf("%s: no Chinese for %q", where, w)
			}
		}
	}
	for _, name := range []string{"Role", "Mode", "JobState", "VersionState"} {
		check(name, document.Components.Schemas[name].Enum)
	}
	for _, one := range [][2]string{{"Grant", "state"}, {"Column", "class"}, {"Offer", "state"}, {"ReleaseSummary", "state"}} {
		check(one[0], document.Components.Schemas[one[0]].Properties[one[1]].Enum)
	}
	check("explain", valueUses)
	if looked < 30 {
		t.Errorf("only %d words", looked)
	}
}

// A file of data that is given for a description is not printed.
func TestACauseIsOneShortLine(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "patients.csv")
	rows := "name,card\n" + strings.Repeat("张三,\"220200199001011234\n", 2000)
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"dataset", "import", file}, {"grant", "create", file}} {
		term := testTerminal(t, problem.English)
		if code := run(t.Context(), command, term.terminal); code != exitFailed {
			t.Errorf("%v ended with %d", command, code)
		}
		if text := term.out.String() + term.err.String(); strings.Contains(text, "220200") || strings.Contains(text, "张三") || len(text) > 1000 {
			t.Errorf("%v printed %.300s", command, text)
		}
	}
	said := testTerminal(t, problem.English)
	if run(t.Context(), []string{"dataset", "import", file}, said.terminal); !strings.Contains(said.err.String(), "patients.csv is data and no description.") {
		t.Errorf("said %s", said.err)
	}
	term := testTerminal(t, problem.Chinese)
	if text := term.cause(fmt.Errorf("open: %w", &os.PathError{Op: "open", Path: "x.yaml", Err: os.ErrNotExist})); text != "x.yaml：文件不存在" {
		t.Errorf("said %q", text)
	}
}

// What is listed can be had as CSV in a file, with the mark by which spreadsheets know UTF-8. What comes to nothing leaves
// what was there.
func TestAListInAFile(t *testing.T) {
	f := platformWith(t, answers{"GET /api/v1/jobs": {{200, `{"jobs":[{"id":"=7","grant":"g","state":"waiting","created":"2026-01-01T00:00:00Z"}]}`}, {500, `{"code":"internal","title":"x","detail":"y"}`}}})
	term := signedIn(t, f, time.Now().Add(time.Hour))
	file := filepath.Join(t.TempDir(), "jobs.csv")
	list := []string{"job", "list", "--format", "csv", "--bom", "--output", file}
	for range 2 {
		run(t.Context(), list, term.terminal)
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text), "\ufeffJob,Grant,State,Created,Reason,SQL\n'=7,g,waiting,") {
			t.Errorf("%q %v", text, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(file)); err != nil || len(entries) != 1 || term.out.Len() != 0 {
		t.Errorf("left behind: %v %v, printed %q", entries, err, term.out)
	}
}

// A job that was left is taken up again, with what a query would print.
func TestAJobIsTakenUpAgain(t *testing.T) {
	f := platformWith(t, answers{
		"POST /api/v1/jobs":         {state(202, "queued")},
		"GET /api/v1/jobs/7":        {state(200, "running"), state(200, "released")},
		"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[1]]}`}},
	})
	term := signedIn(t, f, time.Now().Add(time.Hour))
	if code := run(t.Context(), []string{"query", "--detach", "--grant", "g", "SELECT 1"}, term.terminal); code != exitReleased || term.out.String() != "7\n" {
		t.Fatalf("ended with %d: %s%s", code, term.out, term.err)
	}
	term.out.Reset()
	if code := run(t.Context(), []string{"job", "wait", "7"}, term.terminal); code != exitReleased || term.out.String() != "n\n-\n1\n" {
		t.Errorf("ended with %d: %s%s", code, term.out, term.err)
	}
}

// Whoever watches sees how far a job is; nothing of that is left on the screen.
func TestProgressIsShown(t *testing.T) {
	f := platformWith(t, answers{
		"POST /api/v1/jobs":         {state(202, "running", `,"progress":40`), state(200, "released")},
		"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[1]]}`}},
	})
	term := signedIn(t, f, time.Now().Add(time.Hour))
	term.watched = func() bool { return true }
	if code := run(t.Context(), []string{"query", "--grant", "g", "SELECT 1"}, term.terminal); code != exitReleased {
		t.Fatalf("ended with %d: %s", code, term.err)
	}
	if !strings.HasSuffix(term.err.String(), "running 40%\r           \r") {
		t.Errorf("showed %q", term.err)
	}
}

// A query that is waited for longer than a token lives goes on with the next token.
func TestTheSessionIsKeptWhileItWaits(t *testing.T) {
	f := platformWith(t, answers{
		"POST /api/v1/session/refresh": {{200, `{"access_token":"access-2","token_type":"Bearer","expires_in":1,"refresh_token":"refresh-2"}`},
			{200, `{"access_token":"access-3","token_type":"Bearer","expires_in":300,"refresh_token":"refresh-3"}`}},
		"POST /api/v1/jobs":         {state(202, "running"), state(200, "released")},
		"GET /api/v1/jobs/7/result": {{200, `{"id":"7","state":"released","columns":["n"],"rows":[[1]]}`}},
	})
	term := signedIn(t, f, time.Now().Add(time.Second))
	if code := run(t.Context(), []string{"query", "--grant", "g", "SELECT 1"}, term.terminal); code != exitReleased {
		t.Fatalf("ended with %d: %s", code, term.err)
	}
	if last := f.asked[len(f.asked)-1]; !strings.Contains(last, "Bearer access-3") {
		t.Errorf("asked %q", f.asked)
	}
}

// The script that completes is one that the shell reads, and knows the commands.
func TestCompletion(t *testing.T) {
	term := testTerminal(t, problem.English)
	if code := run(t.Context(), []string{"completion", "bash"}, term.terminal); code != exitReleased {
		t.Fatalf("ended with %d: %s", code, term.err)
	}
	script := term.out.String() + `
COMP_WORDS=(weir job li); COMP_CWORD=2; _weir; echo "${COMPREPLY[@]}"
COMP_WORDS=(weir job list --for); COMP_CWORD=3; _weir; echo "${COMPREPLY[@]}"
`
	shell := exec.CommandContext(t.Context(), "bash", "--norc")
	shell.Stdin = strings.NewReader(script)
	said, err := shell.CombinedOutput()
	if err != nil || string(said) != "list\n--format\n" {
		t.Errorf("said %q (%v)", said, err)
	}
}

// version tells which build it is, in every form.
func TestVersion(t *testing.T) {
	term := testTerminal(t, problem.English)
	if code := run(t.Context(), []string{"version", "--format", "json"}, term.terminal); code != exitReleased || !strings.Contains(term.out.String(), `"go":"go1.`) {
		t.Errorf("ended with %d: %s", code, term.out)
	}
}

var formatted = regexp.MustCompile(`%[a-z]`)

// Whatever this program says beneath a problem is said in Chinese.
func TestCausesAreChinese(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || path == "demo.go" { // the demonstration tells its own faults to whoever mends them
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			made, ok := call.Fun.(*ast.SelectorExpr)
			literal, isText := call.Args[0].(*ast.BasicLit)
			if !ok || !isText || made.Sel.Name != "Errorf" && (made.Sel.Name != "New" || fmt.Sprint(made.X) != "errors") {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			looked++
			// Names that are settings' and numbers stay; what is left must not be English.
			said := formatted.ReplaceAllString(text, "7")
			term := testTerminal(t, problem.Chinese)
			for _, word := range strings.FieldsFunc(term.cause(errors.New(said)), func(r rune) bool { return !unicode.IsLetter(r) && r != '.' }) {
				if own := map[string]bool{"JSON": true, "tls.cert": true, "tls.key": true, "vault.program": true, "url": true, "proxies": true,
					"none": true, "jobs.operators": true, "grants.grace": true, "listen": true, "data": true, "s": true, "m": true, "h": true}; word[0] < 0x80 && !own[word] {
					t.Errorf("%s: %q is said as %q", path, text, term.cause(errors.New(said)))
					break
				}
			}
			return true
		})
	}
	if looked < 15 {
		t.Errorf("only %d causes", looked)
	}
}
