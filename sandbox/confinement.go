package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"weir/internal/problem"
	"weir/sandbox/isolate"
	"weir/sandbox/sealfs"
	"weir/sandbox/wire"
)

// LayerState is whether a layer of the workers' confinement can be had on this machine.
type LayerState struct {
	Layer   string // its name, which stays the same
	Missing string // the layer that is missing for it, itself or one that it needs; empty: it is on
	Cause   error  // for a maintainer
}

// Diagnose tries each layer by itself, in a process of the worker program that ends at once.
func Diagnose(executable string) ([]LayerState, error) {
	var states []LayerState
	for _, l := range isolate.AllLayers() {
		state := LayerState{Layer: l.String()}
		err := isolate.Probe(executable, l)
		var missing *isolate.Missing
		switch {
		case errors.As(err, &missing):
			state.Missing, state.Cause = missing.Layer.String(), missing.Cause
		case err != nil:
			return nil, fmt.Errorf("diagnose %s: %w", l, err)
		}
		states = append(states, state)
	}
	return states, nil
}

// CheckConfinement starts a worker with every layer, which ends at once. Where one is missing it gives the problem
// sandbox.not-confined: no worker starts on this machine then, so the platform need not either.
func CheckConfinement(executable string) error {
	err := isolate.Verify(executable)
	if err != nil {
		if p := asConfinementProblem(err); p != err {
			return p
		}
		return problem.New("sandbox.bad-worker").Because(err)
	}
	if err := CheckBuild(executable); err != nil {
		return err
	}
	return CheckShowing(executable)
}

// CheckBuild starts a worker and compares its build with the platform's. One of another build is the problem
// sandbox.other-build; a worker from before builds were told is, too.
func CheckBuild(executable string) error {
	process, err := spawn(context.Background(), executable, isolate.Cell{Mode: wire.ModePlan, Limits: DefaultLimits.kernel()})
	if err != nil {
		return asConfinementProblem(err)
	}
	defer process.close()
	ours := wire.ThisBuild()
	reply, err := process.call(context.Background(), handOverWall, wire.Request{Build: &ours}, 4<<10)
	var theirs wire.Build
	if reply.Build != nil {
		theirs = *reply.Build
	}
	if p := asConfinementProblem(err); p != err {
		return p
	}
	if err != nil || !ours.Same(theirs) {
		return problem.New("sandbox.other-build", "worker", buildName(theirs), "platform", buildName(ours)).Because(err)
	}
	return nil
}

// buildName is how a maintainer recognises a build.
func buildName(b wire.Build) string {
	if b.Revision != "" {
		return plain(b.Revision[:min(12, len(b.Revision))])
	}
	if b.Words != "" {
		return plain(b.Words[:min(12, len(b.Words))])
	}
	return "?"
}

// CheckShowing starts a worker that is shown a file, and ends it. Where the machine cannot show it one, the problem is
// sandbox.cannot-show: sealed data could not be read.
func CheckShowing(executable string) error {
	cell := isolate.Cell{Mode: wire.ModeJob, Limits: DefaultLimits.kernel()}
	process, err := spawn(context.Background(), executable, cell, sealfs.File{Content: strings.NewReader("")})
	if err != nil {
		if p := asConfinementProblem(err); p != err {
			return p
		}
		return problem.New("sandbox.bad-worker").Because(err)
	}
	process.close()
	return nil
}

// asConfinementProblem makes a problem that names what the machine lacks of the error of a worker that did not start
// for want of it. Any other error is left as it is.
func asConfinementProblem(err error) error {
	var missing *isolate.Missing
	switch {
	case errors.Is(err, isolate.ErrNotShown):
		return problem.New("sandbox.cannot-show").Because(err)
	case errors.As(err, &missing):
		return problem.New("sandbox.not-confined", "layer", missing.Layer.String()).Because(missing)
	}
	return err
}

// ControlGroups is which of memory, threads ("pids") and processors ("cpu") the machine lets the platform limit for each
// worker by control groups. None of it is needed: the limits of the process hold everywhere.
type ControlGroups struct {
	Version     int      // 1 or 2; 0: nothing is delegated
	Controllers []string // what is limited by them
	Cause       error    // why the rest is not, for a maintainer; nil: all of it is
}

// DelegatedGroups tries what the machine delegates, by making a group and removing it.
func DelegatedGroups() ControlGroups { return ControlGroups(isolate.Delegated()) }
