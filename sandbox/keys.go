package sandbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store"
	"weir/sandbox/seal"
)

// Master wraps the vault's keys and is kept elsewhere: beside the vault, in the environment, or in a service that
// never gives its keys away.
type Master = seal.Master

// MemoryMaster is a master key that ends with the process, for a vault that does too.
func MemoryMaster() Master { return seal.Masters{seal.NewKey()} }

// NewMasterKey makes a master key, in the form that ParseMaster reads.
func NewMasterKey() string { return seal.NewKey().Hex() }

// ParseMaster reads master keys of 64 hexadecimal digits each, separated by white space or commas. The first is
// used; the others are still recognised.
func ParseMaster(text string) (Master, error) {
	var keys seal.Masters
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n,", r) }) {
		key, err := seal.ParseKey(word)
		if err != nil {
			return nil, fmt.Errorf("master key: %w", err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("master key: there is none")
	}
	return keys, nil
}

// ProgramMaster is the master key that a program keeps, see seal.Program. What earlier has wrapped is still opened; nil is
// none. A program that does not name its key is the problem
// sandbox.master-silent.
func ProgramMaster(ctx context.Context, path string, earlier Master) (Master, error) {
	program, err := seal.OpenProgram(ctx, path)
	if err != nil {
		return nil, asMasterProblem(err)
	}
	if earlier == nil {
		return program, nil
	}
	return seal.Followed{Master: program, Earlier: earlier}, nil
}

// keyring keeps the data keys in the store, each wrapped by the master key for its purpose. What has no row there is
// lost for good, wherever its bytes still lie.
type keyring struct {
	db     *bun.DB
	master Master
}

// wrappedKey is a data key in the store.
type wrappedKey struct {
	bun.BaseModel `bun:"table:sandbox_keys"`

	Purpose string `bun:",pk"`
	Master  string
	Wrapped []byte
	MadeAt  time.Time `bun:",notnull"`
}

// HasKeys reports whether the store holds keys that only their master opens: then a new one would be of no use.
func HasKeys(ctx context.Context, db *bun.DB) (bool, error) {
	if err := store.Migrate(ctx, db, "sandbox", migrations); err != nil {
		return false, err
	}
	return db.NewSelect().Model((*wrappedKey)(nil)).Exists(ctx)
}

// wrap makes the row of a key, which is yet to be inserted.
func (r keyring) wrap(ctx context.Context, k seal.Key, p seal.Purpose) (*wrappedKey, error) {
	id := r.master.KeyID()
	wrapped, err := r.master.Wrap(ctx, k[:], p)
	if err != nil {
		return nil, fmt.Errorf("wrap key: %w", err)
	}
	return &wrappedKey{Purpose: string(p), Master: id, Wrapped: wrapped, MadeAt: time.Now().UTC()}, nil
}

// errNoKey is that the keyring holds no key for a purpose.
var errNoKey = errors.New("there is no key")

// open gives the key of a purpose. One that does not open is ErrBroken, one without its master ErrUnknownMaster.
func (r keyring) open(ctx context.Context, p seal.Purpose) (seal.Key, error) {
	var row wrappedKey
	err := r.db.NewSelect().Model(&row).Where("purpose = ?", string(p)).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return seal.Key{}, errNoKey
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("read key: %w", err)
	}
	return r.unwrap(ctx, row)
}

func (r keyring) unwrap(ctx context.Context, row wrappedKey) (seal.Key, error) {
	raw, err := r.master.Unwrap(ctx, row.Master, row.Wrapped, seal.Purpose(row.Purpose))
	if err == nil && len(raw) != seal.KeySize {
		err = seal.ErrBroken
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("unwrap key: %w", err)
	}
	return seal.Key(raw), nil
}

// rewrap wraps every key by the master key that is used now, all of them or none.
func (r keyring) rewrap(ctx context.Context, step func(string) error) (changed int, err error) {
	id := r.master.KeyID()
	err = r.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var rows []wrappedKey
		if err := tx.NewSelect().Model(&rows).Where("master <> ?", id).Order("purpose").Scan(ctx); err != nil {
			return err
		}
		for _, row := range rows {
			if err := step("rewrap"); err != nil {
				return err
			}
			k, err := r.unwrap(ctx, row)
			if err != nil {
				return err
			}
			fresh, err := r.wrap(ctx, k, seal.Purpose(row.Purpose))
			if err != nil {
				return err
			}
			fresh.MadeAt = row.MadeAt
			if _, err := tx.NewUpdate().Model(fresh).WherePK().Exec(ctx); err != nil {
				return err
			}
		}
		changed = len(rows)
		return step("commit")
	})
	if err != nil {
		return 0, asMasterProblem(fmt.Errorf("rewrap keys: %w", err))
	}
	return changed, nil
}

// HeldKey is what may be told of a key.
type HeldKey struct {
	Purpose string    `json:"purpose"` // what it opens
	Master  string    `json:"master"`  // name of the master key that wraps it
	MadeAt  time.Time `json:"made"`
}

// Keys lists the keys of the vault and of the workspaces by what they open.
func (v *Vault) Keys(ctx context.Context) ([]HeldKey, error) {
	var rows []wrappedKey
	if err := v.db.NewSelect().Model(&rows).Order("purpose").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	held := make([]HeldKey, len(rows))
	for i, r := range rows {
		held[i] = HeldKey{r.Purpose, r.Master, r.MadeAt.UTC()}
	}
	return held, nil
}

// asMasterProblem makes a problem for a maintainer of a master key that is not at hand or not the right one.
func asMasterProblem(err error) error {
	if errors.Is(err, seal.ErrUnavailable) {
		return problem.New("sandbox.master-silent").Because(err)
	}
	if errors.Is(err, seal.ErrUnknownMaster) || errors.Is(err, seal.ErrBroken) {
		return problem.New("sandbox.wrong-master").Because(err)
	}
	return err
}
