package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"go.uber.org/zap"

	"weir/audit"
	"weir/export"
	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
)

// MaxSQL is the longest text of a query, in bytes.
const MaxSQL = 64 << 10

// Runner takes one query from request to release; Flow does.
type Runner interface {
	Run(ctx context.Context, who policy.Principal, req Request) (export.Released, error)
}

// Results gives again what the export filter let out of a job, or where it stands with the officer.
type Results interface {
	Result(ctx context.Context, job string) (export.Released, error)
}

// Permitter decides whether a person may do anything but run a query.
type Permitter interface {
	Permit(ctx context.Context, who policy.Principal, action policy.Action, object policy.Object) error
}

// Recorder puts an event on the log and returns when nothing can take it back.
type Recorder interface {
	Append(ctx context.Context, event audit.Event) (audit.Receipt, error)
}

// JobState is where a job stands.
type JobState string

// The states of a job. Queued leads to running, running to one of the rest; waiting leads to released or denied,
// by an officer. Released, denied, failed and cancelled are final.
const (
	JobQueued    JobState = "queued"
	JobRunning   JobState = "running"
	JobWaiting   JobState = "waiting" // for an officer
	JobReleased  JobState = "released"
	JobDenied    JobState = "denied"
	JobFailed    JobState = "failed"
	JobCancelled JobState = "cancelled"
)

// Final reports whether the state can never change again.
func (s JobState) Final() bool { return s != JobQueued && s != JobRunning && s != JobWaiting }

// Alive reports whether something still runs, or is about to.
func (s JobState) Alive() bool { return s == JobQueued || s == JobRunning }

// Job is a query on its way, without its text and without its result.
type Job struct {
	ID       string
	Owner    string // the person who asked
	Operator string // the person's organisation
	Grant    string
	State    JobState
	Problem  *JobProblem // why it was denied, failed or cancelled
	Created  time.Time
	Started  time.Time // zero until it runs
	Ended    time.Time // zero until nothing runs any more
}

// JobOptions say how jobs are run. The zero value of each field but Secret means the default.
type JobOptions struct {
	Secret     []byte           // keys the fingerprints of requests; at least 32 bytes; required
	Workers    int              // jobs that run at once; default: the number of CPUs
	Queue      int              // jobs that may wait for a worker; default 1000
	PerAccount int              // queued and running jobs of one person; default 20
	Timeout    time.Duration    // of one job; default 10 minutes
	Lease      time.Duration    // after which a silent process counts as dead; default 30 seconds
	Clock      func() time.Time // default time.Now
	Log        *zap.Logger      // the operation log; default none
}

// Jobs runs queries in a bounded number of workers and remembers how they ended.
//
// The text of a query is kept in memory while its job lives, and by the flow as a payload of the log, which can be
// erased; it is in no table. So a job whose process died cannot be run again, and it must not be: its cells may
// have been counted. It becomes failed, and whoever asked submits anew.
type Jobs struct {
	db      *bun.DB
	runner  Runner
	results Results
	permit  Permitter
	record  Recorder
	options JobOptions
	node    string // this process, in the table

	bells   bells
	tasks   chan task
	base    context.Context // of every job; ends when the platform stops
	stop    context.CancelCauseFunc
	workers sync.WaitGroup
	renewal sync.WaitGroup

	gate    sync.RWMutex // held for reading while a job is submitted
	closing bool         // under gate

	mu   sync.Mutex
	mine map[string]*task // queued and running here, by job
}

// task is a job with what is never written down.
type task struct {
	job    Job
	who    policy.Principal
	sql    string
	cancel context.CancelCauseFunc // nil until it runs
}

// Why a job's context ended.
var (
	errCancelled = errors.New("the job was cancelled")
	errStopping  = errors.New("the platform is stopping")
)

