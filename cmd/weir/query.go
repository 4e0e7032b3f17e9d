package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

// maxSQL is how much text the platform takes as a query, in bytes.
const maxSQL = 64 << 10

// queryText is how a command is given its SQL.
type queryText struct {
	Grant string `required:"" env:"WEIR_GRANT" placeholder:"ID" help:"The grant under which it is asked."`
	File  string `short:"f" placeholder:"FILE" help:"Read the SQL from a file; - is standard input."`
	SQL   string `arg:"" optional:"" name:"sql" help:"The SQL; standard input when left out."`
}

func (q *queryText) read(t *terminal) (client.Query, error) {
	text := strings.TrimPrefix(q.SQL, commentMark)
	if text == "" {
		from := t.in
		if q.File != "" && q.File != "-" {
			f, err := os.Open(q.File)
			if err != nil {
				return client.Query{}, problem.New("cli.no-file").Because(err)
			}
			defer f.Close()
			from = f
		}
		read, err := io.ReadAll(io.LimitReader(from, maxSQL+1))
		if err != nil || len(read) > maxSQL {
			return client.Query{}, problem.New("cli.no-file").Because(err)
		}
		text = string(read)
	}
	if strings.TrimSpace(text) == "" {
		return client.Query{}, problem.New("cli.no-sql")
	}
	return client.Query{Grant: q.Grant, SQL: text}, nil
}

type queryCommand struct {
	queryText `embed:""`
	printing  `embed:""`
	Detach    bool `help:"Do not wait: print the number of the job, to be taken up with weir job wait."`
}

// Run submits the query, waits for what becomes of it, and prints that. Interrupted, it cancels the job.
func (q *queryCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	query, err := q.read(t)
	if err != nil {
		return err
	}
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if q.Detach {
		job, err := submit(ctx, person, uuid.NewString(), 0, query)
		if err != nil {
			return err
		}
		fmt.Fprintln(t.out, printable(job.ID))
		return nil
	}
	started := time.Now()
	o, err := ask(ctx, t, person, query)
	if err != nil {
		return err
	}
	if o.MS == 0 {
		o.MS = time.Since(started).Milliseconds()
	}
	return q.run(t, func() error { return o.print(t, q.Format, query.SQL) })
}

// ask sends a query and waits. The same submission is sent again and again under the same key: the platform runs
// it once and answers when it has ended. Whoever watches is shown how far it is.
func ask(ctx context.Context, t *terminal, person *client.Client, query client.Query) (*outcome, error) {
	key, wait, shown := uuid.NewString(), 30, progress{t: t}
	if t.watched() {
		wait = 2
	}
	defer shown.clear()
	for {
		job, err := submit(ctx, person, key, wait, query)
		if ctx.Err() != nil {
			return nil, giveUp(ctx, person, key, query)
		}
		var refused *refusal
		if errors.As(err, &refused) && refused.denies() {
			return outcomeOf(client.Job{State: client.JobStateDenied, Problem: &refused.Problem}), nil
		}
		if err != nil {
			return nil, err
		}
		switch job.State {
		case client.JobStateQueued, client.JobStateRunning:
			shown.show(job)
		case client.JobStateReleased:
			shown.clear()
			return result(ctx, person, job.ID)
		default:
			return outcomeOf(job), nil
		}
	}
}

func submit(ctx context.Context, person *client.Client, key string, wait int, query client.Query) (client.Job, error) {
	return answer[client.Job](person.SubmitJob(ctx, &client.SubmitJobParams{IdempotencyKey: key, Wait: &wait}, query))
}

// giveUp cancels the job of a submission that the person interrupted.
func giveUp(ctx context.Context, person *client.Client, key string, query client.Query) error {
	rest, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	job, err := submit(rest, person, key, 0, query)
	if err != nil {
		return err
	}
	var over *refusal
	if err := done(person.CancelJob(rest, job.ID)); err != nil && !(errors.As(err, &over) && over.Status == http.StatusConflict) {
		return err
	}
	return problem.New("cli.interrupted", "job", job.ID)
}

func result(ctx context.Context, person *client.Client, job string) (*outcome, error) {
	return answer[*outcome](person.GetResult(ctx, job, &client.GetResultParams{}, accepting("application/json")))
}

// progress shows how far a job is, on one line of a screen. Where nobody watches it only says once which job it is.
type progress struct {
	t     *terminal
	named bool
	width int
}

func (p *progress) show(job client.Job) {
	if !p.named {
		p.named = true
		p.t.note("Job %s. It goes on without you: weir job wait %s takes it up, weir job cancel %s stops it.", job.ID, job.ID, job.ID)
	}
	if !p.t.watched() {
		return
	}
	line := word(p.t, job.State)
	if job.Progress != nil && *job.Progress > 0 {
		line += " " + strconv.Itoa(*job.Progress) + "%"
	}
	p.clear()
	fmt.Fprint(p.t.err, line)
	p.width = cellsOf(line)
}

func (p *progress) clear() {
	if p.width > 0 {
		fmt.Fprint(p.t.err, "\r"+strings.Repeat(" ", p.width)+"\r")
		p.width = 0
	}
}

// outcome is what became of a query, as a program reads it. It is the platform's own object where something was
// released.
type outcome struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Help    string `json:"help,omitempty"`
	Line    *int   `json:"line,omitempty"`
	Column  *int   `json:"column,omitempty"`
	figures
	MS int64 `json:"ms"`

	title    string
	decision *client.Decision
}

func outcomeOf(job client.Job) *outcome {
	o := &outcome{ID: job.ID, State: string(job.State)}
	if p := job.Problem; p != nil {
		o.Code, o.Message, o.Help, o.Line, o.Column, o.title = p.Code, p.Detail, p.Help, p.Line, p.Column, p.Title
	}
	o.decision = job.Decision
	if job.Ended != nil {
		o.MS = job.Ended.Sub(job.Created).Milliseconds()
	}
	return o
}

// print shows an outcome and gives its exit status. A result goes to the output, everything else beside it.
func (o *outcome) print(t *terminal, format, sql string) error {
	if o.Columns == nil {
		o.Columns = []string{}
	}
	if o.Rows == nil {
		o.Rows = [][]json.RawMessage{}
	}
	if format == "json" {
		if err := writeJSON(t.out, o); err != nil {
			return err
		}
		return o.status()
	}
	switch client.JobState(o.State) {
	case client.JobStateReleased:
		if err := o.figures.print(t, format); err != nil {
			return err
		}
	case client.JobStateWaiting:
		t.note("Job %s waits for an officer's decision. Fetch it later with: weir job result %s", o.ID, o.ID)
	case client.JobStateCancelled:
		t.note("Job %s was cancelled.", o.ID)
	default:
		t.explainProblem(client.Problem{Title: o.title, Detail: o.Message, Help: o.Help, Code: o.Code, Line: o.Line, Column: o.Column}, sql)
	}
	if d := o.decision; d != nil {
		t.note("An officer decided at %s: %s", local(d.At), d.Reason)
	}
	return o.status()
}

func (o *outcome) status() error {
	switch client.JobState(o.State) {
	case client.JobStateReleased:
		return nil
	case client.JobStateDenied:
		return status(exitDenied)
	case client.JobStateWaiting:
		return status(exitWaiting)
	}
	return status(exitFailed)
}

func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
