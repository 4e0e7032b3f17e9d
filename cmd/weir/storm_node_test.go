package main

import (
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stormNode is a platform that is killed again and again. It has programs of its own, so that its processes can be told
// from another node's.
type stormNode struct {
	program, temp, address string
	environ                []string

	mu     sync.Mutex
	server *exec.Cmd
	errors *strings.Builder
}

func newStormNode(t testing.TB, environ ...string) *stormNode {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &stormNode{program: filepath.Join(t.TempDir(), "weir"), temp: t.TempDir(), address: free.Addr().String()}
	free.Close()
	for _, name := range []string{"weir", "weir-worker"} {
		program, err := os.ReadFile(filepath.Join(filepath.Dir(build(t)), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(filepath.Dir(n.program), name), program, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n.environ = append(append(os.Environ(), "WEIR_LISTEN="+n.address, "TMPDIR="+n.temp), environ...)
	t.Cleanup(n.end)
	return n
}

func (n *stormNode) url() string { return "http://" + n.address }

// start runs the platform and waits until it answers.
func (n *stormNode) start(t testing.TB) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errors = &strings.Builder{}
	n.server = exec.Command(n.program, "--lang", "en", "serve")
	n.server.Env = n.environ
	n.server.Stderr = n.errors
	if err := n.server.Start(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; {
		answer, err := http.Get(n.url() + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		var info unix.Siginfo
		unix.Waitid(unix.P_PID, n.server.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if info.Signo != 0 || time.Since(begin) > stormPatience {
			n.server.Process.Kill()
			n.server.Wait()
			t.Fatalf("the platform does not come back: %v\n%s", err, n.errors)
		}
		time.Sleep(10 * time.Millisecond) // another process has nothing else to tell by
	}
}

// end kills the platform and waits for it.
func (n *stormNode) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return
	}
	n.server.Process.Kill()
	n.server.Wait()
}

// stop ends the platform as a service manager does.
func (n *stormNode) stop(t testing.TB) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.server.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := n.server.Wait(); err != nil {
		t.Errorf("the platform ended with %v\n%s", err, n.errors)
	}
}

// alone waits until no process of the dead platform is left. The kernel kills them with it; that it takes its time
// is no fault.
func (n *stormNode) alone(t testing.TB) {
	t.Helper()
	var own []os.FileInfo
	for _, name := range []string{"weir", "weir-worker"} {
		program, err := os.Stat(filepath.Join(filepath.Dir(n.program), name))
		if err != nil {
			t.Fatal(err)
		}
		own = append(own, program)
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			program, err := os.Stat(link)
			if err == nil && slices.ContainsFunc(own, func(f os.FileInfo) bool { return os.SameFile(f, program) }) {
				left = append(left, link)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("processes outlive the platform: %v", left)
		}
	}
}

// nothing of it is left on the machine: no process, no file, no mount.
func (n *stormNode) nothing(t testing.TB) {
	t.Helper()
	n.alone(t)
	if left, err := os.ReadDir(n.temp); err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), filepath.Dir(n.program)) || strings.Contains(string(mounts), n.temp) {
		t.Errorf("something of the platform is still mounted, %v", err)
	}
}

// hit kills one of the processes that the platform has started, whichever, and says what it was for.
func (n *stormNode) hit() string {
	children := descendants(n.server.Process.Pid)
	if len(children) == 0 {
		return "nobody"
	}
	pid := children[rand.IntN(len(children))]
	// A number may belong to another process by now; what a descriptor stands for stays the same.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return "nobody"
	}
	defer unix.Close(fd)
	role := roleOf(pid)
	if !slices.Contains(descendants(n.server.Process.Pid), pid) || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return "nobody"
	}
	return role
}

// roleOf tells what a worker is for, by the arguments of its second pass; before it, it is on its way.
func roleOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	words := strings.Split(string(text), "\x00")
	if err != nil || len(words) < 3 || words[1] != "confined" {
		return "starting"
	}
	return map[string]string{"plan": "planner", "job": "worker", "intake": "intake"}[words[2]]
}

// descendants are the processes that a process has started, and those that they have.
func descendants(of int) []int {
	parents := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name in brackets may hold anything; the state and the parent follow it. Source: proc_pid_stat(5).
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if parent, err := strconv.Atoi(fields[1]); err == nil && fields[0] != "Z" {
			parents[pid] = parent
		}
	}
	var found []int
	for pid := range parents {
		for up := parents[pid]; up > 1; up = parents[up] {
			if up == of {
				found = append(found, pid)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}
