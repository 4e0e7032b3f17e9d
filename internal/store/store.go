// Package store opens the platform's database and brings its tables up to date.
//
// It is SQLite, embedded, on one node, and Postgres for several. Each room owns its tables and its migrations;
// this package knows none of them. It must never hold a row of a data set: those live in the vault.
package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // driver "sqlite3"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
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
func Open(ctx context.Context, source string) (*bun.DB, error) {
	if strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://") {
		return connect(ctx, "pgx", source, pgdialect.New())
	}
	options := url.Values{
		"_txlock":       {"immediate"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_busy_timeout": {"10000"},
		"_foreign_keys": {"on"},
	}
	return connect(ctx, "sqlite3", "file:"+(&url.URL{Path: source}).EscapedPath()+"?"+options.Encode(), sqlitedialect.New())
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
// "postgres", with goose files in it; which have run stands in a table of the room's own.
func Migrate(ctx context.Context, db *bun.DB, room string, migrations embed.FS) error {
	folder, kind := "migrations/sqlite", database.DialectSQLite3
	if db.Dialect().Name() == dialect.PG {
		folder, kind = "migrations/postgres", database.DialectPostgres
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", room, err)
	}
	store, err := database.NewStore(kind, "migrations_"+room)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", room, err)
	}
	provider, err := goose.NewProvider("", db.DB, files, goose.WithStore(store))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", room, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	return nil
}
