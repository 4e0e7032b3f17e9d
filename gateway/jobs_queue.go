package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// operatorRow is a row of gateway_operators: whose turn it is, and what was taken on a day. The one without a name
// is the platform as a whole.
type operatorRow struct {
	bun.BaseModel `bun:"table:gateway_operators,alias:o"`

	Operator string `bun:"operator,pk"`
	Turn     int64  `bun:"turn"`
	Day      string `bun:"day"`
	CPU      int64  `bun:"cpu_us"`
	Read     int64  `bun:"read_bytes"`
}

// enqueue writes a new job and its text, or refuses. fresh is false when its owner has used the key before.
func (j *Jobs) enqueue(ctx context.Context, job Job, key, mac, text string) (fresh bool, err error) {
	row := jobRow{
		ID: job.ID, Owner: job.Owner, Operator: job.Operator, Grant: job.Grant, State: JobQueued, Key: key, MAC: mac,
		Created: job.Created.UnixMicro(), Events: 1,
	}
	err = j.turn(ctx, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.NewInsert().Model(&row).On("CONFLICT (owner, idempotency_key) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		inserted, err := result.RowsAffected()
		if err != nil || inserted == 0 {
			return err
		}
		fresh = true
		if err := j.room(ctx, tx, job); err != nil {
			return err
		}
		for _, belonging := range []any{
			&eventRow{Job: row.ID, Number: 1, State: JobQueued, At: row.Created},
			&textRow{Job: row.ID, Sealed: j.secrets.seal(job, text)},
		} {
			if _, err := tx.NewInsert().Model(belonging).Exec(ctx); err != nil {
				return err
			}
		}
		return tell(ctx, tx, newsOfQueue)
	})
	if refusal(err) {
		return false, err
	}
	if err != nil {
		return false, fmt.Errorf("write job: %w", err)
	}
	return fresh, nil
}

// room refuses a job, which has just been written, where one more would be too many.
func (j *Jobs) room(ctx context.Context, tx bun.Tx, job Job) error {
	own := operatorRow{Operator: job.Operator, Day: j.options.today()}
	if _, err := tx.NewInsert().Model(&own).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
		return err
	}
	var count struct{ Own, Operator, All int }
	err := tx.NewSelect().Model((*jobRow)(nil)).
		ColumnExpr("count(CASE WHEN owner = ? THEN 1 END) AS own", job.Owner).
		ColumnExpr("count(CASE WHEN state = 'queued' AND operator = ? THEN 1 END) AS operator", job.Operator).
		ColumnExpr(`count(CASE WHEN state = 'queued' THEN 1 END) AS "all"`).
		Where("state IN ('queued', 'running')").Scan(ctx, &count)
	if err != nil {
		return err
	}
	operator, all := j.options.of(job.Operator), j.options.Platform
	switch {
	case count.Own > j.options.PerAccount:
		return problem.New("gateway.too-many-jobs", "limit", strconv.Itoa(j.options.PerAccount))
	case operator.Queued > 0 && count.Operator > operator.Queued:
		return problem.New("gateway.operator-queue-full", "limit", strconv.Itoa(operator.Queued))
	case count.All > all.Queued:
		return problem.New("gateway.queue-full")
	}
	accounts, err := j.accounts(ctx, tx)
	if err != nil {
		return err
	}
	if j.usedUp(operator, accounts[job.Operator]) {
		return problem.New("gateway.day-used-up")
	}
	if j.usedUp(all, accounts[""]) {
		return problem.New("gateway.platform-used-up")
	}
	return nil
}

// accounts reads what each operator has taken.
func (j *Jobs) accounts(ctx context.Context, tx bun.Tx) (map[string]operatorRow, error) {
	var rows []operatorRow
	if err := tx.NewSelect().Model(&rows).Where("day = ? OR operator = ''", j.options.today()).Scan(ctx); err != nil {
		return nil, err
	}
	byName := map[string]operatorRow{}
	for _, row := range rows {
		byName[row.Operator] = row
	}
	return byName, nil
}

// usedUp reports whether the day's account has reached the allowance. What runs may go beyond it: a job that has
// begun comes to its end.
func (j *Jobs) usedUp(a Allowance, taken operatorRow) bool {
	if taken.Day != j.options.today() {
		return false
	}
	return a.CPU > 0 && taken.CPU >= a.CPU.Microseconds() || a.Read > 0 && taken.Read >= a.Read
}

