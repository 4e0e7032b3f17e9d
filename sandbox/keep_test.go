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
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

const room = 64 << 20

var quota = Quota{Tables: 3, Bytes: 32 << 20}

func workspaces(t testing.TB, v *Vault) *Workspaces {
	t.Helper()
	w, err := OpenWorkspaces(t.Context(), v.dir+"-workspaces", v)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// keeping starts a job on people that may keep tables.
func keeping(t testing.TB, v *Vault, kept ...Kept) *Session {
	t.Helper()
	d, err := v.Dataset(t.Context(), "people")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewWorkers(worker, v, DefaultLimits).StartKeeping(t.Context(), "job-1", room, []policy.Dataset{d}, kept...)
	if err != nil {
		t.Fatal(cause(err))
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func keep(t testing.TB, v *Vault, owner Owner, name, sql string) Kept {
	t.Helper()
	kept, err := keeping(t, v).Keep(t.Context(), Query{SQL: sql}, Keeping{Owner: owner, Name: name, Quota: quota})
	if err != nil {
		t.Fatal(cause(err))
	}
	return kept
}

// ask runs a query that gives one number over kept tables alone.
func ask(t testing.TB, v *Vault, sql string, kept ...Kept) (string, error) {
	t.Helper()
	s, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", nil, kept...)
	if err != nil {
		return "", err
	}
	defer s.Close()
	got, err := s.Query(t.Context(), Query{SQL: sql})
	if err != nil {
		return "", err
	}
	return fmt.Sprint(got.Rows[0][0]), nil
}

func TestKeep(t *testing.T) {
	v := withPeople(t)
	w := workspaces(t, v)
	s := keeping(t, v)
	cells := Named{Name: "cells", Table: Table{Columns: columns("区 VARCHAR"), Rows: [][]any{{"区1"}, {"区2"}}}}
	made, err := s.Keep(t.Context(), Query{
		SQL:    `SELECT "select" AS 区, income, "__unit_0" AS u FROM "ds_people"."main"."data" WHERE "select" IN (SELECT 区 FROM cells)`,
		Tables: []Named{cells},
	}, Keeping{Owner: OfGrant("g-1"), Name: "t", Quota: quota, Units: []string{"u", "区"}, Manifest: []byte("typed")})
	if err != nil {
		t.Fatal(cause(err))
	}
	want := Kept{
		Owner: "grant-g-1", Name: "t", Version: 1, Rows: 100, Columns: columns("区 VARCHAR", "income DECIMAL(12,2)", "u UBIGINT"),
		MostRows: []int64{1, 50}, Manifest: []byte("typed"), Job: "job-1",
	}
	if diff := cmp.Diff(want, made, cmpopts.IgnoreFields(Kept{}, "Bytes", "Hash", "MadeAt")); diff != "" {
		t.Error(diff)
	}
	if len(made.Hash) != 64 || made.Bytes < 1<<16 || made.MadeAt.IsZero() {
		t.Errorf("kept %+v", made)
	}
	// The session goes on: it answers, and keeps a second table.
	if _, err := s.Query(t.Context(), Query{SQL: `SELECT count(*) FROM "ds_people"."main"."data"`}); err != nil {
		t.Error(cause(err))
	}
	second, err := s.Keep(t.Context(), Query{SQL: "SELECT 7 AS x"}, Keeping{Owner: OfGrant("g-1"), Name: "u", Quota: quota})
	if err != nil {
		t.Fatal(cause(err))
	}
	all, err := w.List(t.Context(), OfGrant("g-1"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Kept{made, second}, all, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	got, err := ask(t, v, `SELECT sum(income)::BIGINT + (SELECT x FROM kept_u.main.data) FROM "kept_t"."main"."data"`, made, second)
	if err != nil || got != "169707" {
		t.Errorf("reads %s, %s", got, cause(err))
	}
	// An engine's file has its mark at byte 8 and the names of its columns. Three bytes of a 区 stand in one random file of sixty.
	if text, err := os.ReadFile(w.path(made)); err != nil || len(text) < 12 || string(text[8:12]) == "DUCK" || strings.Contains(string(text), "income") {
		t.Errorf("the file is in the clear, %v", err)
	}
}

// Whatever keeping runs into, there is the old table or none, and nothing else is left.
func TestKeepRefuses(t *testing.T) {
	v := withPeople(t)
	w := workspaces(t, v)
	owner := OfGrant("g-1")
	old := keep(t, v, owner, "t", "SELECT 1 AS x")
	wide := `SELECT hash(i) AS h FROM range(6000000) t(i)` // more than the quota and less than the memory
	cases := []struct {
		name, sql string
		k         Keeping
		code      string
	}{
		{"larger than the quota", wide, Keeping{Owner: owner, Name: "t", Quota: quota}, "sandbox.quota"},
		{"larger than the memory", `SELECT hash(i) AS h FROM range(20000000) t(i)`, Keeping{Owner: owner, Name: "t", Quota: quota}, "sandbox.quota"},
		{"one table too many", "SELECT 1", Keeping{Owner: owner, Name: "u", Quota: Quota{Tables: 1, Bytes: 32 << 20}}, "sandbox.quota"},
		{"no bytes left", "SELECT 1", Keeping{Owner: owner, Name: "u", Quota: Quota{Tables: 9, Bytes: old.Bytes}}, "sandbox.quota"},
		{"a query that fails", "SELECT error('110101199003074321')", Keeping{Owner: owner, Name: "t", Quota: quota}, "sandbox.job-failed"},
		{"a unit that is not there", "SELECT 1 AS x", Keeping{Owner: owner, Name: "t", Quota: quota, Units: []string{"y"}}, "sandbox.job-failed"},
		{"a name that is a path", "SELECT 1 AS x", Keeping{Owner: owner, Name: "../t", Quota: quota}, "sandbox.job-failed"},
		{"an owner that is a path", "SELECT 1 AS x", Keeping{Owner: "grant-../x", Name: "t", Quota: quota}, "sandbox.job-failed"},
		{"nobody's", "SELECT 1 AS x", Keeping{Name: "t", Quota: quota}, "sandbox.job-failed"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := keeping(t, v)
			_, err := s.Keep(t.Context(), Query{SQL: c.sql}, c.k)
			if problem.Of(err).Code != c.code || strings.Contains(cause(err), "110101199003074321") {
				t.Errorf("got %s", cause(err))
			}
			s.Close()
			mustBeGone(t, s.process)
			mustHold(t, w, old)
		})
	}
	t.Run("a session that may not", func(t *testing.T) {
		_, err := session(t, v, DefaultLimits).Keep(t.Context(), Query{SQL: "SELECT 1 AS x"}, Keeping{Owner: owner, Name: "t", Quota: quota})
		jobFailedBecause(t, err, "keeps no tables")
		mustHold(t, w, old)
	})
}

// mustHold checks that the workspaces hold these tables and no other file.
func mustHold(t testing.TB, w *Workspaces, want ...Kept) {
	t.Helper()
	var files, rows []string
	for _, k := range want {
		files = append(files, w.path(k))
		rows = append(rows, string(k.purpose()))
	}
	found, err := filepath.Glob(filepath.Join(w.dir, "[gh]*", "*")) // and not what was moved aside
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, found, cmpopts.EquateEmpty(), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error("files:", diff)
	}
	var keys, tables []string
	if err := w.vault.db.NewSelect().Model((*wrappedKey)(nil)).Column("purpose").Where("purpose LIKE 'kept/%'").Scan(t.Context(), &keys); err != nil {
		t.Fatal(err)
	}
	var kept []keptRow
	if err := w.vault.db.NewSelect().Model(&kept).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range kept {
		k, err := r.kept()
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, string(k.purpose()))
	}
	for name, got := range map[string][]string{"keys": keys, "rows": tables} {
		if diff := cmp.Diff(rows, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(strings.Compare)); diff != "" {
			t.Error(name+":", diff)
		}
	}
}

// Every step of keeping fails once, by an error and by the end of the process. There is either the old table or the new
// one, and it can be read; at the next start nothing else is left.
func TestKeepFailsAtEachStep(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		for _, why := range []error{errors.New("disk on fire"), errCrash} {
			t.Run(why.Error(), func(t *testing.T) { failEachKeep(t, db, why) })
		}
	})
}

