package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// postgresTurn lets one process migrate a PostgreSQL database at a time. The session's end gives the turn back,
// so a process that dies does not keep it.
type postgresTurn struct{}

const turnKey = 0x77656972 // "weir"; advisory locks are numbered, and the database is Weir's own

func (postgresTurn) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", turnKey)
	return err
}

func (postgresTurn) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", turnKey)
	return err
}

// fileTurn does the same for SQLite, which has no lock that outlasts a transaction, with a lock on a file beside
// the database. The kernel gives it back when the process dies.
type fileTurn struct{ file *os.File }

func (l *fileTurn) SessionLock(ctx context.Context, conn *sql.Conn) error {
	var path string
	if err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path); err != nil {
		return fmt.Errorf("find the database's file: %w", err)
	}
	file, err := os.OpenFile(path+".migrate", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("wait for a turn: %w", err)
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX)
		if err == nil {
			l.file = file
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return errors.Join(fmt.Errorf("wait for a turn: %w", err), file.Close())
		}
	}
}

func (l *fileTurn) SessionUnlock(context.Context, *sql.Conn) error { return l.file.Close() }
