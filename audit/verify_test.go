package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/internal/store/storetest"
)

// unlock drops what stops accidents, as somebody who means harm would.
func unlock(t testing.TB, db *bun.DB) {
	t.Helper()
	for _, table := range []string{"entries", "hashes", "checkpoints", "private"} {
		if db.Dialect().Name().String() == "pg" {
			run(t, db, "ALTER TABLE audit_"+table+" DISABLE TRIGGER USER")
			continue
		}
		run(t, db, "DROP TRIGGER IF EXISTS audit_"+table+"_keep")
		run(t, db, "DROP TRIGGER IF EXISTS audit_"+table+"_fix")
	}
}

func run(t testing.TB, db *bun.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.NewRaw(query, args...).Exec(t.Context()); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func faults(t testing.TB, db *bun.DB, opts audit.Options, kept ...[]byte) []string {
	t.Helper()
	report, err := audit.Verify(t.Context(), db, audit.VerifyOptions{Policy: policy(t, opts), Kept: kept})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, fault := range report.Faults {
		found = append(found, fault.String())
	}
	return found
}

// Each column of the log's tables that holds text or bytes, the key of its rows, and what a fault in it is called.
var columns = []struct{ table, key, column, place string }{
	{"audit_entries", "idx", "leaf", "entry %d: "},
	{"audit_entries", "idx", "kind", "entry %d: kind does not match its leaf"},
	{"audit_entries", "idx", "grant_id", "entry %d: grant does not match its leaf"},
	{"audit_entries", "idx", "job", "entry %d: job does not match its leaf"},
	{"audit_entries", "idx", "object", "entry %d: object does not match its leaf"},
	{"audit_hashes", "idx", "hashes", "hash %[2]d/%[3]d: does not follow from the entries below it"},
	{"audit_checkpoints", "size", "note", "checkpoint %d: "},
	{"audit_private", "idx", "actor_salt", "entry %d: actor does not match its hash"},
	{"audit_private", "idx", "actor", "entry %d: actor does not match its hash"},
	{"audit_private", "idx", "payload_salt", "entry %d: payload does not match its hash"},
	{"audit_private", "idx", "payload", "entry %d: payload does not match its hash"},
}

// TestEveryFlippedByteIsFoundAndNamed flips a bit of each byte in each row of each of the log's tables in turn.
func TestEveryFlippedByteIsFoundAndNamed(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	opts := options(t)
	appendN(t, open(t, db, opts), 4)
	unlock(t, db)
	for _, c := range columns {
		var rows []struct {
			Key   int64
			Value []byte
			Kind  string
		}
		query := fmt.Sprintf("SELECT %s AS key, CAST(%[2]s AS BLOB) AS value, typeof(%[2]s) AS kind FROM %[3]s ORDER BY 1", c.key, c.column, c.table)
		if err := db.NewRaw(query).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			write := func(value []byte) {
				run(t, db, fmt.Sprintf("UPDATE %s SET %s = CAST(? AS %s) WHERE %s = ?", c.table, c.column, row.Kind, c.key), value, row.Key)
			}
			if len(row.Value) == 0 {
				t.Fatalf("%s.%s of row %d is empty: nothing is tested", c.table, c.column, row.Key)
			}
			for i := range row.Value {
				value := bytes.Clone(row.Value)
				value[i] ^= 1 << (i % 8)
				write(value)
				found := faults(t, db, opts)
				level := i / 32 // of a hash
				want := fmt.Sprintf(c.place, row.Key, level, row.Key>>level)
				want, _, _ = strings.Cut(want, "%!(EXTRA")
				if len(found) == 0 || !strings.HasPrefix(found[0], want) {
					t.Fatalf("byte %d of %s.%s in row %d: want %q first, found %q", i, c.table, c.column, row.Key, want, found)
				}
			}
			write(row.Value)
		}
	}
	sound(t, db, opts)
}

