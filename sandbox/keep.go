package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/sandbox/seal"
	"weir/sandbox/wire"
)

// Keeping is where a table goes and what is wanted of it.
type Keeping struct {
	Owner    Owner
	Name     string   // as a data set's
	Quota    Quota    // that the owner's tables may take, this one included and one that it replaces not
	Units    []string // columns of which the most rows with one value are wanted
	Manifest []byte   // kept beside the table
}

// Keep runs the platform's SQL and leaves its result behind as a table of the owner, in place of one of the same name.
// The worker makes it in its own memory; it is sealed as it comes out, and there is either the old table or the
// new one. Beyond the quota the problem is sandbox.quota, with a broken seal sandbox.broken-seal; whatever else fails is
// sandbox.job-failed. Each of them ends the process.
func (s *Session) Keep(ctx context.Context, q Query, k Keeping) (Kept, error) {
	kept, err := s.keep(ctx, q, k)
	if err != nil {
		s.process.kill(err)
		return Kept{}, s.failed(err)
	}
	return kept, nil
}

func (s *Session) keep(ctx context.Context, q Query, k Keeping) (Kept, error) {
	w := s.vault.workspaces
	if w == nil || s.room == 0 {
		return Kept{}, errors.New("this session keeps no tables")
	}
	if !ownerName.MatchString(string(k.Owner)) || !datasetName.MatchString(k.Name) {
		return Kept{}, errors.New("no table can be called so")
	}
	unlock, err := w.lock(ctx, k.Owner)
	if err != nil {
		return Kept{}, err
	}
	defer unlock()
	old, left, err := w.room(ctx, k)
	if err != nil {
		return Kept{}, err
	}
	request := wire.Request{Keep: &wire.Keep{Query: wire.Query{SQL: q.SQL, Tables: q.Tables}, Units: k.Units}}
	reply, err := s.wall.call(ctx, s.process, request, s.limits.Bytes)
	var fault *failure
	switch {
	case errors.As(err, &fault) && fault.Class == wire.NoRoom:
		return Kept{}, beyond(k.Quota, err)
	case err != nil:
		return Kept{}, err
	case reply.Kept == nil || !plausibleTable(*reply.Kept, len(k.Units), s.room):
		return Kept{}, errProtocol
	case reply.Kept.Bytes > left:
		return Kept{}, beyond(k.Quota, nil)
	}
	made := Kept{
		Owner: k.Owner, Name: k.Name, Version: old.Version + 1, Rows: reply.Kept.Rows, Bytes: reply.Kept.Bytes,
		Columns: reply.Kept.Columns, MostRows: reply.Kept.MostRows, Manifest: append([]byte{}, k.Manifest...),
		Job: s.job, MadeAt: time.Now().UTC().Truncate(time.Microsecond),
	}
	key := seal.NewKey()
	err = s.wall.stream(ctx, s.process, made.Bytes, func(content io.Reader) error {
		hash := sha256.New()
		err := w.settle(made, key, io.TeeReader(content, hash))
		made.Hash = hex.EncodeToString(hash.Sum(nil))
		return err
	})
	if _, broken := s.process.brokenFile(); broken && err == nil {
		err = seal.ErrBroken
	}
	if err == nil {
		err = w.enter(ctx, old, made, key)
	}
	if err != nil && !errors.Is(err, errCrash) {
		return Kept{}, errors.Join(err, w.withdraw(made))
	}
	return made, err
}

// room tells what a table replaces and how many bytes it may have.
func (w *Workspaces) room(ctx context.Context, k Keeping) (old Kept, left int64, err error) {
	all, err := w.List(ctx, k.Owner)
	if err != nil {
		return Kept{}, 0, err
	}
	left, others := k.Quota.Bytes, 0
	for _, t := range all {
		if t.Name == k.Name {
			old = t
			continue
		}
		left -= t.Bytes
		others++
	}
	if left <= 0 || others >= k.Quota.Tables {
		return Kept{}, 0, beyond(k.Quota, nil)
	}
	return old, left, nil
}

func beyond(q Quota, cause error) error {
	return problem.New("sandbox.quota", "tables", fmt.Sprint(q.Tables), "size", fmt.Sprint(q.Bytes>>20)).Because(cause)
}

// plausibleTable reports whether a worker's account of a table is one at all.
func plausibleTable(k wire.Kept, units int, room int64) bool {
	if k.Bytes < 1 || k.Bytes > room || k.Rows < 0 || len(k.Columns) == 0 || len(k.MostRows) != units {
		return false
	}
	for _, n := range k.MostRows {
		if n < 0 || n > k.Rows {
			return false
		}
	}
	return true
}

// settle writes the sealed file and makes it and its name durable.
func (w *Workspaces) settle(k Kept, key seal.Key, content io.Reader) error {
	path := w.path(k)
	dir := filepath.Dir(path)
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"make workspace", func() error { return os.MkdirAll(dir, 0o700) }},
		{"seal table", func() error { return sealInto(path, key, k.purpose(), content) }},
		{"sync workspace", func() error { return syncDir(dir) }},
		{"sync workspaces", func() error { return syncDir(w.dir) }},
	} {
		if err := w.vault.do(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// enter makes the new table count and the one that it replaces go, all at once, and then removes the old file.
func (w *Workspaces) enter(ctx context.Context, old, made Kept, key seal.Key) error {
	columns, err := json.Marshal(made.Columns)
	if err != nil {
		return err
	}
	most, err := json.Marshal(made.MostRows)
	if err != nil {
		return err
	}
	wrapped, err := w.vault.keys.wrap(ctx, key, made.purpose())
	if err != nil {
		return err
	}
	row := &keptRow{
		Workspace: string(made.Owner), Name: made.Name, Version: made.Version, Rows: made.Rows, Bytes: made.Bytes, Hash: made.Hash,
		Columns: string(columns), MostRows: string(most), Manifest: made.Manifest, Job: made.Job, MadeAt: made.MadeAt,
	}
	err = w.vault.do("enter table", func() error {
		return w.vault.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
			if old.Version > 0 {
				if err := forget(ctx, tx, old); err != nil {
					return err
				}
			}
			if _, err := tx.NewInsert().Model(wrapped).Exec(ctx); err != nil {
				return err
			}
			_, err := tx.NewInsert().Model(row).Exec(ctx)
			return err
		})
	})
	if err != nil || old.Version == 0 {
		return err
	}
	return w.vault.do("remove replaced", func() error { return removeFile(w.path(old)) })
}

// withdraw removes the file of a table that certainly has no row. Where it has one, the table stands though its
// maker was told otherwise. The caller's context may be what failed, so it is not used.
func (w *Workspaces) withdraw(k Kept) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	exists, err := w.vault.db.NewSelect().Model((*keptRow)(nil)).
		Where("workspace = ? AND name = ? AND version = ?", string(k.Owner), k.Name, k.Version).Exists(ctx)
	if err != nil || exists {
		return err
	}
	if err := removeFile(w.path(k)); err != nil {
		return err
	}
	return removeEmpty(filepath.Dir(w.path(k)))
}
