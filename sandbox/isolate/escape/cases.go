package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
)

// escape is one thing that a confined process must not be able to do.
type escape struct {
	name        string
	by          []isolate.Layer // each of these must stop it alone
	free        bool            // somebody without privileges can do it where nothing stops him
	privileged  bool            // only root can
	needsSetuid bool
	sealed      bool                // the list of system calls stops it only once it is sealed, as a planner and a job are
	writes      bool                // limits stop it only where no file may be written, as in a planner and a job
	shown       bool                // it is tried with the file that the process is shown,
	filed       bool                // or in the memory that it may make files in
	try         func(f facts) error // nil: it got through
}

var errStopped = errors.New("stopped")

// granted is the path under which the process finds what it may read.
func (f facts) granted() string {
	if f.Layers.Has(isolate.Root) {
		return isolate.Inside(0)
	}
	return f.Granted
}

func opening(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	_, err = unix.Read(fd, make([]byte, 1))
	return errors.Join(err, unix.Close(fd))
}

// call makes a system call by its number. What it returns is not needed.
func call(number uintptr, arguments ...uintptr) error {
	var a [6]uintptr
	copy(a[:], arguments)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// forking makes a process by clone with these flags; the child ends at once.
func forking(flags uintptr) error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

func dialing(domain, kind int, to unix.Sockaddr) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Connect(fd, to), unix.Close(fd))
}

var files = []isolate.Layer{isolate.Root, isolate.Landlock, isolate.Syscalls}

var loopback = [4]byte{127, 0, 0, 1}

