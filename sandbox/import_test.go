package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

// failAt makes the n-th step of an import fail with why, and tells whether it came to that.
func failAt(v *Vault, n int, why error) (reached *string) {
	reached = new(string)
	count := 0
	v.step = func(name string) error {
		count++
		if count-1 == n {
			*reached = name
			return why
		}
		return nil
	}
	return reached
}

// Every step fails once, by an error and by the end of the process, until an import works. At no time is anything
// visible that is not whole, and nothing is left: at once after an error, and after the next start after a crash.
func TestImportFailsAtEachStep(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		for _, why := range []error{errors.New("disk on fire"), errCrash} {
			t.Run(why.Error(), func(t *testing.T) { failEachStep(t, db, why) })
		}
	})
}

func failEachStep(t *testing.T, db *bun.DB, why error) {
	dir := filepath.Join(t.TempDir(), "vault")
	open := func() *Vault {
		v, err := OpenVault(t.Context(), dir, db, worker, master)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before, err := open().Datasets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	base := len(before)
	for n := 0; ; n++ {
		v := open()
		reached := failAt(v, n, why)
		_, err := v.Import(t.Context(), "testdata/people.yaml")
		if *reached == "" {
			if err != nil {
				t.Fatal(cause(err))
			}
			if n < 9 {
				t.Errorf("an import has only %d steps", n)
			}
			break
		}
		if !errors.Is(err, why) {
			t.Fatalf("step %d, %s: %s", n, *reached, cause(err))
		}
		if why == errCrash {
			v = open()
		}
		if rest := left(t, v); len(rest) > 0 {
			t.Errorf("step %d, %s, left %q", n, *reached, rest)
		}
		if all, err := v.Datasets(t.Context()); err != nil || len(all) != base {
			t.Errorf("step %d, %s, shows %v, %v", n, *reached, all, err)
		}
	}
	v := open()
	if diff := cmp.Diff([]string{"people", "people/v1", "people/v1/data.1.sealed"}, left(t, v)); diff != "" {
		t.Error(diff)
	}
	for _, rows := range []any{(*version)(nil), (*wrappedKey)(nil)} {
		if _, err := db.NewDelete().Model(rows).Where("true").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A failed second version leaves the first as it was.
func TestImportKeepsOlderVersion(t *testing.T) {
	v := withPeople(t)
	for n := 0; ; n++ {
		reached := failAt(v, n, errors.New("no"))
		_, err := v.Import(t.Context(), "testdata/people.yaml")
		if *reached == "" {
			break
		}
		if err == nil {
			t.Fatal("no error")
		}
		if diff := cmp.Diff([]string{"people", "people/v1", "people/v1/data.1.sealed"}, left(t, v)); diff != "" {
			t.Error(diff)
		}
		if d, err := v.Dataset(t.Context(), "people"); err != nil || d.Version != 1 {
			t.Errorf("serves %d %v", d.Version, err)
		}
	}
	if d, err := v.Dataset(t.Context(), "people"); err != nil || d.Version != 2 {
		t.Errorf("serves %d %v", d.Version, err)
	}
}

func TestImportCancelled(t *testing.T) {
	v := vault(t)
	ctx, cancel := context.WithCancel(t.Context())
	v.step = func(name string) error {
		if name == "enter" {
			cancel()
		}
		return nil
	}
	if _, err := v.Import(ctx, "testdata/people.yaml"); !errors.Is(err, context.Canceled) {
		t.Error(cause(err))
	}
	if rest := left(t, v); len(rest) > 0 {
		t.Errorf("left %q", rest)
	}
}

func TestOneImportAtATime(t *testing.T) {
	v := vault(t)
	v.step = func(name string) error {
		if name != "parse" {
			return nil
		}
		// In the middle of an import, another process opens the vault: it must neither import nor tidy.
		other, err := OpenVault(t.Context(), v.dir, v.db, worker, master)
		if err != nil {
			t.Error(err)
			return nil
		}
		other.patience = 0
		if _, err := other.Import(t.Context(), "testdata/people.yaml"); problem.Of(err).Code != "intake.busy" {
			t.Error(cause(err))
		}
		return nil
	}
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
		t.Error(cause(err))
	}
}

// unitsOf gives the hidden names of a column's values in a data set.
func unitsOf(t *testing.T, v *Vault, name, column, unit string) map[string]string {
	t.Helper()
	d, err := v.Dataset(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	if err != nil {
		t.Fatal(cause(err))
	}
	defer s.Close()
	got, err := s.Query(t.Context(), Query{SQL: fmt.Sprintf(`SELECT CAST(%s AS VARCHAR), CAST(%q AS VARCHAR) FROM "ds_%s"."main"."data"`, column, unit, name)})
	if err != nil {
		t.Fatal(cause(err))
	}
	names := map[string]string{}
	for _, row := range got.Rows {
		names[row[0].(string)] = row[1].(string)
	}
	return names
}

// A unit has one name in a domain, whatever the data set, the role and the type of the key, and another name in
// another domain and in another vault.
func TestUnitNames(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"sales.csv":    "buyer,seller\n11,22\n22,11\n",
		"sales.yaml":   "{name: sales, file: sales.csv, units: [{domain: person, key: buyer}, {domain: person, key: seller}], columns: [{name: buyer, type: text, class: identifier}, {name: seller, type: text, class: identifier}]}",
		"firms.csv":    "id\n11\n22\n",
		"firms.yaml":   "{name: firms, file: firms.csv, units: [{domain: firm, key: id}], columns: [{name: id, type: text, class: identifier}]}",
		"numbers.csv":  "id\n011\n22\n",
		"numbers.yaml": "{name: numbers, file: numbers.csv, units: [{domain: person, key: id}], columns: [{name: id, type: bigint, class: identifier}]}",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v, other := vault(t), vault(t)
	for name := range files {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, v := range []*Vault{v, other} {
			if _, err := v.Import(t.Context(), filepath.Join(dir, name)); err != nil {
				t.Fatal(cause(err))
			}
		}
	}
	buyers := unitsOf(t, v, "sales", "buyer", "__unit_0")
	if len(buyers) != 2 || buyers["11"] == buyers["22"] {
		t.Fatalf("two persons have the names %v", buyers)
	}
	if diff := cmp.Diff(buyers, unitsOf(t, v, "sales", "seller", "__unit_1")); diff != "" {
		t.Error("in another role:", diff)
	}
	if diff := cmp.Diff(buyers, unitsOf(t, v, "numbers", "id", "__unit_0")); diff != "" {
		t.Error("as a number:", diff)
	}
	for name, units := range map[string]map[string]string{
		"another domain": unitsOf(t, v, "firms", "id", "__unit_0"),
		"another vault":  unitsOf(t, other, "sales", "buyer", "__unit_0"),
	} {
		if units["11"] == buyers["11"] || units["22"] == buyers["22"] {
			t.Errorf("%s has the same names", name)
		}
	}
}

func TestTidyKeepsWhatItDoesNotKnow(t *testing.T) {
	v := withPeople(t)
	stray := filepath.Join(v.dir, "people", "notes.txt")
	for _, path := range []string{stray, filepath.Join(v.dir, "README")} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"people/v2", "people/v10", "orphan/v1", "incoming-123"} {
		if err := os.MkdirAll(filepath.Join(v.dir, path, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenVault(t.Context(), v.dir, v.db, worker, master); err != nil {
		t.Fatal(err)
	}
	want := []string{"README", "people", "people/notes.txt", "people/v1", "people/v1/data.1.sealed"}
	if diff := cmp.Diff(want, left(t, v)); diff != "" {
		t.Error(diff)
	}
}
