package isolate

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ControlGroups tells which version of control groups the calling process is under for memory (0: none that can be
// seen), and whether it may make groups of its own there. Source: cgroups(7).
func ControlGroups() (version int, delegated bool) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	return controlGroups(string(own), "/sys/fs/cgroup")
}

func controlGroups(own, root string) (version int, delegated bool) {
	unified := ""
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if parts[1] == "memory" {
			return 1, writable(filepath.Join(root, "memory", parts[2]))
		}
		if parts[0] == "0" {
			unified = parts[2]
		}
	}
	folder := filepath.Join(root, unified)
	controllers, err := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
	if unified == "" || err != nil {
		return 0, false
	}
	for _, name := range strings.Fields(string(controllers)) {
		if name == "memory" {
			return 2, writable(folder)
		}
	}
	return 2, false
}

func writable(folder string) bool { return unix.Access(folder, unix.W_OK) == nil }
