package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Notify tells every process that listens on the channel, when the transaction that db may be commits. SQLite has one
// process and nobody to tell. The text is short: PostgreSQL takes less than 8000 bytes.
func Notify(ctx context.Context, db bun.IDB, channel, text string) error {
	if db.Dialect().Name() != dialect.PG {
		return nil
	}
	if _, err := db.NewRaw("SELECT pg_notify(?, ?)", channel, text).Exec(ctx); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Listen calls hear with every text that is told on the channel, until ctx ends or the connection is lost. What is told
// while nobody listens is gone. On SQLite it only waits for ctx to end.
func Listen(ctx context.Context, db *bun.DB, channel string, hear func(text string)) error {
	if db.Dialect().Name() != dialect.PG {
		<-ctx.Done()
		return nil
	}
	conn, err := db.DB.Conn(ctx)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer conn.Close()
	err = conn.Raw(func(raw any) error {
		postgres := raw.(*stdlib.Conn).Conn()
		if _, err := postgres.Exec(ctx, `LISTEN "`+channel+`"`); err != nil {
			return errors.Join(driver.ErrBadConn, err)
		}
		for {
			told, err := postgres.WaitForNotification(ctx)
			if err != nil {
				return errors.Join(driver.ErrBadConn, err) // so that nobody gets this connection again
			}
			hear(told.Payload)
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("listen: %w", err)
}
