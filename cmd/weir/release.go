package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

type releaseCommand struct {
	List    releaseListCommand `cmd:"" help:"List what waits for an officer, or what was decided, by whom and why."`
	Show    releaseShowCommand `cmd:"" help:"Show one result with its table, to decide on it."`
	Approve releaseApprove     `cmd:"" help:"Let a result out."`
	Refuse  releaseRefuse      `cmd:"" help:"Keep a result in."`
}

type releaseListCommand struct {
	State string `enum:"waiting,decided,released,refused" default:"waiting" help:"What waits, or what was decided: waiting, decided, released or refused."`

	printing `embed:""`
}

// Run lists what waits, or was decided.
func (r *releaseListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	var asked *client.ListReleasesParamsState // what waits is what is listed where nothing else is asked for
	if r.State != "waiting" {
		asked = new(client.ListReleasesParamsState(r.State))
	}
	list, err := answer[client.ReleaseList](person.ListReleases(ctx, &client.ListReleasesParams{State: asked}))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Release"), t.text("Job"), t.text("Grant"), t.text("Operator"), t.text("Asked by"), t.text("Asked at")}}
	if asked != nil {
		shown.head = append(shown.head, t.text("State"), t.text("Decided at"), t.text("Decided by"), t.text("Reason"))
	}
	for _, s := range list.Releases {
		cells := []string{s.ID, s.Job, s.Grant, s.Operator, s.Owner, local(s.Asked)}
		if asked != nil {
			when := ""
			if s.Decided != nil {
				when = local(*s.Decided)
			}
			cells = append(cells, word(t, s.State), when, value(s.Officer), value(s.Reason))
		}
		shown.add(cells...)
	}
	return r.list(t, list, shown)
}

type releaseShowCommand struct {
	Release string `arg:"" help:"Number of the release."`

	printing `embed:""`
}

// Run shows what an officer needs to decide.
func (r *releaseShowCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	text, err := answer[json.RawMessage](person.GetRelease(ctx, r.Release))
	if err != nil {
		return err
	}
	var o offer
	if err := json.Unmarshal(text, &o); err != nil {
		return problem.New("cli.strange-answer").Because(err)
	}
	return r.run(t, func() error {
		switch r.Format {
		case "json":
			return writeJSON(t.out, text)
		case "csv":
			return o.figures.print(t, "csv")
		}
		return o.print(t)
	})
}

// offer is what an officer decides on.
type offer struct {
	ID       string     `json:"id"`
	Job      string     `json:"job"`
	Grant    string     `json:"grant"`
	Operator string     `json:"operator"`
	Owner    string     `json:"owner"`
	Mode     string     `json:"mode"`
	State    string     `json:"state"`
	Asked    time.Time  `json:"asked"`
	Decided  *time.Time `json:"decided"`
	Officer  string     `json:"officer"`
	Reason   string     `json:"reason"`
	SQL      string     `json:"sql"`
	Literals []string   `json:"literals"`
	Checks   []struct {
		Release  string         `json:"release"`
		Cells    int            `json:"cells"`
		Withheld map[string]int `json:"withheld"`
		Together []string       `json:"together"`
		UsedUp   bool           `json:"used_up"`
	} `json:"checks"`
	EarlierResults int `json:"earlier_results"`
	EarlierCells   int `json:"earlier_cells"`
	figures
}

// print shows all of it: who asked and what, what the checks found, what left before, and the table itself.
func (o *offer) print(t *terminal) error {
	t.say("Release %s (%s), mode %s", o.ID, word(t, o.State), word(t, o.Mode))
	t.say("Asked by %s of %s under grant %s at %s", o.Owner, o.Operator, o.Grant, local(o.Asked))
	if o.Decided != nil {
		t.say("Decided by %s at %s: %s", o.Officer, local(*o.Decided), o.Reason)
	}
	fmt.Fprintf(t.out, "\n    %s\n\n", strings.ReplaceAll(lines(o.SQL), "\n", "\n    "))
	if len(o.Literals) > 0 {
		t.say("Constants in it: %s", strings.Join(o.Literals, ", "))
	}
	for _, c := range o.Checks {
		t.say("Checks of %s: %d cells, withheld: %s", c.Release, c.Cells, withheld(t, c.Withheld))
		if len(c.Together) > 0 {
			t.say("Together with release %s, cells that were withheld would single out fewer units than the threshold, or say how many there are in a count that was withheld.", strings.Join(c.Together, ", "))
		}
		if c.UsedUp {
			t.say("Some cells were withheld because too much was released before to decide on them for certain.")
		}
	}
	t.say("Released to this operator before: %d results, %d cells", o.EarlierResults, o.EarlierCells)
	fmt.Fprintln(t.out)
	return o.figures.print(t, "table")
}

// withheld lists the checks that cells failed, with how many did.
func withheld(t *terminal, by map[string]int) string {
	if len(by) == 0 {
		return "0"
	}
	var parts []string
	for _, check := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %d", checkName(t, check), by[check]))
	}
	return strings.Join(parts, ", ")
}

// checkName is what a check of the disclosure model is called.
func checkName(t *terminal, check string) string {
	switch check {
	case "E1":
		return t.text("min units")
	case "E2":
		return t.text("min contributors")
	case "E3":
		return t.text("dominance")
	case "E4":
		return t.text("homogeneity")
	case "E5":
		return t.text("complement")
	case "E6":
		return t.text("differencing")
	case "E7":
		return t.text("inference from margins")
	}
	return check
}

// releaseDecision is what an officer says about a result.
type releaseDecision struct {
	Release string `arg:"" help:"Number of the release."`
	Reason  string `required:"" help:"Why; it goes on the log."`
}

func (d *releaseDecision) decide(ctx context.Context, t *terminal, c *commands, said string,
	how func(*client.Client, context.Context, string, client.Reason, ...client.RequestEditorFn) (*http.Response, error)) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(how(person, ctx, d.Release, client.Reason{Reason: d.Reason})); err != nil {
		return err
	}
	t.say(said, d.Release)
	return nil
}

type releaseApprove struct {
	releaseDecision `embed:""`
}

// Run lets a result out.
func (r *releaseApprove) Run(ctx context.Context, t *terminal, c *commands) error {
	return r.decide(ctx, t, c, "Release %s was let out.", (*client.Client).ApproveRelease)
}

type releaseRefuse struct {
	releaseDecision `embed:""`
}

// Run keeps a result in.
func (r *releaseRefuse) Run(ctx context.Context, t *terminal, c *commands) error {
	return r.decide(ctx, t, c, "Release %s was refused.", (*client.Client).RefuseRelease)
}
