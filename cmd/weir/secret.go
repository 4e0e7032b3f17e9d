package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/problem"
)

// errNoSecret says that there is no file with a secret where there must be one.
var errNoSecret = errors.New("the secret is missing")

// readSecret reads a secret of 32 bytes, in hex, that only the platform's user can read.
func readSecret(folder, name string) ([]byte, error) {
	path := filepath.Join(folder, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, errNoSecret)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, badSecret(name, "must be a plain file with mode 0600")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) != 32 {
		return nil, badSecret(name, "does not hold 32 bytes in hex")
	}
	return secret, nil
}

// badSecret is the problem of a secret that cannot be used as it is.
func badSecret(name, cause string) error {
	return problem.New("platform.secret-unusable", "name", name).Because(errors.New(name + " " + cause))
}

// openSecret reads a secret, or makes it where there is none. It is linked into place whole, so that of two
// processes that start at once both use the same, and a crash leaves either none or all of it.
func openSecret(folder, name string) ([]byte, error) {
	secret, err := readSecret(folder, name)
	if !errors.Is(err, errNoSecret) {
		return secret, err
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(folder, "."+name+"-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(fresh) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return nil, err
	}
	return readSecret(folder, name)
}
