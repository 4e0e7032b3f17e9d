package isolate

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Share is what the process of a worker may take together with all its threads, as the kernel counts it for its
// control group.
type Share struct {
	Memory     uint64 // bytes in use, of memory and of files that are kept in it
	Tasks      uint64 // threads
	Processors uint64
}

// groupPrefix begins the name of every group of a worker's.
const groupPrefix = "weir-worker-"

// Group is the control group of one worker, in each hierarchy that the machine delegates. A nil Group is one of a
// machine that delegates none, and holds nothing.
type Group struct {
	places []place
}

// place is the group in one hierarchy. Its lock tells other platforms that it is in use.
type place struct {
	hierarchy
	own  string // its folder
	lock *os.File
}

// NewGroup makes a group for one worker, which Start puts it into and Remove removes. Where the machine delegates no
// control groups, or no share is asked for, it gives nil.
func NewGroup(s Share) (*Group, error) {
	if s == (Share{}) {
		return nil, nil
	}
	return newGroup(delegated().hierarchies, s)
}

func newGroup(hierarchies []hierarchy, s Share) (*Group, error) {
	if len(hierarchies) == 0 {
		return nil, nil
	}
	g, name := &Group{}, groupPrefix+rand.Text()[:16]
	for _, h := range hierarchies {
		if err := g.add(h, name, s); err != nil {
			return nil, errors.Join(fmt.Errorf("control group: %w", err), g.Remove())
		}
	}
	return g, nil
}

// attempts are how often a group is made anew because another platform, which was starting, took it for one that was left.
const attempts = 3

func (g *Group) add(h hierarchy, name string, s Share) error {
	p := place{hierarchy: h, own: filepath.Join(h.dir, name)}
	var err error
	for range attempts {
		if err = p.make(); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return err
	}
	g.places = append(g.places, p)
	for _, controller := range h.controllers {
		if err := p.limit(controller, s); err != nil {
			return err
		}
	}
	return nil
}

// make makes the folder and locks it. It gives os.ErrNotExist where the folder was removed before it was locked.
func (p *place) make() error {
	if err := os.Mkdir(p.own, 0o755); err != nil {
		return err
	}
	lock, err := os.Open(p.own)
	if err != nil {
		return errors.Join(err, removeFolder(p.own))
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return errors.Join(err, lock.Close(), removeFolder(p.own))
	}
	if _, err := os.Stat(p.own); err != nil {
		return errors.Join(err, lock.Close())
	}
	p.lock = lock
	return nil
}

// period is the time in which processor time is shared out, in microseconds.
const period = 100_000

// limit sets the limits of one controller. Swap can be limited where the kernel counts it.
// Source: Linux, Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
func (p place) limit(controller string, s Share) error {
	memory, quota := strconv.FormatUint(s.Memory, 10), strconv.FormatUint(s.Processors*period, 10)
	type setting struct {
		file, value string
		optional    bool
	}
	var settings []setting
	switch controller + strconv.Itoa(p.version) {
	case "memory1":
		settings = []setting{{file: "memory.limit_in_bytes", value: memory}, {file: "memory.memsw.limit_in_bytes", value: memory, optional: true}}
	case "memory2":
		settings = []setting{{file: "memory.max", value: memory}, {file: "memory.swap.max", value: "0", optional: true}}
	case "cpu1":
		settings = []setting{{file: "cpu.cfs_period_us", value: strconv.Itoa(period)}, {file: "cpu.cfs_quota_us", value: quota}}
	case "cpu2":
		settings = []setting{{file: "cpu.max", value: quota + " " + strconv.Itoa(period)}}
	default: // the same in both versions
		settings = []setting{{file: "pids.max", value: strconv.FormatUint(s.Tasks, 10)}}
	}
	for _, set := range settings {
		err := put(filepath.Join(p.own, set.file), set.value)
		if err != nil && !(set.optional && errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("limit %s: %w", set.file, err)
		}
	}
	return nil
}

// start starts a process in the group, on the calling thread. Version 2 has a call for it. In version 1 a process is
// born where the thread is that makes it, so the thread goes there and comes back; moving a process once it is there
// takes the kernel longer than the whole start.
func (g *Group) start(cmd *exec.Cmd) error {
	if g == nil {
		return cmd.Start()
	}
	for _, p := range g.places {
		if p.version == 2 {
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(p.lock.Fd())
		}
	}
	err := g.move(func(p place) string { return p.own })
	if err == nil {
		err = cmd.Start()
	}
	if back := g.move(func(p place) string { return p.dir }); back != nil {
		if err == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		return errors.Join(err, back)
	}
	return err
}

// move puts the calling thread into a group of each hierarchy of version 1.
func (g *Group) move(to func(place) string) error {
	for _, p := range g.places {
		if p.version != 1 {
			continue
		}
		if err := put(filepath.Join(to(p), "tasks"), "0"); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

// Remove removes the group. Its process must have ended and been waited for.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	var failed error
	for _, p := range g.places {
		failed = errors.Join(failed, removeFolder(p.own), p.lock.Close())
	}
	g.places = nil
	return failed
}

// Exhausted reports whether the kernel killed the process because the group's memory was used up.
func (g *Group) Exhausted() bool {
	if g == nil {
		return false
	}
	for _, p := range g.places {
		events := "memory.events"
		if p.version == 1 {
			events = "memory.oom_control"
		}
		text, _ := os.ReadFile(filepath.Join(p.own, events)) // where memory is not delegated there is none
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); len(words) == 2 && words[0] == "oom_kill" && words[1] != "0" {
				return true
			}
		}
	}
	return false
}

func removeFolder(path string) error {
	if err := unix.Rmdir(path); err != nil {
		return &os.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}
