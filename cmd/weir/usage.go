package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

type usageCommand struct {
	Operator string `placeholder:"NAME" help:"Only this operator's; all that you may see when left out."`
	From     string `placeholder:"DAY" help:"The first day, as 2026-11-01; the first of this month when left out."`
	To       string `placeholder:"DAY" help:"The last day; today when left out."`
	Jobs     bool   `help:"What each job took, for those who oversee operators."`

	printing `embed:""`
}

// Run prints what jobs took.
func (u *usageCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	now := time.Now()
	if u.From == "" {
		u.From = now.Format("2006-01") + "-01"
	}
	if u.To == "" {
		u.To = now.Format(time.DateOnly)
	}
	var operator *string
	if u.Operator != "" {
		operator = &u.Operator
	}
	if u.Jobs {
		ask := func(accept client.RequestEditorFn) (*http.Response, error) {
			return person.ListUsage(ctx, &client.ListUsageParams{Operator: operator, From: u.From, To: u.To}, accept)
		}
		return u.run(t, func() error { return show(t, u.Format, ask, u.jobs) })
	}
	ask := func(accept client.RequestEditorFn) (*http.Response, error) {
		return person.GetUsage(ctx, &client.GetUsageParams{Operator: operator, From: u.From, To: u.To}, accept)
	}
	return u.run(t, func() error { return show(t, u.Format, ask, u.totals) })
}

// show prints an answer: CSV as the platform writes it, JSON as it is, or as a table.
func show[T any](t *terminal, format string, ask func(client.RequestEditorFn) (*http.Response, error), tabulate func(*terminal, T) error) error {
	if format == "csv" {
		text, err := answerBytes(ask(accepting("text/csv")))
		if err != nil {
			return err
		}
		if _, err := t.out.Write(text); err != nil {
			return problem.New("cli.no-file").Because(err)
		}
		return nil
	}
	list, err := answer[T](ask(accepting("application/json")))
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(t.out, list)
	}
	return tabulate(t, list)
}

// accepting asks for a format.
func accepting(format string) client.RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Accept", format)
		return nil
	}
}

func (u *usageCommand) totals(t *terminal, list client.UsageList) error {
	shown := table{
		head: []string{
			t.text("Day"), t.text("Operator"), t.text("Grant"), t.text("Jobs"), t.text("CPU (s)"), t.text("Wall (s)"), t.text("Read (MiB)"),
		},
		numeric: []bool{false, false, false, true, true, true, true},
	}
	for _, one := range list.Usage {
		shown.add(one.Day, one.Operator, one.Grant, whole(one.Jobs), whole(one.CPUSeconds), whole(one.WallSeconds), whole(one.ReadBytes>>20))
	}
	return shown.write(t.out)
}

func (u *usageCommand) jobs(t *terminal, list client.JobUsageList) error {
	shown := table{
		head: []string{
			t.text("Job"), t.text("Operator"), t.text("Grant"), t.text("State"), t.text("Ended"),
			t.text("CPU (ms)"), t.text("Wall (ms)"), t.text("Memory (MiB)"), t.text("Read (MiB)"),
		},
		numeric: []bool{false, false, false, false, false, true, true, true, true},
	}
	for _, one := range list.Jobs {
		shown.add(one.Job, one.Operator, one.Grant, word(t, one.State), local(one.Ended),
			whole(one.CPUMs), whole(one.WallMs), whole(one.PeakBytes>>20), whole(one.ReadBytes>>20))
	}
	return shown.write(t.out)
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }
