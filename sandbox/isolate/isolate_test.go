package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// probe is testdata/probe: static, as a worker is, whatever this test is built with.
var probe string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-probe-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	probe = filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-o", probe, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		os.Stderr.Write(out)
		return 1
	}
	return m.Run()
}

var testLimits = Limits{AddressSpace: 4 << 30, CPU: 10, FileSize: 4096, Files: 64}

// cell has a file, and memory for files as an intake has.
func cell(t *testing.T) Cell {
	t.Helper()
	dir := t.TempDir()
	c := Cell{
		Mode: "probe", Limits: testLimits, Layers: Whole,
		Files: []string{filepath.Join(dir, "file")}, Scratch: 1 << 20,
	}
	if err := os.WriteFile(c.Files[0], []byte("content"), 0o400); err != nil {
		t.Fatal(err)
	}
	return c
}

// enterProbe starts the probe and gives what it said, and how it ended: nil where the kernel did not even start it.
func enterProbe(t *testing.T, c Cell, change func(*exec.Cmd)) (string, *os.ProcessState) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cmd, err := CommandTrial(probe, c, []*os.File{write})
	if err != nil {
		t.Fatal(err)
	}
	change(cmd)
	err = Start(cmd, nil)
	write.Close()
	var missing *Missing
	if errors.As(err, &missing) {
		return "", nil
	}
	if err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 4096)
	n, _ := read.Read(said)
	cmd.Wait()
	return string(said[:n]), cmd.ProcessState
}

func unchanged(*exec.Cmd) {}

func TestEnter(t *testing.T) {
	c := cell(t)
	said, state := enterProbe(t, c, unchanged)
	want := "granted content\nwritten <nil>\npid 1 uid 0\nhost weir-worker\nin /\nenvironment 0\nsealed open /data/0: no such file or directory"
	if state == nil || !state.Success() || said != want {
		t.Errorf("%s\n%s", state, said)
	}
}

// What is not set, or set otherwise than asked, ends the process, and where a layer is missing it says which.
func TestEnterFailsClosed(t *testing.T) {
	without := func(l Layer) func(*exec.Cmd) {
		return func(c *exec.Cmd) { c.SysProcAttr.Cloneflags &^= namespaces[l].flag }
	}
	described := func(text string) func(*exec.Cmd) {
		return func(c *exec.Cmd) {
			c.Stdin.(*os.File).Truncate(0)
			c.Stdin.(*os.File).WriteAt([]byte(text), 0)
		}
	}
	cases := []struct {
		name    string
		change  func(*exec.Cmd)
		cell    func(*Cell)
		missing Layer // layerCount: no layer in particular
		why     error // then
	}{
		{name: "the platform's processes", change: without(Processes), missing: Processes},
		{name: "the platform's network", change: without(Network), missing: Network},
		{name: "the platform's shared memory", change: without(IPC), missing: IPC},
		{name: "the platform's name", change: without(Hostname), missing: Hostname},
		{name: "the platform's control groups", change: without(Cgroup), missing: Cgroup},
		{name: "the platform's mounts", change: without(Root), missing: Root},
		{name: "a file that is not there", cell: func(c *Cell) { c.Files[0] += "x" }, missing: Root},
		{name: "a folder as a file", cell: func(c *Cell) { c.Files[0] = filepath.Dir(c.Files[0]) }, missing: Root},
		{name: "memory that cannot be", cell: func(c *Cell) { c.Scratch = -1 }, missing: Root},
		{name: "a symbolic link as a file", cell: func(c *Cell) {
			os.Symlink(c.Files[0], c.Files[0]+".link")
			c.Files[0] += ".link"
		}, missing: Root},
		{name: "a limit out of range", cell: func(c *Cell) { c.Limits.Files = 1 << 63 }, missing: Resources},
		{name: "a limit too small to start", cell: func(c *Cell) { c.Limits.AddressSpace = 4096 }, missing: layerCount},
		{name: "outlives the platform", change: func(c *exec.Cmd) { c.SysProcAttr.Pdeathsig = 0 }, missing: layerCount, why: errOutlives},
		{name: "enters on another thread", change: func(c *exec.Cmd) { c.Args = []string{"probe", "elsewhere"} }, missing: layerCount, why: errThread},
		{name: "nothing described", change: described(""), missing: layerCount, why: errDescription},
		{name: "something else described", change: described(`{"mode": "probe", "more": 1}`), missing: layerCount, why: errDescription},
		{name: "says that it is confined but is not", missing: layerCount, change: func(c *exec.Cmd) {
			c.Args = append([]string{"probe", confined, "probe", "16383"}, testLimits.arguments()...)
		}},
		{name: "says so with a word too few", change: func(c *exec.Cmd) { c.Args = []string{"probe", confined, "probe"} }, missing: layerCount, why: errDescription},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			what := cell(t)
			if c.cell != nil {
				c.cell(&what)
			}
			if c.change == nil {
				c.change = unchanged
			}
			said, state := enterProbe(t, what, c.change)
			if state == nil || state.Success() || said != "" {
				t.Fatalf("it entered: %s", said)
			}
			why := NotEntered(state)
			var found *Missing
			if c.missing != layerCount && (!errors.As(why, &found) || found.Layer != c.missing) {
				t.Errorf("it ended with %s, %v; want %s", state, why, c.missing)
			}
			if c.why != nil && why != c.why {
				t.Errorf("it ended with %s, %v; want %v", state, why, c.why)
			}
		})
	}
}

