package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/sandbox"
)

// progressStep is how finely progress is told, in percent. How fast a job goes on depends on the data; in tenths,
// and not oftener than once a second, it says little more than how long the job takes, which is seen anyway.
const progressStep = 10

// figures are what a job took.
type figures struct {
	cpu, wall  time.Duration
	peak, read int64 // bytes
}

// meter counts what the processes of one job take, while it runs.
type meter struct {
	mu      sync.Mutex
	figures figures
	percent int // the greatest that was heard, in steps
	told    int
	step    time.Duration // in which the job's time is told; see jobs_pace.go
}

// trace has the sandbox count.
func (m *meter) trace() *sandbox.Trace { return &sandbox.Trace{Used: m.used, Progress: m.progress} }

func (m *meter) used(u sandbox.Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.figures.cpu += u.CPU
	m.figures.wall += u.Wall
	m.figures.peak = max(m.figures.peak, u.PeakMemory)
	m.figures.read += u.Read
}

// progress takes what the engine says of one of the job's queries. It never goes back, and is never whole: the job
// may ask again.
func (m *meter) progress(percent int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.percent = max(m.percent, min(percent, 100-progressStep)/progressStep*progressStep)
}

// news is the progress if it has changed since it was last asked for, or 0.
func (m *meter) news() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told == m.percent || m.step > 0 {
		return 0
	}
	m.told = m.percent
	return m.percent
}

func (m *meter) taken() figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.figures
	f.cpu, f.wall = stepped(f.cpu, m.step), stepped(f.wall, m.step)
	return f
}

// usageRow is a row of gateway_usage.
type usageRow struct {
	bun.BaseModel `bun:"table:gateway_usage,alias:u"`

	Job      string   `bun:"job,pk"`
	Operator string   `bun:"operator"`
	Grant    string   `bun:"grant_id"`
	State    JobState `bun:"state"`
	Started  int64    `bun:"started_at"`
	Ended    int64    `bun:"ended_at"`
	CPU      int64    `bun:"cpu_us"`
	Wall     int64    `bun:"wall_us"`
	Peak     int64    `bun:"peak_bytes"`
	Read     int64    `bun:"read_bytes"`
}

// charge writes what a job took for billing, and on the day's accounts of its operator and of the platform. It may be
// called again for the same job, with what was not known before.
func (j *Jobs) charge(ctx context.Context, tx bun.Tx, job Job, state JobState, f figures) error {
	row := usageRow{
		Job: job.ID, Operator: job.Operator, Grant: job.Grant, State: state, Started: job.Started.UnixMicro(), Ended: j.options.Clock().UnixMicro(),
		CPU: f.cpu.Microseconds(), Wall: f.wall.Microseconds(), Peak: f.peak, Read: f.read,
	}
	_, err := tx.NewInsert().Model(&row).On("CONFLICT (job) DO UPDATE").
		Set("cpu_us = u.cpu_us + EXCLUDED.cpu_us").Set("wall_us = u.wall_us + EXCLUDED.wall_us").
		Set("read_bytes = u.read_bytes + EXCLUDED.read_bytes").
		Set("peak_bytes = CASE WHEN u.peak_bytes > EXCLUDED.peak_bytes THEN u.peak_bytes ELSE EXCLUDED.peak_bytes END").Exec(ctx)
	if err != nil {
		return fmt.Errorf("write usage: %w", err)
	}
	today := j.options.today()
	_, err = tx.NewUpdate().Model((*operatorRow)(nil)).Set("day = ?", today).
		Set("cpu_us = CASE WHEN day = ? THEN cpu_us ELSE 0 END + ?", today, row.CPU).
		Set("read_bytes = CASE WHEN day = ? THEN read_bytes ELSE 0 END + ?", today, row.Read).
		Where("operator IN ('', ?)", job.Operator).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write the day's account: %w", err)
	}
	return nil
}

// What is told of usage at once, and in which units bytes are billed. What a single job read depends on the data; in
// such units, and added up by day, it says nothing of them.
const (
	usageDays = 366
	usageJobs = 100_000
	usageUnit = 64 << 20
)

// span gives the moments between which the days lie.
func (j *Jobs) span(days Days) (from, until time.Time, err error) {
	from, err = time.ParseInLocation(time.DateOnly, days.From, j.options.Zone)
	last, err2 := time.ParseInLocation(time.DateOnly, days.To, j.options.Zone)
	until = last.AddDate(0, 0, 1)
	if err != nil || err2 != nil || last.Before(from) || until.After(from.AddDate(0, 0, usageDays)) {
		return from, until, problem.New("gateway.usage-days", "days", strconv.Itoa(usageDays), "jobs", strconv.Itoa(usageJobs))
	}
	return from, until, nil
}

// each hands over what jobs took, by when they ended.
func (j *Jobs) each(ctx context.Context, days Days, see func(usageRow) error) error {
	from, until, err := j.span(days)
	if err != nil {
		return err
	}
	query := j.DB.NewSelect().Model((*usageRow)(nil)).Where("ended_at >= ?", from.UnixMicro()).Where("ended_at < ?", until.UnixMicro()).Order("ended_at", "job")
	if days.Operator != "" {
		query.Where("operator = ?", days.Operator)
	}
	rows, err := query.Rows(ctx)
	if err != nil {
		return fmt.Errorf("read usage: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var row usageRow
		if err := j.DB.ScanRow(ctx, rows, &row); err != nil {
			return fmt.Errorf("read usage: %w", err)
		}
		if err := see(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Totals adds up what the jobs of each grant took on each day.
func (j *Jobs) Totals(ctx context.Context, days Days) ([]Usage, error) {
	byKey := map[Usage]*Usage{}
	var list []*Usage
	err := j.each(ctx, days, func(row usageRow) error {
		key := Usage{Day: moment(row.Ended).In(j.options.Zone).Format(time.DateOnly), Operator: row.Operator, Grant: row.Grant}
		total := byKey[key]
		if total == nil {
			total = new(key)
			byKey[key], list = total, append(list, total)
		}
		total.Jobs++
		total.CPU += time.Duration(row.CPU) * time.Microsecond
		total.Wall += time.Duration(row.Wall) * time.Microsecond
		total.Read += row.Read
		return nil
	})
	if err != nil {
		return nil, err
	}
	totals := make([]Usage, len(list))
	for i, total := range list {
		total.CPU, total.Wall = whole(total.CPU, time.Second), whole(total.Wall, time.Second)
		total.Read = whole(total.Read, usageUnit)
		totals[i] = *total
	}
	slices.SortFunc(totals, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Operator, b.Operator), cmp.Compare(a.Grant, b.Grant))
	})
	return totals, nil
}

// whole rounds up to whole units.
func whole[T int64 | time.Duration](amount, unit T) T { return (amount + unit - 1) / unit * unit }

// Taken lists what each job took.
func (j *Jobs) Taken(ctx context.Context, days Days) ([]JobUsage, error) {
	var list []JobUsage
	err := j.each(ctx, days, func(row usageRow) error {
		if len(list) == usageJobs {
			return problem.New("gateway.usage-days", "days", strconv.Itoa(usageDays), "jobs", strconv.Itoa(usageJobs))
		}
		list = append(list, JobUsage{
			Job: row.Job, Operator: row.Operator, Grant: row.Grant, State: row.State, Started: moment(row.Started), Ended: moment(row.Ended),
			CPU: time.Duration(row.CPU) * time.Microsecond, Wall: time.Duration(row.Wall) * time.Microsecond, Peak: row.Peak, Read: row.Read,
		})
		return nil
	})
	return list, err
}