var cases = []escape{
	{name: "read another job's file", sealed: true, by: files, free: true,
		try: func(f facts) error { return opening(f.Other, unix.O_RDONLY) }},
	{name: "list a folder outside", sealed: true, by: files, free: true,
		try: func(f facts) error { _, err := os.ReadDir(f.Outside); return err }},
	{name: "make a file outside", sealed: true, by: files, free: true,
		try: func(f facts) error { return opening(f.Outside+"/made", unix.O_CREAT|unix.O_RDWR) }},
	{name: "write to a granted file", sealed: true, writes: true, shown: true, by: append(files, isolate.Resources), free: true, try: writeGranted},
	{name: "shorten a granted file", shown: true, by: files, free: true,
		try: func(f facts) error { return unix.Truncate(f.granted(), 3) }},
	{name: "remove a granted file", shown: true, by: files, free: true,
		try: func(f facts) error {
			return errors.Join(unix.Link(f.granted(), f.Outside+"/link"), unix.Unlink(f.Outside+"/link"))
		}},
	{name: "look around in /proc", sealed: true, by: files, free: true,
		try: func(facts) error { return opening("/proc/self/status", unix.O_RDONLY) }},
	{name: "look into a process in /proc", sealed: true, by: append(files, isolate.User), free: true,
		try: func(f facts) error { return opening(fmt.Sprintf("/proc/%d/maps", f.Victim), unix.O_RDONLY) }},
	{name: "open a device", sealed: true, by: files, free: true,
		try: func(facts) error { return opening("/dev/zero", unix.O_RDONLY) }},
	{name: "make a device", by: append(files, isolate.User, isolate.Capabilities), privileged: true, try: makeDevice},
	{name: "read an inherited descriptor", by: []isolate.Layer{isolate.Descriptors}, free: true,
		try: readInherited},
	{name: "pass a descriptor", by: []isolate.Layer{isolate.Syscalls}, free: true, try: passDescriptor},
	{name: "take a process's descriptor", by: []isolate.Layer{isolate.User, isolate.Processes, isolate.Syscalls}, privileged: true, try: takeDescriptor},

	{name: "make a device in its memory", filed: true, by: []isolate.Layer{isolate.Root, isolate.Landlock, isolate.Syscalls},
		try: func(f facts) error { return makeDeviceIn(isolate.InsideFolder) }},
	{name: "make a link in its memory", filed: true, by: []isolate.Layer{isolate.Landlock, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			return errors.Join(unix.Symlink("/etc/passwd", isolate.InsideFolder+"/link"), unix.Unlink(isolate.InsideFolder+"/link"))
		}},
	{name: "make a socket in its memory", filed: true, by: []isolate.Layer{isolate.Landlock, isolate.Syscalls}, free: true,
		try: func(f facts) error { return listenAt(isolate.InsideFolder + "/s") }},
	{name: "run a program of its memory", filed: true, by: []isolate.Layer{isolate.Root, isolate.Landlock, isolate.Syscalls}, try: runFromMemory},
	{name: "leave a file for root", filed: true, by: []isolate.Layer{isolate.Syscalls}, free: true, try: func(f facts) error {
		return errors.Join(opening(isolate.InsideFolder+"/setuid", unix.O_CREAT|unix.O_RDWR), unix.Chmod(isolate.InsideFolder+"/setuid", 0o4755))
	}},
	{name: "write a file that is too large", filed: true, by: []isolate.Layer{isolate.Resources}, free: true, try: writeTooMuch},

	{name: "connect over TCP", by: []isolate.Layer{isolate.Network, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			return dialing(unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Port: f.Port, Addr: loopback})
		}},
	{name: "send over UDP", by: []isolate.Layer{isolate.Network, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			return dialing(unix.AF_INET, unix.SOCK_DGRAM, &unix.SockaddrInet4{Port: f.Port, Addr: loopback})
		}},
	{name: "listen on TCP", by: []isolate.Layer{isolate.Syscalls}, free: true, try: listen},
	{name: "listen by path", by: []isolate.Layer{isolate.Root, isolate.Landlock, isolate.Syscalls}, free: true,
		try: func(f facts) error { return listenAt(f.Outside + "/s") }},
	{name: "listen on an abstract socket", by: []isolate.Layer{isolate.Syscalls}, free: true, try: func(f facts) error { return listenAt(f.Abstract + "-own") }},
	{name: "connect to a socket by path", by: []isolate.Layer{isolate.Root, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			return dialing(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: f.Socket})
		}},
	{name: "connect to an abstract socket", by: []isolate.Layer{isolate.Network, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			return dialing(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: f.Abstract})
		}},
	{name: "reach shared memory", by: []isolate.Layer{isolate.IPC, isolate.Syscalls}, free: true,
		try: func(f facts) error { _, err := unix.SysvShmGet(f.Shared, 4096, 0); return err }},

	{name: "run a program", by: files, free: true, try: func(facts) error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
	{name: "run a program that makes root", by: append(files, isolate.User, isolate.Privileges), free: true, needsSetuid: true,
		try: func(f facts) error {
			return unix.Exec(f.Setuid, []string{"escape", "whoami", filepath.Join(filepath.Dir(f.Setuid), "secret")}, nil)
		}},
	{name: "make a process", by: []isolate.Layer{isolate.Syscalls}, free: true, try: func(facts) error { return forking(0) }},
	{name: "make a process with clone3", by: []isolate.Layer{isolate.Syscalls}, free: true, try: func(facts) error { return forkingAnew() }},
	{name: "make a user namespace", by: []isolate.Layer{isolate.Syscalls}, free: true, try: func(facts) error { return forking(unix.CLONE_NEWUSER) }},
	{name: "unshare a network namespace", by: []isolate.Layer{isolate.Capabilities, isolate.Syscalls}, privileged: true,
		try: func(facts) error { return unix.Unshare(unix.CLONE_NEWNET) }},
	{name: "mount", by: []isolate.Layer{isolate.User, isolate.Capabilities, isolate.Landlock, isolate.Syscalls}, privileged: true, try: mount},
	{name: "mount by descriptor", by: []isolate.Layer{isolate.User, isolate.Capabilities, isolate.Landlock, isolate.Syscalls}, privileged: true, try: mountAnew},
	{name: "enter a process's namespaces", by: []isolate.Layer{isolate.User, isolate.Processes, isolate.Capabilities, isolate.Syscalls}, privileged: true, try: enterNamespaces},
	{name: "change the root", by: []isolate.Layer{isolate.Capabilities, isolate.Syscalls}, privileged: true,
		try: func(facts) error { return unix.Chroot("/") }},
	{name: "trace a process", by: []isolate.Layer{isolate.User, isolate.Processes, isolate.Landlock, isolate.Syscalls}, privileged: true,
		try: func(f facts) error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(f.Victim)) }},
	{name: "read a process's memory", by: []isolate.Layer{isolate.User, isolate.Processes, isolate.Landlock, isolate.Syscalls}, privileged: true, try: readMemory},
	{name: "write a process's memory", by: []isolate.Layer{isolate.User, isolate.Processes, isolate.Landlock, isolate.Syscalls}, privileged: true, try: writeMemory},
	{name: "set a process's limits", by: []isolate.Layer{isolate.Processes, isolate.Syscalls}, free: true, try: limitAnother},
	{name: "signal a process by descriptor", by: []isolate.Layer{isolate.Processes, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			fd, err := unix.PidfdOpen(f.Victim, 0)
			if err != nil {
				return err
			}
			return unix.PidfdSendSignal(fd, 0, nil, 0)
		}},
	{name: "queue a signal for a process", by: []isolate.Layer{isolate.Processes, isolate.Syscalls}, free: true,
		try: func(f facts) error {
			information := [32]int32{2: -1} // siginfo_t: a code of a process's own, not of the kernel's
			return call(unix.SYS_RT_SIGQUEUEINFO, uintptr(f.Victim), 0, uintptr(unsafe.Pointer(&information)))
		}},
	{name: "have the kernel signal a process", by: []isolate.Layer{isolate.Processes, isolate.Syscalls}, free: true,
		try: func(f facts) error { _, err := unix.FcntlInt(factsFD, unix.F_SETOWN, f.Victim); return err }},
	{name: "signal a process", by: []isolate.Layer{isolate.Processes, isolate.Syscalls}, free: true,
		try: func(f facts) error { return unix.Kill(f.Victim, 0) }},
	{name: "signal the platform", by: []isolate.Layer{isolate.Processes, isolate.Syscalls}, free: true, try: signalParent},
	{name: "outlive the platform", by: []isolate.Layer{isolate.Syscalls}, free: true,
		try: func(facts) error { return call(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, 0) }},

	{name: "write memory and run it", by: []isolate.Layer{isolate.Memory, isolate.Syscalls}, free: true,
		try: func(facts) error { return mapping(unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, 1<<16) }},
	{name: "make written memory run", by: []isolate.Layer{isolate.Memory, isolate.Syscalls}, free: true, try: makeRunnable},
	{name: "run memory through a file", writes: true, by: []isolate.Layer{isolate.Syscalls, isolate.Resources}, free: true, try: runFile},
	{name: "take more memory", by: []isolate.Layer{isolate.Resources}, free: true,
		try: func(facts) error { return mapping(unix.PROT_NONE, int(limits.AddressSpace)) }},
	{name: "open more files", by: []isolate.Layer{isolate.Resources}, free: true, try: openMany},
	{name: "raise a limit", by: []isolate.Layer{isolate.User, isolate.Capabilities, isolate.Syscalls}, try: raiseLimit},
	{name: "become another user", by: []isolate.Layer{isolate.User, isolate.Capabilities, isolate.Syscalls}, privileged: true,
		try: func(facts) error { return call(unix.SYS_SETRESUID, 12345, 12345, 12345) }},
	{name: "be preferred to others", by: []isolate.Layer{isolate.User, isolate.Capabilities, isolate.Syscalls}, privileged: true,
		try: func(facts) error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) }},
	{name: "learn the machine's name", by: []isolate.Layer{isolate.Hostname}, free: true, try: learnName},
	{name: "learn its control group", sealed: true, by: append(files, isolate.Cgroup), try: learnGroup},
	{name: "rename the machine", by: []isolate.Layer{isolate.User, isolate.Capabilities, isolate.Syscalls}, privileged: true,
		try: func(f facts) error { return unix.Sethostname([]byte(f.Hostname)) }},
	{name: "use the kernel's keyring", by: []isolate.Layer{isolate.Syscalls}, free: true,
		try: func(facts) error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_PROCESS_KEYRING, true); return err }},
	{name: "load a program into the kernel", by: []isolate.Layer{isolate.Syscalls}, privileged: true,
		try: func(facts) error {
			attributes := [18]uint32{2, 4, 4, 1} // union bpf_attr: an array of one
			return call(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
		}},
	{name: "watch the machine at work", by: []isolate.Layer{isolate.Syscalls}, privileged: true,
		try: func(facts) error {
			attributes := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK}
			attributes.Size = uint32(unsafe.Sizeof(attributes))
			_, err := unix.PerfEventOpen(&attributes, -1, 0, -1, 0)
			return err
		}},
	{name: "use io_uring", by: []isolate.Layer{isolate.Syscalls},
		try: func(facts) error {
			var parameters [120]byte
			return call(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&parameters[0])))
		}},
	{name: "let others look into it", by: []isolate.Layer{isolate.Syscalls}, free: true,
		try: func(facts) error { return call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1) }},
}

