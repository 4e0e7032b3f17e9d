package isolate

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// The system calls that a worker may make, whatever their arguments. They are what the engine, the C library and
// Go's runtime need to compute, to read what is open, and to have threads.
var computing = []string{
	"read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "lseek", "close", "fstat", "fstatfs",
	"dup", "dup3", "pipe2", "eventfd2", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "poll", "ppoll",
	"munmap", "mremap", "madvise", "mincore", "brk", "membarrier",
	"futex", "set_robust_list", "get_robust_list", "rseq", "sched_yield", "sched_getaffinity", "getcpu",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
	"exit", "exit_group", "gettid", "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "getrandom", "getrusage", "times",
	"getcwd", "umask", "fsync", "fdatasync", "fadvise64",
}

// looking is how files are found and opened. Seal takes it away with an error that means "there is none".
var looking = []string{
	"open", "openat", "stat", "lstat", "statfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
	"getdents64",
}

// describing tells of a file by its name or, with AT_EMPTY_PATH, by its descriptor; the latter stays after Seal,
// since the C library has no other way to ask for a size.
var describing = map[string]uint32{"newfstatat": 3, "statx": 2} // place of the flags

// changing is how files are made, shortened, renamed and removed, which only an intake does, in its own folder.
// After Seal it ends the process.
var changing = []string{"unlink", "unlinkat", "rename", "renameat", "renameat2", "ftruncate", "fallocate", "flock"}

// known leaves out the names that the machine's architecture does not have, such as open on arm64. A test sees to
// it that each name exists on one at least, so that none is misspelt.
func known(names []string) ([]string, error) {
	machine, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range names {
		if _, ok := machine.SyscallNames[name]; ok {
			list = append(list, name)
		}
	}
	return list, nil
}

// argument is a condition on one of a system call's arguments, counted from 0.
func argument(n uint32, operation seccomp.Operation, value uint64) seccomp.Condition {
	return seccomp.Condition{Argument: n, Operation: operation, Value: value}
}

// only is a system call with conditions that must all hold.
func only(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
	return seccomp.NameWithConditions{Name: name, Conditions: conditions}
}

// conditional are the system calls that are allowed with some arguments only.
func conditional() []seccomp.NameWithConditions {
	self := uint64(os.Getpid())
	list := []seccomp.NameWithConditions{
		// Threads, never processes.
		only("clone", argument(0, seccomp.BitsSet, unix.CLONE_THREAD)),
		// Memory that holds values, never instructions.
		only("mmap", argument(2, seccomp.BitsNotSet, unix.PROT_EXEC)),
		only("mprotect", argument(2, seccomp.BitsNotSet, unix.PROT_EXEC)),
		// Signals to itself, by which Go's runtime interrupts its threads.
		only("tgkill", argument(0, seccomp.Equal, self)),
		// Limits may be read and not set.
		only("prlimit64", argument(0, seccomp.Equal, 0), argument(2, seccomp.Equal, 0)),
	}
	// Flags, copies and locks of descriptors, and not whom the kernel signals about them, or the size of a pipe.
	for _, command := range []uint64{
		unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL,
		unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW,
	} {
		list = append(list, only("fcntl", argument(1, seccomp.Equal, command)))
	}
	for _, option := range []uint64{unix.PR_SET_VMA, unix.PR_SET_NAME, unix.PR_GET_NAME} {
		list = append(list, only("prctl", argument(0, seccomp.Equal, option)))
	}
	return list
}

// answered are system calls that get an error instead of ending the process, since libraries try them and go on.
func answered(errno unix.Errno) seccomp.Action { return seccomp.ActionErrno | seccomp.Action(errno) }

// filterSyscalls puts the list on every thread. What is not on it ends the process. Filters add up and are never
// taken off.
func filterSyscalls() error {
	allowed, err := known(slices.Concat(computing, looking, changing, slices.Collect(maps.Keys(describing))))
	if err != nil {
		return err
	}
	return load(seccomp.Policy{
		DefaultAction: seccomp.ActionKillProcess,
		Syscalls: []seccomp.SyscallGroup{
			{Action: seccomp.ActionAllow, Names: allowed, NamesWithCondtions: conditional()},
			{Action: answered(unix.ENOSYS), Names: []string{"clone3"}}, // its flags lie in memory, where a filter cannot look
			{Action: answered(unix.ENOTTY), Names: []string{"ioctl"}},  // libraries ask whether a pipe is a terminal
			// With many threads the engine binds each to a processor, which it can do without.
			{Action: answered(unix.EPERM), Names: []string{"sched_setaffinity"}},
			{Action: seccomp.ActionAllow, Names: []string{"seccomp"}}, // for the filter that Seal adds
		},
	})
}

// Seal takes the file system away, on every thread: finding and opening a file says that there is none, changing
// one ends the process, and so does another filter. A planner and a job call it when the engine has opened what it
// needs and before they read anything of a person's or of the data.
func Seal() error {
	none, err := known(looking)
	if err != nil {
		return missing(Syscalls, err)
	}
	never, err := known(changing)
	if err != nil {
		return missing(Syscalls, err)
	}
	var byName []seccomp.NameWithConditions
	for name, flags := range describing {
		byName = append(byName, only(name, argument(flags, seccomp.BitsNotSet, unix.AT_EMPTY_PATH)))
	}
	err = load(seccomp.Policy{
		DefaultAction: seccomp.ActionAllow, // of what the first filter allows
		Syscalls: []seccomp.SyscallGroup{
			{Action: answered(unix.ENOENT), Names: none, NamesWithCondtions: byName},
			{Action: seccomp.ActionKillProcess, Names: append(never, "seccomp")},
		},
	})
	if err != nil {
		return missing(Syscalls, err)
	}
	if err := unix.Access("/", unix.F_OK); !errors.Is(err, unix.ENOENT) {
		return missing(Syscalls, fmt.Errorf("the file system is still there: %w", errors.Join(err)))
	}
	return nil
}

// load puts a filter on every thread or on none; without the second flag, the kernel would report a thread that it
// could not reach in a way that looks like success.
func load(policy seccomp.Policy) error {
	return seccomp.LoadFilter(seccomp.Filter{
		Flag:   seccomp.FilterFlagTSync | unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
		Policy: policy,
	})
}
