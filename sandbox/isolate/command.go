package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxCell is the most bytes that the description of a cell may have.
const maxCell = 1 << 20

// namespaces are the layers that a process is born with: the kernel's flags and names for them.
var namespaces = map[Layer]struct {
	flag uintptr
	name string
}{
	User:      {unix.CLONE_NEWUSER, "user"},
	Processes: {unix.CLONE_NEWPID, "pid"},
	Network:   {unix.CLONE_NEWNET, "net"},
	IPC:       {unix.CLONE_NEWIPC, "ipc"},
	Hostname:  {unix.CLONE_NEWUTS, "uts"},
	Cgroup:    {unix.CLONE_NEWCGROUP, "cgroup"},
	Root:      {unix.CLONE_NEWNS, "mnt"},
}

// ownNamespaces are those of the calling process, as the kernel names them.
func ownNamespaces() (map[Layer]string, error) {
	own := map[Layer]string{}
	for layer, kind := range namespaces {
		name, err := os.Readlink("/proc/self/ns/" + kind.name)
		if err != nil {
			return nil, missing(layer, err)
		}
		own[layer] = name
	}
	return own, nil
}

// Command describes a worker process with every layer: pipes and files become descriptors 3, 4, …; 0, 1 and 2 are
// /dev/null, since an engine can be made to print data there. Start must be called on it, once.
func Command(executable string, cell Cell, files []*os.File) (*exec.Cmd, error) {
	cell.Layers = Whole
	return command(executable, cell, files)
}

// CommandTrial is Command with the layers that the cell names, for the escape suite and the doctor. A worker does
// not start with fewer than all.
func CommandTrial(executable string, cell Cell, files []*os.File) (*exec.Cmd, error) {
	return command(executable, cell, files)
}

func command(executable string, cell Cell, files []*os.File) (*exec.Cmd, error) {
	var err error
	if cell.Outside, err = ownNamespaces(); err != nil {
		return nil, err
	}
	description, err := describe(cell)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(executable)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stdin = description
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	for layer, kind := range namespaces {
		if cell.Layers.Has(layer) {
			cmd.SysProcAttr.Cloneflags |= kind.flag
		}
	}
	if cell.Layers.Has(User) {
		// One user and one group inside, root, which are the platform's own outside. Without the credential the
		// first exec would take the capabilities that the first pass needs.
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true}
	}
	return cmd, nil
}

// describe writes a cell where its worker reads it and nobody else: not among the arguments, which every user of
// the machine can read.
func describe(cell Cell) (*os.File, error) {
	text, err := json.Marshal(cell)
	if err != nil || len(text) > maxCell {
		return nil, fmt.Errorf("describe worker: %d bytes: %w", len(text), err)
	}
	fd, err := unix.MemfdCreate("cell", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("describe worker: %w", err)
	}
	f := os.NewFile(uintptr(fd), "cell")
	if _, err = f.Write(text); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("describe worker: %w", err)
	}
	return f, nil
}

// Start starts the process in its control group, where it has one. The kernel sends the signal of Pdeathsig when the thread that made the process ends,
// so all are made by one thread that lives as long as the platform. Where the kernel refuses the namespaces, the
// error is a Missing.
func Start(cmd *exec.Cmd, group *Group) error {
	defer cmd.Stdin.(*os.File).Close()
	if _, err := os.Stat(cmd.Path); err != nil {
		return err
	}
	done := make(chan error)
	maker() <- func() { done <- group.start(cmd) }
	err := <-done
	if err != nil && cmd.SysProcAttr.Cloneflags != 0 && refusesNamespaces(err) {
		return missing(User, err)
	}
	return err
}

// refusesNamespaces tells the errors of clone and of the mapping of users from those of a program that cannot be
// started. Source: clone(2), user_namespaces(7).
func refusesNamespaces(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	return slices.Contains([]syscall.Errno{syscall.EPERM, syscall.EINVAL, syscall.ENOSPC, syscall.EUSERS}, errno)
}

var maker = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})
