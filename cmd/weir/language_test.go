package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"weir/internal/problem"
)

// TestEverythingIsSaidInBothLanguages compares what the command line says in English with what zh.yaml knows.
func TestEverythingIsSaidInBothLanguages(t *testing.T) {
	said := spoken(t)
	for _, english := range slices.Sorted(maps.Keys(said)) {
		if _, ok := translations[english]; !ok {
			t.Errorf("no Chinese for %q", english)
		}
	}
	for english, chinese := range translations {
		if !said[english] {
			t.Errorf("zh.yaml translates what nobody says: %q", english)
		}
		if a, b := verbs(english), verbs(chinese); !slices.Equal(a, b) {
			t.Errorf("%q has the places %v, its Chinese has %v", english, a, b)
		}
	}
}

var verb = regexp.MustCompile(`%[a-z%]`)

func verbs(text string) []string { return verb.FindAllString(text, -1) }

// spoken collects the help of every command and every text that is handed to the terminal.
func spoken(t *testing.T) map[string]bool {
	t.Helper()
	said := map[string]bool{}
	parser, _ := newParser(&commands{}, testTerminal(t, problem.English).terminal)
	collectHelp(parser.Model.Node, said)
	for _, literal := range literals(t) {
		said[literal] = true
	}
	delete(said, "")
	return said
}

func collectHelp(n *kong.Node, said map[string]bool) {
	if n.Hidden {
		return
	}
	said[n.Help] = true
	for _, f := range n.Flags {
		said[f.Help] = true
	}
	for _, p := range n.Positional {
		said[p.Help] = true
	}
	for _, child := range n.Children {
		collectHelp(child, said)
	}
}

// literals are the texts that the sources hand to the terminal's methods.
func literals(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, paths)
	}
	var found []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				found = append(found, handedOver(t, call)...)
			}
			return true
		})
	}
	return found
}

// handedOver gives the text that a call hands to a method of the terminal: its first literal.
func handedOver(t *testing.T, call *ast.CallExpr) []string {
	t.Helper()
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"say", "note", "text", "password", "decide"}, method.Sel.Name) {
		return nil
	}
	for _, argument := range call.Args {
		literal, ok := argument.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			continue
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		return []string{text}
	}
	return nil
}

func TestLanguageIsChosen(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want problem.Lang
	}{
		{"nothing said", nil, nil, problem.English},
		{"the environment", nil, map[string]string{"LANG": "zh_CN.UTF-8"}, problem.Chinese},
		{"the environment, another", nil, map[string]string{"LANG": "de_DE.UTF-8"}, problem.English},
		{"LC_ALL before LANG", nil, map[string]string{"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, problem.English},
		{"our own variable before LC_ALL", nil, map[string]string{"WEIR_LANG": "zh", "LC_ALL": "C"}, problem.Chinese},
		{"the flag before everything", []string{"job", "list", "--lang", "en"}, map[string]string{"LANG": "zh_CN"}, problem.English},
		{"the flag, joined", []string{"--lang=zh", "job", "list"}, nil, problem.Chinese},
		{"what follows -- is no flag", []string{"query", "--", "--lang=zh"}, nil, problem.English},
	} {
		t.Run(c.name, func(t *testing.T) {
			getenv := func(name string) string { return c.env[name] }
			if got := languageOf(c.args, getenv); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestHelpIsChinese(t *testing.T) {
	term := testTerminal(t, problem.English)
	if code := run(t.Context(), []string{"--lang", "zh", "--help"}, term.terminal); code != 0 {
		t.Fatalf("help ended with %d", code)
	}
	if !strings.Contains(term.out.String(), "运行平台") {
		t.Errorf("the help is not Chinese:\n%s", term.out)
	}
}
