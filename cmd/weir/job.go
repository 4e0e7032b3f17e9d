package main

import (
	"context"
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
		shown.add(j.ID, j.Grant, string(j.State), local(j.Created), reason)
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
		if o, err = result(ctx, person, job.ID); err != nil {
			return err
		}
	}
	return o.print(t, s.Format, "")
}

// local gives a time as the person's own clock shows it.
func local(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05") }