// A worker does not start with a layer fewer; only the check that ends at once does.
func TestEveryLayerIsInsistedOn(t *testing.T) {
	for _, l := range AllLayers() {
		what := cell(t)
		what.Layers &^= 1 << l
		if said, state := enterProbe(t, what, unchanged); said != "" || state != nil && state.Success() {
			t.Errorf("it entered without %s", l)
		}
		if err := Probe(probe, l); err != nil {
			t.Errorf("%s alone: %v", l, err)
		}
	}
	if err := Verify(probe); err != nil {
		t.Error(err)
	}
}

// On a machine that refuses user namespaces, the error names them.
func TestMissingNamespacesAreNamed(t *testing.T) {
	machine := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" verify`, probe)
	out, err := machine.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "not confined: user namespace: ") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestStartSaysWhatFailed(t *testing.T) {
	cmd, err := Command("/nonexistent", cell(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Start(cmd, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestStatus(t *testing.T) {
	if got := Status(errors.New("other")); got != 1 {
		t.Error(got)
	}
	seen := map[int]bool{}
	for _, l := range AllLayers() {
		status := Status(missing(l, unix.EPERM))
		if seen[status] || status < firstStatus || status > 255 || l.String() == "" {
			t.Errorf("%s: %d", l, status)
		}
		seen[status] = true
	}
	for _, reason := range reasons {
		status := Status(fmt.Errorf("more of it: %w", reason))
		if seen[status] || status < firstStatus || status > 255 {
			t.Errorf("%v: %d", reason, status)
		}
		seen[status] = true
	}
	if Status(missing(Root, notShown(unix.EPERM))) != Status(ErrNotShown) {
		t.Error("what cannot be shown is taken for a layer")
	}
	if missing(Root, nil) != nil || Layer(99).String() != "unknown layer" {
		t.Error("a layer that is not missing")
	}
}

// A misspelt name would be left out of the list on every machine.
func TestNamesOfSystemCalls(t *testing.T) {
	for _, name := range slices.Concat(computing, looking, changing, []string{"newfstatat", "statx"}) {
		_, amd := arch.X86_64.SyscallNames[name]
		_, arm := arch.AARCH64.SyscallNames[name]
		if !amd && !arm {
			t.Errorf("no machine has %s", name)
		}
	}
}

// Confinement in part is for the escape suite and for the check only.
func TestTrialsStayHere(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() && slices.Contains([]string{".git", "bin", "var"}, d.Name()) {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.Contains(path, "/isolate/") {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && (strings.Contains(string(text), "EnterTrial") || strings.Contains(string(text), "CommandTrial")) {
			t.Errorf("%s confines in part", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
