package sandbox

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"weir/internal/problem"
	"weir/internal/store"
	"weir/internal/store/storetest"
	"weir/policy"
)

// While the program of the master key does not answer, nothing is taken in and no job begins, by a problem that says so and
// nothing of data; when it does again, they do. Without it the vault does not open.
func TestVaultWithAProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kms")
	if out, err := exec.Command("go", "build", "-o", program, "./seal/testdata/kms").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	say := func(name, text string) {
		if err := os.WriteFile(filepath.Join(filepath.Dir(program), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := json.Marshal(map[string]any{"Now": "city-1", "All": map[string]string{"city-1": NewMasterKey()}})
	if err != nil {
		t.Fatal(err)
	}
	say("keys.json", string(keys))
	db, err := store.Open(t.Context(), storetest.SQLite(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	folder := filepath.Join(t.TempDir(), "vault")
	open := func() (*Vault, error) {
		master, err := ProgramMaster(t.Context(), program, nil)
		if err != nil {
			return nil, err
		}
		return OpenVault(t.Context(), folder, db, worker, master)
	}
	say("mood", "fail")
	if _, err := open(); problem.Of(err).Code != "sandbox.master-silent" {
		t.Errorf("it opens: %v", err)
	}
	say("mood", "")
	v, err := open()
	if err != nil {
		t.Fatal(cause(err))
	}
	say("mood", "garbage")
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err == nil {
		t.Error("taken in under no key")
	}
	say("mood", "")
	people, err := v.Import(t.Context(), "testdata/people.yaml")
	if err != nil {
		t.Fatal(cause(err))
	}
	workers := NewWorkers(worker, v, DefaultLimits)
	start := func() error {
		s, err := workers.Start(t.Context(), "job", []policy.Dataset{people})
		if err == nil {
			s.Close()
		}
		return err
	}
	for _, mood := range []string{"fail", "garbage", "silent"} {
		say("mood", mood)
		if err := start(); problem.Of(err).Code != "sandbox.master-silent" {
			t.Errorf("%s: %v", mood, err)
		}
	}
	say("mood", "")
	if err := start(); err != nil {
		t.Error(cause(err))
	}
}
