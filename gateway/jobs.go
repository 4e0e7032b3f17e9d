package gateway

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

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

// Results gives again what the export filter let out of a job, or where it stands with the officer, until it is told
// to forget it.
type Results interface {
	Result(ctx context.Context, job string) (export.Released, error)
	Forget(ctx context.Context, jobs []string) error
}

// Permitter decides whether a person may do anything but run a query.
type Permitter interface {
	Permit(ctx context.Context, who policy.Principal, action policy.Action, object policy.Object) error
}

// Recorder puts an event on the log and returns when nothing can take it back.
type Recorder interface {
	Append(ctx context.Context, event audit.Event) (audit.Receipt, error)
}

// LogSearch finds what stands on the log; audit.Log does.
type LogSearch interface {
	Search(ctx context.Context, filter audit.Filter) ([]audit.Record, error)
}

// Standing tells which grants authorise nothing any more; policy.Engine does.
type Standing interface {
	Register
	Lapsed(ctx context.Context, grants []string) ([]string, error)
}

// People tells who somebody is now, and who may do nothing any more; identity.Identity does.
type People interface {
	Person(ctx context.Context, account string) (policy.Principal, error)
	Barred(ctx context.Context, accounts []string) ([]string, error)
	Present(ctx context.Context, session string) error
}

// JobState is where a job stands.
type JobState string

// The states of a job. Queued leads to running, running to one of the rest; waiting leads to released or denied,
// by an officer. Released, denied, failed and cancelled are final. Nothing leads back to queued.
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
	Progress int         // of a running job, in steps of ten percent; see progressStep
	Problem  *JobProblem // why it was denied, failed or cancelled
	Created  time.Time
	Started  time.Time // zero until it runs
	Ended    time.Time // zero until nothing runs any more
}

// JobsParts is what jobs are run with. All of it is required.
type JobsParts struct {
	DB      *bun.DB
	Runner  Runner
	Results Results
	Permit  Permitter
	Record  Recorder
	Log     LogSearch
	Grants  Standing
	People  People
}

// Jobs runs queries, a bounded number at once, and remembers how they ended.
//
// The queue is a table that all processes of the platform share. A job that waits belongs to none of them, and its
// text lies beside it, sealed, until it begins: so it outlives them all. A job that has begun belongs to one process
// for as long as that renews its lease, and is never begun again, since its cells may have been counted: when the
// process dies, the job ends in the state in which the log and the release queue show it, or else as failed. Why
// this is what "nothing lost, nothing released twice" means stands in docs/design/jobs.md.
type Jobs struct {
	JobsParts
	options JobOptions
	secrets jobSecrets
	node    string // this process, in the table

	bells bells
	wake  chan struct{}           // there may be a job to begin
	base  context.Context         // of every job; ends when the platform stops
	stop  context.CancelCauseFunc // ends base

	closing  chan struct{} // closed when no more jobs are taken or begun
	close    sync.Once
	gate     sync.RWMutex // held for reading while a job is submitted
	running  sync.WaitGroup
	watching sync.WaitGroup

	mu      sync.Mutex
	here    map[string]*task // running in this process, by job
	renewed time.Time        // when the lease was
}

// NewJobs brings the tables up to date, ends what a crash left behind and begins to run what waits. Close stops it.
func NewJobs(ctx context.Context, parts JobsParts, options JobOptions) (*Jobs, error) {
	v := reflect.ValueOf(parts)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			return nil, fmt.Errorf("jobs without %s", v.Type().Field(i).Name)
		}
	}
	options, err := options.complete()
	if err != nil {
		return nil, fmt.Errorf("job options: %w", err)
	}
	secrets, err := newJobSecrets(options.Secret)
	if err != nil {
		return nil, fmt.Errorf("job options: %w", err)
	}
	if err := store.Migrate(ctx, parts.DB, "gateway", migrations); err != nil {
		return nil, err
	}
	j := &Jobs{
		JobsParts: parts, options: options, secrets: secrets, node: uuid.NewString(),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), here: map[string]*task{}, renewed: time.Now(),
	}
	j.base, j.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	// An SQLite file has one process, so whatever runs in it belongs to one that is gone. On Postgres it may be a
	// neighbour's, until its lease has run out.
	dead := options.Clock()
	if parts.DB.Dialect().Name() == dialect.SQLite {
		dead = dead.Add(100 * 365 * 24 * time.Hour)
	}
	if err := j.bury(ctx, dead); err != nil {
		return nil, fmt.Errorf("end the jobs of a dead process: %w", err)
	}
	j.watching.Go(j.watch)
	j.watching.Go(j.listen)
	if !options.Idle {
		j.running.Go(j.dispatch)
	}
	return j, nil
}

