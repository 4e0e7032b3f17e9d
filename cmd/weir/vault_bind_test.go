package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sealed are the hashes of all files that hold data, wherever they lie in the vault.
func (p *stopped) sealed() (hashes []string) {
	p.t.Helper()
	err := filepath.WalkDir(filepath.Join(p.data, vaultFolder), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !strings.HasSuffix(path, ".sealed") {
			return err
		}
		text, err := os.ReadFile(path)
		sum := sha256.Sum256(text)
		hashes = append(hashes, hex.EncodeToString(sum[:]))
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	slices.Sort(hashes)
	return hashes
}

// replace puts a copy of a file or folder in the place of another.
func replace(t *testing.T, place, by string) {
	t.Helper()
	if err := os.RemoveAll(place); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(by)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(place, os.DirFS(by))
	} else {
		var text []byte
		if text, err = os.ReadFile(by); err == nil {
			err = os.WriteFile(place, text, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inside is a path below a platform's data folder.
func (p *stopped) inside(names ...string) string {
	return filepath.Join(append([]string{p.data}, names...)...)
}

// asPrivate gives a copied folder of keys the modes that keys must have.
func (p *stopped) asPrivate() {
	p.t.Helper()
	err := filepath.WalkDir(p.inside(keysFolder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// vaultCommands are all that act on a vault.
var vaultCommands = [][]string{{"status"}, {"check"}, {"rotate"}, {"reseal", "trees"}, {"clear", "--reason", "tidy"}}

// A vault and a store that do not belong together: each command, each way round. Nothing is lost, and everything is told.
func TestVaultWithAnotherStore(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(p, other *stopped)
		code  string
	}{
		{"another store under these keys", func(p, other *stopped) {
			replace(p.t, p.inside(storeFile), other.inside(storeFile))
		}, "audit.other-key"},
		{"another store with its own keys", func(p, other *stopped) {
			replace(p.t, p.inside(storeFile), other.inside(storeFile))
			replace(p.t, p.inside(keysFolder), other.inside(keysFolder))
		}, "sandbox.other-store"},
		{"another vault", func(p, other *stopped) {
			replace(p.t, p.inside(vaultFolder), other.inside(vaultFolder))
		}, "sandbox.other-store"},
		{"no store", func(p, _ *stopped) { remove(p.t, p.inside(storeFile)) }, "platform.store-missing"},
		{"a store elsewhere that is new", func(p, _ *stopped) {
			p.environ = append(p.environ, "WEIR_STORE="+filepath.Join(p.t.TempDir(), "new.db"))
		}, "sandbox.other-store"},
		{"an older store", func(p, _ *stopped) { p.older() }, "audit.rewound"},
		{"an older store, and no kept checkpoint", func(p, _ *stopped) {
			p.older()
			remove(p.t, p.inside(keysFolder, keptFile))
		}, "sandbox.store-behind"},
		{"no vault", func(p, _ *stopped) { remove(p.t, p.inside(vaultFolder)) }, "sandbox.vault-missing"},
		{"an empty vault", func(p, _ *stopped) {
			remove(p.t, p.inside(vaultFolder))
			if err := os.Mkdir(p.inside(vaultFolder), 0o700); err != nil {
				p.t.Fatal(err)
			}
		}, "sandbox.vault-missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, other := stoppedPlatform(t), stoppedPlatform(t)
			c.spoil(p, other)
			p.asPrivate()
			before := p.sealed()
			for _, command := range vaultCommands {
				if said := p.run(exitFailed, command...); !strings.Contains(said, c.code) {
					t.Errorf("%v says\n%s", command, said)
				}
				if diff := cmp.Diff(before, p.sealed()); diff != "" {
					t.Errorf("%v: %s", command, diff)
				}
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// older puts the store back to what it was before a change of the vault.
func (p *stopped) older() {
	p.t.Helper()
	kept := filepath.Join(p.t.TempDir(), storeFile)
	replace(p.t, kept, p.inside(storeFile))
	p.run(exitReleased, "reseal", "trees")
	replace(p.t, p.inside(storeFile), kept)
	for _, beside := range []string{"-wal", "-shm"} {
		remove(p.t, p.inside(storeFile+beside))
	}
}

// Binding is what a person asks for: what the store does not know is moved aside and told, what the vault lacks is told,
// and only clearing removes.
func TestVaultBind(t *testing.T) {
	p := stoppedPlatform(t)
	p.older()
	remove(t, p.inside(keysFolder, keptFile))
	before := p.sealed()
	if said := p.run(exitReleased, "bind", "--reason", "the newest backup is lost"); !strings.Contains(said, "belong together now") ||
		!strings.Contains(said, "MISSING: the file of trees/v1") {
		t.Error(said)
	}
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.missing-file") || !strings.Contains(said, "MISSING: the file of trees/v1") {
		t.Error(said)
	}
	if diff := cmp.Diff(before, p.sealed()); diff != "" {
		t.Error(diff)
	}
	if kinds := strings.Join(p.kinds(), ", "); !strings.Contains(kinds, "vault.bind.outcome done") {
		t.Error(kinds)
	}
}

func TestVaultMovesAsideAndClears(t *testing.T) {
	p := stoppedPlatform(t)
	stray := p.inside(vaultFolder, "trees", "v9")
	if err := os.MkdirAll(stray, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(stray, "data.1.sealed"), "of another store")
	write(t, p.inside(workspacesFolder, "grant-x", "t.1.sealed"), "of another store as well")
	before := p.sealed()
	said := p.run(exitReleased, "status")
	for _, want := range []string{"Moved aside, since the store does not know it: trees/v9", "does not know it: grant-x/t.1.sealed", "Aside: aside-", "dataset/trees/1/1"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not told:\n%s", want, said)
		}
	}
	if diff := cmp.Diff(before, p.sealed()); diff != "" {
		t.Error(diff)
	}
	if said := p.run(exitReleased, "check"); strings.Contains(said, "Moved aside") || !strings.Contains(said, "Aside: aside-") || !strings.Contains(said, "Whole: 1 files") {
		t.Error(said)
	}
	if said := p.run(exitReleased, "clear", "--reason", "of the trial"); !strings.Contains(said, "2 files were removed for good") {
		t.Error(said)
	}
	if left := p.sealed(); len(left) != len(before)-1 {
		t.Errorf("%d files are left of %d", len(left), len(before))
	}
	if said := p.run(exitReleased, "check"); strings.Contains(said, "Aside") {
		t.Error(said)
	}
}
