package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/sandbox/seal"
)

// RewrapKeys wraps every key of the vault and of the workspaces by the master key that is used now, all of them or
// none, and tells how many were wrapped by another. Afterwards the other is not needed any more.
func (v *Vault) RewrapKeys(ctx context.Context) (int, error) {
	unlock, err := v.lockForChange()
	if err != nil {
		return 0, err
	}
	defer unlock()
	return v.keys.rewrap(ctx, v.step)
}

// Reseal encrypts every version of a data set anew, each under a new key, and deletes the old files and keys. Each
// version is either as before or done, whatever fails, and jobs that read the old file go on doing so.
func (v *Vault) Reseal(ctx context.Context, name string) (int, error) {
	unlock, err := v.lockForChange()
	if err != nil {
		return 0, err
	}
	defer unlock()
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Where("name = ?", name).Order("version").Scan(ctx); err != nil {
		return 0, fmt.Errorf("find versions: %w", err)
	}
	if len(rows) == 0 {
		return 0, problem.New("sandbox.unknown-dataset", "name", plain(name))
	}
	for i, row := range rows {
		if err := v.resealVersion(ctx, row); err != nil {
			return i, err
		}
	}
	return len(rows), nil
}

// Check reads every sealed file to its end and gives the problem of the first that is broken.
func (v *Vault) Check(ctx context.Context) (files int, err error) {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Order("name", "version").Scan(ctx); err != nil {
		return 0, fmt.Errorf("find versions: %w", err)
	}
	for i, row := range rows {
		file, err := v.openRow(ctx, row)
		if err := readThrough(ctx, row.Name, file, err); err != nil {
			return i, err
		}
	}
	return len(rows), nil
}

// Check reads every table to its end and gives the problem of the first that is broken.
func (w *Workspaces) Check(ctx context.Context) (tables int, err error) {
	var rows []keptRow
	if err := w.vault.db.NewSelect().Model(&rows).Order("workspace", "name").Scan(ctx); err != nil {
		return 0, fmt.Errorf("list tables: %w", err)
	}
	for i, row := range rows {
		kept, err := row.kept()
		if err != nil {
			return i, err
		}
		file, err := w.vault.openKept(ctx, kept)
		if err := readThrough(ctx, row.Name, file, err); err != nil {
			return i, err
		}
	}
	return len(rows), nil
}

// readThrough reads a file that was opened to its end.
func readThrough(ctx context.Context, name string, file *stored, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, contextReader{ctx, io.NewSectionReader(file, 0, file.Size())})
	if err = errors.Join(err, file.Close()); errors.Is(err, seal.ErrBroken) {
		return brokenSeal(name, err)
	}
	return err
}

func (v *Vault) lockForChange() (unlock func(), err error) {
	unlock, err = v.lock()
	if errors.Is(err, errBusy) {
		return nil, problem.New("intake.busy")
	}
	return unlock, err
}

// sealOld seals what an earlier platform left in the clear.
func (v *Vault) sealOld(ctx context.Context) error {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Where("sealing = 0").Scan(ctx); err != nil {
		return fmt.Errorf("find versions: %w", err)
	}
	for _, row := range rows {
		if err := v.resealVersion(ctx, row); err != nil {
			return fmt.Errorf("seal version %d of a data set: %w", row.Version, err)
		}
	}
	return nil
}

// clearSecret is the key of units' hashes that an earlier platform left in the clear.
func (v *Vault) clearSecret() (seal.Key, error) {
	secret, err := os.ReadFile(filepath.Join(v.dir, clearKey))
	if err != nil {
		return seal.Key{}, fmt.Errorf("unit.key: %w", err)
	}
	if len(secret) != seal.KeySize {
		return seal.Key{}, errors.New("unit.key is not 32 bytes long")
	}
	return seal.Key(secret), nil
}

// resealVersion makes the next sealing of a version. The order is the argument: the new file is whole and durable
// before the row names it, and the old one goes after that; until then it is the new one that is a leftover.
func (v *Vault) resealVersion(ctx context.Context, row version) error {
	content, err := v.content(ctx, row)
	if err != nil {
		return err
	}
	defer content.Close()
	next := row
	next.Sealing++
	dir := v.place(row.Name, row.Version)
	key := seal.NewKey()
	path := filepath.Join(dir, dataFile(next.Sealing))
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"seal anew", func() error { return sealInto(path, key, next.purpose(), contextReader{ctx, content}) }},
		{"sync directory", func() error { return syncDir(dir) }},
		{"switch", func() error { return v.switchSealing(ctx, row, next, key) }},
		{"remove old", func() error { return removeFile(filepath.Join(dir, dataFile(row.Sealing))) }},
		{"sync directory again", func() error { return syncDir(dir) }},
	} {
		if err := v.do(s.name, s.do); err != nil {
			return err
		}
	}
	v.tell(ctx)
	return nil
}

// content reads a version from its beginning, sealed or in the clear.
func (v *Vault) content(ctx context.Context, row version) (io.ReadCloser, error) {
	if row.Sealing == 0 {
		return openRegular(filepath.Join(v.place(row.Name, row.Version), clearFile))
	}
	file, err := v.openRow(ctx, row)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(file, 0, file.Size()), file}, nil
}

// switchSealing makes the new file and its key count and the old key go, all at once.
func (v *Vault) switchSealing(ctx context.Context, old, next version, key seal.Key) error {
	wrapped, err := v.keys.wrap(ctx, key, next.purpose())
	if err != nil {
		return err
	}
	return v.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(wrapped).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewUpdate().Model(&next).Column("sealing").WherePK().Where("sealing = ?", old.Sealing).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*wrappedKey)(nil)).Where("purpose = ?", string(old.purpose())).Exec(ctx); err != nil {
			return err
		}
		return countChange(ctx, tx)
	})
}

// sealInto seals content into a new file, in place of a leftover of that name, and makes it durable and unchangeable.
func sealInto(path string, key seal.Key, p seal.Purpose, content io.Reader) (err error) {
	if err := removeFile(path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := sealOnto(file, key, p, content); err != nil {
		return err
	}
	return file.Sync()
}

func sealOnto(to io.Writer, key seal.Key, p seal.Purpose, content io.Reader) error {
	sealed, err := seal.Writer(to, key, p)
	if err != nil {
		return err
	}
	if _, err := io.Copy(sealed, content); err != nil {
		return err
	}
	return sealed.Close()
}

// contextReader reads until ctx ends.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(b)
}
