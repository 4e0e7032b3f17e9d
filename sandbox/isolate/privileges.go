package isolate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Limits are the kernel's limits on a worker. They hold whatever the engine does.
type Limits struct {
	AddressSpace uint64 `json:"address_space"` // bytes of virtual memory
	CPU          uint64 `json:"cpu"`           // seconds of processor time
	FileSize     uint64 `json:"file_size"`     // bytes of the largest file that may be written
	Files        uint64 `json:"files"`         // open descriptors
	Group        Share  `json:"-"`             // what its control group may take, where the machine delegates one
}

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

// resources lists the limits for setrlimit. RLIMIT_NPROC is missing on purpose: where the platform is root it binds
// nobody, new processes are refused anyway, and threads are bounded by the address space that their stacks take.
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

func (l Limits) set() error {
	for resource, value := range l.resources() {
		if value > math.MaxInt64 {
			return fmt.Errorf("limit of resource %d: out of range", resource)
		}
		// syscall.Setrlimit, since the runtime would otherwise put back its own limit on descriptors at exec.
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit of resource %d: %w", resource, err)
		}
	}
	return nil
}

func (l Limits) verify() error {
	for resource, value := range l.resources() {
		var got syscall.Rlimit
		if err := syscall.Getrlimit(resource, &got); err != nil || got.Max != value || got.Cur != value {
			return fmt.Errorf("limit of resource %d is not set: %w", resource, errors.Join(err))
		}
	}
	return nil
}

// refuseExecutableMemory lets no memory become executable that once was not, here and after every exec.
// Source: Linux, Documentation/userspace-api, PR_SET_MDWE (since 6.3).
func refuseExecutableMemory() error {
	return unix.Prctl(unix.PR_SET_MDWE, unix.PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
}

// Bits that a process can set on itself so that being root gives it nothing, and lock.
// Source: capabilities(7), "The securebits flags".
const lockedSecurebits = 1<<0 | 1<<1 | // NOROOT and its lock
	1<<2 | 1<<3 | // NO_SETUID_FIXUP and its lock
	1<<5 | // KEEP_CAPS stays off
	1<<6 | 1<<7 // NO_CAP_AMBIENT_RAISE and its lock

// dropCapabilities gives up every capability for good: the bounding set and the securebits see to it that no exec
// brings one back, though the process is root in its user namespace.
func dropCapabilities() error {
	for c := uintptr(0); c < 64; c++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) { // the kernel knows no more
			break
		}
		if err != nil {
			return fmt.Errorf("read bounding set: %w", err)
		}
		if held == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("bounding set: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, lockedSecurebits, 0, 0, 0); err != nil {
		return fmt.Errorf("securebits: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient set: %w", err)
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	return nil
}

func verifyCapabilities() error {
	var held [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &held[0]); err != nil {
		return err
	}
	if held != [2]unix.CapUserData{} {
		return errors.New("capabilities are left")
	}
	for c := uintptr(0); c < 64; c++ {
		left, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break
		}
		if err != nil || left != 0 {
			return fmt.Errorf("the bounding set is not empty: %w", errors.Join(err))
		}
	}
	return nil
}

// closeInherited lets every descriptor above last close at the exec that follows, whoever opened it.
func closeInherited(last int) error {
	return unix.CloseRange(uint(last+1), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}

// execute replaces the process by the program behind a descriptor, with an empty environment. It returns only
// where it fails. Source: execveat(2), AT_EMPTY_PATH.
func execute(program int, argv []*byte) error {
	empty, environment := []byte{0}, []*byte{nil}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(program), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&environment[0])), unix.AT_EMPTY_PATH, 0)
	return fmt.Errorf("start anew: %w", errno)
}
