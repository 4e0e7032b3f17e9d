package audit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// fill appends from many writers at once, so that batches of several entries occur.
func fill(t testing.TB, log *audit.Log, n int) {
	t.Helper()
	var wait sync.WaitGroup
	for w := range 32 {
		wait.Go(func() {
			for i := w; i < n; i += 32 {
				if _, err := log.Append(context.Background(), event(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func TestAForeignClientReadsTheLogOverHTTP(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		log := open(t, db, opts)
		server := httptest.NewServer(http.StripPrefix("/log", log))
		defer server.Close()
		fetcher, err := torchwood.NewTileFetcher(server.URL+"/log", torchwood.WithUserAgent("weir test (weir.test)"))
		if err != nil {
			t.Fatal(err)
		}
		client, err := torchwood.NewClient(fetcher)
		if err != nil {
			t.Fatal(err)
		}
		total, before := 0, tlog.Tree{}
		for _, more := range []int{1, 254, 1, 1, 260} { // sizes 1, 255, 256, 257, 517
			fill(t, log, more)
			total += more
			signed, err := fetcher.ReadEndpoint(t.Context(), "checkpoint")
			if err != nil {
				t.Fatal(err)
			}
			checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy(t, opts))
			if err != nil || checkpoint.N != int64(total) {
				t.Fatalf("checkpoint of %d entries (%v), want %d", checkpoint.N, err, total)
			}
			read := 0
			for i, entry := range client.AllEntries(t.Context(), checkpoint.Tree, 0) {
				if r, err := log.Inclusion(t.Context(), i); err != nil || string(r.Leaf) != string(entry) {
					t.Fatalf("entry %d is %s (%v)", i, entry, err)
				}
				read++
			}
			if err := client.Err(); err != nil || read != total {
				t.Fatalf("read %d of %d entries: %v", read, total, err)
			}
			if before.N > 0 {
				proof, err := log.Consistency(t.Context(), before.N, checkpoint.N)
				if err != nil {
					t.Fatal(err)
				}
				if err := tlog.CheckTree(proof, checkpoint.N, checkpoint.Hash, before.N, before.Hash); err != nil {
					t.Errorf("%d to %d: %v", before.N, checkpoint.N, err)
				}
			}
			before = checkpoint.Tree
		}
		sound(t, db, opts)
	})
}

func TestTilesThatAreServed(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	log := open(t, db, options(t))
	fill(t, log, 300)
	for path, want := range map[string]int{
		"/checkpoint":            200,
		"/tile/0/000":            200,
		"/tile/0/000.p/7":        200, // a client may still ask for what it saw before
		"/tile/0/001.p/44":       200,
		"/tile/0/001.p/45":       404,
		"/tile/0/001":            404,
		"/tile/0/002":            404,
		"/tile/1/000.p/1":        200,
		"/tile/1/000.p/2":        404,
		"/tile/2/000.p/1":        404,
		"/tile/entries/000":      200,
		"/tile/entries/001.p/44": 200,
		"/tile/entries/001.p/45": 404,
		"/tile/63/000":           404,
		"/tile/0/x999/x999/x999/x999/x999/x999/999": 404,
		"/tile/0/-01":  404,
		"/tile/0/0":    404,
		"/":            404,
		"/checkpoint/": 404,
	} {
		w := httptest.NewRecorder()
		log.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	log.ServeHTTP(w, httptest.NewRequest("POST", "/checkpoint", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestProofsOfWhatIsNotThere(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	log := open(t, db, options(t))
	appendN(t, log, 3)
	for _, index := range []int64{-1, 3} {
		if _, err := log.Inclusion(t.Context(), index); problem.Of(err).Code != "audit.no-such-entry" {
			t.Errorf("entry %d: %v", index, err)
		}
	}
	for _, sizes := range [][2]int64{{0, 1}, {2, 1}, {1, 4}, {-1, 1}} {
		if _, err := log.Consistency(t.Context(), sizes[0], sizes[1]); problem.Of(err).Code != "audit.no-such-tree" {
			t.Errorf("%v: %v", sizes, err)
		}
	}
	if _, err := log.Consistency(t.Context(), 3, 3); err != nil {
		t.Errorf("a tree with itself: %v", err)
	}
	if got := fmt.Sprint(problem.New("audit.no-such-entry", "index", "9").In(problem.Chinese).Detail); got != "审计日志中没有第 9 条。" {
		t.Error(got)
	}
}
