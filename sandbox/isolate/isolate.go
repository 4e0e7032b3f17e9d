// Package isolate is where a worker process is made harmless to the machine that it runs on.
//
// It has two halves. Command and Start, on the platform's side, make a process of its own group with an empty
// environment and only the descriptors that it was given, which dies with the platform. Enter, on the worker's
// side and before anything else there, sets resource limits, gives up every way to gain privileges and to be
// read by another process, closes what was inherited by mistake, and starts the program anew so that no thread
// has missed it.
//
// What is not here yet: namespaces, a root of its own, Landlock, seccomp and cgroups. Until they are, a worker
// that an attacker has taken over can still open what its user may open and reach the network. The engine's own
// settings close the ordinary ways to that, and no more; docs/design/sandbox.md says what that means. A layer
// that is added here must fail closed: Enter ends the process when anything that it sets cannot be set.
package isolate

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits are the kernel's limits on a worker. They hold whatever the engine does.
type Limits struct {
	AddressSpace uint64 // bytes of virtual memory
	CPU          uint64 // seconds of processor time
	FileSize     uint64 // bytes of the largest file that may be written
	Files        uint64 // open descriptors
}

// confined is the last argument of a worker that has started itself anew.
const confined = "confined"

func (l Limits) arguments() []string {
	var words []string
	for _, n := range []uint64{l.AddressSpace, l.CPU, l.FileSize, l.Files} {
		words = append(words, strconv.FormatUint(n, 10))
	}
	return words
}

func parseLimits(words []string) (Limits, error) {
	if len(words) != 4 {
		return Limits{}, errors.New("four limits are needed")
	}
	var n [4]uint64
	for i, word := range words {
		var err error
		if n[i], err = strconv.ParseUint(word, 10, 63); err != nil {
			return Limits{}, fmt.Errorf("limit %d: %w", i, err)
		}
	}
	return Limits{AddressSpace: n[0], CPU: n[1], FileSize: n[2], Files: n[3]}, nil
}

// resources lists the limits for setrlimit. RLIMIT_NPROC is missing on purpose: it counts all processes of a
// user, so without a user namespace it would let workers starve each other and the platform.
func (l Limits) resources() map[int]uint64 {
	return map[int]uint64{
		unix.RLIMIT_AS:      l.AddressSpace,
		unix.RLIMIT_CPU:     l.CPU,
		unix.RLIMIT_FSIZE:   l.FileSize,
		unix.RLIMIT_NOFILE:  l.Files,
		unix.RLIMIT_CORE:    0,
		unix.RLIMIT_MEMLOCK: 0,
	}
}

// Enter confines the calling process, keeping the descriptors 0 to keep, and gives its mode. It must be the first
// thing that the worker's main does. In the first pass it does not return: it starts the program anew.
func Enter(keep func(mode string) int) (mode string, err error) {
	if len(os.Args) < 6 {
		return "", errors.New("a worker is started by the platform only")
	}
	mode = os.Args[1]
	limits, err := parseLimits(os.Args[2:6])
	if err != nil {
		return "", err
	}
	if len(os.Args) == 7 && os.Args[6] == confined {
		return mode, verify(limits)
	}
	if err := closeInherited(keep(mode)); err != nil {
		return "", err
	}
	return "", restart(limits)
}

// restart sets what an exec hands on and executes the program again. no_new_privs belongs to a thread, and this
// process has several by now; after the exec it has one, and all that follow inherit from it.
func restart(limits Limits) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	unix.Umask(0o077)
	for resource, value := range limits.resources() {
		// syscall.Setrlimit, since the runtime would otherwise put back its own limit on descriptors at exec.
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit of resource %d: %w", resource, err)
		}
	}
	return fmt.Errorf("start anew: %w", syscall.Exec("/proc/self/exe", append(os.Args[:6:6], confined), nil))
}

// verify makes the process unreadable for others and checks that the first pass did its work: the argument that
// says so proves nothing.
func verify(limits Limits) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dumpable: %w", err)
	}
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil || set != 1 {
		return fmt.Errorf("no_new_privs is not set: %w", errors.Join(err))
	}
	for resource, value := range limits.resources() {
		var got syscall.Rlimit
		if err := syscall.Getrlimit(resource, &got); err != nil || got.Max != value {
			return fmt.Errorf("limit of resource %d is not set: %w", resource, errors.Join(err))
		}
	}
	var signal int
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil || signal != int(unix.SIGKILL) {
		return fmt.Errorf("the platform's death would leave this process behind: %w", errors.Join(err))
	}
	return nil
}

// closeInherited lets every descriptor above last close at the exec that follows, whoever opened it.
func closeInherited(last int) error {
	return unix.CloseRange(uint(last+1), ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
}
