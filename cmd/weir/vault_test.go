package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"weir/audit"
	"weir/internal/problem"
	"weir/sandbox"
)

// stopped is a platform that does not run, with one data set in its vault.
type stopped struct {
	t       *testing.T
	environ []string
	data    string
}

func stoppedPlatform(t *testing.T, environ ...string) *stopped {
	t.Helper()
	t.Setenv("WEIR_WORKER", filepath.Join(filepath.Dir(build(t)), "weir-worker"))
	p := &stopped{t: t, data: filepath.Join(t.TempDir(), "data")}
	p.environ = append(environ, "WEIR_DATA="+p.data)
	folder := t.TempDir()
	write(t, filepath.Join(folder, "trees.csv"), "kind,height\nelm,12\noak,20\n")
	write(t, filepath.Join(folder, "trees.yaml"), "name: trees\ntitle: Trees\nprovider: Parks\nfile: trees.csv\nopen: true\n"+
		"columns:\n  - {name: kind, type: text, class: open}\n  - {name: height, type: integer, class: open}\n")
	err := withVault(t.Context(), p.terminal().terminal, "", func(s safe) error {
		_, err := s.vault.Import(t.Context(), filepath.Join(folder, "trees.yaml"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *stopped) terminal() recorded {
	term := testTerminal(p.t, problem.English)
	term.environ = func() []string { return p.environ }
	return term
}

// run runs `weir vault …` and gives what it says.
func (p *stopped) run(want int, arguments ...string) string {
	p.t.Helper()
	term := p.terminal()
	if code := run(p.t.Context(), append([]string{"vault"}, arguments...), term.terminal); code != want {
		p.t.Errorf("vault %s ended with %d, want %d: %s", arguments, code, want, term.err)
	}
	return term.out.String() + term.err.String()
}

func (p *stopped) master() string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.data, keysFolder, masterFile))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// kinds are the acts on the vault that stand on the log, with what became of them.
func (p *stopped) kinds() (kinds []string) {
	p.t.Helper()
	err := withVault(p.t.Context(), p.terminal().terminal, "", func(s safe) error {
		found, err := s.platform.log.Search(p.t.Context(), audit.Filter{Limit: 100})
		for _, r := range found {
			if strings.HasPrefix(r.Kind, "vault.") {
				kinds = append(kinds, strings.TrimSpace(r.Kind+" "+r.Facts["outcome"]))
			}
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return kinds
}

func TestVaultCommands(t *testing.T) {
	p := stoppedPlatform(t)
	before := p.master()
	if said := p.run(exitReleased, "status"); !strings.Contains(said, "dataset/trees/1/1") || strings.Contains(said, before[:16]) {
		t.Error(said)
	}
	if said := p.run(exitReleased, "check"); !strings.Contains(said, "Whole: 1 files of data sets, 0 tables") {
		t.Error(said)
	}
	if said := p.run(exitReleased, "rotate"); !strings.Contains(said, "2 keys were wrapped") {
		t.Error(said)
	}
	after := p.master()
	if after == before || len(strings.Fields(after)) != 1 {
		t.Errorf("%d keys are in the file", len(strings.Fields(after)))
	}
	if said := p.run(exitReleased, "reseal", "trees"); !strings.Contains(said, "1 versions of trees") {
		t.Error(said)
	}
	if said := p.run(exitFailed, "reseal", "nobody"); !strings.Contains(said, "sandbox.unknown-dataset") {
		t.Error(said)
	}
	kinds := strings.Join(p.kinds(), ", ")
	for _, want := range []string{"vault.rotate.intent", "vault.rotate.outcome done", "vault.reseal.intent", "vault.reseal.outcome done"} {
		if !strings.Contains(kinds, want) {
			t.Errorf("the log lacks %s: %s", want, kinds)
		}
	}

	file := filepath.Join(p.data, vaultFolder, "trees", "v1", "data.2.sealed")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	write(t, file, string(content))
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.broken-seal") {
		t.Error(said)
	}
	if said := p.run(exitFailed, "reseal", "trees"); !strings.Contains(said, "sandbox.broken-seal") {
		t.Error(said)
	}
	if kinds := strings.Join(p.kinds(), ", "); !strings.Contains(kinds, "vault.reseal.outcome failed") {
		t.Error(kinds)
	}
}

// A change of the master key that was cut off leaves a file with both keys: the vault opens, and the next change ends it.
func TestVaultRotationCutOff(t *testing.T) {
	p := stoppedPlatform(t)
	if err := addMaster(filepath.Join(p.data, keysFolder, masterFile), sandbox.NewMasterKey()); err != nil {
		t.Fatal(err)
	}
	p.run(exitReleased, "check")
	p.run(exitReleased, "rotate")
	if keys := strings.Fields(p.master()); len(keys) != 1 {
		t.Errorf("%d keys are in the file", len(keys))
	}
	p.run(exitReleased, "check")
}

// The master key in the environment: the first of several is the one to change to.
func TestVaultKeyInTheEnvironment(t *testing.T) {
	old, fresh := sandbox.NewMasterKey(), sandbox.NewMasterKey()
	p := stoppedPlatform(t, "WEIR_VAULT_KEY="+old)
	if _, err := os.Stat(filepath.Join(p.data, keysFolder, masterFile)); err == nil {
		t.Error("a file with a master key was made all the same")
	}
	with := func(keys string) { p.environ[0] = "WEIR_VAULT_KEY=" + keys }
	with(fresh)
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.wrong-master") {
		t.Error(said)
	}
	with(fresh + "," + old)
	p.run(exitReleased, "rotate")
	with(fresh)
	p.run(exitReleased, "check")
	with(old)
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.wrong-master") {
		t.Error(said)
	}
	with("no key")
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "cli.no-master") {
		t.Error(said)
	}
}

// A master key that a program keeps: the vault moves to it from a file, and to the program's next key, and stays shut
// without it.
func TestVaultKeyInAProgram(t *testing.T) {
	p := stoppedPlatform(t)
	program := filepath.Join(t.TempDir(), "kms")
	if out, err := exec.Command("go", "build", "-o", program, "weir/sandbox/seal/testdata/kms").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	keys := map[string]string{"city-1": sandbox.NewMasterKey(), "city-2": sandbox.NewMasterKey()}
	now := func(name string) {
		text, err := json.Marshal(map[string]any{"Now": name, "All": keys})
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(filepath.Dir(program), "keys.json"), string(text))
	}
	now("city-1")
	environ := p.environ
	p.environ = append(environ, "WEIR_VAULT_PROGRAM="+program)
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.wrong-master") {
		t.Error(said)
	}
	p.environ = append(p.environ, "WEIR_VAULT_MASTER="+filepath.Join(p.data, keysFolder, masterFile))
	p.run(exitReleased, "check")
	file := p.master()
	if said := p.run(exitReleased, "rotate"); !strings.Contains(said, "2 keys were wrapped") {
		t.Error(said)
	}
	if p.master() != file {
		t.Error("the file was changed")
	}
	if err := os.Remove(filepath.Join(p.data, keysFolder, masterFile)); err != nil {
		t.Fatal(err)
	}
	p.environ = append(environ, "WEIR_VAULT_PROGRAM="+program)
	if said := p.run(exitReleased, "status"); strings.Count(said, "city-1") != 2 {
		t.Error(said)
	}
	now("city-2")
	p.run(exitReleased, "rotate")
	delete(keys, "city-1")
	now("city-2")
	p.run(exitReleased, "check")
	delete(keys, "city-2")
	now("city-2")
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.wrong-master") {
		t.Error(said)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "sandbox.master-silent") {
		t.Error(said)
	}
	p.environ = environ
	if said := p.run(exitFailed, "check"); !strings.Contains(said, "cli.no-master") {
		t.Error(said)
	}
}

