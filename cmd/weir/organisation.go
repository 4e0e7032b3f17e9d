package main

import (
	"context"
	"strings"

	"weir/gateway/api/client"
)

type organisationCommand struct {
	Admit  organisationAdmitCommand  `cmd:"" help:"Admit an organisation, and say what for."`
	List   organisationListCommand   `cmd:"" help:"List the organisations and what they are admitted for."`
	Change organisationChangeCommand `cmd:"" help:"Change what an organisation is admitted for, or say what one that waits is."`
}

type organisationAdmitCommand struct {
	Name     string   `arg:"" help:"The organisation's name. Accounts, grants and data sets refer to it by this name."`
	Capacity []string `required:"" help:"authority, provider, operator, review, supervision or maintenance; repeat for several."`
	First    string   `placeholder:"ACCOUNT" help:"Of an operator: the account of its first person, who admits its analysts."`
	Reason   string   `required:"" help:"Why; it goes on the log."`
}

// Run admits an organisation.
func (o *organisationAdmitCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	wanted := client.NewOrganisation{Name: o.Name, Capacities: capacitiesOf(o.Capacity), Reason: o.Reason}
	if o.First != "" {
		wanted.First = &o.First
	}
	made, err := answer[client.Organisation](person.AdmitOrganisation(ctx, wanted))
	if err != nil {
		return err
	}
	t.say("%s is admitted (%s).", made.ID, capacityWords(t, made.Capacities))
	return nil
}

type organisationListCommand struct {
	printing `embed:""`
}

// Run lists the organisations.
func (o *organisationListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.OrganisationList](person.ListOrganisations(ctx))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Organisation"), t.text("Admitted for"), t.text("State"), t.text("First person")}}
	for _, one := range list.Organisations {
		state := word(t, one.State)
		if one.State == client.OrganisationStateWaiting {
			state = t.text("waits for the authority")
		}
		if one.Into != nil {
			state += ": " + *one.Into
		}
		first := ""
		if one.First != nil {
			first = *one.First
		}
		shown.add(one.ID, capacityWords(t, one.Capacities), state, first)
	}
	return o.list(t, list, shown)
}

type organisationChangeCommand struct {
	Name   string   `arg:"" help:"The organisation, exactly as the list shows it."`
	Add    []string `placeholder:"CAPACITY" help:"Admit it for this too; repeat for several."`
	End    []string `placeholder:"CAPACITY" help:"It is no longer admitted for this; repeat for several."`
	First  string   `placeholder:"ACCOUNT" help:"Its first person from now on."`
	Into   string   `placeholder:"NAME" help:"It is this other organisation, which has its people from now on."`
	Reason string   `required:"" help:"Why; it goes on the log."`
}

// Run changes an organisation.
func (o *organisationChangeCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	add, end := capacitiesOf(o.Add), capacitiesOf(o.End)
	change := client.OrganisationChange{Organisation: o.Name, Add: &add, End: &end, Reason: o.Reason}
	if o.First != "" {
		change.First = &o.First
	}
	if o.Into != "" {
		change.Into = &o.Into
	}
	now, err := answer[client.Organisation](person.ChangeOrganisation(ctx, change))
	if err != nil {
		return err
	}
	t.say("%s is admitted (%s).", now.ID, capacityWords(t, now.Capacities))
	return nil
}

func capacitiesOf(names []string) []client.Capacity {
	list := make([]client.Capacity, len(names))
	for i, name := range names {
		list[i] = client.Capacity(name)
	}
	return list
}

func capacityWords(t *terminal, list []client.Capacity) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = word(t, c)
	}
	return strings.Join(words, t.text(", "))
}
