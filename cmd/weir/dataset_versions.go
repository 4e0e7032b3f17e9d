package main

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"weir/gateway/api/client"
)

type datasetVersionsCommand struct {
	Name  string `arg:"" optional:"" help:"Name of the data set; all that you may see without it."`
	State string `enum:",waiting,approved,refused,withdrawn" default:"" help:"Only those that are waiting, approved, refused or withdrawn."`

	printing `embed:""`
}

// Run lists versions. How many rows came in is told to the provider alone.
func (d *datasetVersionsCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	params := &client.ListDatasetVersionsParams{}
	if d.Name != "" {
		params.Dataset = &d.Name
	}
	if state := client.VersionState(d.State); d.State != "" {
		params.State = &state
	}
	list, err := answer[client.DatasetVersionList](person.ListDatasetVersions(ctx, params))
	if err != nil {
		return err
	}
	shown := table{
		head: []string{
			t.text("Name"), t.text("Version"), t.text("Provider"), t.text("State"), t.text("Rows"), t.text("Content"), t.text("Taken in"),
			t.text("Why it waits"), t.text("Reason"),
		},
		numeric: []bool{1: true, 4: true},
	}
	for _, v := range list.Versions {
		rows, reason := t.text("about %d", v.Dataset.RowsAbout), ""
		if v.Rows != nil {
			rows = strconv.FormatInt(*v.Rows, 10)
		}
		if v.Reason != nil {
			reason = *v.Reason
		}
		shown.add(v.Dataset.Name, strconv.Itoa(v.Dataset.Version), v.Dataset.Provider, word(t, v.State), rows, v.Hash[:min(12, len(v.Hash))],
			local(v.Taken), t.weakenings(v.Weaker), reason)
	}
	return d.list(t, list, shown)
}

// weakenings says why a version waits.
func (t *terminal) weakenings(list *[]client.Weakening) string {
	if list == nil {
		return ""
	}
	words := make([]string, len(*list))
	for i, w := range *list {
		words[i] = t.weakening(w)
	}
	return strings.Join(words, "; ")
}

func (t *terminal) weakening(w client.Weakening) string {
	column := ""
	if w.Column != nil {
		column = *w.Column
	}
	switch w.What {
	case client.WeakeningWhatFirst:
		return t.text("no version is approved yet")
	case client.WeakeningWhatOpen:
		return t.text("it is declared open")
	case client.WeakeningWhatMembership:
		return t.text("its membership is made public")
	case client.WeakeningWhatFrame:
		return t.text("another frame")
	case client.WeakeningWhatNoFrame:
		return t.text("its frame is not an approved register of the same domain")
	case client.WeakeningWhatSize:
		return t.text("another stated size")
	case client.WeakeningWhatUnit:
		return t.text("unit key gone: %s", column)
	case client.WeakeningWhatProtection:
		return t.text("less protection of the units of %s", column)
	case client.WeakeningWhatRows:
		return t.text("fewer rows a unit of %s", column)
	case client.WeakeningWhatColumn:
		return t.text("new column: %s", column)
	case client.WeakeningWhatType:
		return t.text("another type of %s", column)
	case client.WeakeningWhatClass:
		return t.text("a weaker class of %s", column)
	case client.WeakeningWhatPublic:
		return t.text("made public: %s", column)
	case client.WeakeningWhatMeasure:
		return t.text("made a measure: %s", column)
	case client.WeakeningWhatRange:
		return t.text("narrower bounds of %s", column)
	case client.WeakeningWhatCap:
		return t.text("a smaller cap of %s", column)
	case client.WeakeningWhatValues:
		return t.text("another list of values of %s", column)
	}
	return strings.TrimSpace(string(w.What) + " " + column)
}

// versionDecision is what the authority says of a version.
type versionDecision struct {
	Name    string `arg:"" help:"Name of the data set."`
	Version int    `arg:"" help:"Number of the version."`
	Reason  string `required:"" help:"Why; the provider reads it, and it goes on the log."`
}

func (d *versionDecision) decide(ctx context.Context, t *terminal, c *commands, said string,
	how func(*client.Client, context.Context, string, int, client.Reason, ...client.RequestEditorFn) (*http.Response, error)) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(how(person, ctx, d.Name, d.Version, client.Reason{Reason: d.Reason})); err != nil {
		return err
	}
	t.say(said, d.Version, d.Name)
	return nil
}

type datasetApprove struct {
	versionDecision `embed:""`
}

// Run approves a version.
func (d *datasetApprove) Run(ctx context.Context, t *terminal, c *commands) error {
	return d.decide(ctx, t, c, "Version %d of %s is approved.", (*client.Client).ApproveDatasetVersion)
}

type datasetRefuse struct {
	versionDecision `embed:""`
}

// Run refuses a version.
func (d *datasetRefuse) Run(ctx context.Context, t *terminal, c *commands) error {
	return d.decide(ctx, t, c, "Version %d of %s is refused.", (*client.Client).RefuseDatasetVersion)
}

type datasetWithdraw struct {
	Name    string `arg:"" help:"Name of the data set."`
	Version int    `arg:"" optional:"" help:"Number of the version; every version without it."`
	Reason  string `required:"" help:"Why; it goes on the log."`
}

// Run takes a version or a whole data set back.
func (d *datasetWithdraw) Run(ctx context.Context, t *terminal, c *commands) error {
	if d.Version != 0 {
		one := versionDecision(*d)
		return one.decide(ctx, t, c, "Version %d of %s is withdrawn.", (*client.Client).WithdrawDatasetVersion)
	}
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.WithdrawDataset(ctx, d.Name, client.Reason{Reason: d.Reason})); err != nil {
		return err
	}
	t.say("Every version of %s is withdrawn.", d.Name)
	return nil
}
