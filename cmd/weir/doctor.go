package main

import (
	"fmt"
	"strings"

	"weir/internal/problem"
	"weir/sandbox"
)

type doctorCommand struct{}

// Run tries every layer of the workers' confinement on this machine and says what is missing and what to do. It
// fails where one is.
func (d *doctorCommand) Run(t *terminal) error {
	worker, err := sandbox.FindWorker()
	if err != nil {
		return problem.New("cli.no-worker").Because(err)
	}
	states, err := sandbox.Diagnose(worker)
	if err != nil {
		return problem.New("sandbox.bad-worker").Because(err)
	}
	groups := sandbox.DelegatedGroups()
	if err := t.showLayers(states, groups); err != nil {
		return err
	}
	if groups.Cause != nil {
		t.say("Control groups are not needed. To have them limit the workers too, run weir as a service with Delegate=yes, as its unit does.")
		t.note("  (%s)", lines(fmt.Sprint(groups.Cause)))
	}
	told := map[string]bool{}
	for _, s := range states {
		if s.Missing != "" && !told[s.Missing] {
			told[s.Missing] = true
			t.say("%s: %s", t.layer(s.Missing), t.remedy(s.Missing))
			t.note("  (%s)", lines(fmt.Sprint(s.Cause)))
		}
	}
	if len(told) > 0 {
		t.say("Workers do not start on this machine, and neither does the platform.")
		return status(exitFailed)
	}
	if err := sandbox.CheckConfinement(worker); err != nil {
		return err
	}
	t.say("Every layer is on: workers are confined.")
	return nil
}

func (t *terminal) showLayers(states []sandbox.LayerState, groups sandbox.ControlGroups) error {
	shown := table{head: []string{t.text("Layer"), t.text("State"), t.text("What it keeps from a worker")}}
	for _, s := range states {
		state := t.text("on")
		if s.Missing != "" {
			state = t.text("MISSING")
		}
		shown.add(t.layer(s.Layer), state, t.purpose(s.Layer))
	}
	state := t.text("on")
	switch {
	case groups.Version == 0:
		state = t.text("not delegated here; the limits hold")
	case groups.Cause != nil:
		state = t.text("on for %s; for the rest the limits hold", strings.Join(groups.Controllers, ", "))
	}
	shown.add(t.text("control group"), state, t.text("more memory, threads and processors than its share, as the kernel counts them"))
	return shown.write(t.out)
}

// layer is a layer's name for a person.
func (t *terminal) layer(name string) string {
	switch name {
	case "user namespace":
		return t.text("user namespace")
	case "process namespace":
		return t.text("process namespace")
	case "network namespace":
		return t.text("network namespace")
	case "ipc namespace":
		return t.text("IPC namespace")
	case "hostname namespace":
		return t.text("hostname namespace")
	case "cgroup namespace":
		return t.text("cgroup namespace")
	case "own root":
		return t.text("own root")
	case "no capabilities":
		return t.text("no capabilities")
	case "limits":
		return t.text("limits")
	case "closed descriptors":
		return t.text("closed descriptors")
	}
	return name // no_new_privs, MDWE, Landlock and seccomp are called so in every language
}

// purpose says what a layer is for.
func (t *terminal) purpose(name string) string {
	switch name {
	case "user namespace":
		return t.text("being anybody outside")
	case "process namespace":
		return t.text("other processes")
	case "network namespace":
		return t.text("the network")
	case "ipc namespace":
		return t.text("shared memory of others")
	case "hostname namespace":
		return t.text("the machine's name")
	case "cgroup namespace":
		return t.text("the machine's control groups")
	case "own root":
		return t.text("all files but the granted ones")
	case "no capabilities":
		return t.text("every privilege")
	case "no_new_privs":
		return t.text("gaining privileges from programs")
	case "MDWE":
		return t.text("running what it wrote into memory")
	case "Landlock":
		return t.text("files and TCP, once more")
	case "seccomp":
		return t.text("system calls that the engine does not need")
	case "limits":
		return t.text("more memory, time and files than allowed")
	case "closed descriptors":
		return t.text("what the platform has open")
	}
	return ""
}

// remedy says what to do where a layer is missing.
func (t *terminal) remedy(name string) string {
	switch name {
	case "own root":
		return t.text("needs Linux 5.12 or newer, and mounting in a user namespace; in a container, allow mount and pivot_root.")
	case "MDWE":
		return t.text("needs Linux 6.3 or newer.")
	case "Landlock":
		return t.text("needs Linux 6.2 or newer, with landlock in the list that the kernel's lsm= parameter gives.")
	case "no_new_privs", "seccomp":
		return t.text("needs a kernel with seccomp filters (CONFIG_SECCOMP_FILTER).")
	case "limits":
		return t.text("the platform's own hard limits (ulimit -H) must not be lower than those of a worker.")
	case "no capabilities", "closed descriptors":
		return t.text("needs Linux 5.11 or newer; a container may be in the way.")
	}
	return t.text("allow user namespaces: user.max_user_namespaces above 0; on Debian kernel.unprivileged_userns_clone = 1; on Ubuntu kernel.apparmor_restrict_unprivileged_userns = 0 or a profile for weir; in a container, allow clone and unshare; run weir as an ordinary user, or as root with its capabilities.")
}