func failEachKeep(t *testing.T, db *bun.DB, why error) {
	dir := filepath.Join(t.TempDir(), "vault")
	open := func() (*Vault, *Workspaces) {
		v, err := OpenVault(t.Context(), dir, db, worker, master)
		if err != nil {
			t.Fatal(err)
		}
		return v, workspaces(t, v)
	}
	owner := OfGrant("g-1")
	replace := func(v *Vault, x int) (Kept, error) {
		s, err := NewWorkers(worker, v, DefaultLimits).StartKeeping(t.Context(), "job", room, nil)
		if err != nil {
			t.Fatal(cause(err))
		}
		defer s.Close()
		return s.Keep(t.Context(), Query{SQL: fmt.Sprintf("SELECT %d AS x", x)}, Keeping{Owner: owner, Name: "t", Quota: quota})
	}
	v, _ := open()
	if _, err := replace(v, 0); err != nil {
		t.Fatal(cause(err))
	}
	for n := 0; ; n++ {
		v, w := open()
		before, err := w.Table(t.Context(), owner, "t")
		if err != nil {
			t.Fatal(err)
		}
		reached := failAt(v, n, why)
		_, err = replace(v, n+1)
		if *reached == "" {
			if err != nil {
				t.Fatal(cause(err))
			}
			if n < 6 {
				t.Errorf("keeping has only %d steps", n)
			}
			break
		}
		if err == nil {
			t.Fatalf("step %d, %s: no error", n, *reached)
		}
		v, w = open()
		now, err := w.Table(t.Context(), owner, "t")
		if err != nil {
			t.Fatal(err)
		}
		mustHold(t, w, now)
		want := before.Version
		if *reached == "remove replaced" {
			want++
		}
		if got, err := ask(t, v, "SELECT x FROM kept_t.main.data", now); err != nil || now.Version != want {
			t.Errorf("step %d, %s: version %d holds %s, %s", n, *reached, now.Version, got, cause(err))
		}
	}
	_, w := open()
	if _, err := w.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	mustHold(t, w)
	if _, err := db.NewDelete().Model((*wrappedKey)(nil)).Where("true").Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What is deleted is told, and can be read by nobody, also where its file is still somewhere.
func TestWorkspaceDelete(t *testing.T) {
	v := withPeople(t)
	w := workspaces(t, v)
	mine, other := OfGrant("g-1"), OfGrant("g-2")
	a, b, c := keep(t, v, mine, "a", "SELECT 1 AS x"), keep(t, v, mine, "b", "SELECT 2 AS x"), keep(t, v, other, "a", "SELECT 3 AS x")
	copied, err := os.ReadFile(w.path(a))
	if err != nil {
		t.Fatal(err)
	}
	if dropped, err := w.Drop(t.Context(), mine, "b"); err != nil || dropped.Hash != b.Hash {
		t.Errorf("dropped %+v, %v", dropped, err)
	}
	mustHold(t, w, a, c)
	if _, err := w.Drop(t.Context(), mine, "b"); problem.Of(err).Code != "sandbox.unknown-table" {
		t.Error(err)
	}
	deleted, err := w.Delete(t.Context(), mine)
	if err != nil || len(deleted) != 1 || deleted[0].Hash != a.Hash {
		t.Errorf("deleted %+v, %v", deleted, err)
	}
	mustHold(t, w, c)
	if again, err := w.Delete(t.Context(), mine); err != nil || len(again) != 0 {
		t.Errorf("deleted %+v, %v", again, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(w.path(a)), 0o700), os.WriteFile(w.path(a), copied, 0o400)); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, v, "SELECT x FROM kept_a.main.data", a); problem.Of(err).Code != "sandbox.broken-seal" {
		t.Error(cause(err))
	}
	if got, err := ask(t, v, "SELECT x FROM kept_a.main.data", c); err != nil || got != "3" {
		t.Errorf("the other's table holds %s, %s", got, cause(err))
	}
	if _, err := w.Delete(t.Context(), "grant-../.."); err == nil {
		t.Error("a path was deleted")
	}
}

