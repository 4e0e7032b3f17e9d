package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/uptrace/bun"

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
	if m.told == m.percent {
		return 0
	}
	m.told = m.percent
	return m.percent
}

func (m *meter) taken() figures {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.figures
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