func writeGranted(f facts) error {
	fd, err := unix.Open(f.granted(), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte("x"))
	return errors.Join(err, unix.Close(fd))
}

// readInherited looks for the leaked file's content, since Go's runtime may have opened another under its number.
func readInherited(facts) error {
	content := make([]byte, len(secret))
	n, err := unix.Pread(leakedFD, content, 0)
	if err == nil && string(content[:n]) != secret {
		return errStopped
	}
	return err
}

func makeDevice(f facts) error { return makeDeviceIn(f.Outside) }

func makeDeviceIn(folder string) error {
	path := folder + "/device"
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		return err
	}
	return unix.Unlink(path)
}

func passDescriptor(facts) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(0), nil, 0)
}

func takeDescriptor(f facts) error {
	victim, err := unix.PidfdOpen(f.Victim, 0)
	if err != nil {
		return err
	}
	_, err = unix.PidfdGetfd(victim, 0, 0)
	return err
}

func listen(facts) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
		return err
	}
	return unix.Listen(fd, 1)
}

// listenAt listens on a socket with a name, which is a path or begins with @.
func listenAt(name string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		return err
	}
	if name[0] != '@' {
		defer unix.Unlink(name)
	}
	return unix.Listen(fd, 1)
}

// runFromMemory makes a program of a line, whose interpreter is another layer's business, and runs it.
func runFromMemory(f facts) error {
	path := isolate.InsideFolder + "/program"
	if err := os.WriteFile(path, []byte("#!/bin/true\n"), 0o700); err != nil {
		return err
	}
	return unix.Exec(path, []string{"program"}, nil)
}

