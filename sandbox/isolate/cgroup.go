package isolate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// controllers are those that hold a worker, in the order in which people are told of them.
var controllers = []string{"memory", "pids", "cpu"}

// Delegation is what the machine lets the platform limit by control groups. What it does not is no fault: the
// limits of each process hold everywhere.
type Delegation struct {
	Version     int      // of the control groups, 1 or 2; 0: none is delegated
	Controllers []string // that hold each worker: of memory, pids, cpu
	Cause       error    // why the others do not; nil where all do
}

// Delegated finds out what the machine delegates, by making a group and removing it.
func Delegated() Delegation {
	found := delegated()
	d := Delegation{Cause: found.cause}
	for _, h := range found.hierarchies {
		d.Version = max(d.Version, h.version)
		d.Controllers = append(d.Controllers, h.controllers...)
	}
	return d
}

// hierarchy is a tree of control groups with the platform's place in it.
type hierarchy struct {
	version     int
	controllers []string
	dir         string // groups of workers are made here
}

// delegation are the hierarchies that can be used, and why others cannot.
type delegation struct {
	hierarchies []hierarchy
	cause       error
}

// delegated prepares the hierarchies for the groups of workers, once in the platform's life, and removes what an
// earlier life left.
var delegated = sync.OnceValue(func() delegation {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return delegation{cause: err}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return delegation{cause: err}
	}
	return prepare(locate(string(own), string(mounts)))
})

// prepare keeps those hierarchies in which a group with every limit can be made.
func prepare(found []hierarchy) delegation {
	var d delegation
	left := slices.Clone(controllers)
	for _, h := range found {
		err := h.usable()
		if err != nil && d.cause != nil {
			err = fmt.Errorf("%w; %w", d.cause, err)
		}
		if err != nil {
			d.cause = err
			continue
		}
		d.hierarchies = append(d.hierarchies, h)
		left = slices.DeleteFunc(left, func(name string) bool { return slices.Contains(h.controllers, name) })
	}
	if len(left) > 0 && d.cause == nil {
		d.cause = fmt.Errorf("no control group for %s", strings.Join(left, ", "))
	}
	return d
}

// locate reads where the platform is in each hierarchy that has one of the controllers. Source: cgroups(7) for
// /proc/self/cgroup, proc(5) for /proc/self/mountinfo.
func locate(own, mountinfo string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		h := hierarchy{version: 2}
		if parts[0] != "0" {
			h.version = 1
			for _, name := range controllers {
				if slices.Contains(strings.Split(parts[1], ","), name) {
					h.controllers = append(h.controllers, name)
				}
			}
			if len(h.controllers) == 0 {
				continue
			}
		}
		if h.dir = mounted(mountinfo, h, parts[2]); h.dir == "" {
			continue
		}
		if h.version == 2 {
			list, _ := os.ReadFile(filepath.Join(h.dir, "cgroup.controllers"))
			for _, name := range controllers {
				if slices.Contains(strings.Fields(string(list)), name) {
					h.controllers = append(h.controllers, name)
				}
			}
		}
		if len(h.controllers) > 0 {
			found = append(found, h)
		}
	}
	return found
}

// mounted gives the folder of a group, or nothing where its hierarchy is not mounted.
func mounted(mountinfo string, h hierarchy, group string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if len(place) < 5 || len(kind) < 3 {
			continue
		}
		if h.version == 2 && kind[0] != "cgroup2" ||
			h.version == 1 && (kind[0] != "cgroup" || !slices.Contains(strings.Split(kind[2], ","), h.controllers[0])) {
			continue
		}
		if below, err := filepath.Rel(place[3], group); err == nil && filepath.IsLocal(below) {
			return filepath.Join(place[4], below)
		}
	}
	return ""
}

// platformGroup is the leaf into which the platform goes in version 2, where a group that has groups with limits
// may hold no process itself.
const platformGroup = "platform"

// prepare makes a hierarchy ready for groups. Version 1 needs nothing. In version 2 the platform must have its group to
// itself, which is what systemd's Delegate= gives and what a person's session is not.
func (h hierarchy) prepare() error {
	if err := unix.Access(h.dir, unix.W_OK); err != nil {
		return fmt.Errorf("control group for %s: %w", strings.Join(h.controllers, ", "), err)
	}
	if h.version == 1 {
		return nil
	}
	members, err := os.ReadFile(filepath.Join(h.dir, "cgroup.procs"))
	if err != nil {
		return fmt.Errorf("members of the control group: %w", err)
	}
	if others := strings.Fields(string(members)); len(others) != 1 || others[0] != strconv.Itoa(os.Getpid()) {
		return errors.New("the platform has no control group to itself")
	}
	leaf := filepath.Join(h.dir, platformGroup)
	if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("control group of the platform: %w", err)
	}
	if err := put(filepath.Join(leaf, "cgroup.procs"), "0"); err != nil {
		return fmt.Errorf("control group of the platform: %w", err)
	}
	return put(filepath.Join(h.dir, "cgroup.subtree_control"), "+"+strings.Join(h.controllers, " +"))
}

// usable prepares a hierarchy and tries it.
func (h hierarchy) usable() error {
	if err := h.prepare(); err != nil {
		return err
	}
	h.tidy()
	trial, err := newGroup([]hierarchy{h}, Share{Memory: 1 << 30, Tasks: 64, Processors: 1})
	if err != nil {
		return err
	}
	return trial.Remove()
}

// tidy removes the groups of workers whose platform is dead: who lives holds a lock on each of its groups.
func (h hierarchy) tidy() {
	left, _ := filepath.Glob(filepath.Join(h.dir, groupPrefix+"*"))
	for _, dir := range left {
		lock, err := os.Open(dir)
		if err != nil {
			continue
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			unix.Rmdir(dir) // refused where a process is left in it
		}
		lock.Close()
	}
}

// put writes to a file of the kernel's, which must be there.
func put(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
