package isolate

import (
	"errors"
	"fmt"
	"os"
)

// A worker that does not enter has no way to say why but its exit status: where its replies go, it may not be known yet
// that nobody else reads them. So each reason has a status of its own: first the layers, then what is no layer.
const firstStatus = 100

// ErrNotShown is that a worker could not mount what the platform was to show it: the machine has no FUSE, or does not
// let the platform's user open /dev/fuse.
var ErrNotShown = errors.New("files cannot be shown to a worker")

func notShown(cause error) error { return fmt.Errorf("%w: %w", ErrNotShown, cause) }

// What else keeps a worker from entering.
var (
	errDescription = errors.New("a worker is started by the platform only, which describes its cell")
	errPartial     = errors.New("a worker runs with every layer or not at all")
	errThread      = errors.New("a worker enters on the first thread of its process, for which its death with the platform's is set")
	errOutlives    = errors.New("the platform's death would leave this process behind")
	errVisible     = errors.New("its memory would be open to others of its user")
)

// reasons are those in the order of their statuses, which follow the layers'.
var reasons = []error{ErrNotShown, errDescription, errPartial, errThread, errOutlives, errVisible}

// Status is the exit status with which a worker ends that could not Enter.
func Status(err error) int {
	var m *Missing
	if errors.As(err, &m) && m.Layer < layerCount && !errors.Is(err, ErrNotShown) {
		return firstStatus + int(m.Layer)
	}
	for i, reason := range reasons {
		if errors.Is(err, reason) {
			return firstStatus + int(layerCount) + i
		}
	}
	return 1
}

// NotEntered reads out of a worker's end why it did not enter: a *Missing, ErrNotShown or another reason; nil where its
// end says none. What ends so after it entered is a worker that lies, so this is worth a line on the operation log
// and no more.
func NotEntered(state *os.ProcessState) error {
	n := state.ExitCode() - firstStatus
	if n >= 0 && n < int(layerCount) {
		return &Missing{Layer(n), errors.New("the worker could not set it")}
	}
	if n -= int(layerCount); n >= 0 && n < len(reasons) {
		return reasons[n]
	}
	return nil
}

// runtimeStatus is the exit status of a program of Go's whose runtime gave up.
const runtimeStatus = 2

// Ended says how a worker ended that gave no reason. Where the machine refuses threads or memory to the runtime before it
// is of use, there is nothing else to tell by.
func Ended(state *os.ProcessState) error {
	if state.ExitCode() == runtimeStatus {
		return fmt.Errorf("worker ended by itself: %s: it crashed, or was refused threads (the user's limit on processes?) or memory", state)
	}
	return fmt.Errorf("worker ended by itself: %s", state)
}
