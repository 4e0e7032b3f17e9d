// Package sandbox runs work on data in processes of their own, and keeps the data.
//
// The trust boundary is the process. A planner reads what a person wrote and holds no data; a job holds the
// granted data and runs only SQL that the platform rendered; an intake parses one provider's file. Whatever such
// a process says is read as if an attacker had written it. This package never links the engine, never lets a
// person's text reach a process with data, and never passes on what the engine says about an error, since that
// can hold values: every failure on data looks alike.
//
// What confines the processes today, and what does not yet, stands in docs/design/sandbox.md.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"weir/internal/problem"
	"weir/sandbox/isolate"
	"weir/sandbox/wire"
)

// Limits bound one worker process.
type Limits struct {
	Memory  int64         // bytes that the engine may use
	CPU     time.Duration // processor time of the process, counted in whole seconds
	Wall    time.Duration // time in which calls of one process are answered, all together
	Rows    int           // most rows of a result
	Bytes   int64         // most bytes of a result in transport
	Threads int           // threads of the engine
}

// DefaultLimits suit a machine with two cores.
var DefaultLimits = Limits{
	Memory:  1 << 30,
	CPU:     2 * time.Minute,
	Wall:    time.Minute,
	Rows:    200_000,
	Bytes:   64 << 20,
	Threads: 2,
}

// Usage is what a process took.
type Usage struct {
	CPU        time.Duration
	Wall       time.Duration
	PeakMemory int64 // bytes
	Read       int64 // bytes, from its files and its pipes
}

// Query is SQL that the platform rendered, never a person's text, with the tables that it reads besides the data
// sets. Each becomes a temporary table and replaces one of its name.
type Query struct {
	SQL    string
	Tables []Named
}

// addressSpace is what a worker maps besides the engine's memory: the program itself, the Go runtime's
// reservations, stacks, and what the engine takes without counting it. The engine's own memory limit does not
// bind (len(range(1e8)) takes nine times eight bytes of each number), so this is the limit that does. A worker that
// has just started has mapped 1.6 GiB and uses little of it; with less, a small memory limit left some without room
// to start.
const addressSpace = 1792 << 20

// descriptors is enough for the attached files, the pipes and the runtime.
const descriptors = 128

// residence is what a worker has in memory besides the engine's: 30 MB after its start, and what the engine takes without
// counting it, of which the limit on address space leaves it less.
const residence = 384 << 20

// threads is enough for the engine's, as many as the machine has processors when it opens, and for the runtime's.
func threads() uint64 { return 64 + 4*uint64(runtime.NumCPU()) }

func (l Limits) kernel() isolate.Limits {
	return isolate.Limits{
		AddressSpace: uint64(l.Memory) + addressSpace,
		CPU:          uint64((l.CPU + time.Second - 1) / time.Second),
		FileSize:     0,
		Files:        descriptors,
		Group:        isolate.Share{Memory: uint64(l.Memory) + residence, Tasks: threads(), Processors: uint64(l.Threads)},
	}
}

// withFiles are the limits of a worker that may make files of so many bytes in all, in its memory.
func (l Limits) withFiles(bytes int64) isolate.Limits {
	limits := l.kernel()
	limits.FileSize = uint64(bytes)
	limits.Group.Memory += uint64(bytes)
	return limits
}

// FindWorker finds weir-worker beside the running program. Only in a test may the environment name another.
func FindWorker() (string, error) {
	if named := os.Getenv("WEIR_WORKER"); named != "" && testing.Testing() {
		return named, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find weir-worker: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "weir-worker")
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("find weir-worker: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", errors.New("weir-worker is not an executable file")
	}
	return path, nil
}

// jobFailed is the one answer to every failure on data.
func jobFailed(cause error) error { return problem.New("sandbox.job-failed").Because(cause) }

// OpenFailure is what may be said of a failure of a job over open data alone: whether it was rows, memory or time. Where a
// job holds protected data the reason would speak of them, and all failures look alike.
func OpenFailure(err error) error {
	var said *failure
	switch {
	case errors.As(err, &said) && (said.Class == wire.TooManyRows || said.Class == wire.TooLarge):
		return problem.New("sandbox.too-many-rows", "rows", strconv.Itoa(DefaultLimits.Rows)).Because(err)
	case errors.As(err, &said) && said.Class == wire.OutOfMemory:
		return problem.New("sandbox.out-of-memory").Because(err)
	case errors.Is(err, errWallClock):
		return problem.New("sandbox.out-of-time").Because(err)
	}
	return err
}