// NewJobs brings the tables up to date, ends what a crash left behind and starts the workers. Close stops them.
func NewJobs(ctx context.Context, db *bun.DB, runner Runner, results Results, permit Permitter, record Recorder, options JobOptions) (*Jobs, error) {
	options, err := options.complete()
	if err != nil {
		return nil, fmt.Errorf("job options: %w", err)
	}
	if err := store.Migrate(ctx, db, "gateway", migrations); err != nil {
		return nil, err
	}
	j := &Jobs{
		db: db, runner: runner, results: results, permit: permit, record: record, options: options,
		node:  uuid.NewString(),
		tasks: make(chan task, options.Queue),
		mine:  map[string]*task{},
	}
	j.base, j.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	// An SQLite file has one process, so whatever lives in it belongs to one that is gone. On Postgres it may be
	// a neighbour's, until its lease has run out.
	dead := options.Clock()
	if db.Dialect().Name() == dialect.SQLite {
		dead = dead.Add(100 * 365 * 24 * time.Hour)
	}
	if err := j.bury(ctx, dead); err != nil {
		return nil, fmt.Errorf("end the jobs of a dead process: %w", err)
	}
	for range options.Workers {
		j.workers.Go(j.work)
	}
	j.renewal.Go(j.renew)
	return j, nil
}

