package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/gateway/api/client"
)

type jobCommand struct {
	List   jobListCommand   `cmd:"" help:"List your jobs, the newest first."`
	Show   jobShowCommand   `cmd:"" help:"Show the state of a job, what it asked, and what was decided on it."`
	Wait   jobWaitCommand   `cmd:"" help:"Wait for a job and print what became of it, as weir query does."`
	Cancel jobCancelCommand `cmd:"" help:"Stop a job."`
	Result jobResultCommand `cmd:"" help:"Fetch what was released of a job."`
}

type jobListCommand struct {
	Limit int    `default:"20" help:"How many at most."`
	Grant string `placeholder:"ID" help:"Only those under this grant."`
	State string `placeholder:"STATE" enum:",queued,running,waiting,released,denied,failed,cancelled" default:"" help:"Only those in this state: queued, running, waiting, released, denied, failed or cancelled."`

	printing `embed:""`
}

// jobPage is how many jobs are asked for at once where only some of them are wanted.
const jobPage = 500

// Run lists the newest jobs.
func (l *jobListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	asked := client.ListJobsParams{Limit: &l.Limit, SQL: new(true)}
	if l.Grant != "" || l.State != "" {
		asked.Limit = new(jobPage)
	}
	found := client.JobList{Jobs: []client.Job{}}
	for {
		page, err := answer[client.JobList](person.ListJobs(ctx, &asked))
		if err != nil {
			return err
		}
		for _, j := range page.Jobs {
			if len(found.Jobs) < l.Limit && (l.Grant == "" || j.Grant == l.Grant) && (l.State == "" || string(j.State) == l.State) {
				found.Jobs = append(found.Jobs, j)
			}
		}
		if len(found.Jobs) >= l.Limit || page.Next == nil {
			return l.list(t, found, jobTable(t, found.Jobs))
		}
		asked.Before = page.Next
	}
}

// inShort is a text on one line, and cut.
func inShort(sql string) string {
	const most = 48
	one := []rune(strings.Join(strings.Fields(sql), " "))
	if len(one) > most {
		return string(one[:most-1]) + "…"
	}
	return string(one)
}

func jobTable(t *terminal, jobs []client.Job) table {
	shown := table{head: []string{t.text("Job"), t.text("Grant"), t.text("State"), t.text("Created"), t.text("Reason"), "SQL"}}
	for _, j := range jobs {
		reason := ""
		if j.Problem != nil {
			reason = j.Problem.Code
		}
		state := word(t, j.State)
		if j.Progress != nil && *j.Progress > 0 {
			state += " " + strconv.Itoa(*j.Progress) + "%"
		}
		shown.add(j.ID, j.Grant, state, local(j.Created), reason, inShort(value(j.SQL)))
	}
	return shown
}

type jobShowCommand struct {
	Job string `arg:"" help:"Number of the job."`

	printing `embed:""`
}

// Run shows one job.
func (s *jobShowCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	job, err := answer[client.Job](person.GetJob(ctx, s.Job))
	if err != nil {
		return err
	}
	if err := s.list(t, job, jobTable(t, []client.Job{job})); err != nil || s.Format != "table" {
		return err
	}
	sql := value(job.SQL)
	if sql != "" {
		fmt.Fprintf(t.out, "\n    %s\n\n", strings.ReplaceAll(lines(sql), "\n", "\n    "))
	}
	if d := job.Decision; d != nil {
		t.say("An officer decided at %s: %s", local(d.At), d.Reason)
	}
	if job.Problem != nil {
		t.explainProblem(*job.Problem, sql)
	}
	return nil
}

type jobWaitCommand struct {
	Job string `arg:"" help:"Number of the job."`

	printing `embed:""`
}

// Run waits for a job that somebody left, and prints what became of it with the exit status of `weir query`. Interrupted,
// it leaves the job again.
func (w *jobWaitCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	shown := progress{t: t, named: true}
	for between := time.Second; ; between = min(2*between, 8*time.Second) {
		job, err := answer[client.Job](person.GetJob(ctx, w.Job))
		if err != nil {
			shown.clear()
			return err
		}
		if job.State != client.JobStateQueued && job.State != client.JobStateRunning {
			shown.clear()
			o := outcomeOf(job)
			if job.State == client.JobStateReleased {
				if o, err = result(ctx, person, job.ID); err != nil {
					return err
				}
			}
			return w.run(t, func() error { return o.print(t, w.Format, value(job.SQL)) })
		}
		shown.show(job)
		if err := t.pause(ctx, between); err != nil {
			shown.clear()
			t.note("Job %s goes on. Take it up again with: weir job wait %s", job.ID, job.ID)
			return status(exitFailed)
		}
	}
}

type jobCancelCommand struct {
	Job string `arg:"" help:"Number of the job."`
}

// Run stops a queued or running job.
func (s *jobCancelCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	job, err := answer[client.Job](person.CancelJob(ctx, s.Job))
	if err != nil {
		return err
	}
	t.note("Job %s was cancelled.", job.ID)
	return nil
}

type jobResultCommand struct {
	Job  string `arg:"" help:"Number of the job."`
	Page int    `placeholder:"NUMBER" help:"One page of it, counted from 1."`
	Rows int    `placeholder:"NUMBER" help:"Rows of a page; 1000 when left out."`

	printing `embed:""`
}

// Run fetches what became of a job, with the exit status of `weir query`.
func (s *jobResultCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	job, err := answer[client.Job](person.GetJob(ctx, s.Job))
	if err != nil {
		return err
	}
	o := outcomeOf(job)
	switch job.State {
	case client.JobStateQueued, client.JobStateRunning:
		t.note("Job %s has not ended yet.", job.ID)
		return status(exitFailed)
	case client.JobStateReleased:
		if o, err = s.fetch(ctx, t, person); err != nil {
			return err
		}
	}
	return s.run(t, func() error { return o.print(t, s.Format, value(job.SQL)) })
}

// fetch asks for the whole result, or for the page that is wanted.
func (s *jobResultCommand) fetch(ctx context.Context, t *terminal, person *client.Client) (*outcome, error) {
	if s.Page == 0 && s.Rows == 0 {
		return result(ctx, person, s.Job)
	}
	page := client.GetResultParams{Page: new(max(1, s.Page))}
	if s.Rows != 0 {
		page.Rows = &s.Rows
	}
	r, err := person.GetResult(ctx, s.Job, &page, accepting("application/json"))
	o, err := answer[*outcome](r, err)
	if err == nil {
		t.note("Page %d of %s.", *page.Page, r.Header.Get("Weir-Pages"))
	}
	return o, err
}

// local gives a time as the person's own clock shows it, with its distance from UTC.
func local(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05 -07:00") }
