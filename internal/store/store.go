// Package store opens the platform's database and brings its tables up to date.
//
// It is SQLite, embedded, on one node, and Postgres for several. Each room owns its tables and its migrations;
// this package knows none of them. It must never hold a row of a data set: those live in the vault.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // driver "sqlite3"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
)

// Open connects to the database that source names: "postgres://…", or the path of an SQLite file.
//
// SQLite is opened with immediate transactions, since a transaction that reads and then writes fails otherwise
// as soon as there are two, and with synchronous=FULL, since NORMAL loses acknowledged writes when power fails.
// What is deleted is overwritten with zeros, and a new file is readable by its owner alone, as are the files that
// SQLite puts beside it. A database in memory is refused: each connection would see one of its own.
func Open(ctx context.Context, source string) (*bun.DB, error) {
	if strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://") {
		return connect(ctx, "pgx", source, pgdialect.New())
	}
	if source == "" || strings.HasPrefix(source, ":memory:") || strings.HasPrefix(source, "file:") {
		return nil, errors.New("open store: the source is neither a postgres:// address nor the path of a file")
	}
	path, err := filepath.Abs(source)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	options := url.Values{
		"_txlock":        {"immediate"},
		"_journal_mode":  {"WAL"},
		"_synchronous":   {"FULL"},
		"_busy_timeout":  {"10000"},
		"_foreign_keys":  {"on"},
		"_secure_delete": {"on"},
	}
	return connect(ctx, "sqlite3", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+options.Encode(), sqlitedialect.New())
}

func connect(ctx context.Context, driver, source string, d schema.Dialect) (*bun.DB, error) {
	raw, err := sql.Open(driver, source)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	raw.SetMaxOpenConns(16)
	raw.SetMaxIdleConns(16)
	if err := raw.PingContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("reach store: %w", err)
	}
	return bun.NewDB(raw, d), nil
}

// Migrate brings the tables of one room up to date. migrations holds a folder for each dialect, "sqlite" and
// "postgres", with goose files in it; which have run stands in a table of the room's own. Processes that start at
// the same time take turns. Tables that a newer program has changed are ErrNewer: what it wrote could be misread.
func Migrate(ctx context.Context, db *bun.DB, room string, migrations fs.FS) error {
	folder, kind, turn := "migrations/sqlite", database.DialectSQLite3, lock.SessionLocker(new(fileTurn))
	if db.Dialect().Name() == dialect.PG {
		folder, kind, turn = "migrations/postgres", database.DialectPostgres, postgresTurn{}
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", room, err)
	}
	store, err := database.NewStore(kind, "migrations_"+room)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", room, err)
	}
	provider, err := goose.NewProvider("", db.DB, files, goose.WithStore(store), goose.WithSessionLocker(turn))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", room, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	has, knows, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	if has > knows {
		return fmt.Errorf("%w: those of %s are at %d, and this one knows %d", ErrNewer, room, has, knows)
	}
	return nil
}
