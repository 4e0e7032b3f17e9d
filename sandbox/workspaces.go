package sandbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"weir/internal/problem"
	"weir/sandbox/seal"
)

// Workspaces keeps what jobs leave behind: sealed tables, in a directory for each owner. A table exists when its row in
// the store does, and can be read while its key does. No owner's table opens as another's, since its seal names the
// owner.
type Workspaces struct {
	vault *Vault
	dir   string
	aside []string // what was moved aside when they were opened
}

// Owner is whose tables they are: a grant's, or the export history's own.
type Owner string

const grantPrefix = "grant-"

// OfGrant is the owner of the tables that the jobs of a grant make and read.
func OfGrant(id string) Owner { return Owner(grantPrefix + id) }

// OfHistory is the owner of tables that the platform keeps about what was released, such as a partition of units. No
// analyst names them.
func OfHistory(id string) Owner { return Owner("history-" + id) }

var ownerName = regexp.MustCompile(`^(grant|history)-[A-Za-z0-9][A-Za-z0-9._-]{0,120}$`)

// Quota bounds a workspace.
type Quota struct {
	Tables int
	Bytes  int64 // of the tables' databases
}

// Kept is a table that a job left behind.
type Kept struct {
	Owner    Owner
	Name     string
	Version  int      // counts how often the name was made anew
	Rows     int64    // of the table
	Bytes    int64    // of its database
	Hash     string   // SHA-256 of its database, hex; it differs also where the same rows were written in another way
	Columns  []Column // with the engine's names for their types
	MostRows []int64  // for each unit column that was named: the most rows that have one value of it
	Manifest []byte   // what whoever kept it wanted to know of its columns; nothing here reads it
	Job      string
	MadeAt   time.Time
}

// keptRow is Kept in the store.
type keptRow struct {
	bun.BaseModel `bun:"table:sandbox_kept"`

	Workspace string `bun:",pk"`
	Name      string `bun:",pk"`
	Version   int
	Rows      int64
	Bytes     int64
	Hash      string
	Columns   string
	MostRows  string
	Manifest  []byte
	Job       string
	MadeAt    time.Time `bun:",notnull"`
}

func (r keptRow) kept() (Kept, error) {
	k := Kept{
		Owner: Owner(r.Workspace), Name: r.Name, Version: r.Version, Rows: r.Rows, Bytes: r.Bytes, Hash: r.Hash,
		Manifest: r.Manifest, Job: r.Job, MadeAt: r.MadeAt.UTC(),
	}
	if err := errors.Join(json.Unmarshal([]byte(r.Columns), &k.Columns), json.Unmarshal([]byte(r.MostRows), &k.MostRows)); err != nil {
		return Kept{}, fmt.Errorf("read kept table: %w", err)
	}
	return k, nil
}

// purpose binds a table's file to its owner, name and version.
func (k Kept) purpose() seal.Purpose {
	return seal.Purpose(fmt.Sprintf("kept/%s/%s/%d", k.Owner, k.Name, k.Version))
}

func (k Kept) fileName() string { return fmt.Sprintf("%s.%d.sealed", k.Name, k.Version) }

// OpenWorkspaces opens the workspaces in dir, making it if need be, and moves aside what was left behind by changes that did
// not come to their end. Those of another vault are refused. Their keys are in the vault's keyring. Several nodes may share the directory.
func OpenWorkspaces(ctx context.Context, dir string, vault *Vault) (*Workspaces, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open workspaces: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open workspaces: %w", err)
	}
	w := &Workspaces{vault: vault, dir: dir}
	locks, err := w.locks()
	if err != nil {
		return nil, fmt.Errorf("open workspaces: %w", err)
	}
	locks.Close()
	if err := w.bind(ctx); err != nil {
		return nil, err
	}
	if err := w.tidy(ctx); err != nil {
		return nil, fmt.Errorf("tidy workspaces: %w", err)
	}
	vault.workspaces = w
	return w, nil
}

