package store_test

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/store"
	"weir/internal/store/storetest"
)

// Two rooms with migrations of the same version, as all rooms have.
var (
	//go:embed testdata/one/migrations
	one embed.FS
	//go:embed testdata/two/migrations
	two embed.FS
)

func TestMigrateRunsEachRoomOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		for range 2 {
			for name, folder := range map[string]embed.FS{"one": one, "two": two} {
				if err := store.Migrate(t.Context(), db, name, sub(t, folder, "testdata/"+name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for table, want := range map[string]int64{"counter": 1, "other": 0} {
			if got, err := db.NewSelect().Table(table).Count(t.Context()); err != nil || got != want {
				t.Errorf("%s holds %d rows (%v), want %d", table, got, err, want)
			}
		}
	})
}

func TestMigrateByManyAtOnce(t *testing.T) {
	storetest.EachSource(t, func(t *testing.T, source string) {
		var wait sync.WaitGroup
		for range 6 {
			db := storetest.Open(t, source)
			wait.Go(func() {
				if err := store.Migrate(context.Background(), db, "one", sub(t, one, "testdata/one")); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
	})
}

func TestReadThenWriteTransactionsTakeTurns(t *testing.T) {
	storetest.EachSource(t, func(t *testing.T, source string) {
		first := storetest.Open(t, source)
		if err := store.Migrate(t.Context(), first, "one", sub(t, one, "testdata/one")); err != nil {
			t.Fatal(err)
		}
		const each, writers = 20, 8
		var wait sync.WaitGroup
		for i := range writers {
			db := first
			if i%2 == 1 {
				db = storetest.Open(t, source) // as another process would
			}
			wait.Go(func() {
				for range each {
					if err := increment(context.Background(), db); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		var value int
		if err := first.NewRaw("SELECT value FROM counter").Scan(t.Context(), &value); err != nil || value != each*writers {
			t.Errorf("counter is %d (%v), want %d: a write was lost", value, err, each*writers)
		}
	})
}

// increment reads and then writes. On PostgreSQL the row is locked by the read, which is what rooms do there; on
// SQLite the transaction itself is immediate.
func increment(ctx context.Context, db *bun.DB) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		query := tx.NewSelect().Table("counter").Column("value")
		if db.Dialect().Name().String() == "pg" {
			query = query.For("UPDATE")
		}
		var value int
		if err := query.Scan(ctx, &value); err != nil {
			return err
		}
		_, err := tx.NewRaw("UPDATE counter SET value = ?", value+1).Exec(ctx)
		return err
	})
}

func TestSQLiteSettingsBindOnEveryConnection(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	want := map[string]string{
		"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "foreign_keys": "1", "secure_delete": "1",
	}
	for range 16 { // all that the pool gives
		conn, err := db.DB.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for pragma, value := range want {
			var got string
			if err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != value {
				t.Errorf("%s is %q (%v), want %q", pragma, got, err, value)
			}
		}
	}
}

func TestSQLiteTransactionsAreImmediate(t *testing.T) {
	path := storetest.SQLite(t)
	db := storetest.Open(t, path)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	impatient, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=0&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	if _, err := impatient.Begin(); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a second transaction began beside one that had only begun: %v", err)
	}
}

func TestSQLiteFileNames(t *testing.T) {
	for _, name := range []string{"plain.db", "with space.db", "wo?hin#%41.db", "政务.db"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			db := storetest.Open(t, path)
			if _, err := db.ExecContext(t.Context(), "CREATE TABLE a (b INTEGER)"); err != nil {
				t.Fatal(err)
			}
			entries, err := os.ReadDir(filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				info, err := entry.Info()
				if err != nil || !strings.HasPrefix(entry.Name(), name) || info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %v (%v)", entry.Name(), info.Mode(), err)
				}
			}
			if len(entries) != 3 {
				t.Errorf("%d files, want the database, its log and its index", len(entries))
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, source := range []string{"", ":memory:", "file:a?mode=memory", filepath.Join(t.TempDir(), "no/such/folder.db"),
		"postgres://weir@/none?host=" + t.TempDir()} {
		if db, err := store.Open(t.Context(), source); err == nil {
			db.Close()
			t.Errorf("%q was opened", source)
		}
	}
	if _, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "no/folder.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func sub(t *testing.T, folder fs.FS, path string) fs.FS {
	t.Helper()
	below, err := fs.Sub(folder, path)
	if err != nil {
		t.Fatal(err)
	}
	return below
}