// candidate is an operator with a job that waits.
type candidate struct {
	Operator string `bun:"operator"`
	First    string `bun:"first"` // the job that has waited for the longest
	Running  int    `bun:"running"`
	Here     int    `bun:"here"` // of them in this process
}

// claim begins the job whose turn it is, or gives nil when none may begin now. The operator with the fewest running
// jobs comes first, and among equals the one that has not had a turn for the longest: one that queues a thousand jobs
// does not keep another's single one waiting. Its text is deleted in the same transaction: from here on it is in the
// memory of this process alone.
func (j *Jobs) claim(ctx context.Context) (*task, error) {
	waiting, err := j.DB.NewSelect().Model((*jobRow)(nil)).Where("state = 'queued'").Exists(ctx)
	if err != nil || !waiting {
		return nil, err
	}
	var begun *task
	err = j.turn(ctx, func(ctx context.Context, tx bun.Tx) error {
		next, err := j.next(ctx, tx)
		if err != nil || next == "" {
			return err
		}
		rows, err := j.move(ctx, tx, JobRunning, nil, func(q *bun.UpdateQuery) { q.Where("id = ?", next).Where("state = ?", JobQueued) })
		if err != nil || len(rows) == 0 {
			return err
		}
		if begun, err = j.unpack(ctx, tx, rows[0]); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model((*operatorRow)(nil)).Set("turn = (SELECT max(turn) + 1 FROM gateway_operators)").
			Where("operator = ?", begun.job.Operator).Exec(ctx)
		if err != nil {
			return err
		}
		return tell(ctx, tx, newsOf(next))
	})
	if err != nil {
		return nil, fmt.Errorf("begin a job: %w", err)
	}
	return begun, nil
}

// next names the job whose turn it is, "" for none.
func (j *Jobs) next(ctx context.Context, tx bun.Tx) (string, error) {
	accounts, err := j.accounts(ctx, tx)
	if err != nil || j.usedUp(j.options.Platform, accounts[""]) {
		return "", err
	}
	if most := j.options.Platform.Running; most > 0 {
		running, err := tx.NewSelect().Model((*jobRow)(nil)).Where("state = 'running'").Count(ctx)
		if err != nil || running >= int64(most) {
			return "", err
		}
	}
	var candidates []candidate
	err = tx.NewRaw(`
		SELECT q.operator, q.first, COALESCE(r.running, 0) AS running, COALESCE(r.here, 0) AS here
		FROM (SELECT operator, min(id) AS first FROM gateway_jobs WHERE state = 'queued' GROUP BY operator) AS q
		JOIN gateway_operators AS o ON o.operator = q.operator
		LEFT JOIN (SELECT operator, count(*) AS running, count(CASE WHEN node = ? THEN 1 END) AS here FROM gateway_jobs WHERE state = 'running' GROUP BY operator) AS r
			ON r.operator = q.operator
		ORDER BY COALESCE(r.running, 0), o.turn, q.first`, j.node).Scan(ctx, &candidates)
	if err != nil {
		return "", err
	}
	for _, c := range candidates {
		a := j.options.of(c.Operator)
		if c.Here < j.options.Share && (a.Running == 0 || c.Running < a.Running) && !j.usedUp(a, accounts[c.Operator]) {
			return c.First, nil
		}
	}
	return "", nil
}

// unpack takes the text of a job that has just begun out of the store. A text that cannot be read, because the
// platform's secret was changed, leaves the task without one.
func (j *Jobs) unpack(ctx context.Context, tx bun.Tx, row jobRow) (*task, error) {
	job, err := row.job()
	if err != nil {
		return nil, err
	}
	var sealed []textRow
	if err := tx.NewSelect().Model(&sealed).Where("job = ?", job.ID).Scan(ctx); err != nil {
		return nil, err
	}
	if _, err := tx.NewDelete().Model((*textRow)(nil)).Where("job = ?", job.ID).Exec(ctx); err != nil {
		return nil, err
	}
	t := &task{job: job, gone: make(chan struct{})}
	if len(sealed) != 1 {
		t.lost = errors.New("no text")
		return t, nil
	}
	t.sql, t.lost = j.secrets.open(job, sealed[0].Sealed)
	return t, nil
}
