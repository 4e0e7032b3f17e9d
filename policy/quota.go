package policy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"weir/internal/problem"
)

// usage is what a grant asked on one day.
type usage struct {
	Jobs  int `bun:"jobs"`
	Cells int `bun:"cells"`
}

// spendLimit bounds one charge, so that no sum overflows the database's integers.
const spendLimit = 1_000_000

// Spend charges the day's account of a grant: a job before it starts, cells before they are released. It is one
// statement: either all of it is charged or, past a limit, nothing, however many do so at once. A grant that is not
// active or outside its term cannot spend, so a suspension also stops what is already running from being released.
// What was spent is never given back, whatever becomes of the job.
func (e *Engine) Spend(ctx context.Context, grantID string, jobs, cells int) error {
	if jobs < 0 || cells < 0 || jobs > spendLimit || cells > spendLimit || jobs+cells == 0 {
		return fmt.Errorf("charge of %d jobs and %d cells is not a charge", jobs, cells)
	}
	now := e.now()
	result, err := e.db.NewRaw(`
		INSERT INTO policy_usage AS u (grant_id, day, jobs, cells)
		SELECT g.id, ?, ?, ? FROM policy_grants AS g
		WHERE g.id = ? AND g.state = ? AND g.valid_from <= ? AND ? < g.valid_until
			AND ? <= g.jobs_per_day AND ? <= g.cells_per_day
		ON CONFLICT (grant_id, day) DO UPDATE SET jobs = u.jobs + excluded.jobs, cells = u.cells + excluded.cells
		WHERE u.jobs + excluded.jobs <= (SELECT jobs_per_day FROM policy_grants AS l WHERE l.id = u.grant_id)
			AND u.cells + excluded.cells <= (SELECT cells_per_day FROM policy_grants AS l WHERE l.id = u.grant_id)`,
		e.day(now), jobs, cells, grantID, GrantActive, now.Unix(), now.Unix(), jobs, cells).Exec(ctx)
	if err != nil {
		return fmt.Errorf("charge grant: %w", err)
	}
	charged, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("charge grant: %w", err)
	}
	if charged == 1 {
		return nil
	}
	return e.whyNotCharged(ctx, grantID, now, jobs)
}

// whyNotCharged looks for the reason of a refusal that has already happened.
func (e *Engine) whyNotCharged(ctx context.Context, grantID string, now time.Time, jobs int) error {
	grant, used, err := e.account(ctx, grantID)
	switch {
	case errors.Is(err, errNoGrant):
		return problem.New("policy.unknown-grant")
	case err != nil:
		return err
	case closed(grant, now) != nil:
		return closed(grant, now)
	case used.Jobs+jobs > grant.Quota.JobsPerDay:
		return problem.New("policy.quota-jobs").After(e.untilTomorrow())
	}
	return problem.New("policy.quota-cells").After(e.untilTomorrow())
}

// account reads a grant and what it spent today, in one statement.
func (e *Engine) account(ctx context.Context, grantID string) (Grant, usage, error) {
	var found struct {
		row   `bun:",extend"`
		usage `bun:",extend"`
	}
	err := e.db.NewRaw(`
		SELECT g.*, COALESCE(u.jobs, 0) AS jobs, COALESCE(u.cells, 0) AS cells FROM policy_grants AS g
		LEFT JOIN policy_usage AS u ON u.grant_id = g.id AND u.day = ? WHERE g.id = ?`,
		e.day(e.now()), grantID).Scan(ctx, &found)
	if errors.Is(err, sql.ErrNoRows) {
		return Grant{}, usage{}, errNoGrant
	}
	if err != nil {
		return Grant{}, usage{}, fmt.Errorf("read grant: %w", err)
	}
	return found.row.grant(e.zone), found.usage, nil
}

// Left is what a grant may still be asked for: jobs and cells today, and of each data set's budget where it has one.
type Left struct {
	Jobs    int
	Cells   int
	Privacy map[string]float64 // epsilon, by data set; nil unless the grant is in private mode
}

// Left tells what is left of a grant's quota and budgets, to a person who may read the grant.
func (e *Engine) Left(ctx context.Context, who Principal, grantID string) (Left, error) {
	if _, err := e.reach(ctx, who, GrantRead, grantID); err != nil {
		return Left{}, err
	}
	grant, used, err := e.account(ctx, grantID)
	if err != nil {
		return Left{}, err
	}
	left := Left{Jobs: max(0, grant.Quota.JobsPerDay-used.Jobs), Cells: max(0, grant.Quota.CellsPerDay-used.Cells)}
	if grant.Mode != Private {
		return left, nil
	}
	spent, err := e.PrivacySpent(ctx, who, grantID)
	if err != nil {
		return Left{}, err
	}
	left.Privacy = map[string]float64{}
	for name, used := range spent {
		left.Privacy[name] = max(0, grant.Privacy.Epsilon-used)
	}
	return left, nil
}

// day names the day of an account in the platform's time zone.
func (e *Engine) day(t time.Time) string { return t.In(e.zone).Format(time.DateOnly) }

// untilTomorrow is how long a day's account still lasts.
func (e *Engine) untilTomorrow() time.Duration {
	now := e.now().In(e.zone)
	return time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, e.zone).Sub(now)
}
