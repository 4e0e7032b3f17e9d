package isolate

import (
	"fmt"
	"strings"
)

// Layer is one of the things that hold a worker. Each is the kernel's own.
type Layer uint

// The layers. The names of the first seven are those of the kernel's namespaces, but for Root, which is a mount
// namespace together with what is mounted in it.
const (
	User         Layer = iota // users of its own: what is root inside is nobody outside
	Processes                 // processes of its own: it sees none but itself, and its end ends all that it made
	Network                   // no network but a loopback that is down
	IPC                       // no shared memory, semaphores or queues of others
	Hostname                  // no name of the machine
	Cgroup                    // no view of the control groups
	Root                      // a root that holds the granted files, read-only, and no /proc and no /dev
	Capabilities              // no privilege within its namespaces either
	Privileges                // no_new_privs: no program that it starts gives it any
	Memory                    // MDWE: no memory that can be written and then run
	Landlock                  // access to the granted files by name, to nothing else, and no TCP
	Syscalls                  // a list of the system calls that the engine needs; any other ends the process
	Resources                 // limits on memory, processor time, files and descriptors
	Descriptors               // nothing inherited but what was given
	layerCount
)

var layerNames = [layerCount]string{
	"user namespace", "process namespace", "network namespace", "ipc namespace", "hostname namespace",
	"cgroup namespace", "own root", "no capabilities", "no_new_privs", "MDWE", "Landlock", "seccomp", "limits",
	"closed descriptors",
}

func (l Layer) String() string {
	if l >= layerCount {
		return "unknown layer"
	}
	return layerNames[l]
}

// AllLayers lists the layers in their order.
func AllLayers() []Layer {
	all := make([]Layer, layerCount)
	for i := range all {
		all[i] = Layer(i)
	}
	return all
}

// Layers is a set of layers.
type Layers uint32

// Whole is every layer: what a worker has.
const Whole Layers = 1<<layerCount - 1

// Has reports whether a layer is in the set.
func (s Layers) Has(l Layer) bool { return s&(1<<l) != 0 }

// With is the set with a layer more.
func (s Layers) With(l Layer) Layers { return s | 1<<l }

// Alone is a layer with those that it cannot be had without.
func Alone(l Layer) Layers {
	alone := Layers(0).With(l)
	switch l {
	case Processes, Network, IPC, Hostname, Cgroup, Root, Capabilities:
		return alone.With(User)
	case Landlock, Syscalls:
		return alone.With(Privileges)
	}
	return alone
}

func (s Layers) String() string {
	var names []string
	for _, l := range AllLayers() {
		if s.Has(l) {
			names = append(names, l.String())
		}
	}
	return strings.Join(names, ", ")
}

// Missing is a layer that could not be set. Its cause is for the operation log.
type Missing struct {
	Layer Layer
	Cause error
}

func (m *Missing) Error() string { return fmt.Sprintf("not confined: %s: %v", m.Layer, m.Cause) }

// Unwrap gives the cause.
func (m *Missing) Unwrap() error { return m.Cause }

func missing(l Layer, cause error) error {
	if cause == nil {
		return nil
	}
	return &Missing{l, cause}
}