// TestFlippedBytesOfTheFileAreFound changes the database's file beneath SQLite, wherever it holds a certain text: in
// the leaf, in the column beside it, and in the index by which a search would find it.
func TestFlippedBytesOfTheFileAreFound(t *testing.T) {
	path, opts := storetest.SQLite(t), options(t)
	db := storetest.Open(t, path)
	appendN(t, open(t, db, opts), 30)
	run(t, db, "PRAGMA wal_checkpoint(TRUNCATE)")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	places, text := 0, []byte("job/17")
	for at := bytes.Index(content, text); at >= 0; places++ {
		changed := filepath.Join(t.TempDir(), "changed.sqlite")
		flipped := bytes.Clone(content)
		flipped[at+4] ^= 4 // job/57
		if err := os.WriteFile(changed, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		found := faults(t, storetest.Open(t, changed), opts)
		if len(found) == 0 || !strings.HasPrefix(found[0], "entry 17: ") && found[0] != "table audit_entries: SQLite finds its pages or indexes damaged" {
			t.Errorf("byte %d of the file: found %q", at+4, found)
		}
		next := bytes.Index(content[at+1:], text)
		if next < 0 {
			break
		}
		at += 1 + next
	}
	if places < 2 { // counted from 0
		t.Fatalf("the text stands at %d places: the index is not tested", places+1)
	}
}

func TestTamperedRowsAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ sql, want string }{
		"time changed":           {"UPDATE audit_entries SET at = at + 1 WHERE idx = 2", "entry 2: time does not match its leaf"},
		"entry deleted":          {"DELETE FROM audit_entries WHERE idx = 3", "entry 3: is missing"},
		"last entry deleted":     {"DELETE FROM audit_entries WHERE idx = 5", "entry 5: is missing"},
		"hashes deleted":         {"DELETE FROM audit_hashes WHERE idx = 3", "hash 0/3: is missing, with all that are stored with it"},
		"both deleted":           {"DELETE FROM audit_hashes WHERE idx = 3; DELETE FROM audit_entries WHERE idx = 3", "entry 3: is missing"},
		"checkpoints deleted":    {"DELETE FROM audit_checkpoints", "table audit_checkpoints: there is no checkpoint"},
		"newest checkpoint gone": {"DELETE FROM audit_checkpoints WHERE size = 6", "entry 5: lies beyond the newest checkpoint, which is 5"},
		"private part deleted":   {"DELETE FROM audit_private WHERE idx = 1", "entry 1: private part is missing, and no erasure is on the log"},
		"entries swapped": {"UPDATE audit_entries SET idx = 99 WHERE idx = 1; UPDATE audit_entries SET idx = 1 WHERE idx = 2; UPDATE audit_entries SET idx = 2 WHERE idx = 99",
			"entry 1: actor does not match its hash"},
		"entry added": {"INSERT INTO audit_entries SELECT 6, at, kind, grant_id, job, object, leaf FROM audit_entries WHERE idx = 5",
			"entry 6: lies beyond the newest checkpoint, which is 6"},
		"entry before the first": {"INSERT INTO audit_entries SELECT -1, at, kind, grant_id, job, object, leaf FROM audit_entries WHERE idx = 5",
			"entry -1: is not a place in the log"},
		"checkpoint of another size": {"DELETE FROM audit_checkpoints WHERE size = 4; UPDATE audit_checkpoints SET size = 4 WHERE size = 3",
			"checkpoint 4: is signed for 3 entries"},
		"private part added": {"INSERT INTO audit_private (idx, actor) VALUES (7, 'x')", "private part of entry 7: lies beyond the newest checkpoint, which is 6"},
		"hashes cut":         {"UPDATE audit_hashes SET hashes = substr(hashes, 1, 40) WHERE idx = 1", "hash 0/1: and those stored with it have 40 bytes, not 64"},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				opts := options(t)
				appendN(t, open(t, db, opts), 6)
				unlock(t, db)
				for statement := range strings.SplitSeq(c.sql, ";") {
					run(t, db, statement)
				}
				if found := faults(t, db, opts); len(found) == 0 || found[0] != c.want {
					t.Errorf("want %q first, found %q", c.want, found)
				}
			})
		})
	}
}

// What disagrees with what is decided by the next checkpoint, here one that covers many entries.
func TestARewrittenLeafIsToldFromARewrittenHash(t *testing.T) {
	for name, c := range map[string]struct {
		leaf, hash bool
		want       []string
	}{
		"neither":                  {false, false, nil},
		"the leaf":                 {true, false, []string{"entry 140: does not match its hash, which checkpoint 290 confirms"}},
		"the hash":                 {false, true, []string{"hash 0/140: does not follow from the entries below it"}},
		"both, so that they agree": {true, true, []string{"entries 140 to 141: do not give hash 1/70, which checkpoint 290 confirms"}},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				opts := options(t)
				log := open(t, db, opts)
				var wait sync.WaitGroup
				for i := range 300 {
					wait.Go(func() {
						if _, err := log.Append(context.Background(), event(i)); err != nil {
							t.Error(err)
						}
					})
				}
				wait.Wait()
				unlock(t, db)
				// As if these had been one batch that ended at 290.
				run(t, db, "DELETE FROM audit_checkpoints WHERE size > 120 AND size < 300")
				run(t, db, "INSERT INTO audit_checkpoints (size, note) VALUES (290, ?)", resign(t, log, opts, 290))
				var row struct{ Leaf, Hashes []byte }
				query := "SELECT e.leaf, h.hashes FROM audit_entries e JOIN audit_hashes h ON h.idx = e.idx WHERE e.idx = 140"
				if err := db.NewRaw(query).Scan(t.Context(), &row); err != nil {
					t.Fatal(err)
				}
				leaf := bytes.Replace(row.Leaf, []byte("grant/1"), []byte("grant/2"), 1)
				hash := tlog.Hash{}
				if c.leaf {
					run(t, db, "UPDATE audit_entries SET grant_id = 'grant/2', leaf = ? WHERE idx = 140", leaf)
					hash = tlog.RecordHash(leaf)
				}
				if c.hash {
					run(t, db, "UPDATE audit_hashes SET hashes = ? WHERE idx = 140", hash[:])
				}
				if found := faults(t, db, opts); !slices.Equal(found, c.want) {
					t.Errorf("want %q, found %q", c.want, found)
				}
			})
		})
	}
}

