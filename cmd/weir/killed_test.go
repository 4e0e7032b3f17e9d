package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/sandbox"
)

// waiting gives the processes of a platform that wait for jobs, when all of them do: two planners and two workers.
func (n *stormNode) waiting(t *testing.T) []int {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) { // another process has nothing else to tell by
		pids, roles := descendants(n.server.Process.Pid), map[string]int{}
		for _, pid := range pids {
			roles[roleOf(pid)]++
		}
		if roles["planner"] == sandbox.WarmPlanners && roles["worker"] == sandbox.WarmWorkers && len(pids) == sandbox.WarmPlanners+sandbox.WarmWorkers {
			return pids
		}
		if time.Since(begin) > stormPatience {
			t.Fatalf("what waits: %v", roles)
		}
	}
}

// groupsOf are the control groups of processes, as folders; none where the machine delegates none.
func groupsOf(t *testing.T, pids []int) (folders []string) {
	t.Helper()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name := filepath.Base(strings.TrimSpace(line))
			if strings.HasPrefix(name, "weir-worker-") && !slices.Contains(folders, name) {
				folders = append(folders, name)
			}
		}
	}
	return folders
}

// TestKilledWithProcessesThatWait kills a platform that does nothing, with SIGKILL, while confined processes wait for
// jobs and a workspace is owed its deletion. None of them is left, nor a mount, a file or, after the next start, a control group; and
// the next start deletes what is owed, with that on the log.
func TestKilledWithProcessesThatWait(t *testing.T) {
	data, folder := filepath.Join(t.TempDir(), "var"), t.TempDir()
	node := newStormNode(t, "WEIR_DATA="+data, "WEIR_GRANTS_GRACE=1ms")
	s := &storm{nodes: []*stormNode{node}, data: data, source: filepath.Join(data, storeFile)}
	at := testTerminal(t, problem.English)
	at.environ = func() []string { return []string{"WEIR_DATA=" + data} }
	node.start(t)
	admit(t, at, &platformProcess{url: node.url()})
	person(t, at, node.url(), "zhang", 0, "dataset", "import", residents(t, folder, 300))
	person(t, at, node.url(), "wang", 0, "dataset", "approve", "residents", "1", "--reason", "checked")
	grant := strings.TrimSpace(person(t, at, node.url(), "wang", 0, "grant", "create", stormGrant(t, folder)))
	before := s.files(t)
	person(t, at, node.url(), "li", exitReleased, "query", "--grant", grant, "CREATE TABLE mine AS SELECT district, age FROM residents")
	if kept := s.files(t); len(kept) != len(before)+2 {
		t.Fatalf("a kept table is no file: %v", kept)
	}
	pids := node.waiting(t)
	mounts := ""
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			t.Fatal(err)
		}
		mounts += string(text)
	}
	if !strings.Contains(mounts, "fuse") {
		t.Error("no process that waits has mounted anything, so this proves little")
	}
	groups := groupsOf(t, pids)
	node.end()
	node.nothing(t)

	db := storetest.Open(t, s.source)
	if _, err := db.NewRaw("UPDATE policy_grants SET state = 'terminated' WHERE id = ?", grant).Exec(t.Context()); err != nil {
		t.Fatal(err) // a termination that was cut off after its first step
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	node.start(t)
	for begin := time.Now(); !slices.Equal(s.files(t), before); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > stormPatience {
			t.Fatalf("before the table there were %v, after the sweep %v", before, s.files(t))
		}
	}
	node.waiting(t)
	for _, name := range groups {
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + name); len(left) > 0 {
			t.Errorf("a control group is left: %v", left)
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/" + name); len(left) > 0 {
			t.Errorf("a control group is left: %v", left)
		}
	}
	person(t, at, node.url(), "sun", 0, "audit", "verify")
	said := person(t, at, node.url(), "sun", 0, "audit", "search", "--grant", grant)
	for _, kind := range []string{"grant.end.intent", "grant.ended", "grant.delete.intent", "grant.deleted"} {
		if strings.Count(said, kind) != 1 {
			t.Errorf("%s is not on the log:\n%s", kind, said)
		}
	}
	node.stop(t)
	node.nothing(t)
}
