package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"golang.org/x/mod/sumdb/tlog"
)

// entryRow is a leaf of the tree, and beside it, copied from it, what the log is searched by. No column is marked
// as primary key, since bun takes a zero there for "to be numbered".
type entryRow struct {
	bun.BaseModel `bun:"table:audit_entries,alias:e"`

	Index  int64  `bun:"idx"`
	At     int64  `bun:"at"` // nanoseconds since 1970
	Kind   string `bun:"kind"`
	Grant  string `bun:"grant_id"`
	Job    string `bun:"job"`
	Object string `bun:"object"`
	Leaf   []byte `bun:"leaf"`
}

// hashRow holds the hashes that an entry completes, in the order of tlog.StoredHashes: its own, then one for each
// subtree whose last leaf it is.
type hashRow struct {
	bun.BaseModel `bun:"table:audit_hashes,alias:h"`

	Index  int64  `bun:"idx"`
	Hashes []byte `bun:"hashes"`
}

type checkpointRow struct {
	bun.BaseModel `bun:"table:audit_checkpoints,alias:c"`

	Size int64  `bun:"size"`
	Note []byte `bun:"note"`
}

// privateRow is what an erasure deletes.
type privateRow struct {
	bun.BaseModel `bun:"table:audit_private,alias:p"`

	Index       int64   `bun:"idx"`
	ActorSalt   []byte  `bun:"actor_salt"`
	Actor       *string `bun:"actor"`
	PayloadSalt []byte  `bun:"payload_salt"`
	Payload     []byte  `bun:"payload"`
}

func sqlite(db bun.IDB) bool { return db.Dialect().Name() == dialect.SQLite }

// durable refuses a database that acknowledges what power loss can take back.
func durable(ctx context.Context, db *bun.DB) error {
	if sqlite(db) {
		var level int
		if err := db.NewRaw("PRAGMA synchronous").Scan(ctx, &level); err != nil {
			return fmt.Errorf("audit log: %w", err)
		}
		if level < 2 {
			return errors.New("audit log: SQLite must run with synchronous=FULL or EXTRA")
		}
		return nil
	}
	var fsync, commit string
	if err := db.NewRaw("SELECT current_setting('fsync'), current_setting('synchronous_commit')").Scan(ctx, &fsync, &commit); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if fsync != "on" || commit == "off" {
		return errors.New("audit log: PostgreSQL must run with fsync on, and synchronous_commit not off")
	}
	return nil
}

// turnKey numbers the advisory lock under which PostgreSQL lets one log at a time extend the tree.
const turnKey = 0x7765697261756474 // "weiraudt"

// beginTurn starts a transaction that nobody else can extend the tree beside. On SQLite every transaction of the store
// is one. On PostgreSQL the isolation must be READ COMMITTED, whatever the server's default: a snapshot taken
// before the wait for the lock would not show what the one before us wrote.
func beginTurn(ctx context.Context, db *bun.DB) (bun.Tx, error) {
	if sqlite(db) {
		return db.BeginTx(ctx, nil)
	}
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return tx, err
	}
	if _, err := tx.NewRaw("SELECT pg_advisory_xact_lock(?)", int64(turnKey)).Exec(ctx); err != nil {
		return tx, errors.Join(err, tx.Rollback())
	}
	return tx, nil
}

func newestCheckpoint(ctx context.Context, db bun.IDB) (checkpointRow, error) {
	var row checkpointRow
	err := db.NewSelect().Model(&row).Order("size DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fmt.Errorf("%w: it has no checkpoint", ErrDamaged)
	}
	if err != nil {
		return row, fmt.Errorf("read the newest checkpoint: %w", err)
	}
	return row, nil
}

// hashReader reads hashes of the tree from the table.
func hashReader(ctx context.Context, db bun.IDB) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		entries := make([]int64, len(indexes))
		for i, index := range indexes {
			entries[i], _ = storedWith(index)
		}
		var rows []hashRow
		if err := db.NewSelect().Model(&rows).Where("idx IN (?)", bun.List(entries)).Scan(ctx); err != nil {
			return nil, fmt.Errorf("read hashes: %w", err)
		}
		found := make(map[int64][]byte, len(rows))
		for _, row := range rows {
			found[row.Index] = row.Hashes
		}
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			entry, level := storedWith(index)
			if err := cut(&hashes[i], found[entry], level); err != nil {
				return nil, fmt.Errorf("%w: hash %s: %w", ErrDamaged, hashName(index), err)
			}
		}
		return hashes, nil
	})
}

// storedWith tells with which entry a hash is stored, and its place there, which is its level in the tree.
func storedWith(index int64) (entry int64, level int) {
	level, n := tlog.SplitStoredHashIndex(index)
	return (n+1)<<level - 1, level
}

func hashName(index int64) string {
	level, n := tlog.SplitStoredHashIndex(index)
	return fmt.Sprintf("%d/%d", level, n)
}

func cut(into *tlog.Hash, hashes []byte, level int) error {
	if len(hashes) < (level+1)*tlog.HashSize {
		return errors.New("missing")
	}
	copy(into[:], hashes[level*tlog.HashSize:])
	return nil
}