// resign signs the tree of a size as the log would have, from its tiles.
func resign(t *testing.T, log *audit.Log, opts audit.Options, size int64) []byte {
	t.Helper()
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			tile := tlog.TileForIndex(torchwood.TileHeight, index)
			data, err := log.Tile(t.Context(), tile)
			if err != nil {
				return nil, err
			}
			if hashes[i], err = tlog.HashFromTile(tile, data, index); err != nil {
				return nil, err
			}
		}
		return hashes, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	text := torchwood.Checkpoint{Origin: opts.Origin, Tree: tlog.Tree{N: size, Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, opts.Key.Signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestAnotherHistoryNeedsAKeptCheckpoint(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		kept := appendN(t, open(t, db, opts), 5)[3].Checkpoint
		if found := faults(t, db, opts, kept); len(found) != 0 {
			t.Fatalf("before: %q", found)
		}

		unlock(t, db)
		for _, table := range []string{"entries", "hashes", "private"} {
			run(t, db, "DELETE FROM audit_"+table+" WHERE idx >= 2")
		}
		run(t, db, "DELETE FROM audit_checkpoints WHERE size > 2")
		if found := faults(t, db, opts); len(found) != 0 {
			t.Errorf("a log that was cut short is in itself sound, but: %q", found)
		}
		want := []string{"kept checkpoint 4: the log has only 2 entries: the end was cut off"}
		if found := faults(t, db, opts, kept); !slices.Equal(found, want) {
			t.Errorf("want %q, found %q", want, found)
		}

		appendN(t, open(t, db, opts), 5) // whoever holds the key goes on differently
		want = []string{"kept checkpoint 4: the log now has another history"}
		if found := faults(t, db, opts, kept); !slices.Equal(found, want) {
			t.Errorf("want %q, found %q", want, found)
		}
	})
}

func TestAnotherKeyIsNotBelieved(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		appendN(t, open(t, db, opts), 2)
		other := options(t)
		if found := faults(t, db, other); len(found) == 0 || found[0] != "checkpoint 0: signature or form is not valid" {
			t.Errorf("found %q", found)
		}
		if _, err := audit.Open(t.Context(), db, other); err == nil {
			t.Error("the log was opened with another key")
		}
		elsewhere := opts
		elsewhere.Origin = "other.test/audit"
		if _, err := audit.Open(t.Context(), db, elsewhere); err == nil {
			t.Error("the log was opened under another origin")
		}
	})
}

func TestTheDatabaseRefusesAccidents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		appendN(t, open(t, db, opts), 2)
		statements := []string{"UPDATE audit_private SET payload = NULL"}
		for _, table := range []string{"entries", "hashes", "checkpoints"} {
			key := map[bool]string{true: "size", false: "idx"}[table == "checkpoints"]
			statements = append(statements, "DELETE FROM audit_"+table, fmt.Sprintf("UPDATE audit_%s SET %s = %s", table, key, key))
		}
		if db.Dialect().Name().String() == "pg" {
			statements = append(statements, "TRUNCATE audit_entries", "TRUNCATE audit_private")
		}
		for _, statement := range statements {
			if _, err := db.ExecContext(context.Background(), statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
		sound(t, db, opts)
	})
}

// What is appended and erased while a log is verified is not taken for damage.
func TestVerifyWhileTheLogGrows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		log := open(t, db, opts)
		fill(t, log, 1100) // more than is read at once
		stop := make(chan struct{})
		var wait sync.WaitGroup
		wait.Go(func() {
			for i := range int64(1100) {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := log.Erase(context.Background(), 1099-i, "officer", "test"); err != nil {
					t.Error(err)
				}
			}
		})
		last := int64(0)
		for range 5 {
			var told int64
			report, err := log.Verify(t.Context(), func(done, total int64) { told = done })
			if err != nil || !report.OK() || report.Entries < last || told != report.Entries {
				t.Errorf("report %+v, progress to %d, %v", report, told, err)
			}
			last = report.Entries
		}
		close(stop)
		wait.Wait()
		if report := sound(t, db, opts); report.Entries-1100 != int64(report.Erased) || report.Erased == 0 {
			t.Errorf("%d entries, %d erased", report.Entries, report.Erased)
		}
	})
}
