package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox/seal"
)

// count starts a job on people and counts its rows in a way that reads all of the file.
func count(t testing.TB, v *Vault) (string, error) {
	t.Helper()
	d, err := v.Dataset(t.Context(), "people")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	if err != nil {
		return "", err
	}
	defer s.Close()
	got, err := s.Query(t.Context(), Query{SQL: `SELECT count(*) + 0 * sum(hash(people)) FROM "ds_people"."main"."data" AS people`})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(got.Rows[0][0]), nil
}

// overwrite replaces a file that nobody may write to.
func overwrite(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := errors.Join(removeFile(path), os.WriteFile(path, content, 0o400)); err != nil {
		t.Fatal(err)
	}
}

// Whatever is done to a file of the vault, no result comes of it and the data set is named.
func TestBrokenSeal(t *testing.T) {
	v := withPeople(t)
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil { // version 2
		t.Fatal(cause(err))
	}
	old := filepath.Join(v.place("people", 1), dataFile(1))
	path := filepath.Join(v.place("people", 2), dataFile(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	earlier, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]func() []byte{
		"as it was":             func() []byte { return whole },
		"a bit at the front":    func() []byte { b := slices.Clone(whole); b[100] ^= 1; return b },
		"a bit in the middle":   func() []byte { b := slices.Clone(whole); b[len(b)/2] ^= 1; return b },
		"a bit at the end":      func() []byte { b := slices.Clone(whole); b[len(b)-1] ^= 1; return b },
		"half of it":            func() []byte { return whole[:len(whole)/2] },
		"nothing":               func() []byte { return nil },
		"an older version's":    func() []byte { return earlier },
		"another key's":         func() []byte { return reseal(t, v, whole, seal.NewKey(), "dataset/people/2/1") },
		"another data set's":    func() []byte { return reseal(t, v, whole, keyOf(t, v, "dataset/people/2/1"), "dataset/sales/2/1") },
		"sealed by who has all": func() []byte { return reseal(t, v, whole, keyOf(t, v, "dataset/people/2/1"), "dataset/people/2/1") },
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			overwrite(t, path, content())
			got, err := count(t, v)
			if name == "as it was" || name == "sealed by who has all" {
				if err != nil || got != "200" {
					t.Errorf("counts %s, %s", got, cause(err))
				}
				return
			}
			if p := problem.Of(err); p.Code != "sandbox.broken-seal" || !strings.Contains(p.In(problem.English).Detail, `"people"`) {
				t.Errorf("counts %s, %s", got, cause(err))
			}
			if _, err := v.Check(t.Context()); problem.Of(err).Code != "sandbox.broken-seal" {
				t.Errorf("a check finds %s", cause(err))
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := count(t, v); problem.Of(err).Code != "sandbox.missing-file" {
			t.Error(cause(err))
		}
	})
}

func keyOf(t testing.TB, v *Vault, p seal.Purpose) seal.Key {
	t.Helper()
	key, err := v.keys.open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// reseal opens the file of version 2 and seals its content in another way.
func reseal(t testing.TB, v *Vault, sealed []byte, key seal.Key, p seal.Purpose) []byte {
	t.Helper()
	const own seal.Purpose = "dataset/people/2/1"
	r, err := seal.Open(bytes.NewReader(sealed), int64(len(sealed)), keyOf(t, v, own), own)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := seal.Writer(&out, key, p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(plain)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A place that is broken is found out also by a job that began before it was, and the session is over then.
func TestBrokenWhileReading(t *testing.T) {
	v := withPeople(t)
	s := session(t, v, DefaultLimits)
	file, err := os.OpenFile(filepath.Join(v.place("people", 1), dataFile(1)), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	// Everything between what the engine read when it attached the file and the end.
	if _, err := file.WriteAt(make([]byte, info.Size()-40<<10-1000), 40<<10); err != nil {
		t.Fatal(err)
	}
	_, err = s.Query(t.Context(), Query{SQL: `SELECT sum(hash(p)) FROM "ds_people"."main"."data" AS p`})
	if problem.Of(err).Code != "sandbox.broken-seal" {
		t.Error(cause(err))
	}
	mustBeGone(t, s.process)
}

// The content that a test puts into the vault is on no disk in the clear, neither while it is taken in nor afterwards.
func TestNothingInTheClear(t *testing.T) {
	v := vault(t)
	marks := [][]byte{[]byte("DUCK"), []byte("区1"), []byte("select")}
	look := func() {
		err := filepath.WalkDir(filepath.Dir(v.dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "weir.db") {
				return err
			}
			content, err := os.ReadFile(path)
			for _, mark := range marks {
				if bytes.Contains(content, mark) {
					t.Errorf("%s holds %q", d.Name(), mark)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	v.step = func(string) error { look(); return nil }
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
		t.Fatal(cause(err))
	}
	look()
}

// Every step of sealing a data set anew fails once, by an error and by the end of the process. It can be read at every
// time, and at the next start there is one file and one key.
func TestResealFailsAtEachStep(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		for _, why := range []error{errors.New("disk on fire"), errCrash} {
			t.Run(why.Error(), func(t *testing.T) { failEachReseal(t, db, why) })
		}
	})
}

func failEachReseal(t *testing.T, db *bun.DB, why error) {
	dir := filepath.Join(t.TempDir(), "vault")
	open := func() *Vault {
		v, err := OpenVault(t.Context(), dir, db, worker, master)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
		t.Fatal(cause(err))
	}
	path := func(sealing int) string { return filepath.Join(v.place("people", 1), dataFile(sealing)) }
	first, err := os.ReadFile(path(1))
	if err != nil {
		t.Fatal(err)
	}
	sealing := 0
	for n := 0; ; n++ {
		v = open()
		reached := failAt(v, n, why)
		changed, err := v.Reseal(t.Context(), "people")
		if *reached == "" {
			if err != nil || changed != 1 || n < 5 {
				t.Fatal(n, changed, cause(err))
			}
			break
		}
		if !errors.Is(err, why) {
			t.Fatalf("step %d, %s: %s", n, *reached, cause(err))
		}
		if got, err := count(t, v); err != nil || got != "200" {
			t.Errorf("step %d, %s: counts %s, %s", n, *reached, got, cause(err))
		}
		sealing = oneSealing(t, open())
	}
	if now := oneSealing(t, v); now != sealing+1 {
		t.Errorf("sealing %d after %d", now, sealing)
	}
	// Its first sealing, put back in the place of the newest, is of no use to anybody.
	overwrite(t, path(sealing+1), first)
	if _, err := count(t, v); problem.Of(err).Code != "sandbox.broken-seal" {
		t.Error(cause(err))
	}
	if _, err := v.Reseal(t.Context(), "nobody"); problem.Of(err).Code != "sandbox.unknown-dataset" {
		t.Error(cause(err))
	}
	clearTables(t, db)
}

// oneSealing checks that the version of people has one file and one key, and gives which of its sealings it is.
func oneSealing(t *testing.T, v *Vault) int {
	t.Helper()
	var row version
	if err := v.db.NewSelect().Model(&row).Where("name = 'people'").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"people", "people/v1", "people/v1/" + dataFile(row.Sealing)}, left(t, v)); diff != "" {
		t.Error(diff)
	}
	var keys []string
	if err := v.db.NewSelect().Model((*wrappedKey)(nil)).Column("purpose").Where("purpose LIKE 'dataset/%'").Scan(t.Context(), &keys); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{string(row.purpose())}, keys); diff != "" {
		t.Error(diff)
	}
	return row.Sealing
}

func clearTables(t *testing.T, db *bun.DB) {
	t.Helper()
	for _, rows := range []any{(*version)(nil), (*wrappedKey)(nil), (*keptRow)(nil)} {
		if _, err := db.NewDelete().Model(rows).Where("true").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// When the master key changes, all keys are wrapped by the new one or all by the old one, whatever fails; until it is
// done, both are needed, and afterwards the new one alone is enough.
func TestRewrap(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		dir := filepath.Join(t.TempDir(), "vault")
		old, fresh := seal.NewKey(), seal.NewKey()
		open := func(keys ...seal.Key) (*Vault, error) {
			return OpenVault(t.Context(), dir, db, worker, seal.Masters(keys))
		}
		v, err := open(old)
		if err != nil {
			t.Fatal(err)
		}
		w := workspaces(t, v)
		for range 2 {
			if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
				t.Fatal(cause(err))
			}
		}
		table := keep(t, v, OfGrant("g-1"), "t", "SELECT 7 AS x")
		for n := 0; ; n++ {
			if v, err = open(fresh, old); err != nil {
				t.Fatal(err)
			}
			reached := failAt(v, n, errCrash)
			changed, err := v.RewrapKeys(t.Context())
			if *reached == "" {
				if err != nil || changed != 4 || n != 5 {
					t.Error(n, changed, err)
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			if _, err := open(old); err != nil {
				t.Errorf("step %d, %s: %s", n, *reached, cause(err))
			}
			if _, err := open(fresh); problem.Of(err).Code != "sandbox.wrong-master" {
				t.Errorf("step %d, %s: %s", n, *reached, cause(err))
			}
		}
		if _, err := open(old); problem.Of(err).Code != "sandbox.wrong-master" {
			t.Error(cause(err))
		}
		if v, err = open(fresh); err != nil {
			t.Fatal(cause(err))
		}
		if changed, err := v.RewrapKeys(t.Context()); err != nil || changed != 0 {
			t.Error(changed, err)
		}
		if got, err := count(t, v); err != nil || got != "200" {
			t.Errorf("counts %s, %s", got, cause(err))
		}
		v.workspaces = w
		if got, err := ask(t, v, "SELECT x FROM kept_t.main.data", table); err != nil || got != "7" {
			t.Errorf("reads %s, %s", got, cause(err))
		}
		if n, err := v.Check(t.Context()); err != nil || n != 2 {
			t.Error(n, cause(err))
		}
		clearTables(t, db)
	})
}

// A key that somebody put into another's row is of no use.
func TestKeysAreBound(t *testing.T) {
	v := withPeople(t)
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
		t.Fatal(cause(err))
	}
	var one wrappedKey
	if err := v.db.NewSelect().Model(&one).Where("purpose = 'dataset/people/1/1'").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	one.Purpose = "dataset/people/2/1"
	if _, err := v.db.NewUpdate().Model(&one).WherePK().Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(v.place("people", 1), dataFile(1)))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(v.place("people", 2), dataFile(1)), content)
	if _, err := count(t, v); problem.Of(err).Code != "sandbox.broken-seal" {
		t.Error(cause(err))
	}
}

// A vault from before files were sealed is sealed when it is opened, and its units keep their names. What it lacks
// keeps it from opening.
func TestOldVaultIsSealed(t *testing.T) {
	v := withPeople(t)
	names := unitsOf(t, v, "people", "income", "__unit_0")
	file, err := v.open(t.Context(), "people", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	plain, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size()))
	if err != nil {
		t.Fatal(err)
	}
	clear, unit := filepath.Join(v.place("people", 1), clearFile), filepath.Join(v.dir, clearKey)
	reopen := func() (*Vault, error) { return OpenVault(t.Context(), v.dir, v.db, worker, master) }
	for _, c := range []struct {
		name  string
		spoil func() error
		opens bool
	}{
		{"as it was left", func() error { return nil }, true},
		{"the key of units is missing", func() error { return os.Remove(unit) }, false},
		{"the key of units is too short", func() error { return os.WriteFile(unit, []byte("short"), 0o600) }, false},
		{"the data is missing", func() error { return os.Remove(clear) }, false},
		{"half sealed", func() error {
			return os.WriteFile(filepath.Join(v.place("people", 1), dataFile(1)), plain[:100], 0o400)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			leaveOld(t, v, plain)
			if err := c.spoil(); err != nil {
				t.Fatal(err)
			}
			sealed, err := reopen()
			if !c.opens {
				if err == nil {
					t.Error("the vault opened")
				}
				return
			}
			if err != nil {
				t.Fatal(cause(err))
			}
			oneSealing(t, sealed)
			if diff := cmp.Diff(names, unitsOf(t, sealed, "people", "income", "__unit_0")); diff != "" || !bytes.Equal(sealed.secret, v.secret) {
				t.Error("other units:", diff)
			}
		})
	}
}

