package audit_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRegisteredIsCalledWithReason finds each call of Registered in the platform's code, and wants it among those that
// testdata/registered.txt gives a reason for: everywhere else the compiler keeps what somebody typed out of the tree.
func TestRegisteredIsCalledWithReason(t *testing.T) {
	text, err := os.ReadFile("testdata/registered.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{} // whether it was met
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, " | ", 3)
		if len(fields) != 3 || fields[2] == "" {
			t.Fatalf("not a file, an argument and a reason: %q", line)
		}
		reasons[fields[0]+" | "+fields[1]] = false
	}
	for _, call := range callsOf(t, "Registered") {
		if _, known := reasons[call]; !known {
			t.Errorf("%s has no reason in testdata/registered.txt", call)
		}
		reasons[call] = true
	}
	for call, met := range reasons {
		if !met {
			t.Errorf("%s has a reason and is gone", call)
		}
	}
}

// callsOf lists the calls of a function of this package, as a file and an argument.
func callsOf(t *testing.T, name string) (calls []string) {
	t.Helper()
	root := ".."
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "bin", "gatewaytest", "testdata"}, entry.Name()) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".gen.go") {
			return nil
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok || selector.Sel.Name != name {
				return true
			}
			if pack, ok := selector.X.(*ast.Ident); !ok || pack.Name != "audit" {
				return true
			}
			calls = append(calls, filepath.ToSlash(relative)+" | "+argument(files, parsed, selector))
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// argument is what a function is called with at a place; "as a value" if it is not called there.
func argument(files *token.FileSet, file *ast.File, fun *ast.SelectorExpr) string {
	text := "as a value"
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if ok && call.Fun == fun && len(call.Args) == 1 {
			var b bytes.Buffer
			if err := printer.Fprint(&b, files, call.Args[0]); err == nil {
				text = b.String()
			}
		}
		return true
	})
	return text
}
