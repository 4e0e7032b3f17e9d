package sandbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/policy"
)

// owner says whose a name is. It stays theirs for good, except where every version of it was refused.
type owner struct {
	bun.BaseModel `bun:"table:sandbox_names"`

	Name     string `bun:",pk"`
	Provider string
}

// claim makes the name the provider's, inside the transaction that enters a version. A name that is another one's is
// the problem intake.name-taken. The row stays locked until the transaction ends.
func claim(ctx context.Context, tx bun.Tx, name, provider string) error {
	if _, err := tx.NewInsert().Model(&owner{Name: name, Provider: provider}).On("CONFLICT (name) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("claim name: %w", err)
	}
	done, err := tx.NewUpdate().Model((*owner)(nil)).Set("provider = ?", provider).Where("name = ?", name).
		WhereGroup(" AND ", func(q *bun.UpdateQuery) *bun.UpdateQuery {
			return q.Where("provider = ?", provider).WhereOr("NOT EXISTS (?)", holding(tx, name))
		}).Exec(ctx)
	if err != nil {
		return fmt.Errorf("claim name: %w", err)
	}
	if n, err := done.RowsAffected(); err != nil || n != 1 {
		return problem.New("intake.name-taken", "name", plain(name)).Because(err)
	}
	return nil
}

// holding selects the versions for which a name is kept.
func holding(db bun.IDB, name string) *bun.SelectQuery {
	return db.NewSelect().Model((*version)(nil)).ColumnExpr("1").Where("name = ? AND state <> ?", name, policy.VersionRefused)
}

// checkOwner refuses early what claim would refuse.
func checkOwner(ctx context.Context, db bun.IDB, name, provider string) error {
	taken, err := db.NewSelect().Model((*owner)(nil)).Where("name = ? AND provider <> ?", name, provider).
		Where("EXISTS (?)", holding(db, name)).Exists(ctx)
	if err != nil {
		return fmt.Errorf("look up name: %w", err)
	}
	if taken {
		return problem.New("intake.name-taken", "name", plain(name))
	}
	return nil
}

// served gives the version of a data set that grants see, or nil.
func served(ctx context.Context, db bun.IDB, name string) (*policy.Dataset, error) {
	var row version
	err := db.NewSelect().Model(&row).Where("name = ? AND state = ?", name, policy.VersionApproved).
		Order("version DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	d, err := row.dataset()
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// review lists why a declaration must be looked at by somebody before it is served.
func review(ctx context.Context, db bun.IDB, d policy.Dataset) ([]policy.Weakening, error) {
	before, err := served(ctx, db, d.Name)
	if err != nil {
		return nil, err
	}
	weaker := policy.Weakenings(before, d)
	framed, err := hasFrame(ctx, db, d)
	if err == nil && !framed {
		weaker = append(weaker, policy.Weakening{What: policy.WeakerNoFrame})
	}
	return weaker, err
}

// hasFrame reports whether the frame that is declared, if one is, is served and is one.
func hasFrame(ctx context.Context, db bun.IDB, d policy.Dataset) (bool, error) {
	if d.Frame == "" {
		return true, nil
	}
	frame, err := served(ctx, db, d.Frame)
	return frame != nil && frame.IsFrameOf(d), err
}

// Versions gives every version of the data sets, the newest first, with why it waits where it does. name and provider
// narrow the list, where they are not empty.
func (v *Vault) Versions(ctx context.Context, name, provider string) ([]policy.Version, error) {
	var rows []version
	query := v.db.NewSelect().Model(&rows).Order("name", "version DESC")
	if name != "" {
		query.Where("name = ?", name)
	}
	if err := query.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	var all []policy.Version
	for _, row := range rows {
		one, err := row.reviewed()
		if err != nil {
			return nil, err
		}
		if provider != "" && one.Provider != provider {
			continue
		}
		if one.State == policy.VersionWaiting {
			if one.Weaker, err = review(ctx, v.db, one.Dataset); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	return all, nil
}

func (r version) reviewed() (policy.Version, error) {
	d, err := r.dataset()
	return policy.Version{Dataset: d, State: r.State, TakenAt: r.TakenAt, DecidedAt: r.DecidedAt.Time, Reason: r.Reason}, err
}

// Decide ends the review of a version, or takes versions back, and gives what it changed. It is for whoever has asked the
// rules and written the log. A version is approved only if no later one is in use already, and if the frame that it
// names is one.
func (v *Vault) Decide(ctx context.Context, d policy.VersionDecision) (changed []policy.Version, err error) {
	err = v.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		// The name's row is locked, so that nothing is entered or decided of it meanwhile.
		if _, err := tx.NewUpdate().Model((*owner)(nil)).Set("name = name").Where("name = ?", d.Dataset).Exec(ctx); err != nil {
			return fmt.Errorf("decide: %w", err)
		}
		var rows []version
		query := tx.NewSelect().Model(&rows).Where("name = ?", d.Dataset).Order("version")
		if d.Version != 0 || d.State != policy.VersionWithdrawn {
			query.Where("version = ?", d.Version)
		}
		if err := query.Scan(ctx); err != nil {
			return fmt.Errorf("decide: %w", err)
		}
		if len(rows) == 0 {
			return problem.New("sandbox.unknown-version", "name", plain(d.Dataset), "version", fmt.Sprint(d.Version))
		}
		changed, err = decide(ctx, tx, rows, d)
		return err
	})
	return changed, err
}

func decide(ctx context.Context, tx bun.Tx, rows []version, d policy.VersionDecision) (changed []policy.Version, err error) {
	for _, row := range rows {
		if !row.State.MayBecome(d.State) {
			if d.Version == 0 {
				continue
			}
			return nil, problem.New("sandbox.version-decided", "name", plain(d.Dataset), "version", fmt.Sprint(d.Version), "state", string(row.State))
		}
		one, err := row.reviewed()
		if err != nil {
			return nil, err
		}
		if d.State == policy.VersionApproved {
			if err := mayServe(ctx, tx, one.Dataset); err != nil {
				return nil, err
			}
		}
		one.State, one.DecidedAt, one.Reason = d.State, time.Now().UTC(), d.Reason
		_, err = tx.NewUpdate().Model((*version)(nil)).
			Set("state = ?", one.State).Set("decided_at = ?", one.DecidedAt).Set("reason = ?", one.Reason).
			Where("name = ? AND version = ?", row.Name, row.Version).Exec(ctx)
		if err != nil {
			return nil, fmt.Errorf("decide: %w", err)
		}
		changed = append(changed, one)
	}
	if len(changed) == 0 {
		return nil, problem.New("sandbox.nothing-to-withdraw", "name", plain(d.Dataset))
	}
	return changed, nil
}

func mayServe(ctx context.Context, tx bun.Tx, d policy.Dataset) error {
	before, err := served(ctx, tx, d.Name)
	if err != nil {
		return err
	}
	if before != nil && before.Version > d.Version {
		return problem.New("sandbox.version-superseded", "name", plain(d.Name), "version", fmt.Sprint(d.Version), "newer", fmt.Sprint(before.Version))
	}
	framed, err := hasFrame(ctx, tx, d)
	if err != nil {
		return err
	}
	if !framed {
		return problem.New("sandbox.no-frame", "name", plain(d.Name), "frame", plain(d.Frame))
	}
	return nil
}
