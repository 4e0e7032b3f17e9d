// Package storetest runs a test against the databases that Weir really runs on: an SQLite file and a PostgreSQL
// server.
//
// The server is the machine's own PostgreSQL, started by the test process for itself as an unprivileged user,
// in a new directory, reachable only through a socket in that directory. It is shared by the tests of one
// process and ends with that process, however that ends. Only tests may import this package.
package storetest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/store"
)

// Each runs the test twice, on a fresh SQLite file and on a fresh PostgreSQL database.
func Each(t *testing.T, run func(t *testing.T, db *bun.DB)) {
	t.Helper()
	EachSource(t, func(t *testing.T, source string) { run(t, Open(t, source)) })
}

// EachSource is Each for tests that open the database themselves, several times or in another process: it hands
// over what store.Open takes.
func EachSource(t *testing.T, run func(t *testing.T, source string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { run(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { run(t, Postgres(t)) })
}

// Open opens a source for the time of the test.
func Open(t testing.TB, source string) *bun.DB {
	t.Helper()
	db, err := store.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return db
}

// SQLite is the path of an SQLite file that does not exist yet.
func SQLite(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "weir.sqlite")
}

var databases atomic.Int64

// Postgres is the address of a new, empty PostgreSQL database, dropped when the test ends. Without PostgreSQL on
// the machine the test fails: a platform that is only tested on one of its two databases is not tested.
func Postgres(t testing.TB) string {
	t.Helper()
	if os.Getenv("WEIR_TEST_POSTGRES") == "off" {
		t.Skip("NOT TESTED ON POSTGRESQL: WEIR_TEST_POSTGRES=off")
	}
	socket, err := server()
	if err != nil {
		t.Fatalf("PostgreSQL for the tests: %v\n"+
			"Run `make setup`, which installs it, or set WEIR_TEST_POSTGRES=off to go without.", err)
	}
	name := fmt.Sprintf("weir_%d", databases.Add(1))
	administer(t, socket, "CREATE DATABASE "+name)
	t.Cleanup(func() { administer(t, socket, "DROP DATABASE "+name+" WITH (FORCE)") })
	return address(socket, name)
}

func address(socket, database string) string {
	return "postgres://weir@/" + database + "?" + url.Values{"host": {socket}}.Encode()
}

func administer(t testing.TB, socket, statement string) {
	t.Helper()
	ctx := context.Background() // the test's own is over when it cleans up
	db, err := store.Open(ctx, address(socket, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		t.Fatalf("%s: %v", strings.Fields(statement)[0], err)
	}
}
