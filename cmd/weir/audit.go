package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weir/gateway/api/client"
)

type auditCommand struct {
	Verify     auditVerifyCommand     `cmd:"" help:"Recompute the whole log and compare."`
	Search     auditSearchCommand     `cmd:"" help:"Search the log; the search is itself on it."`
	Erase      auditEraseCommand      `cmd:"" help:"Destroy who did it and what was typed in an entry; the entry itself stays."`
	Checkpoint auditCheckpointCommand `cmd:"" help:"Print the newest signed checkpoint, to be kept elsewhere."`
}

type auditVerifyCommand struct {
	settingsFlag `embed:""`
	Offline      bool     `help:"Verify the store itself on this machine, without asking the platform."`
	Data         string   `placeholder:"DIR" help:"As --offline, with this data folder."`
	Trust        string   `placeholder:"KEY" help:"With --offline: the log's public key, where its key file is not at hand."`
	Kept         []string `placeholder:"FILE" type:"existingfile" help:"With --offline: a checkpoint that was kept elsewhere; the log must continue it."`
}

// Run verifies the log and ends with 1 where it does not hold.
func (a *auditVerifyCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	if a.Offline || a.Data != "" {
		return a.offline(ctx, t)
	}
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	found, err := answer[client.Verification](person.VerifyLog(ctx))
	if err != nil {
		return err
	}
	findings := make([]finding, len(found.Findings))
	for i, f := range found.Findings {
		findings[i] = finding{f.Place, f.Problem}
	}
	return t.verdict(found.Ok, found.Size, found.Root, findings)
}

// finding is one place where the log is not what its checkpoint says.
type finding struct{ place, wrong string }

func (t *terminal) verdict(ok bool, size int64, root string, findings []finding) error {
	for _, f := range findings {
		fmt.Fprintln(t.out, printable(f.place)+": "+printable(f.wrong))
	}
	if !ok {
		t.say("The log does NOT verify.")
		return status(exitFailed)
	}
	t.say("The log verifies: %d entries, root %s.", size, root)
	return nil
}

type auditSearchCommand struct {
	Kind   string     `help:"Only entries of this kind, as job.outcome."`
	Actor  string     `help:"Only what this account did."`
	Grant  string     `help:"Only what was done under this grant."`
	Job    string     `help:"Only what belongs to this job."`
	Object string     `help:"Only what was done to this."`
	From   moment     `placeholder:"TIME" help:"Not before this day or time, as 2026-11-30 or 2026-11-30T08:00:00+08:00."`
	Until  lastMoment `placeholder:"TIME" help:"Until the end of this day, or before this time."`
	After  int64      `placeholder:"ENTRY" help:"Only entries with this number and later."`
	Limit  int        `default:"50" help:"How many at most."`

	printing `embed:""`
}

// Run lists entries in the order of the log.
func (a *auditSearchCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.LogEntryList](person.SearchLog(ctx, &client.SearchLogParams{
		Kind: given(a.Kind), Actor: given(a.Actor), Grant: given(a.Grant), Job: given(a.Job), Object: given(a.Object),
		From: given(a.From.Time), Until: given(a.Until.Time), After: given(a.After), Limit: &a.Limit,
	}))
	if err != nil {
		return err
	}
	shown := table{
		head: []string{t.text("Entry"), t.text("Time"), t.text("Kind"), t.text("Actor"), t.text("Grant"), t.text("Job"),
			t.text("Object"), t.text("Facts")},
		numeric: []bool{true},
	}
	for _, e := range list.Entries {
		shown.add(strconv.FormatInt(e.Index, 10), local(e.Time), e.Kind, value(e.Actor), value(e.Grant), value(e.Job),
			value(e.Object), facts(e.Facts))
	}
	return a.list(t, list, shown)
}

// given is a pointer to what was given, and nil where nothing was.
func given[T comparable](v T) *T {
	var nothing T
	if v == nothing {
		return nil
	}
	return &v
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func facts(all *map[string]string) string {
	if all == nil {
		return ""
	}
	pairs := make([]string, 0, len(*all))
	for _, name := range slices.Sorted(maps.Keys(*all)) {
		pairs = append(pairs, name+"="+(*all)[name])
	}
	return strings.Join(pairs, " ")
}

type auditEraseCommand struct {
	Entry  int64  `arg:"" help:"The entry's number."`
	Reason string `required:"" help:"Why; it goes on the log."`
}

// Run erases what is personal in an entry.
func (a *auditEraseCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.EraseEntry(ctx, a.Entry, client.Reason{Reason: a.Reason})); err != nil {
		return err
	}
	t.say("Entry %d names nobody any more. The erasure is on the log.", a.Entry)
	return nil
}

type auditCheckpointCommand struct{}

// Run prints the signed note byte for byte: whoever keeps it can later show that history was changed.
func (a *auditCheckpointCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	note, err := answerBytes(person.GetCheckpoint(ctx))
	if err != nil {
		return err
	}
	_, err = t.out.Write(note)
	return err
}
