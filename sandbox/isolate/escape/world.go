package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
)

// world is what lies around the confined process.
type world struct {
	facts  facts
	kind   kind
	self   string
	closes []func()
}

// secret is what another job's file holds.
const secret = "of another job"

func newWorld(k kind) (*world, error) {
	w := &world{kind: k, facts: facts{Sealed: !k.filed}}
	var err error
	if w.self, err = os.Executable(); err != nil {
		return nil, err
	}
	for _, add := range []func() error{w.addFiles, w.addListeners, w.addVictim, w.addShared} {
		if err := add(); err != nil {
			w.close()
			return nil, err
		}
	}
	w.facts.Setuid = os.Getenv("ESCAPE_SETUID")
	w.facts.Hostname, err = os.Hostname()
	return w, err
}

func (w *world) close() {
	for _, f := range w.closes {
		f()
	}
}

func (w *world) addFiles() error {
	dir, err := os.MkdirTemp("", "escape-")
	if err != nil {
		return err
	}
	w.closes = append(w.closes, func() { os.RemoveAll(dir) })
	w.facts.Granted, w.facts.Other, w.facts.Outside = filepath.Join(dir, "granted"), filepath.Join(dir, "other"), filepath.Join(dir, "outside")
	return errors.Join(os.WriteFile(w.facts.Granted, []byte("granted"), 0o600), os.WriteFile(w.facts.Other, []byte(secret), 0o600),
		os.Mkdir(w.facts.Outside, 0o700))
}

func (w *world) addListeners() error {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.facts.Port = tcp.Addr().(*net.TCPAddr).Port
	w.facts.Socket = filepath.Join(filepath.Dir(w.facts.Other), "socket")
	path, err := net.Listen("unix", w.facts.Socket)
	if err != nil {
		return err
	}
	w.facts.Abstract = fmt.Sprintf("@weir-escape-%d-%s", os.Getpid(), strings.Fields(w.kind.name)[0])
	abstract, err := net.Listen("unix", w.facts.Abstract)
	if err != nil {
		return err
	}
	w.closes = append(w.closes, func() { tcp.Close(); path.Close(); abstract.Close() })
	return nil
}

// addVictim starts a process that a worker might want to look into.
func (w *world) addVictim() error {
	victim := exec.Command(w.self, "victim")
	victim.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := isolateStart(victim); err != nil {
		return err
	}
	w.facts.Victim = victim.Process.Pid
	w.closes = append(w.closes, func() { victim.Process.Kill(); victim.Wait() })
	return nil
}

func isolateStart(cmd *exec.Cmd) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	cmd.Stdin = null
	return isolate.Start(cmd, nil)
}

func (w *world) addShared() error {
	w.facts.Shared = 0x57000000 | os.Getpid()<<2&0xffffff | slices.Index(kinds, w.kind)
	id, err := unix.SysvShmGet(w.facts.Shared, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	w.closes = append(w.closes, func() { unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	return nil
}

// row tries one case without layers, with all, and with each alone: with every one in a job, since the table shows that, and
// elsewhere with those that must stop it.
func (w *world) row(c escape) (row, error) {
	r := row{Kind: w.kind.name, Case: c.name, Alone: map[string]outcome{}}
	var err error
	if r.None, err = w.try(c, c.base(), &r); err != nil {
		return r, err
	}
	if r.Whole, err = w.try(c, isolate.Whole, &r); err != nil {
		return r, err
	}
	alone := c.stops(w.kind)
	if w.kind.everyLayerIsShown {
		alone = isolate.AllLayers()
	}
	for _, l := range alone {
		if r.Alone[l.String()], err = w.try(c, c.base()|isolate.Alone(l), &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// limits hold the child of the suite; where it makes no files none may be written, and few be open.
var limits = isolate.Limits{AddressSpace: 4 << 30, CPU: 10, FileSize: 0, Files: 64}

// The memory for files, and the size of the largest of them.
const (
	memory      = 4 << 20
	largestFile = 1 << 20
)

// cell is what the process is granted. With a root of its own it is shown its file there. Without one, which no worker is, it has
// the file's path; and where the user may not open the device, by which no job would start, the file is mounted.
func (w *world) cell(name string, layers isolate.Layers) isolate.Cell {
	cell := isolate.Cell{Mode: name, Limits: limits, Layers: layers}
	rooted := layers.Has(isolate.Root)
	if w.kind.shown && rooted && unix.Access("/dev/fuse", unix.R_OK|unix.W_OK) == nil {
		cell.Device = deviceFD
	} else if w.kind.shown {
		cell.Files = []string{w.facts.Granted}
	}
	if w.kind.filed {
		cell.Limits.FileSize = largestFile
	}
	if w.kind.filed && rooted {
		cell.Scratch = memory
	}
	return cell
}

func (w *world) try(c escape, layers isolate.Layers, r *row) (outcome, error) {
	told := w.facts
	told.Layers = layers
	text, err := json.Marshal(told)
	if err != nil {
		return "", err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer read.Close()
	defer write.Close()
	leaked, err := os.Open(told.Other)
	if err != nil {
		return "", err
	}
	defer leaked.Close()
	inherited := []*os.File{read, leaked}
	cell := w.cell(c.name, layers)
	var stage *stage
	if cell.Device != 0 {
		if stage, err = newStage(told.Granted); err != nil {
			return "", err
		}
		defer stage.close()
		inherited = append(inherited, stage.theirs)
	}
	cmd, err := isolate.CommandTrial(w.self, cell, inherited)
	if err != nil {
		return "", err
	}
	if err = isolate.Start(cmd, nil); err == nil && stage != nil {
		err = stage.show()
	}
	if err == nil {
		_, err = write.Write(text) // for which the child waits, so that what it is shown is there
		write.Close()
	}
	var missing *isolate.Missing
	if errors.As(err, &missing) {
		r.Why = missing.Error()
		return absent, nil
	}
	if err != nil {
		return "", err
	}
	late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
	cmd.Wait()
	if !late.Stop() {
		return "", fmt.Errorf("did not end with %s", layers)
	}
	return w.outcome(cmd.ProcessState, r)
}

func (w *world) outcome(state *os.ProcessState, r *row) (outcome, error) {
	if why := isolate.NotEntered(state); why != nil {
		r.Why = why.Error()
		return absent, nil
	}
	switch status := state.Sys().(syscall.WaitStatus); {
	case status.Signaled():
		return killed, nil
	case status.ExitStatus() == gotThrough, status.ExitStatus() == ranProgram:
		return through, nil
	case status.ExitStatus() == wasStopped:
		return stopped, nil
	}
	return "", fmt.Errorf("ended with %s", state)
}
