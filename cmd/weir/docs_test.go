package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/deploy"
	"weir/gateway"
	"weir/internal/city"
	"weir/internal/problem"
	"weir/policy"
)

const root = "../.."

// Each message has its page, in both languages, and there is no page of a message that is gone.
func TestThePagesOfMessagesAreCurrent(t *testing.T) {
	pages := messagePages()
	folder := filepath.Join(root, "docs/errors")
	for name, page := range pages {
		written, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Errorf("%s is not there; run make docs", name)
			continue
		}
		if diff := cmp.Diff(string(written), page); diff != "" {
			t.Errorf("%s is not what the catalogues say; run make docs.\n%s", name, diff)
		}
	}
	there, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		if _, known := pages[file.Name()]; !known {
			t.Errorf("nothing makes %s; run make docs", file.Name())
		}
	}
	codes, entries := problem.Codes()
	if len(pages) != len(codes)+1 {
		t.Errorf("%d pages for %d codes and their index", len(pages), len(codes))
	}
	for _, code := range codes {
		page, e := pages[pageOf(code)], entries[code]
		for _, part := range []string{e.English.Detail, e.English.Help, e.Chinese.Detail, e.Chinese.Help, e.Example, e.Instead, problem.Type(code)} {
			if !strings.Contains(page, strings.TrimSpace(inFull(part))) {
				t.Errorf("the page of %s lacks %q", code, part)
			}
		}
		if !strings.Contains(pages[messageIndex], "]("+pageOf(code)+")") {
			t.Errorf("the index lacks %s", code)
		}
	}
}

// The program prints what the folder holds, of the code that a message ends with.
func TestDocsOfAMessage(t *testing.T) {
	for _, c := range []struct{ args, has string }{
		{"docs errors", "urn:weir:problem:CODE"},
		{"docs errors guard.raw-rows", "SELECT age, sex FROM adult"},
	} {
		term := testTerminal(t, problem.English)
		if status := run(t.Context(), strings.Fields(c.args), term.terminal); status != exitReleased || !strings.Contains(term.out.String(), c.has) {
			t.Errorf("%s: status %d\n%s", c.args, status, term.out.String())
		}
	}
	term := testTerminal(t, problem.English)
	if status := run(t.Context(), strings.Fields("docs errors guard.nothing"), term.terminal); status != exitFailed || !strings.Contains(term.err.String(), "cli.no-such-message") {
		t.Errorf("status %d\n%s", status, term.err.String())
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)

// TestEveryLinkLeadsSomewhere follows the links of all pages to files of the project.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	followed := 0
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "bin" || entry.Name() == "var" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(found[1], "://") || strings.HasPrefix(found[1], "mailto:") {
				continue
			}
			followed++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), found[1])); err != nil {
				t.Errorf("%s: %s leads nowhere", path, found[1])
			}
		}
		return nil
	})
	if err != nil || followed < 5 {
		t.Errorf("%v; followed %d links", err, followed)
	}
}

// asked is a query of a page, and the code with which it is refused, if it is.
type asked struct{ sql, code string }

var block = regexp.MustCompile("(?ms)^```sql(?: denied ([a-z.-]+))?\n(.*?)^```$")

func queriesOf(t *testing.T, page string) []asked {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var list []asked
	for _, found := range block.FindAllStringSubmatch(string(text), -1) {
		list = append(list, asked{sql: found[2], code: found[1]})
	}
	return list
}

// What the page for analysts says of a query is what happens, and both languages show the same queries.
func TestQueriesOfThePageForAnalysts(t *testing.T) {
	queries := queriesOf(t, "docs/analyst.md")
	if diff := cmp.Diff(queries, queriesOf(t, "docs/analyst.zh.md"), cmp.AllowUnexported(asked{})); diff != "" {
		t.Errorf("the two pages show different queries\n%s", diff)
	}
	if len(queries) < 20 {
		t.Fatalf("only %d queries", len(queries))
	}
	lab, err := gateway.OpenLab(t.Context(), filepath.Join(filepath.Dir(build(t)), "weir-worker"), smallCity(t), policy.Perturbed)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	for i, q := range queries { // each a story of its own, with an account of its own
		released, err := lab.Ask(t.Context(), fmt.Sprint("query ", i), q.sql)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(released)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			State, Code, Message string
			Rows                 [][]any
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.Code != q.code || q.code == "" && (got.State != "released" || len(got.Rows) == 0) {
			t.Errorf("%s\nwant %q, got %s %q %s with %d rows", q.sql, q.code, got.State, got.Code, got.Message, len(got.Rows))
		}
	}
}

// The first example of the pages for those who run a platform works: the sample can be taken in, and answers.
func TestTheSampleOfThePages(t *testing.T) {
	lab, err := gateway.OpenLab(t.Context(), filepath.Join(filepath.Dir(build(t)), "weir-worker"), []string{filepath.Join(root, "deploy/sample/residents.yaml")}, policy.Perturbed)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	const sql = "SELECT district, count(*) FROM residents GROUP BY district"
	for _, page := range []string{"docs/operating.md", "docs/operating.zh.md"} {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil || !strings.Contains(string(text), sql) {
			t.Errorf("%s does not show the query: %v", page, err)
		}
	}
	released, err := lab.Ask(t.Context(), "page", sql)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(released)
	if err != nil || strings.Count(string(text), "区\"") != 4 {
		t.Errorf("%s %v", text, err)
	}

	// A result with too many rows says so, where no protected data is in it; beside protected data all failures are alike.
	for _, c := range []struct{ sql, code string }{
		{"SELECT count(*) AS n FROM range(200000) AS r(i)", ""},
		{"SELECT i FROM range(200001) AS r(i)", "sandbox.too-many-rows"},
		{"SELECT n, i FROM (SELECT count(*) AS n FROM residents) AS t, range(200001) AS r(i)", "sandbox.job-failed"},
	} {
		released, err := lab.Ask(t.Context(), "rows", c.sql)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Code string }
		if text, err := json.Marshal(released); err != nil || json.Unmarshal(text, &got) != nil || got.Code != c.code {
			t.Errorf("%s: %.300s", c.sql, text)
		}
	}
}

// smallCity invents the city of the demo with a twentieth of its people.
func smallCity(t *testing.T) (manifests []string) {
	t.Helper()
	text, err := deploy.Demo.ReadFile("demo/city.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := city.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	p.Scale /= 20
	dir := t.TempDir()
	if _, err := city.Generate(t.Context(), dir, p); err != nil {
		t.Fatal(err)
	}
	manifests, err = filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("the city has no data sets: %v", err)
	}
	return manifests
}