func writeTooMuch(f facts) error {
	file, err := os.Create(isolate.InsideFolder + "/large")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteAt([]byte{1}, largestFile)
	return err
}

func forkingAnew() error {
	arguments := [11]uint64{4: uint64(unix.SIGCHLD)} // struct clone_args: exit_signal is the fifth
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&arguments)), unsafe.Sizeof(arguments), 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

func mount(f facts) error {
	if err := unix.Mount("escape", f.Outside, "tmpfs", 0, ""); err != nil {
		return err
	}
	return unix.Unmount(f.Outside, unix.MNT_DETACH)
}

// mountAnew shows a folder at its own place once more.
func mountAnew(f facts) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, f.Outside, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, f.Outside, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return err
	}
	return unix.Unmount(f.Outside, unix.MNT_DETACH)
}

func enterNamespaces(f facts) error {
	victim, err := unix.PidfdOpen(f.Victim, 0)
	if err != nil {
		return err
	}
	return unix.Setns(victim, unix.CLONE_NEWUTS|unix.CLONE_NEWNET)
}

// scratch lies at the same address in the victim, which is the same program, and nobody reads it there.
var scratch [1]byte

func writeMemory(f facts) error {
	there := uintptr(unsafe.Pointer(&scratch))
	_, err := unix.ProcessVMWritev(f.Victim, []unix.Iovec{{Base: &scratch[0], Len: 1}}, []unix.RemoteIovec{{Base: there, Len: 1}}, 0)
	return err
}

func limitAnother(f facts) error {
	var limit unix.Rlimit
	if err := unix.Prlimit(f.Victim, unix.RLIMIT_CORE, nil, &limit); err != nil {
		return err
	}
	return unix.Prlimit(f.Victim, unix.RLIMIT_CORE, &limit, nil)
}

func readMemory(f facts) error {
	local := make([]byte, 1)
	var here unsafe.Pointer = unsafe.Pointer(&local[0])
	// The same program runs there, at the same addresses.
	var there = uintptr(unsafe.Pointer(unsafe.StringData(errStopped.Error())))
	_, err := unix.ProcessVMReadv(f.Victim, []unix.Iovec{{Base: (*byte)(here), Len: 1}}, []unix.RemoteIovec{{Base: there, Len: 1}}, 0)
	return err
}

func signalParent(f facts) error {
	parent := unix.Getppid()
	if parent == 0 { // there is none that it could name
		return errStopped
	}
	return unix.Kill(parent, 0)
}

func mapping(protection, size int) error {
	memory, err := unix.Mmap(-1, 0, size, protection, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	return unix.Munmap(memory)
}

func makeRunnable(facts) error {
	memory, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	memory[0] = 0xc3
	return unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC)
}

func runFile(facts) error {
	fd, err := unix.MemfdCreate("escape", 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte{0xc3}); err != nil {
		return err
	}
	_, err = unix.Mmap(fd, 0, 1, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE)
	return err
}

func openMany(facts) error {
	for range limits.Files + 1 {
		if _, err := unix.Dup(0); err != nil {
			return err
		}
	}
	return nil
}

func raiseLimit(facts) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RTPRIO, &limit); err != nil {
		return err
	}
	limit.Max++
	return unix.Setrlimit(unix.RLIMIT_RTPRIO, &limit)
}

func learnName(f facts) error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	if unix.ByteSliceToString(name.Nodename[:]) != f.Hostname {
		return errStopped
	}
	return nil
}

// learnGroup fails where the process can read its control groups but they are shown as the root of what it sees.
func learnGroup(facts) error {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(strings.TrimSpace(line), ":/") {
			return nil
		}
	}
	return errStopped
}
