package policy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// Usable says why nothing that was made under a grant may be read or released now, and is silent if it may. Whoever
// hands out anything asks it first: after the end of a grant nothing leaves (order 286 of Jinan, art. 8(5); plan of Jilin
// City, section 6(7)), and while it is suspended nothing does either.
func (e *Engine) Usable(ctx context.Context, id string) error {
	grant, _, err := e.account(ctx, id)
	if errors.Is(err, errNoGrant) {
		return problem.New("policy.unknown-grant")
	}
	if err != nil {
		return undecided(err)
	}
	return closed(grant, e.now())
}

// closed is why a grant authorises nothing at a moment, nil if it does.
func closed(grant Grant, now time.Time) error {
	switch {
	case grant.State == GrantTerminated:
		return problem.New("policy.grant-terminated")
	case grant.State != GrantActive:
		return problem.New("policy.grant-suspended")
	case now.Unix() < grant.From.Unix():
		return problem.New("policy.grant-not-yet-valid")
	case now.Unix() >= grant.Until.Unix():
		return problem.New("policy.grant-expired")
	}
	return nil
}

// Ending is what becomes of a grant that can never authorise anything again.
type Ending struct {
	Grant       string
	Ended       time.Time
	DeleteAfter time.Time // what is held under the grant is deleted from then on
	Deleted     time.Time // zero until it was
}

type endRow struct {
	bun.BaseModel `bun:"table:policy_grant_ends,alias:e"`

	Grant       string `bun:"grant_id,pk"`
	Ended       int64  `bun:"ended_at"`
	DeleteAfter int64  `bun:"delete_after"`
	Deleted     int64  `bun:"deleted_at"`
}

func (r endRow) ending(zone *time.Location) Ending {
	end := Ending{Grant: r.Grant, Ended: time.Unix(r.Ended, 0).In(zone), DeleteAfter: time.Unix(r.DeleteAfter, 0).In(zone)}
	if r.Deleted != 0 {
		end.Deleted = time.Unix(r.Deleted, 0).In(zone)
	}
	return end
}

// Endings lists the grants that have ended, by termination or with their term, and on whose end nobody has acted yet. It
// is for the platform itself, as all that follows but Hold and Lift.
func (e *Engine) Endings(ctx context.Context, grace time.Duration) ([]Ending, error) {
	now := e.now()
	var rows []endRow
	err := e.db.NewRaw(`
		SELECT g.id AS grant_id, CASE WHEN g.state = ? AND coalesce(c.at, ?) < g.valid_until THEN coalesce(c.at, ?) ELSE g.valid_until END AS ended_at
		FROM policy_grants AS g
		LEFT JOIN (SELECT grant_id, max(at) AS at FROM policy_grant_changes WHERE state = ? GROUP BY grant_id) AS c ON c.grant_id = g.id
		WHERE (g.state = ? OR g.valid_until <= ?) AND NOT EXISTS (SELECT 1 FROM policy_grant_ends AS e WHERE e.grant_id = g.id)
		ORDER BY g.id`, GrantTerminated, now.Unix(), now.Unix(), GrantTerminated, GrantTerminated, now.Unix()).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("look for ended grants: %w", err)
	}
	endings := make([]Ending, len(rows))
	for i, r := range rows {
		r.DeleteAfter = time.Unix(r.Ended, 0).Add(grace).Unix()
		endings[i] = r.ending(e.zone)
	}
	return endings, nil
}

// Close notes that the end of a grant was acted on. It is no error if it was noted before; the first note stands.
func (e *Engine) Close(ctx context.Context, end Ending) error {
	row := endRow{Grant: end.Grant, Ended: end.Ended.Unix(), DeleteAfter: end.DeleteAfter.Unix()}
	if _, err := e.db.NewInsert().Model(&row).On("CONFLICT (grant_id) DO NOTHING").Exec(ctx); err != nil {
		return fmt.Errorf("note the end of a grant: %w", err)
	}
	return nil
}

// Overdue lists the ended grants whose grace is over, on which no hold is, and of which something may still be kept.
func (e *Engine) Overdue(ctx context.Context) ([]Ending, error) {
	var rows []endRow
	err := e.db.NewSelect().Model(&rows).Where("deleted_at = 0").Where("delete_after <= ?", e.now().Unix()).
		Where("NOT EXISTS (SELECT 1 FROM policy_grant_holds AS h WHERE h.grant_id = e.grant_id AND h.lifted_at = 0)").
		Order("delete_after", "grant_id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what is to be deleted: %w", err)
	}
	overdue := make([]Ending, len(rows))
	for i, r := range rows {
		overdue[i] = r.ending(e.zone)
	}
	return overdue, nil
}

