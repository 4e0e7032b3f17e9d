package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"weir/gateway/api"
	"weir/internal/problem"
	"weir/policy"
)

// patience is how long jobs that run may take to end when the platform stops.
const patience = 20 * time.Second

type serveCommand struct {
	settingsFlag `embed:""`
}

// Run runs the platform until it is told to stop.
func (c *serveCommand) Run(ctx context.Context, t *terminal) error {
	s, err := readSettings(c.File, t.environ())
	if err != nil {
		return err
	}
	defer outlive()()
	return serve(ctx, t, s, func(string, *assembly) error { return nil })
}

// serve runs the platform until ctx ends, which is no error. started is called with its address as soon as it
// answers; an error of its ends the platform again.
func serve(ctx context.Context, t *terminal, s settings, started func(url string, a *assembly) error) (err error) {
	log, err := operationLog(s.Log.Level, os.Stderr)
	if err != nil {
		return asSettingsProblem(err)
	}
	defer log.Sync()
	defer zap.RedirectStdLog(log)()
	unlock, err := alone(s)
	if err != nil {
		return err
	}
	defer unlock()
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return problem.New("cli.cannot-listen").Because(err)
	}
	url := s.address(listener.Addr().String())
	a, err := assemble(ctx, s, url, log)
	if err != nil {
		return errors.Join(begun(ctx, err), listener.Close())
	}
	defer func() {
		last, done := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer done()
		err = errors.Join(err, a.close(last))
	}()
	life, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := t.welcome(ctx, url, a); err != nil {
		return errors.Join(begun(ctx, err), listener.Close())
	}
	go func() {
		if err := started(url, a); err != nil {
			stop(err)
		}
	}()
	err = api.Serve(life, a.handler, api.Server{Listener: listener, Certificate: s.TLS.Cert, Key: s.TLS.Key, Log: log})
	if ctx.Err() == nil { // nobody stopped it from outside
		err = errors.Join(context.Cause(life), err)
	}
	return err
}

// begun passes over an error of the beginning when the platform was told to stop before it had begun.
func begun(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// welcome says where the platform is, and how to begin where nobody can sign in yet.
func (t *terminal) welcome(ctx context.Context, url string, a *assembly) error {
	t.say("Weir listens on %s.", url)
	accounts, err := a.accounts.Accounts(ctx)
	if err != nil {
		return err
	}
	if len(accounts) == 0 {
		t.say("Nobody can sign in yet. On this machine: weir account bootstrap NAME --person=… --organisation=…")
	}
	for _, c := range accounts {
		if slices.Contains(c.Roles, policy.Rescuer) && !c.Disabled {
			t.say("BREAK GLASS: account %s can admit two people of the authority without anybody's consent.", c.Name)
		}
	}
	return nil
}

// alone makes sure that no other platform runs on the same embedded store, which is made for one process. It holds
// until unlock, or until the process ends however it does.
func alone(s settings) (unlock func(), err error) {
	if strings.HasPrefix(s.Store, "postgres") {
		return func() {}, nil
	}
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, badFolder(err)
	}
	f, err := os.OpenFile(filepath.Join(s.Data, "serving"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, badFolder(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, problem.New("cli.already-serving").Because(err)
	}
	return func() { f.Close() }, nil
}
