package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/tlog"

	"weir/internal/problem"
	"weir/internal/store"
)

// OpenKey reads the key of the log in db from a folder. A key is made only for a log that has no entries yet: another
// one could not go on with it, and would hide that its own was lost.
func OpenKey(ctx context.Context, db *bun.DB, folder, origin string) (Key, error) {
	if _, err := os.Stat(filepath.Join(folder, keyFile)); !errors.Is(err, fs.ErrNotExist) {
		return LoadKey(folder, origin)
	}
	if err := store.Migrate(ctx, db, "audit", migrations); err != nil {
		return Key{}, err
	}
	begun, err := db.NewSelect().Model((*entryRow)(nil)).Exists(ctx)
	if err != nil {
		return Key{}, fmt.Errorf("look for a log: %w", err)
	}
	if begun {
		return Key{}, problem.New("audit.key-missing")
	}
	return LoadKey(folder, origin)
}

// Continues checks that the log continues a signed checkpoint that was kept. One that does not is of another history or
// has lost its end, as after an old backup was restored.
func (l *Log) Continues(ctx context.Context, kept []byte) error {
	before, _, err := torchwood.VerifyCheckpoint(kept, l.policy)
	if err != nil {
		return problem.New("audit.kept-unusable").Because(err)
	}
	row, err := newestCheckpoint(ctx, l.db)
	if err != nil {
		return err
	}
	if before.N > row.Size {
		return problem.New("audit.rewound", "kept", fmt.Sprint(before.N), "size", fmt.Sprint(row.Size))
	}
	root, err := tlog.TreeHash(before.N, hashReader(ctx, l.db))
	if err != nil {
		return fmt.Errorf("compare with a kept checkpoint: %w", err)
	}
	if root != before.Hash {
		return problem.New("audit.rewound", "kept", fmt.Sprint(before.N), "size", fmt.Sprint(row.Size))
	}
	return nil
}

// unusableKey is the problem of a key file that is not what it should be.
func unusableKey(cause string) error {
	return problem.New("audit.key-unusable").Because(errors.New("audit key: " + strings.TrimSpace(cause)))
}