// bind makes sure that the workspaces are of the vault's store. Those that say nothing belonged to it before they were bound.
func (w *Workspaces) bind(ctx context.Context) error {
	store, err := boundStore(ctx, w.vault.db)
	if err == nil && store == nil {
		err = errors.New("the store has no vault")
	}
	if err != nil {
		return err
	}
	here, err := boundFolder(w.dir)
	switch {
	case err != nil:
		return err
	case here == nil:
		return writeBound(w.dir, bound{ID: store.ID})
	case here.ID != store.ID:
		return problem.New("sandbox.other-store")
	}
	return nil
}

// tidy moves aside files without a row, but for those of workspaces that another node is changing.
func (w *Workspaces) tidy(ctx context.Context) error {
	folders, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	away := &aside{root: w.dir}
	for _, f := range folders {
		if f.IsDir() && ownerName.MatchString(f.Name()) {
			if err := w.tidyOne(ctx, Owner(f.Name()), away); err != nil {
				return err
			}
		}
	}
	w.aside = away.moved
	if err := away.settle(); err != nil {
		return err
	}
	return syncDir(w.dir)
}

func (w *Workspaces) tidyOne(ctx context.Context, owner Owner, away *aside) error {
	unlock, err := w.tryLock(owner)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	tables, err := w.List(ctx, owner)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, k := range tables {
		known[w.path(k)] = true
	}
	folder := filepath.Join(w.dir, string(owner))
	files, err := filepath.Glob(filepath.Join(folder, "*.sealed"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if known[path] {
			continue
		}
		if err := away.move(path); err != nil {
			return err
		}
	}
	return removeEmpty(folder)
}

// removeEmpty removes the folder of a workspace in which nothing is.
func removeEmpty(folder string) error {
	if err := os.Remove(folder); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (w *Workspaces) path(k Kept) string { return filepath.Join(w.dir, string(k.Owner), k.fileName()) }

// Grants names the grants whose jobs have left tables behind.
func (w *Workspaces) Grants(ctx context.Context) ([]string, error) {
	var owners []string
	err := w.vault.db.NewSelect().Model((*keptRow)(nil)).ColumnExpr("DISTINCT workspace").Where("workspace LIKE ?", grantPrefix+"%").
		Order("workspace").Scan(ctx, &owners)
	if err != nil {
		return nil, fmt.Errorf("list workspaces: %w", err)
	}
	for i, owner := range owners {
		owners[i] = strings.TrimPrefix(owner, grantPrefix)
	}
	return owners, nil
}

// List gives the tables of an owner, by name.
func (w *Workspaces) List(ctx context.Context, owner Owner) ([]Kept, error) {
	var rows []keptRow
	if err := w.vault.db.NewSelect().Model(&rows).Where("workspace = ?", string(owner)).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list workspace: %w", err)
	}
	var all []Kept
	for _, r := range rows {
		k, err := r.kept()
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// Table gives one table of an owner, or the problem sandbox.unknown-table.
func (w *Workspaces) Table(ctx context.Context, owner Owner, name string) (Kept, error) {
	var row keptRow
	err := w.vault.db.NewSelect().Model(&row).Where("workspace = ? AND name = ?", string(owner), name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Kept{}, problem.New("sandbox.unknown-table", "name", plain(name))
	}
	if err != nil {
		return Kept{}, fmt.Errorf("find kept table: %w", err)
	}
	return row.kept()
}

// Drop removes one table and its key. It gives what was removed, for the log.
func (w *Workspaces) Drop(ctx context.Context, owner Owner, name string) (Kept, error) {
	unlock, err := w.lock(ctx, owner)
	if err != nil {
		return Kept{}, err
	}
	defer unlock()
	k, err := w.Table(ctx, owner, name)
	if err != nil {
		return Kept{}, err
	}
	return k, w.remove(ctx, owner, []Kept{k})
}

// Delete removes an owner's workspace whole: every table, every key, every file. It gives what was removed, for the
// log. Without its keys nothing of it can be read, even where the disk still holds its blocks or a copy.
func (w *Workspaces) Delete(ctx context.Context, owner Owner) ([]Kept, error) {
	if !ownerName.MatchString(string(owner)) {
		return nil, errors.New("no owner can be called so")
	}
	unlock, err := w.lock(ctx, owner)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := w.List(ctx, owner)
	if err != nil {
		return nil, err
	}
	if err := w.remove(ctx, owner, all); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(w.dir, string(owner))); err != nil {
		return nil, fmt.Errorf("delete workspace: %w", err)
	}
	return all, syncDir(w.dir)
}

// remove takes tables away: first the keys and rows, all at once, and then the files.
func (w *Workspaces) remove(ctx context.Context, owner Owner, tables []Kept) error {
	err := w.vault.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, k := range tables {
			if err := forget(ctx, tx, k); err != nil {
				return err
			}
		}
		return w.vault.step("forget")
	})
	if err != nil {
		return fmt.Errorf("forget tables: %w", err)
	}
	for _, k := range tables {
		if err := w.vault.step("remove file"); err != nil {
			return err
		}
		if err := removeFile(w.path(k)); err != nil {
			return fmt.Errorf("remove table: %w", err)
		}
	}
	if err := syncDir(filepath.Join(w.dir, string(owner))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove table: %w", err)
	}
	return nil
}