// Without its master key a vault stays shut, and no other key is made in its place.
func TestVaultMasterFile(t *testing.T) {
	p := stoppedPlatform(t)
	path := filepath.Join(p.data, keysFolder, masterFile)
	content := p.master()
	for name, spoil := range map[string]func() error{
		"missing":             func() error { return os.Remove(path) },
		"readable for others": func() error { return os.Chmod(path, 0o640) },
		"no key":              func() error { return os.WriteFile(path, []byte("oops\n"), 0o600) },
		"a folder":            func() error { os.Remove(path); return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			if said := p.run(exitFailed, "check"); !strings.Contains(said, "cli.no-master") {
				t.Error(said)
			}
			os.RemoveAll(path)
			write(t, path, content)
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			p.run(exitReleased, "check")
		})
	}
	elsewhere := filepath.Join(t.TempDir(), "key")
	if err := os.Rename(path, elsewhere); err != nil {
		t.Fatal(err)
	}
	p.environ = append(p.environ, "WEIR_VAULT_MASTER="+elsewhere)
	p.run(exitReleased, "check")
	p.run(exitReleased, "rotate")
	p.run(exitReleased, "check")
}

// The commands on the vault are for a platform that is stopped.
func TestVaultWhileServing(t *testing.T) {
	p := stoppedPlatform(t)
	s, err := readSettings("", p.environ)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := alone(s)
	if err != nil {
		t.Fatal(err)
	}
	before := p.master()
	for _, command := range [][]string{{"status"}, {"check"}, {"rotate"}, {"reseal", "trees"}} {
		if said := p.run(exitFailed, command...); !strings.Contains(said, "cli.already-serving") {
			t.Error(said)
		}
	}
	unlock()
	if p.master() != before {
		t.Error("the master key was changed")
	}
}
