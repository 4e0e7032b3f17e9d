package isolate

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary is its own worker: with this argument it enters, and then says what holds for it.
const probe = "probe"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == probe {
		if _, err := Enter(func(string) int { return 4 }); err != nil {
			os.NewFile(4, "replies").WriteString(err.Error())
			os.Exit(1)
		}
		os.NewFile(4, "replies").WriteString(report())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// report says what the kernel holds the process to: one line for each thing.
func report() string {
	var lines []string
	status, _ := os.ReadFile("/proc/thread-self/status")
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "NoNewPrivs") {
			lines = append(lines, strings.ReplaceAll(line, "\t", " "))
		}
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if dumpable == 0 {
		lines = append(lines, "not dumpable")
	}
	for name, resource := range map[string]int{"files": unix.RLIMIT_NOFILE, "core": unix.RLIMIT_CORE, "size": unix.RLIMIT_FSIZE} {
		var limit unix.Rlimit
		unix.Getrlimit(resource, &limit)
		if limit.Max == map[string]uint64{"files": 64, "core": 0, "size": 4096}[name] {
			lines = append(lines, name+" limited")
		}
	}
	if group, _ := unix.Getpgid(0); group == os.Getpid() {
		lines = append(lines, "own group")
	}
	if len(os.Environ()) == 0 {
		lines = append(lines, "no environment")
	}
	if dir, _ := os.Getwd(); dir == "/" {
		lines = append(lines, "at the root")
	}
	if target, _ := os.Readlink("/proc/self/fd/5"); target != os.DevNull { // the runtime may have opened something there
		lines = append(lines, "nothing inherited")
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

var testLimits = Limits{AddressSpace: 4 << 30, CPU: 10, FileSize: 4096, Files: 64}

// run starts the probe and gives what it said.
func run(t *testing.T, change func(*exec.Cmd)) (string, error) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	// One descriptor more than is kept, as one that was inherited by mistake would be.
	cmd := Command(os.Args[0], probe, testLimits, []*os.File{null, write, null})
	change(cmd)
	if err := Start(cmd); err != nil {
		t.Fatal(err)
	}
	write.Close()
	said := make([]byte, 4096)
	n, _ := read.Read(said)
	return string(said[:n]), cmd.Wait()
}

func TestEnter(t *testing.T) {
	said, err := run(t, func(*exec.Cmd) {})
	want := "NoNewPrivs: 1\nat the root\ncore limited\nfiles limited\nno environment\nnot dumpable\nnothing inherited\nown group\nsize limited"
	if err != nil || said != want {
		t.Errorf("%v\n%s", err, said)
	}
}

// What is not set, or set otherwise than asked, ends the process.
func TestEnterFailsClosed(t *testing.T) {
	cases := map[string]func(*exec.Cmd){
		"says that it is confined but is not": func(c *exec.Cmd) { c.Args = append(c.Args, confined) },
		"a limit is missing":                  func(c *exec.Cmd) { c.Args = c.Args[:5] },
		"a limit is no number":                func(c *exec.Cmd) { c.Args[2] = "-1" },
		"a limit is too small to start":       func(c *exec.Cmd) { c.Args[2] = "4096" },
		"would outlive the platform":          func(c *exec.Cmd) { c.SysProcAttr.Pdeathsig = 0 },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			if said, err := run(t, change); err == nil {
				t.Errorf("it entered: %s", said)
			}
		})
	}
}

func TestStartSaysWhatFailed(t *testing.T) {
	if err := Start(Command("/nonexistent", probe, testLimits, nil)); err == nil {
		t.Error("no error")
	}
}
