package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/internal/store"
)

// files lists what the data folder holds, but for the database's own.
func (s *storm) files(t testing.TB) (names []string) {
	t.Helper()
	err := filepath.WalkDir(s.data, func(path string, _ os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		name, _ := filepath.Rel(s.data, path)
		switch {
		case strings.HasPrefix(name, storeFile), strings.HasPrefix(name, keysFolder+"/."): // of a moment
		case strings.Contains(name, "/aside-"): // what a kill cut off, which is told and kept
		default:
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// takenOver waits until what ran anywhere, when a node had died, has come to its end, and counts what the dead node had.
func (s *storm) takenOver(t *testing.T, db *bun.DB) (interrupted int) {
	t.Helper()
	var ids []string
	if err := db.NewRaw("SELECT id FROM gateway_jobs WHERE state = 'running'").Scan(t.Context(), &ids); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		var left int
		err := db.NewRaw("SELECT count(*) FROM gateway_jobs WHERE state = 'running' AND id IN (?)", bun.List(ids)).Scan(t.Context(), &left)
		if err != nil {
			t.Fatal(err)
		}
		if left == 0 {
			break
		}
		if time.Since(begin) > stormPatience {
			t.Fatalf("%d jobs of a dead node are running", left)
		}
	}
	err := db.NewRaw("SELECT count(DISTINCT job) FROM audit_entries WHERE kind = 'job.interrupted' AND job IN (?)", bun.List(ids)).Scan(t.Context(), &interrupted)
	if err != nil {
		t.Fatal(err)
	}
	return interrupted
}

// check looks at what the storm has left.
func (s *storm) check(t *testing.T, at recorded) {
	t.Helper()
	for _, n := range s.nodes {
		n.stop(t)
		n.nothing(t)
	}
	if after := s.files(t); !slices.Equal(after, s.begun) {
		t.Errorf("before the storm there were %v, after it %v", s.begun, after)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), s.data) {
		t.Errorf("something of the platform is still mounted, %v", err)
	}
	at.out.Reset()
	if code := run(t.Context(), []string{"--lang", "en", "audit", "verify", "--data", s.data}, at.terminal); code != 0 {
		t.Errorf("the log does not verify: %s%s", at.out, at.err)
	}
	s.count(t)
}

// count compares the jobs with what the log and the release queue say of them.
func (s *storm) count(t *testing.T) {
	t.Helper()
	db, err := store.Open(t.Context(), s.source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(table, expression string) map[string]string {
		t.Helper()
		var rows []struct{ ID, Value string }
		if err := db.NewRaw("SELECT "+expression+" FROM "+table).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		values := map[string]string{}
		for _, row := range rows {
			values[row.ID] = row.Value
		}
		return values
	}
	states := list("gateway_jobs", "id, state AS value")
	released := list("export_releases", "id, state AS value")
	charged := list("gateway_usage", "job AS id, state AS value")
	started := list("gateway_jobs", "id, started_at AS value")
	intents, outcomes := s.logged(t)
	tally := map[string]int{}
	for job, state := range states {
		tally[state]++
		switch state {
		case "released", "waiting", "denied", "failed", "cancelled":
		default:
			t.Errorf("job %s is %s", job, state)
		}
		if (released[job] == "released") != (state == "released") {
			t.Errorf("job %s is %s, and in the release queue %q", job, state, released[job])
		}
		if state == "released" && (intents[job] != 1 || outcomes[job] != 1) {
			t.Errorf("job %s was released with %d intents and %d outcomes on the log", job, intents[job], outcomes[job])
		}
		if intents[job] > 1 || outcomes[job] > 1 {
			t.Errorf("job %s has %d intents and %d outcomes on the log", job, intents[job], outcomes[job])
		}
		if _, ok := charged[job]; ok != (started[job] != "0") {
			t.Errorf("job %s began at %s, and is charged: %v", job, started[job], ok)
		}
	}
	for job := range released {
		if states[job] == "" {
			t.Errorf("%s is in the release queue and no job", job)
		}
	}
	if int64(len(states)) != s.asked.Load() {
		t.Errorf("%d jobs of %d questions", len(states), s.asked.Load())
	}
	if texts := list("gateway_job_texts", "job AS id, '' AS value"); len(texts) > 0 {
		t.Errorf("%d texts are kept of jobs that have ended", len(texts))
	}
	t.Logf("jobs: %v", tally)
	if tally["released"] == 0 || tally["denied"] == 0 {
		t.Errorf("the storm left nothing to look at: %v", slices.Sorted(maps.Keys(tally)))
	}
}

// logged counts what stands on the log of each job: announcements, and outcomes that let something out.
func (s *storm) logged(t *testing.T) (intents, outcomes map[string]int) {
	t.Helper()
	intents, outcomes = map[string]int{}, map[string]int{}
	db, err := store.Open(t.Context(), s.source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	key, err := audit.LoadKey(filepath.Join(s.data, keysFolder), defaults.Origin)
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), db, audit.Options{Origin: defaults.Origin, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for after := int64(0); ; {
		records, err := log.Search(t.Context(), audit.Filter{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return intents, outcomes
		}
		for _, r := range records {
			after = r.Index + 1
			switch {
			case r.Kind == "job.intent":
				intents[r.Job]++
			case r.Kind == "job.outcome" && r.Facts["outcome"] == "released":
				outcomes[r.Job]++
			}
		}
	}
}
