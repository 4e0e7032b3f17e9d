package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/sandbox/seal"
)

var kmsProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "weir-kms-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "kms"), "./testdata/kms")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(out)))
	}
	return os.ReadFile(filepath.Join(dir, "kms"))
})

// kms is a real program that keeps keys.
type kms struct {
	t    *testing.T
	path string
}

func newKMS(t *testing.T) kms {
	t.Helper()
	program, err := kmsProgram()
	if err != nil {
		t.Fatal(err)
	}
	k := kms{t, filepath.Join(t.TempDir(), "kms")}
	k.write("kms", program, 0o755)
	k.keep("city-1", map[string]seal.Key{"city-1": seal.NewKey()})
	return k
}

func (k kms) write(name string, text []byte, mode os.FileMode) {
	k.t.Helper()
	// A process that another test starts meanwhile would have the file open for writing until it executes its own program, and
	// Linux executes no file that is open so (golang/go issue 22315).
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(filepath.Dir(k.path), name), text, mode); err != nil {
		k.t.Fatal(err)
	}
}

func (k kms) keep(now string, all map[string]seal.Key) {
	k.t.Helper()
	hex := map[string]string{}
	for name, key := range all {
		hex[name] = key.Hex()
	}
	text, err := json.Marshal(map[string]any{"Now": now, "All": hex})
	if err != nil {
		k.t.Fatal(err)
	}
	k.write("keys.json", text, 0o600)
}

func (k kms) mood(mood string) { k.write("mood", []byte(mood), 0o600) }

func (k kms) open() *seal.Program {
	k.t.Helper()
	p, err := seal.OpenProgram(k.t.Context(), k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	return p
}

// left counts processes of the program.
func (k kms) left() (n int) {
	k.t.Helper()
	own, err := os.Stat(k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if program, err := os.Stat(link); err == nil && os.SameFile(program, own) {
			n++
		}
	}
	return n
}

func TestProgram(t *testing.T) {
	k := newKMS(t)
	p := k.open()
	key := seal.NewKey()
	wrapped, err := p.Wrap(t.Context(), key[:], "dataset/a/1/1")
	if err != nil || p.KeyID() != "city-1" || bytes.Contains(wrapped, key[:]) {
		t.Fatal(p.KeyID(), err)
	}
	if got, err := p.Unwrap(t.Context(), "city-1", wrapped, "dataset/a/1/1"); err != nil || !bytes.Equal(got, key[:]) {
		t.Fatal(err)
	}
	// The program knows of no purpose: that it is this one is seen here.
	if _, err := p.Unwrap(t.Context(), "city-1", wrapped, "dataset/b/1/1"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("opened for another purpose: %v", err)
	}
	for _, id := range []string{"city-2", "../city-1", "-h", "", "a\nb"} {
		if _, err := p.Unwrap(t.Context(), id, wrapped, "dataset/a/1/1"); !errors.Is(err, seal.ErrUnknownMaster) {
			t.Errorf("key %q: %v", id, err)
		}
	}
	spoilt := bytes.Clone(wrapped)
	spoilt[20] ^= 1
	if _, err := p.Unwrap(t.Context(), "city-1", spoilt, "dataset/a/1/1"); err == nil {
		t.Error("opened what was altered")
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Unwrap(stopped, "city-1", wrapped, "dataset/a/1/1"); !errors.Is(err, context.Canceled) {
		t.Errorf("for nobody: %v", err)
	}
}

// Whatever a program does but what it should, nothing is opened and nothing is wrapped.
func TestProgramsThatFail(t *testing.T) {
	for mood, want := range map[string]error{
		"slow": seal.ErrUnavailable, "garbage": seal.ErrUnavailable, "endless": seal.ErrUnavailable, "silent": seal.ErrUnavailable,
		"fail": seal.ErrUnavailable, "another": seal.ErrBroken, "short": seal.ErrBroken, "echo": seal.ErrBroken,
	} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			k := newKMS(t)
			p, key := k.open(), seal.NewKey()
			wrapped, err := p.Wrap(t.Context(), key[:], "a")
			if err != nil {
				t.Fatal(err)
			}
			k.mood(mood)
			seal.Hurry(p, time.Second)
			if got, err := p.Unwrap(t.Context(), "city-1", wrapped, "a"); !errors.Is(err, want) || got != nil {
				t.Errorf("unwrapped %v, %v", got, err)
			}
			if got, err := p.Wrap(t.Context(), key[:], "a"); !errors.Is(err, seal.ErrUnavailable) || got != nil {
				t.Errorf("wrapped %v, %v", got, err)
			}
			for begin := time.Now(); k.left() > 0; time.Sleep(10 * time.Millisecond) { // the kernel takes its time
				if time.Since(begin) > 10*time.Second {
					t.Fatalf("%d processes are left", k.left())
				}
			}
		})
	}
	t.Run("a key of the same name", func(t *testing.T) {
		k := newKMS(t)
		p, key := k.open(), seal.NewKey()
		wrapped, err := p.Wrap(t.Context(), key[:], "a")
		if err != nil {
			t.Fatal(err)
		}
		k.keep("city-1", map[string]seal.Key{"city-1": seal.NewKey()})
		if _, err := p.Unwrap(t.Context(), "city-1", wrapped, "a"); err == nil {
			t.Error("another key opens it")
		}
	})
}

// A program that is not there, or that others could exchange, is not run.
func TestProgramsThatAreNotRun(t *testing.T) {
	for name, spoil := range map[string]func(k *kms){
		"missing":             func(k *kms) { k.path += "x" },
		"relative":            func(k *kms) { k.t.Chdir(filepath.Dir(k.path)); k.path = "./kms" },
		"a folder":            func(k *kms) { k.path = filepath.Dir(k.path) },
		"not executable":      func(k *kms) { os.Chmod(k.path, 0o600) },
		"writable for others": func(k *kms) { os.Chmod(k.path, 0o777) },
		"writable for group":  func(k *kms) { os.Chmod(k.path, 0o775) },
		"somebody else's": func(k *kms) {
			if os.Chown(k.path, 65534, 65534) != nil {
				k.t.Skip("only root can give a file away")
			}
		},
		"no program":          func(k *kms) { k.write("kms", []byte("hello"), 0o755) },
		"a name of two lines": func(k *kms) { k.keep("a\nb", nil) },
		"no name":             func(k *kms) { k.mood("silent") },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKMS(t)
			spoil(&k)
			if p, err := seal.OpenProgram(t.Context(), k.path); !errors.Is(err, seal.ErrUnavailable) || p != nil {
				t.Errorf("opened %v, %v", p, err)
			}
		})
	}
}

// Keys move from a file to a program and from one of its keys to the next; each is opened by the one that wrapped it.
func TestFollowed(t *testing.T) {
	k := newKMS(t)
	file, key := seal.Masters{seal.NewKey()}, seal.NewKey()
	old, err := file.Wrap(t.Context(), key[:], "a")
	if err != nil {
		t.Fatal(err)
	}
	both := seal.Followed{Master: k.open(), Earlier: file}
	wrapped, err := both.Wrap(t.Context(), key[:], "a")
	if err != nil || both.KeyID() != "city-1" {
		t.Fatal(err)
	}
	for id, text := range map[string][]byte{file.KeyID(): old, "city-1": wrapped} {
		if got, err := both.Unwrap(t.Context(), id, text, "a"); err != nil || !bytes.Equal(got, key[:]) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := both.Unwrap(t.Context(), "city-9", wrapped, "a"); !errors.Is(err, seal.ErrUnknownMaster) {
		t.Error(err)
	}
}
