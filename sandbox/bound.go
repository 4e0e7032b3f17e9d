package sandbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store"
)

// A vault and its store belong together: the store holds the keys, the vault holds the files, and neither is of use
// without the other. At the first opening both are given the same id, the store as a row and the vault as a file, and
// no vault opens with a store of another id. Both also count the changes of files, so that a store from a backup
// that is older than the vault is noticed: it would not know the newest files.

// boundFile is the vault's side.
const boundFile = "vault.json"

// boundFormat is raised when an older program could not read a vault's folder any more.
const boundFormat = 1

// bound is what either side says.
type bound struct {
	bun.BaseModel `bun:"table:sandbox_vault" json:"-"`

	One     int    `bun:",pk" json:"-"`
	ID      string `json:"id"`
	Changes int64  `json:"changes"`
	Format  int    `bun:"-" json:"format"`
}

// bind makes sure that the vault and the store belong together, and joins those that belong to nobody yet. The vault
// is locked.
func (v *Vault) bind(ctx context.Context) error {
	ours, err := boundStore(ctx, v.db)
	if err != nil {
		return err
	}
	theirs, err := boundFolder(v.dir)
	if err != nil {
		return err
	}
	if theirs != nil {
		return v.agree(ctx, ours, theirs)
	}
	if err := v.unbound(ctx); err != nil {
		return err
	}
	if ours == nil {
		ours = &bound{One: 1, ID: rand.Text()}
		if _, err := v.db.NewInsert().Model(ours).Exec(ctx); err != nil {
			return fmt.Errorf("bind vault: %w", err)
		}
	}
	return writeBound(v.dir, *ours)
}

// agree compares two sides. A vault that counts less is one whose last change was cut off before it was counted.
func (v *Vault) agree(ctx context.Context, ours, theirs *bound) error {
	switch {
	case ours == nil || ours.ID != theirs.ID:
		return problem.New("sandbox.other-store")
	case theirs.Changes > ours.Changes:
		return problem.New("sandbox.store-behind")
	case theirs.Changes < ours.Changes:
		return v.mark(ctx)
	}
	return nil
}

// unbound decides whether a folder that says nothing of a store may be this store's. It may where both are empty, and
// where a file that the store names is there and opens by its key, as before vaults were bound.
func (v *Vault) unbound(ctx context.Context) error {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Order("name", "version").Scan(ctx); err != nil {
		return fmt.Errorf("find versions: %w", err)
	}
	if len(rows) == 0 {
		sets, err := v.folders()
		if err == nil && len(sets) > 0 {
			err = problem.New("sandbox.other-store")
		}
		return err
	}
	for _, row := range rows {
		file, err := v.content(ctx, row)
		if err == nil {
			return file.Close()
		}
		if p := problem.Of(err); p.Code == "sandbox.broken-seal" {
			return problem.New("sandbox.other-store").Because(err)
		} else if p.Code != "sandbox.missing-file" && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return problem.New("sandbox.vault-missing")
}

// folders are the data sets that have a folder in the vault.
func (v *Vault) folders() (names []string, err error) {
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() && datasetName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// countChange notes a change of the vault's files in the transaction that makes it.
func countChange(ctx context.Context, tx bun.Tx) error {
	_, err := tx.NewUpdate().Model((*bound)(nil)).Set("changes = changes + 1").Where("one = 1").Exec(ctx)
	return err
}

// mark tells the vault what the store has counted.
func (v *Vault) mark(ctx context.Context) error {
	ours, err := boundStore(ctx, v.db)
	if err == nil && ours == nil {
		err = errors.New("the store has no vault")
	}
	if err != nil {
		return err
	}
	return writeBound(v.dir, *ours)
}

// tell marks a change that stands already. Where it fails, the vault counts less than the store until it is told again,
// at the latest when it is opened, which only makes an old store harder to notice meanwhile.
func (v *Vault) tell(ctx context.Context) { _ = v.mark(context.WithoutCancel(ctx)) }

// Sound reports whether the vault is there and the store is its own and not behind: what the platform asks itself
// again and again while it runs.
func (v *Vault) Sound(ctx context.Context) error {
	theirs, err := boundFolder(v.dir) // first, since others may count on meanwhile
	if err != nil {
		return err
	}
	ours, err := boundStore(ctx, v.db)
	switch {
	case err != nil:
		return err
	case theirs == nil:
		return problem.New("sandbox.vault-missing")
	case ours == nil || ours.ID != theirs.ID:
		return problem.New("sandbox.other-store")
	case theirs.Changes > ours.Changes:
		return problem.New("sandbox.store-behind")
	}
	return nil
}

// Rebind joins a store to a vault, and to the workspaces, that it was not joined to or that it is behind, because a person
// says so. Nothing is removed: what the store does not know is moved aside when the vault is opened next, and what the
// vault lacks is told.
func Rebind(ctx context.Context, db *bun.DB, vault, workspaces string) error {
	if err := store.Migrate(ctx, db, "sandbox", migrations); err != nil {
		return err
	}
	for _, dir := range []string{vault, workspaces} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("bind vault: %w", err)
		}
	}
	v := &Vault{dir: vault, db: db}
	unlock, err := v.lockForChange()
	if err != nil {
		return err
	}
	defer unlock()
	theirs, err := boundFolder(vault)
	if err != nil {
		return err
	}
	ours, err := boundStore(ctx, db)
	if err != nil {
		return err
	}
	if ours == nil {
		ours = &bound{One: 1, ID: rand.Text()}
	}
	if theirs != nil && theirs.Changes > ours.Changes {
		ours.Changes = theirs.Changes
	}
	if _, err := db.NewInsert().Model(ours).On("CONFLICT (one) DO UPDATE").Set("changes = EXCLUDED.changes").Exec(ctx); err != nil {
		return fmt.Errorf("bind vault: %w", err)
	}
	return errors.Join(writeBound(vault, *ours), writeBound(workspaces, bound{ID: ours.ID}))
}

func boundStore(ctx context.Context, db bun.IDB) (*bound, error) {
	row := new(bound)
	err := db.NewSelect().Model(row).Where("one = 1").Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bind vault: %w", err)
	}
	return row, nil
}

func boundFolder(dir string) (*bound, error) {
	text, err := os.ReadFile(filepath.Join(dir, boundFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bind vault: %w", err)
	}
	row := new(bound)
	if err := json.Unmarshal(text, row); err != nil || strings.TrimSpace(row.ID) == "" {
		return nil, fmt.Errorf("bind vault: %s does not name a store: %w", boundFile, errors.Join(err))
	}
	if row.Format > boundFormat {
		return nil, problem.New("sandbox.newer-vault")
	}
	return row, nil
}

// writeBound replaces the vault's side, which is there whole at every time.
func writeBound(dir string, b bound) error {
	b.Format = boundFormat
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, incoming)
	if err != nil {
		return fmt.Errorf("bind vault: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, boundFile))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bind vault: %w", err), os.Remove(f.Name()))
	}
	return syncDir(dir)
}