// leaveOld makes of a vault with people what an earlier platform would have left.
func leaveOld(t *testing.T, v *Vault, plain []byte) {
	t.Helper()
	place := v.place("people", 1)
	err := errors.Join(os.RemoveAll(place), os.MkdirAll(place, 0o700), os.WriteFile(filepath.Join(place, clearFile), plain, 0o400),
		os.WriteFile(filepath.Join(v.dir, clearKey), v.secret, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.db.NewDelete().Model((*wrappedKey)(nil)).Where("true").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.db.NewUpdate().Model((*version)(nil)).Set("sealing = 0").Where("true").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// reading gives its parts one after another, and looks before each.
type reading struct {
	parts []string
	look  func()
	err   error // at the end; nil: it ends well
}

func (r *reading) Read(b []byte) (int, error) {
	r.look()
	if len(r.parts) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	n := copy(b, r.parts[0])
	r.parts = r.parts[1:]
	return n, nil
}

// What comes over a connection is taken in like a file, has no name meanwhile, and leaves nothing where it breaks off.
func TestReceive(t *testing.T) {
	v := vault(t)
	text, err := os.ReadFile("testdata/people.yaml")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile("testdata/people.csv")
	if err != nil {
		t.Fatal(err)
	}
	nothing := func() {
		if rest := left(t, v); len(rest) > 0 {
			t.Errorf("while it comes there is %q", rest)
		}
	}
	broken := errors.New("the connection broke off")
	half := string(content[:len(content)/2])
	if _, err := v.Receive(t.Context(), text, &reading{parts: []string{half}, look: nothing, err: broken}); !errors.Is(err, broken) {
		t.Error(cause(err))
	}
	if _, err := v.Receive(t.Context(), text, &reading{look: nothing}); problem.Of(err).Code != "intake.no-rows" && problem.Of(err).Code != "intake.missing-column" {
		t.Error(cause(err))
	}
	if _, err := v.Receive(t.Context(), []byte("name: [\n"), &reading{look: nothing}); problem.Of(err).Code != "intake.bad-yaml" {
		t.Error(cause(err))
	}
	nothing()
	d, err := v.Receive(t.Context(), text, &reading{parts: []string{half, string(content[len(half):])}, look: nothing})
	if err != nil {
		t.Fatal(cause(err))
	}
	same, err := v.Import(t.Context(), "testdata/people.yaml")
	if err != nil || same.Hash != d.Hash || d.Rows != 200 {
		t.Errorf("received %+v, %s", d, cause(err))
	}
}

// A worker that keeps no tables has nowhere to write: no memory for files, no bytes that a file may have. One that keeps
// some has its own memory and no other path.
func TestWhereAWorkerMayWrite(t *testing.T) {
	v := withPeople(t)
	workspaces(t, v)
	file := `COPY (SELECT 1) TO '/out/x'`
	elsewhere := []string{
		`COPY (SELECT 1) TO '/x'`, `COPY (SELECT 1) TO '/data/1'`, `COPY (SELECT 1) TO '/data/0.wal'`, `COPY (SELECT 1) TO '/out/../x'`,
		`SELECT * FROM read_text('/data/0')`, `SELECT * FROM read_blob('/proc/self/maps')`, `ATTACH '/data/1' AS other`,
		`DELETE FROM "ds_people"."main"."data"`, `SET memory_limit = '9GB'`,
	}
	for _, sql := range append(elsewhere, file) {
		_, err := session(t, v, DefaultLimits).Query(t.Context(), Query{SQL: sql})
		jobFailedBecause(t, err, "permission", "invalid input", "binder", "input or output", "engine")
	}
	for _, sql := range elsewhere {
		_, err := keeping(t, v).Query(t.Context(), Query{SQL: sql})
		jobFailedBecause(t, err, "permission", "invalid input", "binder", "input or output", "engine")
	}
	if _, err := keeping(t, v).Query(t.Context(), Query{SQL: file}); err != nil {
		t.Error("its own memory:", cause(err))
	}
	for want, s := range map[string]*Session{"Max file size 0 0": session(t, v, DefaultLimits), fmt.Sprintf("Max file size %[1]d %[1]d", room): keeping(t, v)} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.process.cmd.Process.Pid))
		if err != nil || !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), want) {
			t.Errorf("no %q, %v", want, err)
		}
	}
}