// Submit takes a query and returns at once. key is chosen by the client for this submission: the same key with
// the same request gives the job of the first time; with another it is refused with gateway.key-reused. Whether
// the person may ask is decided when the job runs, so that every attempt is on the log.
func (j *Jobs) Submit(ctx context.Context, who policy.Principal, key, grant, sql string) (Job, error) {
	if len(sql) > MaxSQL {
		return Job{}, problem.New("gateway.sql-too-long", "bytes", strconv.Itoa(MaxSQL))
	}
	mac := j.secrets.fingerprint(who.Subject, key, grant, sql)
	if known, err := j.submitted(ctx, who.Subject, key, mac); err != nil || known != nil {
		return valueOf(known), err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Job{}, fmt.Errorf("number the job: %w", err)
	}
	j.gate.RLock()
	defer j.gate.RUnlock()
	if j.isClosing() {
		return Job{}, problem.New("gateway.stopping")
	}
	job := Job{
		ID: id.String(), Owner: who.Subject, Operator: who.Organisation, Grant: grant,
		State: JobQueued, Created: j.options.Clock().UTC().Truncate(time.Microsecond),
	}
	fresh, err := j.enqueue(ctx, job, key, mac, sql)
	if err != nil {
		return Job{}, err
	}
	if !fresh { // somebody was quicker with the same key
		known, err := j.submitted(ctx, who.Subject, key, mac)
		return valueOf(known), err
	}
	j.ring()
	return job, nil
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
	if err := j.Permit.Permit(ctx, who, policy.JobList, object); err != nil {
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
	if err := j.Grants.Usable(ctx, job.Grant); err != nil {
		return export.Released{}, err
	}
	if job.State == JobReleased {
		object := policy.Object{Operator: job.Operator, Owner: job.Owner, State: policy.StateReleased}
		if err := j.Permit.Permit(ctx, who, policy.ReleaseShow, object); err != nil {
			return export.Released{}, err
		}
	}
	return j.Results.Result(ctx, id)
}

// Cancel stops a queued or running job. It refuses with gateway.job-ended when there is nothing to stop.
func (j *Jobs) Cancel(ctx context.Context, id string) (Job, error) {
	stopped, err := j.halt(ctx, column{"id", id}, "gateway.job-cancelled")
	if err != nil {
		return Job{}, err
	}
	if stopped == 0 {
		return Job{}, problem.New("gateway.job-ended")
	}
	return j.Find(ctx, id)
}

// StopGrant stops every queued and running job of a grant, on every node. It is called after the grant was suspended
// or terminated, so that no further job can start. What runs in this process is killed before anything is written, and
// gone when it returns.
func (j *Jobs) StopGrant(ctx context.Context, grant string) error {
	of := column{"grant_id", grant}
	list, _ := j.tasks()
	if err := j.revoke(ctx, of, "gateway.grant-closed"); err != nil {
		return err
	}
	ctx, done := context.WithTimeout(ctx, lastWord)
	defer done()
	for _, t := range list {
		if !of.meant(t.job) {
			continue
		}
		select {
		case <-t.gone:
		case <-ctx.Done():
			return fmt.Errorf("job %s was killed and does not end: %w", t.job.ID, ctx.Err())
		}
	}
	return nil
}

// EndGrant denies the jobs of a grant that wait for an officer, after the grant has ended and their results were refused.
func (j *Jobs) EndGrant(ctx context.Context, grant string) error {
	var rows []jobRow
	err := j.turn(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		rows, err = j.move(ctx, tx, JobDenied, problem.New("gateway.grant-closed"), func(q *bun.UpdateQuery) {
			q.Where("grant_id = ?", grant).Where("state = ?", JobWaiting)
		})
		for _, row := range rows {
			err = errors.Join(err, tell(ctx, tx, newsOf(row.ID)))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("deny the waiting jobs of a grant: %w", err)
	}
	for _, row := range rows {
		j.bells.ring(row.ID)
	}
	return nil
}

// StopAccount does the same with the jobs of an account that was disabled.
func (j *Jobs) StopAccount(ctx context.Context, account string) error {
	return j.revoke(ctx, column{"owner", account}, "gateway.account-closed")
}

// Settle looks whether an officer has decided about a waiting job and moves it on if so.
func (j *Jobs) Settle(ctx context.Context, id string) (Job, error) {
	result, err := j.Results.Result(ctx, id)
	if err != nil {
		return Job{}, fmt.Errorf("result of job %s: %w", id, err)
	}
	switch state := stateOf(result); state {
	case JobWaiting:
	case JobReleased:
		_, err = j.decide(ctx, id, JobReleased, nil)
	default:
		_, err = j.decide(ctx, id, JobDenied, problem.New("export.refused"))
	}
	if err != nil {
		return Job{}, err
	}
	return j.Find(ctx, id)
}

// Close takes no more jobs, begins none, and waits for those that run; when ctx ends they are stopped and become
// failed. Those that wait are kept for the next start, or for another node.
func (j *Jobs) Close(ctx context.Context) {
	j.close.Do(func() {
		j.gate.Lock()
		defer j.gate.Unlock()
		close(j.closing)
	})
	stopped := context.AfterFunc(ctx, func() { j.stop(stopping) })
	defer stopped()
	j.running.Wait()
	j.stop(stopping)
	j.watching.Wait()
}

func (j *Jobs) isClosing() bool {
	select {
	case <-j.closing:
		return true
	default:
		return false
	}
}

// visible reads a job and asks whether the person may do this to it.
func (j *Jobs) visible(ctx context.Context, who policy.Principal, action policy.Action, id string) (Job, error) {
	job, err := j.Find(ctx, id)
	if err != nil {
		return Job{}, err
	}
	if err := j.Permit.Permit(ctx, who, action, policy.Object{Operator: job.Operator, Owner: job.Owner}); err != nil {
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

func valueOf(known *Job) Job {
	if known == nil {
		return Job{}
	}
	return *known
}