// Deleted notes that nothing is kept of what was made under a grant.
func (e *Engine) Deleted(ctx context.Context, id string) error {
	_, err := e.db.NewUpdate().Model((*endRow)(nil)).Set("deleted_at = ?", e.now().Unix()).
		Where("grant_id = ?", id).Where("deleted_at = 0").Exec(ctx)
	if err != nil {
		return fmt.Errorf("note a deletion: %w", err)
	}
	return nil
}

// NextEnd is the next moment at which a term or a grace is over; zero if none is.
func (e *Engine) NextEnd(ctx context.Context) (time.Time, error) {
	var next struct {
		Until, Delete sql.NullInt64
	}
	err := e.db.NewRaw(`SELECT
		(SELECT min(valid_until) FROM policy_grants AS g WHERE state <> ? AND valid_until > ?) AS "until",
		(SELECT min(delete_after) FROM policy_grant_ends WHERE deleted_at = 0 AND delete_after > ?) AS "delete"`,
		GrantTerminated, e.now().Unix(), e.now().Unix()).Scan(ctx, &next)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for the next end of a grant: %w", err)
	}
	var at time.Time
	for _, moment := range []sql.NullInt64{next.Until, next.Delete} {
		if moment.Valid && (at.IsZero() || moment.Int64 < at.Unix()) {
			at = time.Unix(moment.Int64, 0)
		}
	}
	return at, nil
}

// End tells what becomes of a grant: its ending, nil while it has none, and whether a hold is on it.
func (e *Engine) End(ctx context.Context, who Principal, id string) (end *Ending, held bool, err error) {
	if _, err := e.reach(ctx, who, GrantRead, id); err != nil {
		return nil, false, err
	}
	var rows []endRow
	if err := e.db.NewSelect().Model(&rows).Where("grant_id = ?", id).Scan(ctx); err != nil {
		return nil, false, fmt.Errorf("read the end of a grant: %w", err)
	}
	if len(rows) > 0 {
		found := rows[0].ending(e.zone)
		end = &found
	}
	held, err = e.db.NewSelect().Table("policy_grant_holds").Where("grant_id = ?", id).Where("lifted_at = 0").Exists(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("read the holds on a grant: %w", err)
	}
	return end, held, nil
}

// holdRow is a hold on a grant.
type holdRow struct {
	bun.BaseModel `bun:"table:policy_grant_holds,alias:h"`

	Seq     int64  `bun:"seq,pk,autoincrement"`
	Grant   string `bun:"grant_id"`
	At      int64  `bun:"at"`
	Subject string `bun:"subject"`
	Reason  string `bun:"reason"`
	Lifted  int64  `bun:"lifted_at"`
}

// Hold keeps what was made under a grant from being deleted, until the hold is lifted: a dispute or an inquiry may need
// it. Nothing is opened by it.
func (e *Engine) Hold(ctx context.Context, who Principal, id, reason string) error {
	if _, err := e.reach(ctx, who, GrantHold, id); err != nil {
		return err
	}
	if !plain(reason, reasonLimit) {
		return problem.New("policy.reason-needed")
	}
	row := holdRow{Grant: id, At: e.now().Unix(), Subject: who.Subject, Reason: reason}
	result, err := e.db.NewInsert().Model(&row).ExcludeColumn("seq").On("CONFLICT (grant_id) WHERE lifted_at = 0 DO NOTHING").Returning("NULL").Exec(ctx)
	return moved(result, err, "policy.grant-held")
}

// Lift ends the hold on a grant. What is overdue is deleted at the next look.
func (e *Engine) Lift(ctx context.Context, who Principal, id, reason string) error {
	if _, err := e.reach(ctx, who, GrantLift, id); err != nil {
		return err
	}
	if !plain(reason, reasonLimit) {
		return problem.New("policy.reason-needed")
	}
	result, err := e.db.NewUpdate().Model((*holdRow)(nil)).Set("lifted_at = ?", max(1, e.now().Unix())).
		Where("grant_id = ?", id).Where("lifted_at = 0").Exec(ctx)
	return moved(result, err, "policy.grant-not-held")
}

// moved turns a statement that changed nothing into a problem.
func moved(result sql.Result, err error, otherwise string) error {
	if err != nil {
		return fmt.Errorf("change the hold on a grant: %w", err)
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("change the hold on a grant: %w", err)
	}
	if changed != 1 {
		return problem.New(otherwise)
	}
	return nil
}
