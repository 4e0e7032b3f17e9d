package main

import (
	"context"
	"strconv"
	"time"

	"weir/gateway/api/client"
)

type jobCommand struct {
	List   jobListCommand   `cmd:"" help:"List your jobs, the newest first."`
	Show   jobShowCommand   `cmd:"" help:"Show the state of a job."`
	Cancel jobCancelCommand `cmd:"" help:"Stop a job."`
	Result jobResultCommand `cmd:"" help:"Fetch what was released of a job."`
}

type jobListCommand struct {
	Limit int `default:"20" help:"How many at most."`
}

// Run lists the newest jobs.
func (l *jobListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.JobList](person.ListJobs(ctx, &client.ListJobsParams{Limit: &l.Limit}))
	if err != nil {
		return err
	}
	return jobTable(t, list.Jobs)
}

func jobTable(t *terminal, jobs []client.Job) error {
	shown := table{head: []string{t.text("Job"), t.text("Grant"), t.text("State"), t.text("Created"), t.text("Reason")}}
	for _, j := range jobs {
		reason := ""
		if j.Problem != nil {
			reason = j.Problem.Code
		}
		state := string(j.State)
		if j.Progress != nil && *j.Progress > 0 {
			state += " " + strconv.Itoa(*j.Progress) + "%"
		}
		shown.add(j.ID, j.Grant, state, local(j.Created), reason)
	}
	return shown.write(t.out)
}

type jobShowCommand struct {
	Job string `arg:"" help:"Number of the job."`
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
	if err := jobTable(t, []client.Job{job}); err != nil || job.Problem == nil {
		return err
	}
	t.explainProblem(*job.Problem, "")
	return nil
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
	Job    string `arg:"" help:"Number of the job."`
	Page   int    `placeholder:"NUMBER" help:"One page of it, counted from 1."`
	Rows   int    `placeholder:"NUMBER" help:"Rows of a page; 1000 when left out."`
	Format string `enum:"table,json,csv" default:"table" help:"How the result is printed: table, json or csv."`
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
	return o.print(t, s.Format, "")
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

// local gives a time as the person's own clock shows it.
func local(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05") }
