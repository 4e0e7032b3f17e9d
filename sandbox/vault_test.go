package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
	"weir/internal/store"
)

// master wraps the keys of the tests' vaults.
var master = MemoryMaster()

// vault opens an empty vault on a database of its own.
func vault(t testing.TB) *Vault {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), filepath.Join(dir, "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	v, err := OpenVault(t.Context(), filepath.Join(dir, "vault"), db, worker, master)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// cause is the error with what only the operation log sees.
func cause(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if why := problem.Of(err).Unwrap(); why != nil {
		text += " because " + why.Error()
	}
	return text
}

// left lists every file and directory under the vault, but for the lock.
func left(t testing.TB, v *Vault) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(v.dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(v.dir, path)
		switch {
		case strings.HasPrefix(name, asidePrefix):
			return filepath.SkipDir // what was moved away
		case name != "." && name != lockFile && name != boundFile:
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestImport(t *testing.T) {
	v := vault(t)
	for number := 1; number <= 2; number++ {
		taken, err := v.Intake(t.Context(), "testdata/people.yaml")
		if err != nil {
			t.Fatal(cause(err))
		}
		d := taken.Dataset
		if number == 1 { // the second is as strict as the first
			approve(t, v, d)
		}
		if d.Version != number || d.Rows != 200 || taken.Undeclared != 1 || !d.Units[0].Unique || len(d.Hash) != 64 {
			t.Errorf("took %+v", taken)
		}
		again, err := v.Dataset(context.Background(), "people")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Error(diff)
		}
		all, err := v.Datasets(t.Context())
		if err != nil || len(all) != 1 || all[0].Version != number {
			t.Errorf("the vault lists %+v, %v", all, err)
		}
	}
	want := []string{"people", "people/v1", "people/v1/data.1.sealed", "people/v2", "people/v2/data.1.sealed"}
	if diff := cmp.Diff(want, left(t, v)); diff != "" {
		t.Error(diff)
	}
	if _, err := v.Dataset(t.Context(), "nobody"); problem.Of(err).Code != "sandbox.unknown-dataset" {
		t.Error(err)
	}
}
