package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/uptrace/bun"
)

// Filter chooses entries. Empty fields choose all.
type Filter struct {
	Kind   string
	Kinds  []string // any of these; all if empty
	Actor  string   // finds nothing of what was erased
	Grant  string
	Job    string
	Object string
	From   time.Time // this moment and later
	Until  time.Time // before this moment
	After  int64     // this index and later: give the last record's index plus one to go on
	Limit  int       // 100 if zero, at most 1000
}

// Record is an entry as people read it.
type Record struct {
	Index   int64
	Time    time.Time
	Kind    string
	Actor   string
	Grant   string
	Job     string
	Object  string
	Facts   map[string]string
	Payload []byte
	Erased  bool // there was an actor or a payload, and it is gone
}

// Search finds entries, oldest first. An entry that contradicts its leaf is an error and not a result: what a
// search shows is what the tree holds. That nothing is left out only Verify can say.
func (l *Log) Search(ctx context.Context, f Filter) ([]Record, error) {
	query := l.db.NewSelect().Model((*entryRow)(nil)).Where("idx >= ?", f.After).Order("idx").Limit(f.limit())
	for column, value := range map[string]string{"kind": f.Kind, "grant_id": f.Grant, "job": f.Job, "object": f.Object} {
		if value != "" {
			query = query.Where("? = ?", bun.Ident(column), value)
		}
	}
	if len(f.Kinds) > 0 {
		query = query.Where("kind IN (?)", bun.List(f.Kinds))
	}
	if f.Actor != "" {
		query = query.Where("idx IN (SELECT idx FROM audit_private WHERE actor = ?)", f.Actor)
	}
	if !f.From.IsZero() {
		query = query.Where("at >= ?", f.From.UnixNano())
	}
	if !f.Until.IsZero() {
		query = query.Where("at < ?", f.Until.UnixNano())
	}
	var rows []entryRow
	if err := query.Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("search the audit log: %w", err)
	}
	return l.records(ctx, rows)
}

// records adds the private parts. One that is erased between the two queries is shown as erased.
func (l *Log) records(ctx context.Context, rows []entryRow) ([]Record, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	indexes := make([]int64, len(rows))
	for i, row := range rows {
		indexes[i] = row.Index
	}
	var parts []privateRow
	if err := l.db.NewSelect().Model(&parts).Where("idx IN (?)", bun.List(indexes)).Scan(ctx); err != nil {
		return nil, fmt.Errorf("search the audit log: %w", err)
	}
	private := make(map[int64]*privateRow, len(parts))
	for i := range parts {
		private[parts[i].Index] = &parts[i]
	}
	records := make([]Record, len(rows))
	for i, row := range rows {
		var err error
		if records[i], err = row.record(private[row.Index]); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func (f Filter) limit() int64 {
	if f.Limit <= 0 {
		return 100
	}
	return int64(min(f.Limit, 1000))
}

func (row entryRow) record(private *privateRow) (Record, error) {
	l, wrong, gone := row.contradictions(private)
	if len(wrong) > 0 {
		return Record{}, fmt.Errorf("%w: entry %d: %s", ErrDamaged, row.Index, wrong[0])
	}
	r := Record{
		Index: row.Index, Time: time.Unix(0, row.At).UTC(), Kind: l.Kind, Grant: l.Grant, Job: l.Job, Object: l.Object,
		Facts: l.Facts, Erased: gone,
	}
	if private != nil {
		r.Payload = private.Payload
		if private.Actor != nil {
			r.Actor = *private.Actor
		}
	}
	return r, nil
}
