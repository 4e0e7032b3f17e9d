package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

func TestSearch(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		start := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
		now := start
		opts.Clock = func() time.Time { now = now.Add(time.Minute); return now } // entry i at minute i+1
		log := open(t, db, opts)
		appendN(t, log, 6) // actors 分析员0, 1, 2, 0, 1, 2
		other := audit.Event{Kind: "grant.created", Actor: "o'fficer?", Grant: audit.Registered("grant/2"), Object: audit.Registered("grant/2")}
		if _, err := log.Append(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
		for name, c := range map[string]struct {
			filter audit.Filter
			want   []int64
		}{
			"all":               {audit.Filter{}, []int64{0, 1, 2, 3, 4, 5, 6}},
			"kind":              {audit.Filter{Kind: "grant.created"}, []int64{6}},
			"one of two kinds":  {audit.Filter{Kinds: []string{"grant.created", "grant.ended"}}, []int64{6}},
			"actor":             {audit.Filter{Actor: "分析员1"}, []int64{1, 4}},
			"actor with quote":  {audit.Filter{Actor: "o'fficer?"}, []int64{6}},
			"injection":         {audit.Filter{Actor: "x' OR '1'='1"}, nil},
			"grant":             {audit.Filter{Grant: "grant/1", After: 4}, []int64{4, 5}},
			"job":               {audit.Filter{Job: "job/3"}, []int64{3}},
			"object":            {audit.Filter{Object: "grant/2"}, []int64{6}},
			"from":              {audit.Filter{From: minute(6)}, []int64{5, 6}},
			"until":             {audit.Filter{Until: minute(2)}, []int64{0}},
			"page":              {audit.Filter{After: 2, Limit: 2}, []int64{2, 3}},
			"actor and job":     {audit.Filter{Actor: "分析员0", Job: "job/3"}, []int64{3}},
			"actor, other job":  {audit.Filter{Actor: "分析员0", Job: "job/4"}, nil},
			"beyond the newest": {audit.Filter{After: 7}, nil},
		} {
			records, err := log.Search(t.Context(), c.filter)
			if err != nil {
				t.Fatal(err)
			}
			var got []int64
			for _, r := range records {
				got = append(got, r.Index)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: found %v, want %v", name, got, c.want)
			}
		}
		records, err := log.Search(t.Context(), audit.Filter{Job: "job/3"})
		if err != nil {
			t.Fatal(err)
		}
		r, e := records[0], event(3)
		if r.Kind != e.Kind || r.Actor != e.Actor || r.Grant != e.Grant.String() || r.Object != e.Object.String() || r.Facts["mode"] != "<exact>" ||
			string(r.Payload) != string(e.Payload) || !r.Time.Equal(minute(4)) || r.Erased {
			t.Errorf("record: %+v", r)
		}
	})
}

func TestSearchShowsOnlyWhatTheTreeHolds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		log := open(t, db, options(t))
		appendN(t, log, 3)
		unlock(t, db)
		run(t, db, "UPDATE audit_private SET actor = 'somebody else' WHERE idx = 1")
		_, err := log.Search(t.Context(), audit.Filter{})
		if !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), "entry 1: actor") {
			t.Errorf("a changed actor: %v", err)
		}
		if records, err := log.Search(t.Context(), audit.Filter{Job: "job/2"}); err != nil || len(records) != 1 {
			t.Errorf("an entry beside it: %v, %v", records, err)
		}
	})
}

func TestErase(t *testing.T) {
	storetest.EachSource(t, func(t *testing.T, source string) {
		db, opts := storetest.Open(t, source), options(t)
		log := open(t, db, opts)
		marker := "SELECT 'ERASE-ME-7f3a'"
		r, err := log.Append(t.Context(), audit.Event{Kind: "job.intent", Actor: "zhang.wei", Job: audit.Registered("job/erased"), Payload: []byte(marker)})
		if err != nil {
			t.Fatal(err)
		}
		appendN(t, log, 2)
		erasure, err := log.Erase(t.Context(), r.Index, "officer", "a name in a literal")
		if err != nil {
			t.Fatal(err)
		}
		for job, want := range map[string]bool{"job/erased": true, "job/1": false} {
			found, err := log.Search(t.Context(), audit.Filter{Job: job})
			if err != nil || len(found) != 1 || found[0].Erased != want || (found[0].Actor == "") != want || (found[0].Payload == nil) != want {
				t.Errorf("%s after the erasure: %+v, %v", job, found, err)
			}
		}
		found, err := log.Search(t.Context(), audit.Filter{Kind: "entry.erased"})
		if err != nil || len(found) != 1 || found[0].Index != erasure.Index || found[0].Object != "entry/0" ||
			found[0].Actor != "officer" || string(found[0].Payload) != "a name in a literal" {
			t.Errorf("the erasure: %+v, %v", found, err)
		}
		if report := sound(t, db, opts, r.Checkpoint, erasure.Checkpoint); report.Erased != 1 {
			t.Errorf("%d erased", report.Erased)
		}
		for _, index := range []int64{r.Index, 4, -1} { // again, the end of the log, no place
			if _, err := log.Erase(t.Context(), index, "officer", "again"); problem.Of(err).Code != "audit.nothing-to-erase" {
				t.Errorf("erase %d: %v", index, err)
			}
		}
		if report := sound(t, db, opts); report.Entries != 4 {
			t.Errorf("refused erasures are on the log: %d entries", report.Entries)
		}
		if !strings.HasPrefix(source, "postgres") {
			gone(t, filepath.Dir(source), marker)
		}
		unlock(t, db)
		run(t, db, "INSERT INTO audit_private (idx, actor) VALUES (0, 'x')")
		if found := faults(t, db, opts); !slices.Contains(found, "entry 0: was erased, but its private part is there") {
			t.Errorf("put back: %q", found)
		}
	})
}

// gone looks for erased text in the files of a database.
func gone(t *testing.T, folder, text string) {
	t.Helper()
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), text) {
			t.Errorf("%s still holds what was erased", file.Name())
		}
	}
}

func TestKeys(t *testing.T) {
	folder := t.TempDir()
	var wait sync.WaitGroup
	keys := make([]audit.Key, 8)
	for i := range keys {
		wait.Go(func() {
			var err error
			if keys[i], err = audit.LoadKey(folder, origin); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, key := range keys {
		if key.Public != keys[0].Public || key.Public == "" {
			t.Errorf("servers that start at once made different keys: %q, %q", key.Public, keys[0].Public)
		}
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	path := filepath.Join(folder, files[0].Name())
	secret, err := os.ReadFile(path)
	if err != nil || strings.Contains(keys[0].Public, string(secret)) {
		t.Fatal("the public key is the secret one", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := audit.LoadKey(folder, "other.test/audit"); err == nil {
		t.Error("the key was taken for another log's")
	}
	for mode, want := range map[os.FileMode]bool{0o400: true, 0o640: false, 0o604: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.LoadKey(folder, origin); (err == nil) != want {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("PRIVATE+KEY+garbage"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.LoadKey(folder, origin); err == nil || strings.Contains(err.Error(), "garbage") {
		t.Errorf("a broken key: %v", err)
	}
}
