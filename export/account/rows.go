package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/uptrace/bun"
)

// errNone says that no accounts were opened.
var errNone = errors.New("account: the accounts are not open")

// load reads what a question of an operator needs to know. With lock nobody else changes it before the transaction
// ends; on SQLite that is so for every transaction of the store.
func load(ctx context.Context, db bun.IDB, operator string, domains []string, lock bool) (*fold, error) {
	f := newFold()
	query := db.NewSelect().Model(&f.state)
	if lock && postgres(db) {
		query = query.For("UPDATE")
	}
	switch err := query.Scan(ctx); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, errNone
	case err != nil:
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	if len(domains) == 0 {
		return f, nil
	}
	var rows []*domainRow
	if err := db.NewSelect().Model(&rows).Where("domain IN (?)", bun.List(domains)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	var shares []*shareRow
	if operator != "" {
		err := db.NewSelect().Model(&shares).Where("operator = ? AND domain IN (?)", operator, bun.List(domains)).Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the accounts: %w", err)
		}
	}
	f.hold(rows, shares)
	return f, nil
}

// loadAll reads the accounts of all domains and operators.
func loadAll(ctx context.Context, db bun.IDB, lock bool) (*fold, error) {
	f, err := load(ctx, db, "", nil, lock)
	if err != nil {
		return nil, err
	}
	var rows []*domainRow
	if err := db.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	var shares []*shareRow
	if err := db.NewSelect().Model(&shares).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	f.hold(rows, shares)
	return f, nil
}

func (f *fold) hold(rows []*domainRow, shares []*shareRow) {
	for _, row := range rows {
		f.domains[row.Domain] = row
	}
	for _, row := range shares {
		f.shares[owner{row.Operator, row.Domain}] = row
	}
}

// save writes the fold's rows over those that are there.
func (f *fold) save(ctx context.Context, tx bun.Tx) error {
	inserts := []*bun.InsertQuery{
		tx.NewInsert().Model(&f.state).On("CONFLICT (id) DO UPDATE").
			Set("position = EXCLUDED.position").Set("opening = EXCLUDED.opening"),
	}
	if len(f.domains) > 0 {
		rows := slices.Collect(maps.Values(f.domains))
		inserts = append(inserts, tx.NewInsert().Model(&rows).On("CONFLICT (domain) DO UPDATE").
			Set("spent = EXCLUDED.spent").Set("most = EXCLUDED.most").Set("delta = EXCLUDED.delta").
			Set("delta_most = EXCLUDED.delta_most").Set("period = EXCLUDED.period").Set("refilled_at = EXCLUDED.refilled_at"))
	}
	if len(f.shares) > 0 {
		rows := slices.Collect(maps.Values(f.shares))
		inserts = append(inserts, tx.NewInsert().Model(&rows).On("CONFLICT (operator, domain) DO UPDATE").
			Set("period = EXCLUDED.period").Set("spent = EXCLUDED.spent").Set("total = EXCLUDED.total"))
	}
	for _, insert := range inserts {
		if _, err := insert.Exec(ctx); err != nil {
			return fmt.Errorf("write the accounts: %w", err)
		}
	}
	return nil
}

// adopt makes the tables what the fold says, once it has caught up while nobody else can charge.
func (b *Book) adopt(ctx context.Context, f *fold, catchUp func(context.Context) error) (differed bool, err error) {
	err = b.db.RunInTx(ctx, &sql.TxOptions{Isolation: isolation(b.db)}, func(ctx context.Context, tx bun.Tx) error {
		held, err := loadAll(ctx, tx, true)
		if errors.Is(err, errNone) {
			held, err = newFold(), nil
		}
		if err != nil {
			return err
		}
		if err := catchUp(ctx); err != nil {
			return err
		}
		if held.state.Position > f.state.Position {
			return fmt.Errorf("account: the accounts hold entry %d, and the log's last is %d", held.state.Position, f.state.Position)
		}
		if differed = !reflect.DeepEqual(held, f); !differed {
			return nil
		}
		for _, table := range []string{"account_shares", "account_domains", "account_state"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM ?", bun.Ident(table)); err != nil {
				return fmt.Errorf("write the accounts: %w", err)
			}
		}
		if f.state.ID == 0 {
			return nil
		}
		return f.save(ctx, tx)
	})
	return differed, err
}

// isolation is that under which a wait for a lock shows what the one before wrote.
func isolation(db *bun.DB) sql.IsolationLevel {
	if postgres(db) {
		return sql.LevelReadCommitted
	}
	return sql.LevelDefault
}
