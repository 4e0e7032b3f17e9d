// Package isolate is where a worker process is made harmless to the machine that it runs on.
//
// It has two halves. Command and Start, on the platform's side, make a process in namespaces of its own, with an
// empty environment and only the descriptors that it was given, which dies with the platform. Enter, on the
// worker's side and before anything else there, goes through two passes of the same program. The first builds a
// root that holds nothing but the granted files, gives up every privilege and every way to gain one, binds the
// process to limits and to Landlock, and starts the program anew, so that no thread has missed any of it. The
// second asks the kernel whether all that holds, and puts on a filter of system calls. Seal, when the engine has
// opened what it needs, takes the file system away for good.
//
// Each layer stops on its own much of what the others stop too; sandbox/isolate/escape tries which. The package
// fails closed: what cannot be set ends the process, with an exit status that names the layer, and there is no
// switch that lets a worker run without one. It must never read data, and never decide what is granted.
package isolate

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Cell is what one worker process may have.
type Cell struct {
	Mode    string   `json:"mode"`              // the worker's, handed on
	Limits  Limits   `json:"limits"`            // the kernel's limits
	Files   []string `json:"files,omitempty"`   // regular files on the machine; the worker finds the i-th as Inside(i), read-only
	Device  int      `json:"device,omitempty"`  // instead of Files: it mounts what the platform shows it, and hands its device over on this socket
	Scratch int64    `json:"scratch,omitempty"` // bytes of memory in which it may make files, as InsideFolder; 0: none

	// What Command fills in.
	Layers  Layers           `json:"layers"`  // a worker insists on Whole
	Outside map[Layer]string `json:"outside"` // the platform's own namespaces, which must not be the worker's
}

// InsideFolder is where a worker finds the memory that it may make files in. They are on no disk and end with it.
const InsideFolder = "/out"

// insideFiles is the folder of the files that a worker is given.
const insideFiles = "/data"

// Inside is where a worker finds the i-th of its files.
func Inside(i int) string { return insideFiles + "/" + strconv.Itoa(i) }

// confined is the first argument of a worker's second pass.
const confined = "confined"

// What ends a worker with the platform is a signal that the kernel keeps for a thread: for the first one, since that is
// what the platform makes. A program that is started anew from another thread loses it. main would be on the first
// thread nearly always, and on a busy machine not quite; locked here, before it begins, it stays there.
func init() { runtime.LockOSThread() }

// Enter confines the calling process, keeping the descriptors 0 to keep, and gives its mode. It must be the first
// thing that the worker's main does, in main's own goroutine. In the first pass it does not return unless it fails. Its
// error has an exit status for the platform, Status.
func Enter(keep func(mode string) int) (mode string, err error) {
	return enter(keep, func(mode string, layers Layers) bool { return layers == Whole || mode == Check })
}

// EnterTrial is Enter for the escape suite's own program, in which any set of layers may be tried. No other
// program may call it, which a test holds.
func EnterTrial(keep func(mode string) int) (mode string, err error) {
	return enter(keep, func(string, Layers) bool { return true })
}

func enter(keep func(string) int, allowed func(string, Layers) bool) (string, error) {
	// Whatever is set from here on is set for this thread, and it is this thread that starts the program anew.
	if unix.Gettid() != unix.Getpid() {
		return "", errThread
	}
	if len(os.Args) > 1 && os.Args[1] == confined {
		defer runtime.UnlockOSThread()
		return secondPass(os.Args[2:], allowed)
	}
	var cell Cell
	decoder := json.NewDecoder(io.LimitReader(os.Stdin, maxCell))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cell); err != nil {
		return "", fmt.Errorf("%w: %w", errDescription, err)
	}
	if !allowed(cell.Mode, cell.Layers) {
		return "", errPartial
	}
	return "", firstPass(cell, keep(cell.Mode))
}

// firstPass sets what an exec hands on. The order is the argument: the root is built while that is allowed, each
// privilege goes after what needs it, and Landlock comes last since it ends mounting.
func firstPass(cell Cell, last int) error {
	program, null, err := openOwn(cell.Layers.Has(Root))
	if err != nil {
		return missing(Root, err)
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return missing(Descriptors, err)
		}
	}
	if err := verifyNamespaces(cell); err != nil {
		return err
	}
	unix.Umask(0o077)
	for _, step := range []struct {
		layer Layer
		set   func() error
	}{
		{Descriptors, func() error { return closeInherited(last) }},
		{Hostname, func() error { return unix.Sethostname([]byte(hostname)) }},
		{Root, func() error { return buildRoot(cell) }},
		{Resources, cell.Limits.set},
		{Memory, refuseExecutableMemory},
		{Capabilities, dropCapabilities},
		{Privileges, func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{Landlock, func() error { return landlock(cell, program) }},
	} {
		if !cell.Layers.Has(step.layer) {
			continue
		}
		if err := step.set(); err != nil {
			return missing(step.layer, err)
		}
	}
	return missing(Root, startAnew(program, cell))
}

// startAnew executes the program again by its descriptor, since the new root does not hold it.
func startAnew(program int, cell Cell) error {
	words := append([]string{"weir-worker", confined, cell.Mode, strconv.FormatUint(uint64(cell.Layers), 10)}, cell.Limits.arguments()...)
	argv, err := syscall.SlicePtrFromStrings(words)
	if err != nil {
		return err
	}
	return execute(program, argv)
}

// secondPass checks that the first did its work, since the argument that says so proves nothing, and puts on the
// filter of system calls.
func secondPass(words []string, allowed func(string, Layers) bool) (string, error) {
	if len(words) != 6 {
		return "", errDescription
	}
	n, err := strconv.ParseUint(words[1], 10, 32)
	mode, layers := words[0], Layers(n)
	if err != nil || !allowed(mode, layers) {
		return "", errPartial
	}
	limits, err := parseLimits(words[2:])
	if err != nil {
		return "", fmt.Errorf("%w: %w", errDescription, err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return "", fmt.Errorf("%w: %w", errVisible, err)
	}
	if err := verify(layers, limits); err != nil {
		return "", err
	}
	if layers.Has(Syscalls) {
		if err := filterSyscalls(); err != nil {
			return "", missing(Syscalls, err)
		}
	}
	if mode == Check {
		leaveCheck(layers)
	}
	return mode, nil
}
