package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// share is little enough to be used up at once.
var share = Share{Memory: 96 << 20, Tasks: 24, Processors: 1}

// inGroup runs the probe in a group, and gives what it said, how it ended, and whether the group's memory was used up.
func inGroup(t *testing.T, mode string, s Share) (string, *os.ProcessState, bool) {
	t.Helper()
	group, err := NewGroup(s)
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	c := cell(t)
	c.Mode = mode
	cmd, err := Command(probe, c, []*os.File{write})
	if err != nil {
		t.Fatal(err)
	}
	err = Start(cmd, group)
	write.Close()
	if err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 4096)
	n, _ := read.Read(said)
	cmd.Wait()
	exhausted := group.Exhausted()
	folders := group.folders()
	if err := group.Remove(); err != nil {
		t.Error(err)
	}
	for _, dir := range folders {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
	return string(said[:n]), cmd.ProcessState, exhausted
}

func (g *Group) folders() (list []string) {
	if g != nil {
		for _, p := range g.places {
			list = append(list, p.own)
		}
	}
	return list
}

// What the machine delegates holds; what it does not is told. Which it is depends on the machine, so each controller
// is tried where it is there, and the limits of the process where it is not.
func TestGroups(t *testing.T) {
	d := Delegated()
	t.Logf("version %d: %v; %v", d.Version, d.Controllers, d.Cause)
	if len(d.Controllers) == len(controllers) != (d.Cause == nil) || (d.Version == 0) != (len(d.Controllers) == 0) {
		t.Errorf("%+v", d)
	}
	t.Run("a process that keeps to its share", func(t *testing.T) {
		said, state, exhausted := inGroup(t, "probe", share)
		if !strings.HasPrefix(said, "granted content") || !state.Success() || exhausted {
			t.Errorf("%q, %s, exhausted: %t", said, state, exhausted)
		}
	})
	t.Run("memory", func(t *testing.T) {
		other, err := NewGroup(share) // of a worker that must not be harmed
		if err != nil {
			t.Fatal(err)
		}
		victim := exec.Command("sleep", "600")
		if victim.Stdin, err = os.Open(os.DevNull); err != nil {
			t.Fatal(err)
		}
		victim.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if victim.Path, err = exec.LookPath("sleep"); err != nil {
			t.Fatal(err)
		}
		if err := Start(victim, other); err != nil {
			t.Fatal(err)
		}
		said, state, exhausted := inGroup(t, "eat", share)
		limited := slices.Contains(d.Controllers, "memory")
		if said != "eating" || state.Success() || exhausted != limited {
			t.Errorf("%q, %s, exhausted: %t", said, state, exhausted)
		}
		if err := victim.Process.Signal(unix.Signal(0)); err != nil || other.Exhausted() {
			t.Errorf("another group was harmed: %v", err)
		}
		victim.Process.Kill()
		victim.Wait()
		if err := other.Remove(); err != nil {
			t.Error(err)
		}
	})
	t.Run("threads", func(t *testing.T) {
		wide := share
		wide.Memory = 1 << 30
		said, state, exhausted := inGroup(t, "threads", wide)
		if said != "multiplying" || state.Success() || exhausted {
			t.Errorf("%q, %s, exhausted: %t", said, state, exhausted)
		}
	})
	if g, err := NewGroup(Share{}); g != nil || err != nil {
		t.Error("a group for no share", err)
	}
}

// A group has the limits that were asked for, in each controller.
func TestGroupLimits(t *testing.T) {
	g, err := NewGroup(share)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Remove()
	want := map[string]string{
		"memory.limit_in_bytes": "100663296", "memory.max": "100663296", "pids.max": "24", "cpu.cfs_quota_us": "100000", "cpu.max": "100000 100000",
	}
	read := 0
	for _, dir := range g.folders() {
		for file, value := range want {
			got, err := os.ReadFile(filepath.Join(dir, file))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if read++; err != nil || strings.TrimSpace(string(got)) != value {
				t.Errorf("%s is %q, want %s: %v", file, got, value, err)
			}
		}
	}
	if read != len(Delegated().Controllers) {
		t.Errorf("%d limits for %v", read, Delegated().Controllers)
	}
}

// Groups whose platform was killed are removed at the next start, and those of one that lives are not.
func TestGroupsOfTheDead(t *testing.T) {
	for _, h := range delegated().hierarchies {
		dead := filepath.Join(h.dir, groupPrefix+"dead")
		living, err := newGroup([]hierarchy{h}, share)
		if err := errors.Join(err, os.Mkdir(dead, 0o755)); err != nil {
			t.Fatal(err)
		}
		h.tidy()
		if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", dead, err)
		}
		folder := living.folders()[0]
		if _, err := os.Stat(folder); err != nil {
			t.Error("a living platform's group was removed:", err)
		}
		living.places[0].lock.Close() // what the kernel does when a platform dies
		h.tidy()
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", folder, err)
		}
	}
}

// Whatever fails while a group is made, nothing is left of it. A plain folder stands for a hierarchy whose kernel
// has none of the files.
func TestGroupThatCannotBeMade(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []int{1, 2} {
		for _, controller := range controllers {
			h := hierarchy{version: version, controllers: []string{controller}, dir: dir}
			if g, err := newGroup([]hierarchy{h}, share); g != nil || !errors.Is(err, os.ErrNotExist) {
				t.Errorf("version %d, %s: %v", version, controller, err)
			}
		}
	}
	if _, err := newGroup([]hierarchy{{version: 1, dir: filepath.Join(dir, "none")}}, share); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	for _, found := range [][]hierarchy{nil, {{version: 1, controllers: controllers, dir: dir}}, {{version: 2, controllers: controllers, dir: dir}}} {
		if d := prepare(found); d.cause == nil || len(d.hierarchies) > 0 {
			t.Errorf("%+v: %+v", found, d)
		}
	}
}

func TestLocate(t *testing.T) {
	unified := t.TempDir()
	for path, list := range map[string]string{"unit": "cpuset cpu io memory hugetlb pids\n", "plain": "cpu\n", "none": "hugetlb\n"} {
		if err := errors.Join(os.Mkdir(filepath.Join(unified, path), 0o755),
			os.WriteFile(filepath.Join(unified, path, "cgroup.controllers"), []byte(list), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	mounts := fmt.Sprintf(`31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /kubepods/pod1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
41 31 0:38 / %s rw - cgroup2 cgroup2 rw
nonsense
`, unified)
	for _, c := range []struct {
		own  string
		want []hierarchy
	}{
		{"0::/unit\n", []hierarchy{{2, []string{"memory", "pids", "cpu"}, unified + "/unit"}}},
		{"0::/plain\n", []hierarchy{{2, []string{"cpu"}, unified + "/plain"}}},
		{"0::/none\n", nil},
		{"0::/gone\n", nil},
		{"4:memory:/kubepods/pod1/c\n1:cpu,cpuacct:/x\n0::/none\n", []hierarchy{
			{1, []string{"memory"}, "/sys/fs/cgroup/memory/c"}, {1, []string{"cpu"}, "/sys/fs/cgroup/cpu,cpuacct/x"}}},
		{"4:memory:/kubepods/pod2\n", nil}, // outside of what is mounted
		{"8:pids:/x\n", nil},               // not mounted
		{"9:name=systemd:/x\nnonsense", nil},
		{"", nil},
	} {
		if diff := cmp.Diff(c.want, locate(c.own, mounts), cmp.AllowUnexported(hierarchy{})); diff != "" {
			t.Errorf("%q: %s", c.own, diff)
		}
	}
}
