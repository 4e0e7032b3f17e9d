package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"weir/gateway/api/client"
)

type grantCommand struct {
	Create    grantCreateCommand `cmd:"" help:"Make a grant."`
	List      grantListCommand   `cmd:"" help:"List the grants that you may see."`
	Show      grantShowCommand   `cmd:"" help:"Show one grant."`
	Suspend   grantSuspend       `cmd:"" help:"Suspend a grant and stop its running jobs."`
	Restore   grantRestore       `cmd:"" help:"Restore a suspended grant."`
	Terminate grantTerminate     `cmd:"" help:"End a grant for good and stop its running jobs."`
	Hold      grantHold          `cmd:"" help:"Keep what was made under a grant from being deleted after its end."`
	Lift      grantLift          `cmd:"" help:"End the hold on a grant."`
}

type grantCreateCommand struct {
	File string `arg:"" name:"file.yaml" help:"The grant: operator, scenario, data sets and columns, mode, quota, term."`
}

// Run makes a grant from a file, whose fields are those of the interface's NewGrant.
func (g *grantCreateCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	wanted, err := readGrant(g.File)
	if err != nil {
		return err
	}
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	made, err := answer[client.Grant](person.CreateGrant(ctx, wanted))
	if err != nil {
		return err
	}
	fmt.Fprintln(t.out, printable(made.ID))
	return nil
}

type grantListCommand struct {
	printing `embed:""`
}

// Run lists the grants.
func (g *grantListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.GrantList](person.ListGrants(ctx))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Grant"), t.text("Operator"), t.text("Title"), t.text("Mode"), t.text("State"), t.text("Until")}}
	for _, grant := range list.Grants {
		shown.add(grant.ID, grant.Operator, grant.Title, word(t, grant.Mode), word(t, grant.State), local(grant.Until))
	}
	return g.list(t, list, shown)
}

type grantShowCommand struct {
	Grant string `arg:"" help:"The grant."`

	printing `embed:""`
}

// Run shows one grant with everything that it gives.
func (g *grantShowCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	grant, err := answer[client.Grant](person.GetGrant(ctx, g.Grant))
	if err != nil {
		return err
	}
	return g.run(t, func() error {
		switch g.Format {
		case "json":
			return writeJSON(t.out, grant)
		case "csv":
			granted := grantedTable(t, grant)
			return granted.writeCSV(t.out)
		}
		return printGrant(t, grant)
	})
}

func printGrant(t *terminal, g client.Grant) error {
	t.say("Grant %s: %s", g.ID, g.Title)
	t.say("Operator %s, scenario %s, mode %s, %s", g.Operator, g.Scenario, word(t, g.Mode), word(t, g.State))
	t.say("From %s until %s", local(g.From), local(g.Until))
	t.say("At least %d units in a cell; at most %d jobs and %d cells a day", g.Rules.K, g.Quota.JobsPerDay, g.Quota.CellsPerDay)
	switch {
	case g.Deleted != nil:
		t.say("Ended at %s; nothing is kept of it since %s", local(*g.Ended), local(*g.Deleted))
	case g.DeleteAfter != nil:
		t.say("Ended at %s, closed since; what is kept of it is deleted after %s", local(*g.Ended), local(*g.DeleteAfter))
	}
	if g.Held != nil && *g.Held {
		t.say("A hold is on it: nothing of it is deleted until that is lifted")
	}
	if p := g.Privacy; p != nil {
		t.say("Privacy budget of the scenario on each data set: epsilon %v, delta %v; a query costs %v", p.Epsilon, p.Delta, p.QueryEpsilon)
	}
	if l := g.Left; l != nil {
		t.say("Left of today: %d jobs, %d cells", l.Jobs, l.Cells)
	}
	granted := grantedTable(t, g)
	if err := granted.write(t.out); err != nil || g.History == nil {
		return err
	}
	fmt.Fprintln(t.out)
	history := table{head: []string{t.text("Time"), t.text("State"), t.text("By"), t.text("Reason")}}
	for _, step := range *g.History {
		history.add(local(step.At), word(t, step.State), step.By, word(t, step.Reason))
	}
	return history.write(t.out)
}

// grantedTable is what a grant gives: data sets and columns, and what is left of the budget of each.
func grantedTable(t *terminal, g client.Grant) table {
	shown := table{head: []string{t.text("Data set"), t.text("Columns")}}
	if g.PrivacySpent != nil {
		shown.head = append(shown.head, t.text("Epsilon used up"), t.text("Epsilon left"))
	}
	for _, d := range g.Datasets {
		cells := []string{d.Name, strings.Join(d.Columns, ", ")}
		if g.PrivacySpent != nil {
			cells = append(cells, strconv.FormatFloat((*g.PrivacySpent)[d.Name], 'f', -1, 64), left(g.Left, d.Name))
		}
		shown.add(cells...)
	}
	return shown
}

// left is what is left of the budget of a data set.
func left(l *client.Left, dataset string) string {
	if l == nil || l.Privacy == nil {
		return ""
	}
	return strconv.FormatFloat((*l.Privacy)[dataset], 'f', -1, 64)
}

// grantDecision is what an authority says about a grant that there is.
type grantDecision struct {
	Grant  string `arg:"" help:"The grant."`
	Reason string `required:"" help:"Why; it goes on the log."`
}

func (g *grantDecision) decide(ctx context.Context, t *terminal, c *commands,
	how func(*client.Client, context.Context, string, client.Reason, ...client.RequestEditorFn) (*http.Response, error)) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	grant, err := answer[client.Grant](how(person, ctx, g.Grant, client.Reason{Reason: g.Reason}))
	if err != nil {
		return err
	}
	t.say("Grant %s is now %s.", grant.ID, word(t, grant.State))
	return nil
}

type grantSuspend struct {
	grantDecision `embed:""`
}

// Run suspends a grant.
func (g *grantSuspend) Run(ctx context.Context, t *terminal, c *commands) error {
	return g.decide(ctx, t, c, (*client.Client).SuspendGrant)
}

type grantRestore struct {
	grantDecision `embed:""`
}

// Run restores a grant.
func (g *grantRestore) Run(ctx context.Context, t *terminal, c *commands) error {
	return g.decide(ctx, t, c, (*client.Client).RestoreGrant)
}

type grantTerminate struct {
	grantDecision `embed:""`
}

// Run ends a grant.
func (g *grantTerminate) Run(ctx context.Context, t *terminal, c *commands) error {
	return g.decide(ctx, t, c, (*client.Client).TerminateGrant)
}

type grantHold struct {
	grantDecision `embed:""`
}

// Run keeps what was made under a grant from being deleted.
func (g *grantHold) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.HoldGrant(ctx, g.Grant, client.Reason{Reason: g.Reason})); err != nil {
		return err
	}
	t.say("Nothing that was made under grant %s is deleted until the hold is lifted.", g.Grant)
	return nil
}

type grantLift struct {
	grantDecision `embed:""`
}

// Run ends the hold on a grant.
func (g *grantLift) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.LiftGrant(ctx, g.Grant, client.Reason{Reason: g.Reason})); err != nil {
		return err
	}
	t.say("The hold on grant %s is lifted.", g.Grant)
	return nil
}