func (o JobOptions) complete() (JobOptions, error) {
	if len(o.Secret) < 32 {
		return o, errors.New("a secret of at least 32 bytes is required")
	}
	if o.Workers == 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Queue == 0 {
		o.Queue = 1000
	}
	if o.PerAccount == 0 {
		o.PerAccount = 20
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	if o.Lease == 0 {
		o.Lease = 30 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Workers < 0 || o.Queue < 0 || o.PerAccount < 0 || o.Timeout < 0 || o.Lease < 0 {
		return o, errors.New("a limit is negative")
	}
	return o, nil
}

// Submit takes a query and returns at once. key is chosen by the client for this submission: the same key with
// the same request gives the job of the first time; with another it is refused with gateway.key-reused. Whether
// the person may ask is decided when the job runs, so that every attempt is on the log.
func (j *Jobs) Submit(ctx context.Context, who policy.Principal, key, grant, sql string) (Job, error) {
	if len(sql) > MaxSQL {
		return Job{}, problem.New("gateway.sql-too-long", "bytes", strconv.Itoa(MaxSQL))
	}
	mac := j.fingerprint(who.Subject, key, grant, sql)
	if known, err := j.submitted(ctx, who.Subject, key, mac); err != nil || known != nil {
		return valueOf(known), err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Job{}, fmt.Errorf("number the job: %w", err)
	}
	j.gate.RLock()
	defer j.gate.RUnlock()
	if j.closing {
		return Job{}, problem.New("gateway.stopping")
	}
	t := task{who: who, sql: sql, job: Job{
		ID: id.String(), Owner: who.Subject, Operator: who.Organisation, Grant: grant,
		State: JobQueued, Created: j.options.Clock().UTC().Truncate(time.Microsecond),
	}}
	if err := j.reserve(&t); err != nil {
		return Job{}, err
	}
	fresh, err := j.insert(ctx, t.job, key, mac)
	if err != nil || !fresh {
		j.release(t.job.ID)
	}
	if err != nil {
		return Job{}, err
	}
	if !fresh { // somebody was quicker with the same key
		known, err := j.submitted(ctx, who.Subject, key, mac)
		return valueOf(known), err
	}
	j.tasks <- t // never blocks: a place was reserved
	return t.job, nil
}

// Get is the state of a job, for those who may know of it. Anybody else gets the answer of a job that does not
// exist.
func (j *Jobs) Get(ctx context.Context, who policy.Principal, id string) (Job, error) {
	job, err := j.visible(ctx, who, policy.JobRead, id)
	if err != nil || job.State != JobWaiting {
		return job, err
	}
	return j.Settle(ctx, id)
}

// List gives the person's own jobs, the newest first, from before a job's id if one is given.
func (j *Jobs) List(ctx context.Context, who policy.Principal, before string, limit int) ([]Job, error) {
	object := policy.Object{Operator: who.Organisation, Owner: who.Subject}
	if err := j.permit.Permit(ctx, who, policy.JobList, object); err != nil {
		return nil, err
	}
	return j.list(ctx, who.Subject, before, limit)
}

// Result is what was released of a job. A job that was denied, failed or was cancelled gives its own problem as
// the error, one that still runs gateway.job-alive. A job that waits for an officer gives a result without rows.
func (j *Jobs) Result(ctx context.Context, who policy.Principal, id string) (export.Released, error) {
	job, err := j.Get(ctx, who, id)
	if err != nil {
		return export.Released{}, err
	}
	switch {
	case job.State.Alive():
		return export.Released{}, problem.New("gateway.job-alive")
	case job.Problem != nil:
		return export.Released{}, job.Problem
	case job.State != JobReleased && job.State != JobWaiting:
		return export.Released{}, fmt.Errorf("job %s is %s without a reason", id, job.State)
	}
	if job.State == JobReleased {
		object := policy.Object{Operator: job.Operator, Owner: job.Owner, State: policy.StateReleased}
		if err := j.permit.Permit(ctx, who, policy.ReleaseShow, object); err != nil {
			return export.Released{}, err
		}
	}
	return j.results.Result(ctx, id)
}

// Cancel stops a queued or running job. It refuses with gateway.job-ended when there is nothing to stop.
func (j *Jobs) Cancel(ctx context.Context, id string) (Job, error) {
	stopped, err := j.end(ctx, id, JobCancelled, problem.New("gateway.job-cancelled"))
	if err != nil {
		return Job{}, err
	}
	if !stopped {
		return Job{}, problem.New("gateway.job-ended")
	}
	return j.Find(ctx, id)
}

// StopGrant stops every queued and running job of a grant, here and, within a third of a lease, on other nodes. It
// is called after the grant was suspended or terminated, so that no further job can start.
func (j *Jobs) StopGrant(ctx context.Context, grant string) (stopped int, err error) {
	ids, err := j.alive(ctx, grant)
	if err != nil {
		return 0, err
	}
	var failures []error
	for _, id := range ids {
		ended, err := j.end(ctx, id, JobCancelled, problem.New("gateway.grant-closed"))
		failures = append(failures, err)
		if ended {
			stopped++
		}
	}
	return stopped, errors.Join(failures...)
}

// Settle looks whether an officer has decided about a waiting job and moves it on if so.
func (j *Jobs) Settle(ctx context.Context, id string) (Job, error) {
	result, err := j.results.Result(ctx, id)
	if err != nil {
		return Job{}, fmt.Errorf("result of job %s: %w", id, err)
	}
	switch state := stateOf(result); state {
	case JobWaiting:
	case JobReleased:
		_, err = j.move(ctx, id, JobReleased, nil, JobWaiting)
	default:
		_, err = j.move(ctx, id, JobDenied, remember(problem.New("export.refused")), JobWaiting)
	}
	if err != nil {
		return Job{}, err
	}
	return j.Find(ctx, id)
}

// Close takes no more jobs and waits for those that run; when ctx ends they are stopped and become failed.
func (j *Jobs) Close(ctx context.Context) {
	j.gate.Lock()
	if !j.closing {
		j.closing = true
		close(j.tasks)
	}
	j.gate.Unlock()
	stopped := context.AfterFunc(ctx, func() { j.stop(errStopping) })
	defer stopped()
	j.workers.Wait()
	j.stop(errStopping)
	j.renewal.Wait()
}

// visible reads a job and asks whether the person may do this to it.
func (j *Jobs) visible(ctx context.Context, who policy.Principal, action policy.Action, id string) (Job, error) {
	job, err := j.Find(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if err := j.permit.Permit(ctx, who, action, policy.Object{Operator: job.Operator, Owner: job.Owner}); err != nil {
		return Job{}, unknownJob(err)
	}
	return job, nil
}

// unknownJob makes the rules' refusal look as if there were no such job, since a stranger would otherwise learn from
// it that there is one.
func unknownJob(err error) error {
	if err == nil {
		return nil
	}
	p := problem.Of(err)
	if strings.HasPrefix(p.Code, "policy.") && p.Status() < 500 {
		return problem.New("gateway.job-unknown").Because(err)
	}
	return err
}

// fingerprint tells whether two requests are the same. It is keyed, because the text of a query can hold what one
// must not be able to find by guessing.
func (j *Jobs) fingerprint(parts ...string) string {
	mac := hmac.New(sha256.New, j.options.Secret)
	for _, part := range parts {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

func valueOf(known *Job) Job {
	if known == nil {
		return Job{}
	}
	return *known
}
