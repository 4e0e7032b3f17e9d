package isolate

import (
	"errors"
	"os"
	"os/exec"
)

// Check is the mode of a worker that confines itself and ends. It is the only one that starts with fewer layers
// than all, and it never returns from Enter.
const Check = "check"

// checkLimits are enough for a program that does nothing.
var checkLimits = Limits{AddressSpace: 2 << 30, CPU: 10, Files: 64}

// Verify starts the worker program with every layer and waits until it has ended. An error is a Missing where a
// layer could not be set: then no worker starts on this machine.
func Verify(executable string) error { return try(executable, Whole) }

// Probe is Verify for one layer, with those that it cannot be had without.
func Probe(executable string, l Layer) error { return try(executable, Alone(l)) }

func try(executable string, layers Layers) error {
	cmd, err := CommandTrial(executable, Cell{Mode: Check, Limits: checkLimits, Layers: layers}, nil)
	if err != nil {
		return err
	}
	if err := Start(cmd, nil); err != nil {
		return err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if why := NotEntered(exit.ProcessState); why != nil {
			return why
		}
		return Ended(exit.ProcessState)
	}
	return err
}

// leaveCheck ends a worker that was to confine itself and no more.
func leaveCheck(layers Layers) {
	if layers.Has(Syscalls) {
		if err := Seal(); err != nil {
			os.Exit(Status(err))
		}
	}
	os.Exit(0)
}