// Two grants never meet: not in one process, and not by a file in the other's place.
func TestGrantsDoNotMeet(t *testing.T) {
	v := withPeople(t)
	w := workspaces(t, v)
	a, b := keep(t, v, OfGrant("g-1"), "t", "SELECT 1 AS x"), keep(t, v, OfGrant("g-2"), "t", "SELECT 2 AS x")
	_, err := ask(t, v, "SELECT 1", a, b)
	jobFailedBecause(t, err, "two grants")
	text, err := os.ReadFile(w.path(a))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(w.path(b)), os.WriteFile(w.path(b), text, 0o400)); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, v, "SELECT x FROM kept_t.main.data", b); problem.Of(err).Code != "sandbox.broken-seal" {
		t.Error(cause(err))
	}
	history := keep(t, v, OfHistory("people"), "atoms", "SELECT 5 AS x")
	if got, err := ask(t, v, "SELECT kept_t.main.data.x + kept_atoms.main.data.x FROM kept_t.main.data, kept_atoms.main.data", a, history); err != nil || got != "6" {
		t.Errorf("%s, %s", got, cause(err))
	}
}

func TestKeepCancelled(t *testing.T) {
	v := withPeople(t)
	w := workspaces(t, v)
	ctx, cancel := context.WithCancel(t.Context())
	v.step = func(name string) error {
		if name == "sync workspace" {
			cancel()
		}
		return nil
	}
	s := keeping(t, v)
	_, err := s.Keep(ctx, Query{SQL: "SELECT 1 AS x"}, Keeping{Owner: OfGrant("g-1"), Name: "t", Quota: quota})
	jobFailedBecause(t, err, "canceled")
	mustHold(t, w)
}
