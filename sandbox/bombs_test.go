package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
)

// bomb is a case of testdata/bombs.yaml.
type bomb struct {
	At, What string
	SQL      string
	File     string // its format, for an intake,
	Content  string // and what it holds
	CPU      time.Duration
	Code     string
	Either   bool
}

// bombLimits are small, so that a bomb meets them soon.
var bombLimits = Limits{Memory: 128 << 20, CPU: time.Second, Wall: 3 * time.Second, Rows: 1000, Bytes: 1 << 20, Threads: 2}

func bombs(t *testing.T) []bomb {
	t.Helper()
	content, err := os.ReadFile("testdata/bombs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list []bomb
	if err := yaml.UnmarshalWithOptions(content, &list, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i].SQL, list[i].Content = written(t, list[i].SQL), written(t, list[i].Content)
	}
	return list
}

// written carries out a template.
func written(t *testing.T, text string) string {
	t.Helper()
	functions := template.FuncMap{
		"rep": func(n int, s string) string { return strings.Repeat(s, n) },
		"list": func(n int, between, each string) string {
			words := make([]string, n)
			for i := range words {
				if words[i] = fmt.Sprintf(each, i, i+1); strings.Contains(words[i], "%!(EXTRA") {
					words[i] = fmt.Sprintf(each, i)
				}
			}
			return strings.Join(words, between)
		},
	}
	parsed, err := template.New("").Funcs(functions).Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, nil); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Each bomb ends in the answer that it should, within its limit, while another job runs and is not harmed, and
// leaves nothing: no process, no file, no mount, no control group.
func TestBombs(t *testing.T) {
	v := withPeople(t)
	files := left(t, v)
	unhurried := DefaultLimits
	unhurried.Wall, unhurried.CPU = time.Hour, time.Hour
	other := session(t, v, unhurried)
	for _, b := range bombs(t) {
		t.Run(b.At+": "+b.What, func(t *testing.T) {
			meanwhile := make(chan error)
			go func() { meanwhile <- answers(t.Context(), other) }()
			begin := time.Now()
			b.detonate(t, v)
			// The wall clock of its process, and half a minute for starting and ending on a machine that others use too.
			if took := time.Since(begin); took > bombLimits.Wall+30*time.Second {
				t.Errorf("took %s", took)
			}
			if err := errors.Join(<-meanwhile, answers(t.Context(), other)); err != nil {
				t.Errorf("another job was harmed: %v", err)
			}
		})
	}
	other.Close()
	if diff := cmp.Diff(files, left(t, v)); diff != "" {
		t.Errorf("files: %s", diff)
	}
	if found := mounts(t, v); len(found) > 0 {
		t.Errorf("mounts: %q", found)
	}
}

// answers asks a job what it has been asked before.
func answers(ctx context.Context, s *Session) error {
	got, err := s.Query(ctx, Query{SQL: `SELECT count(*), bit_xor(hash(t)) = (SELECT bit_xor(hash(t)) FROM "ds_people"."main"."data" AS t)
		FROM "ds_people"."main"."data" AS t`})
	if err != nil {
		return errors.New(cause(err))
	}
	if want := [][]any{{number("200"), true}}; !cmp.Equal(want, got.Rows) {
		return fmt.Errorf("it answers %v", got.Rows)
	}
	return nil
}

func (b bomb) detonate(t *testing.T, v *Vault) {
	t.Helper()
	limits := bombLimits
	if b.CPU > 0 {
		limits.CPU = b.CPU
	}
	switch b.At {
	case "plan":
		s := plan(t, limits)
		_, err := s.Bind(t.Context(), b.SQL)
		b.judge(t, err)
		s.Close()
		mustBeGone(t, s.process)
	case "job":
		s := patient(t, v, limits)
		_, err := s.Query(t.Context(), Query{SQL: b.SQL})
		b.judge(t, err)
		jobFailedBecause(t, err, "") // the one text of all failures on data
		s.Close()
		mustBeGone(t, s.process)
	case "intake":
		dir := t.TempDir()
		manifest := fmt.Sprintf("name: bomb\ntitle: bomb\nprovider: bomb\nfile: bomb.%s\nunits: [{domain: person, key: id}]\ncolumns:\n"+
			"  - {name: id, type: VARCHAR, class: identifier}\n  - {name: n, type: INTEGER, class: quasi}\n", b.File)
		for name, content := range map[string]string{"bomb.yaml": manifest, "bomb." + b.File: b.Content} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		own := vault(t)
		own.limits = limits
		_, err := own.Import(t.Context(), filepath.Join(dir, "bomb.yaml"))
		b.judge(t, err)
		if found := left(t, own); err != nil && len(found) > 0 {
			t.Errorf("left %q", found)
		}
	default:
		t.Fatalf("a bomb for %q", b.At)
	}
}

// judge compares the answer. Where a text is wrong for another reason than its size, that is no bomb.
func (b bomb) judge(t *testing.T, err error) {
	t.Helper()
	code := ""
	if err != nil {
		code = problem.Of(err).Code
	}
	if code != b.Code && !(b.Either && code == "") {
		t.Errorf("ended in %q, want %q: %s", code, b.Code, cause(err))
	}
}

// mounts lists those of this machine that a worker would have made: its root, or a file of the vault.
func mounts(t *testing.T, v *Vault) []string {
	t.Helper()
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(list)) {
		if strings.Contains(line, v.dir) || strings.Contains(line, " - tmpfs weir ") {
			found = append(found, line)
		}
	}
	return found
}