func forget(ctx context.Context, tx bun.Tx, k Kept) error {
	if _, err := tx.NewDelete().Model((*wrappedKey)(nil)).Where("purpose = ?", string(k.purpose())).Exec(ctx); err != nil {
		return err
	}
	_, err := tx.NewDelete().Model((*keptRow)(nil)).Where("workspace = ? AND name = ?", string(k.Owner), k.Name).Exec(ctx)
	return err
}

// lock waits until the caller is the only one who changes a workspace.
func (w *Workspaces) lock(ctx context.Context, owner Owner) (unlock func(), err error) {
	ctx, done := context.WithTimeout(ctx, lockPatience)
	defer done()
	again := time.NewTicker(lockPoll)
	defer again.Stop()
	for {
		unlock, err = w.tryLock(owner)
		if !errors.Is(err, unix.EAGAIN) {
			return unlock, err
		}
		select {
		case <-again.C: // the kernel would wait too, and could not be told to give up
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		}
	}
}

const (
	locksFile    = "locks" // holds no bytes; each that could be there stands for an owner
	lockPoll     = 10 * time.Millisecond
	lockPatience = time.Minute // longer than a job may keep a table
)

func (w *Workspaces) locks() (*os.File, error) {
	return os.OpenFile(filepath.Join(w.dir, locksFile), os.O_RDWR|os.O_CREATE, 0o600)
}

// tryLock makes the caller the only one who changes a workspace, among all nodes that share the directory, or gives
// EAGAIN. The kernel drops it when its holder dies. Owners that share a byte exclude each other, which harms nobody.
func (w *Workspaces) tryLock(owner Owner) (unlock func(), err error) {
	f, err := w.locks()
	if err != nil {
		return nil, fmt.Errorf("lock workspace: %w", err)
	}
	name := sha256.Sum256([]byte(owner))
	one := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(binary.BigEndian.Uint64(name[:]) >> 2), Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &one); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock workspace: %w", err)
	}
	return func() { f.Close() }, nil
}

// openKept opens the file of a table that exists.
func (v *Vault) openKept(ctx context.Context, k Kept) (*stored, error) {
	if v.workspaces == nil || !ownerName.MatchString(string(k.Owner)) || !datasetName.MatchString(k.Name) {
		return nil, errors.New("no table can be called so")
	}
	return openSealed(ctx, v.keys, v.workspaces.path(k), k.purpose(), k.Name)
}

// oneGrant refuses tables of two grants in one process.
func oneGrant(kept []Kept) error {
	var grant Owner
	for _, k := range kept {
		if !strings.HasPrefix(string(k.Owner), grantPrefix) {
			continue
		}
		if grant != "" && k.Owner != grant {
			return errors.New("tables of two grants cannot meet")
		}
		grant = k.Owner
	}
	return nil
}
