// Command escape tries to get out of the confinement that workers live in. It is built and run by its own test.
//
// As `escape run` it is the platform's part: it sets up what a worker must not reach (another job's file, a
// listener, a victim process, shared memory) and starts itself once for each case and each set of layers, through
// the same Command and Start as a worker. As the child it enters, tries one thing and tells by its exit status
// whether it got through. It is no part of the platform, and nothing that is installed may hold it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
)

// kind is a kind of process. They differ in what they are granted: a planner nothing; a job a file, which is shown to it; a job
// that keeps tables and an intake memory to make files in, for which they are not sealed.
type kind struct {
	name              string
	shown, filed      bool // it is shown a file, it may make files
	everyLayerIsShown bool // its table is the whole one
}

var kinds = []kind{
	{name: "planner"}, {name: "job", shown: true, everyLayerIsShown: true}, {name: "keeping job", shown: true, filed: true}, {name: "intake", filed: true},
}

// concerns reports whether a kind of process can try the case.
func (c escape) concerns(k kind) bool { return (k.shown || !c.shown) && (k.filed || !c.filed) }

// stops are the layers that must each stop it in a kind of process.
func (c escape) stops(k kind) []isolate.Layer {
	return slices.DeleteFunc(slices.Clone(c.by), func(l isolate.Layer) bool {
		return k.filed && (l == isolate.Syscalls && c.sealed || l == isolate.Resources && c.writes)
	})
}

// base is what a process has in any case when it tries: memory to make files in comes with a root of its own.
func (c escape) base() isolate.Layers {
	if c.filed {
		return isolate.Alone(isolate.Root)
	}
	return 0
}

// How a try ends, as an exit status. A try that the kernel kills has none.
const (
	ranProgram = 0 // of a program that it managed to run, in place of itself
	gotThrough = 50
	wasStopped = 51
	wasLost    = 52
)

// factsFD is the descriptor on which the child finds what it needs to know; one more is passed by mistake.
const (
	factsFD  = 3
	leakedFD = 4
)

// facts are what a try needs to know of the world outside.
type facts struct {
	Granted  string // path of the file that a job may read
	Sealed   bool   // the process seals itself, as one does that makes no files
	Other    string // path of another job's file
	Outside  string // a folder of the machine
	Socket   string // path of a listening socket
	Abstract string // name of a listening abstract socket
	Port     int    // of a TCP listener on the loopback
	Victim   int    // a process of the same user
	Shared   int    // key of a shared memory segment
	Hostname string
	Setuid   string // a program that makes whoever starts it root, beside a file "secret" of root's; empty where there is none
	Layers   isolate.Layers
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "run":
			os.Exit(runSuite())
		case "victim":
			unix.Pause()
		case "whoami":
			// Its number says little: in a user namespace of its own anybody is 0.
			if _, err := os.ReadFile(os.Args[2]); err != nil {
				os.Exit(wasStopped)
			}
			os.Exit(gotThrough)
		}
	}
	name, err := isolate.EnterTrial(func(string) int { return factsFD })
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(isolate.Status(err))
	}
	os.Exit(try(name))
}

func try(name string) int {
	var f facts
	if err := json.NewDecoder(os.NewFile(factsFD, "facts")).Decode(&f); err != nil {
		return wasLost
	}
	if f.Layers.Has(isolate.Syscalls) && f.Sealed {
		if err := isolate.Seal(); err != nil {
			return isolate.Status(err)
		}
	}
	for _, c := range cases {
		if c.name != name {
			continue
		}
		if err := c.try(f); err != nil {
			return wasStopped
		}
		return gotThrough
	}
	return wasLost
}

// outcome is what became of one try.
type outcome string

const (
	through outcome = "through"  // it got what it wanted
	stopped outcome = "error"    // the kernel answered with an error
	killed  outcome = "killed"   // the kernel ended the process
	absent  outcome = "no entry" // the layers could not be set
)

// row is what became of one case in one kind of process: without any layer, with all of them, and alone with each, or, where a
// job has shown that, with each that must stop it.
type row struct {
	Kind  string
	Case  string
	None  outcome
	Whole outcome
	Alone map[string]outcome
	Why   string // of the first try that could not enter
}

// runSuite plays the cases in every kind of process at once, each in a world of its own.
func runSuite() int {
	rows, failed := make([][]row, len(kinds)), make([]error, len(kinds))
	var suites sync.WaitGroup
	for i, k := range kinds {
		suites.Go(func() { rows[i], failed[i] = runKind(k) })
	}
	suites.Wait()
	if err := errors.Join(failed...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(slices.Concat(rows...)); err != nil {
		return 1
	}
	return 0
}

func runKind(k kind) ([]row, error) {
	world, err := newWorld(k)
	if err != nil {
		return nil, err
	}
	defer world.close()
	var rows []row
	for _, c := range cases {
		if !c.concerns(k) || c.needsSetuid && world.facts.Setuid == "" {
			continue
		}
		r, err := world.row(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", k.name, c.name, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
