package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"weir/gateway/api/client"
)

type releaseCommand struct {
	List    releaseListCommand `cmd:"" help:"List what waits for an officer."`
	Show    releaseShowCommand `cmd:"" help:"Show one result with its table, to decide on it."`
	Approve releaseApprove     `cmd:"" help:"Let a result out."`
	Refuse  releaseRefuse      `cmd:"" help:"Keep a result in."`
}

type releaseListCommand struct{}

// Run lists what waits.
func (r *releaseListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.ReleaseList](person.ListReleases(ctx))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Release"), t.text("Job"), t.text("Grant"), t.text("Operator"), t.text("Asked by"), t.text("Asked at")}}
	for _, s := range list.Releases {
		shown.add(s.ID, s.Job, s.Grant, s.Operator, s.Owner, local(s.Asked))
	}
	return shown.write(t.out)
}

type releaseShowCommand struct {
	Release string `arg:"" help:"Number of the release."`
}

// Run shows what an officer needs to decide.
func (r *releaseShowCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	offer, err := answer[json.RawMessage](person.GetRelease(ctx, r.Release))
	if err != nil {
		return err
	}
	return printOffer(t, offer)
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

// printOffer prints an offer as indented JSON: an officer decides on all of it.
func printOffer(t *terminal, offer json.RawMessage) error {
	var all map[string]any
	if err := json.Unmarshal(offer, &all); err != nil {
		return fmt.Errorf("read offer: %w", err)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(t.out, lines(string(text)))
	return nil
}
