package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
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
			if !strings.Contains(page, strings.TrimSpace(part)) {
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
