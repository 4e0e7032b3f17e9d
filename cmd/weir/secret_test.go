package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestASecretIsMadeOnceAndStays(t *testing.T) {
	folder := t.TempDir()
	secrets := make([][]byte, 16)
	var started sync.WaitGroup
	for i := range secrets {
		started.Go(func() {
			var err error
			if secrets[i], err = openSecret(folder, "a.key"); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	for _, s := range secrets {
		if len(s) != 32 || !bytes.Equal(s, secrets[0]) || bytes.Equal(s, make([]byte, 32)) {
			t.Errorf("got %x beside %x", s, secrets[0])
		}
	}
	info, err := os.Stat(filepath.Join(folder, "a.key"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if other, err := openSecret(folder, "b.key"); err != nil || bytes.Equal(other, secrets[0]) {
		t.Errorf("another secret is the same: %v", err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 2 {
		t.Errorf("left behind: %v %v", files, err)
	}
}

func TestASecretThatOthersMayHaveIsRefused(t *testing.T) {
	good := strings.Repeat("ab", 32) + "\n"
	for _, c := range []struct {
		name string
		text string
		mode os.FileMode
		ok   bool
	}{
		{"as it should be", good, 0o600, true},
		{"readable by the group", good, 0o640, false},
		{"readable by others", good, 0o604, false},
		{"cut off", good[:60], 0o600, false},
		{"not hex", strings.Repeat("zz", 32), 0o600, false},
		{"empty", "", 0o600, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "a.key")
			write(t, path, c.text)
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := openSecret(folder, "a.key"); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != c.text {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("a link", func(t *testing.T) {
		folder := t.TempDir()
		write(t, filepath.Join(folder, "real"), good)
		if err := os.Symlink("real", filepath.Join(folder, "a.key")); err != nil {
			t.Fatal(err)
		}
		if _, err := openSecret(folder, "a.key"); err == nil {
			t.Error("a link was followed")
		}
	})
	t.Run("none", func(t *testing.T) {
		if _, err := readSecret(t.TempDir(), "a.key"); !errors.Is(err, errNoSecret) {
			t.Errorf("got %v", err)
		}
	})
}
