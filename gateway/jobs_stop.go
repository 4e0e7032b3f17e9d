package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// revoke stops the jobs of a grant or an account that was closed. What runs is killed first, here and, where the
// database carries the word, on every node; then it is written that the jobs are over, which those that wait hear
// from the table. Nothing of them can be shown afterwards even if one came to its end in between.
func (j *Jobs) revoke(ctx context.Context, of column, code string) error {
	j.interrupt(of.meant, haltedBy(code))
	told := tell(ctx, j.DB, haltOf(of, code))
	_, err := j.halt(ctx, of, code)
	j.bells.ringAll() // who listens asks again whether they may
	return errors.Join(told, err)
}

// halt writes that the queued and running jobs of a column's value are over, and then stops those that run.
func (j *Jobs) halt(ctx context.Context, of column, code string) (stopped int, err error) {
	var rows []jobRow
	err = j.turn(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		rows, err = j.move(ctx, tx, haltedBy(code).state, problem.New(code), func(q *bun.UpdateQuery) {
			q.Where("? = ?", bun.Ident(of.name), of.value).Where("state IN (?, ?)", JobQueued, JobRunning)
		})
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			if row.Started == 0 {
				continue // it took nothing
			}
			job, err := row.job()
			if err != nil {
				return err
			}
			// What it took so far is added by its own process, when that has ended.
			if err := j.charge(ctx, tx, job, row.State, figures{}); err != nil {
				return err
			}
		}
		return tell(ctx, tx, haltOf(of, code))
	})
	if err != nil {
		return 0, fmt.Errorf("stop jobs: %w", err)
	}
	j.interrupt(of.meant, haltedBy(code))
	for _, row := range rows {
		j.bells.ring(row.ID)
	}
	return len(rows), nil
}

// meant reports whether a job has the column's value.
func (c column) meant(job Job) bool {
	switch c.name {
	case "id":
		return job.ID == c.value
	case "grant_id":
		return job.Grant == c.value
	case "owner":
		return job.Owner == c.value
	}
	return false
}
