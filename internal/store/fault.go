package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"golang.org/x/sys/unix"
)

// Fault is what is wrong with the machine or the database where an error is not about what was asked of them.
type Fault string

// The faults that a maintainer can do something about.
const (
	Full        Fault = "full"        // no room is left on a disk
	ReadOnly    Fault = "read-only"   // a disk or the database takes no writes
	Damaged     Fault = "damaged"     // the database's own pages are not what they were
	Descriptors Fault = "descriptors" // the process may open no more files
)

// FaultOf finds a fault in an error, or nothing.
func FaultOf(err error) Fault {
	var lite sqlite3.Error
	if errors.As(err, &lite) {
		switch lite.Code {
		case sqlite3.ErrFull:
			return Full
		case sqlite3.ErrReadonly:
			return ReadOnly
		case sqlite3.ErrCorrupt, sqlite3.ErrNotADB:
			return Damaged
		}
		err = errors.Join(err, lite.SystemErrno)
	}
	var postgres *pgconn.PgError
	if errors.As(err, &postgres) {
		switch postgres.Code { // Source: PostgreSQL, appendix A
		case "53100":
			return Full
		case "25006":
			return ReadOnly
		case "XX001", "XX002":
			return Damaged
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return Full
	case errors.Is(err, unix.EROFS):
		return ReadOnly
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return Descriptors
	}
	return ""
}

// ErrNewer is that a newer program has brought the tables further than this one knows.
var ErrNewer = errors.New("the tables are of a newer program")

// Apart is how far the database's clock is ahead of now, less than what asking may have taken. Of an embedded
// database, which has no clock of its own, it is nothing.
func Apart(ctx context.Context, db *bun.DB, now func() time.Time) (time.Duration, error) {
	if db.Dialect().Name() != dialect.PG {
		return 0, nil
	}
	before := now()
	var there time.Time
	if err := db.NewRaw("SELECT clock_timestamp()").Scan(ctx, &there); err != nil {
		return 0, fmt.Errorf("ask the database's clock: %w", err)
	}
	after := now()
	switch {
	case there.Before(before):
		return there.Sub(before), nil
	case there.After(after):
		return there.Sub(after), nil
	}
	return 0, nil
}
