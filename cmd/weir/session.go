package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/problem"
)

// session is a person's proof of who they are to one platform.
type session struct {
	Server  string    `json:"server"`
	Account string    `json:"account"`
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token"`
	Expires time.Time `json:"expires"`
}

// wallet is the file of a person's sessions, the last used first. Only its owner may read it; one that others can
// read is refused, since somebody else may have what is in it.
type wallet struct {
	path     string
	lock     *os.File
	sessions []session
}

// openWallet reads the sessions and keeps other processes of the same person out until close, because a refresh
// token that two of them spend ends the session.
func openWallet(config func() (string, error)) (*wallet, error) {
	base, err := config()
	if err != nil {
		return nil, problem.New("cli.no-wallet").Because(err)
	}
	folder := filepath.Join(base, "weir")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, problem.New("cli.no-wallet").Because(err)
	}
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, problem.New("cli.no-wallet").Because(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, problem.New("cli.no-wallet").Because(errors.Join(err, lock.Close()))
	}
	w := &wallet{path: filepath.Join(folder, "sessions.json"), lock: lock}
	if err := w.read(); err != nil {
		return nil, problem.New("cli.no-wallet").Because(errors.Join(err, w.close()))
	}
	return w, nil
}

func (w *wallet) close() error { return w.lock.Close() }

func (w *wallet) read() error { return readPrivate(w.path, &w.sessions) }

// readPrivate reads a file that only its owner may read. One that is not there holds nothing.
func readPrivate(path string, into any) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a plain file with mode 0600", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// find gives the session for a server and an account; an empty one of the two means the last used.
func (w *wallet) find(server, account string) (session, bool) {
	i := slices.IndexFunc(w.sessions, func(s session) bool {
		return (server == "" || s.Server == server) && (account == "" || s.Account == account)
	})
	if i < 0 {
		return session{}, false
	}
	return w.sessions[i], true
}

// put stores a session in its place, or as the newest.
func (w *wallet) put(s session) error {
	i := slices.IndexFunc(w.sessions, s.same)
	if i < 0 {
		w.sessions = slices.Insert(w.sessions, 0, s)
	} else {
		w.sessions[i] = s
	}
	return w.write()
}

// first stores a session as the one that acts unless another is named.
func (w *wallet) first(s session) error {
	w.sessions = slices.Insert(slices.DeleteFunc(w.sessions, s.same), 0, s)
	return w.write()
}

func (w *wallet) drop(s session) error {
	w.sessions = slices.DeleteFunc(w.sessions, s.same)
	return w.write()
}

func (s session) same(other session) bool {
	return s.Server == other.Server && s.Account == other.Account
}

// write replaces the file in one step, so that a process that dies leaves the old one.
func (w *wallet) write() error { return writePrivate(w.path, w.sessions) }

func writePrivate(path string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return problem.New("cli.no-wallet").Because(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return problem.New("cli.no-wallet").Because(err)
	}
	return nil
}
