package main

import (
	"context"
	"errors"
	"net/http"

	"weir/gateway/api/client"
	"weir/gateway/identity"
)

type accountCreateCommand struct {
	Name         string   `arg:"" help:"Account name; it is never given to another person."`
	Person       string   `required:"" help:"The person's real name."`
	Organisation string   `required:"" help:"The organisation that the person belongs to; it must have been admitted."`
	Unit         string   `help:"The unit of it, where it has several: an officer decides nothing that their own unit took part in."`
	Role         []string `required:"" help:"authority, provider, operator, analyst, officer, supervisor or maintainer; repeat for several."`
	Reason       string   `help:"Why; needed where a second person of the authority confirms."`
}

// Run creates an account, as somebody who may admit people.
func (a *accountCreateCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	wanted := client.NewAccount{Name: a.Name, DisplayName: a.Person, Organisation: a.Organisation, Roles: rolesOf(a.Role)}
	if a.Unit != "" {
		wanted.Unit = &a.Unit
	}
	if a.Reason != "" {
		wanted.Reason = &a.Reason
	}
	made, err := answer[client.Admission](person.CreateAccount(ctx, wanted))
	if err != nil {
		return err
	}
	if made.Account != nil {
		t.say("Account %s of %s was created (%s).", made.Account.Name, made.Account.Organisation, roleWords(t, made.Account.Roles))
	}
	t.admitted(made)
	return nil
}

// admitted says what waits for a second person, and tells a first password.
func (t *terminal) admitted(made client.Admission) {
	switch {
	case made.Proposal != nil:
		t.say("It waits for a second person of the authority: weir account confirm %s", made.Proposal.ID)
		if made.FirstPassword != nil {
			t.say("First half of the first password, for its owner alone: %s", *made.FirstPassword)
		}
	case made.FirstPassword != nil:
		t.say("First password, for one sign-in within seven days: %s", *made.FirstPassword)
	}
}

// accountWish is what somebody who may wants done with an account.
type accountWish struct {
	Name   string `arg:"" help:"The account."`
	Reason string `required:"" help:"Why; it goes on the log."`
}

func (a *accountWish) ask(ctx context.Context, t *terminal, c *commands, done func(),
	how func(*client.Client, context.Context, string) (*http.Response, error)) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	made, err := answer[client.Admission](how(person, ctx, a.Name))
	if err != nil {
		return err
	}
	if made.Account != nil {
		done()
	}
	t.admitted(made)
	return nil
}

type accountEnableCommand struct {
	accountWish `embed:""`
}

// Run undoes a disabling.
func (a *accountEnableCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	done := func() { t.say("Account %s is enabled.", a.Name) }
	return a.ask(ctx, t, c, done, func(p *client.Client, ctx context.Context, name string) (*http.Response, error) {
		return p.EnableAccount(ctx, name, client.Reason{Reason: a.Reason})
	})
}

type accountResetCommand struct {
	accountWish `embed:""`
}

// Run gives an account a first password.
func (a *accountResetCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	done := func() { t.say("Account %s has a new first password.", a.Name) }
	return a.ask(ctx, t, c, done, func(p *client.Client, ctx context.Context, name string) (*http.Response, error) {
		return p.ResetAccount(ctx, name, client.Reason{Reason: a.Reason})
	})
}

type accountRoleCommand struct {
	accountWish `embed:""`
	Role        []string `required:"" help:"The roles from now on; repeat for several."`
}

// Run gives an account other roles.
func (a *accountRoleCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	done := func() { t.say("Account %s has other roles.", a.Name) }
	return a.ask(ctx, t, c, done, func(p *client.Client, ctx context.Context, name string) (*http.Response, error) {
		return p.SetAccountRoles(ctx, name, client.RoleChange{Roles: rolesOf(a.Role), Reason: a.Reason})
	})
}

type accountProposalsCommand struct {
	printing `embed:""`
}

// Run lists what waits for a second person.
func (a *accountProposalsCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.ProposalList](person.ListProposals(ctx))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Proposal"), t.text("What"), t.text("Account"), t.text("Person"), t.text("Organisation"),
		t.text("Roles"), t.text("Proposed by"), t.text("Reason"), t.text("Until")}}
	for _, p := range list.Proposals {
		shown.add(p.ID, word(t, p.Kind), p.Account, p.DisplayName, p.Organisation, roleWords(t, p.Roles), p.By, p.Reason, local(p.Expires))
	}
	return a.list(t, list, shown)
}

type accountConfirmCommand struct {
	Proposal string `arg:"" help:"The proposal."`
}

// Run does what another person of the authority proposed.
func (a *accountConfirmCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	made, err := answer[client.Admission](person.ConfirmProposal(ctx, a.Proposal))
	if err != nil {
		return err
	}
	t.say("Confirmed: account %s of %s (%s).", made.Account.Name, made.Account.Organisation, roleWords(t, made.Account.Roles))
	if made.FirstPassword != nil {
		t.say("Second half of the first password, for its owner alone: %s", *made.FirstPassword)
	}
	return nil
}

type accountRefuseCommand struct {
	Proposal string `arg:"" help:"The proposal."`
	Reason   string `required:"" help:"Why; it goes on the log."`
}

// Run does away with a proposal.
func (a *accountRefuseCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.RefuseProposal(ctx, a.Proposal, client.Reason{Reason: a.Reason})); err != nil {
		return err
	}
	t.say("Proposal %s was refused.", a.Proposal)
	return nil
}

func rolesOf(names []string) []client.Role {
	roles := make([]client.Role, len(names))
	for i, r := range names {
		roles[i] = client.Role(r)
	}
	return roles
}

// accountRescueCommand is for the day on which no authority can sign in.
type accountRescueCommand struct {
	settingsFlag `embed:""`
	Name         string `arg:"" help:"Account name; it is never given to another person."`
	Person       string `required:"" help:"The person's real name."`
	Reason       string `required:"" help:"Why; it goes on the log."`
}

// Run makes an account that can admit two authorities and nothing else.
func (a *accountRescueCommand) Run(ctx context.Context, t *terminal) error {
	s, err := readSettings(a.File, t.environ())
	if err != nil {
		return err
	}
	first, err := rescue(ctx, s, identity.Account{Name: a.Name, DisplayName: a.Person}, a.Reason)
	if err != nil {
		return err
	}
	t.note("BREAK GLASS: account %s can now admit two people of the authority without anybody's consent. It is on the log, and the platform says so at each start until they are admitted or it is disabled.", a.Name)
	t.say("First password, for one sign-in within seven days: %s", first)
	return nil
}

// signIn signs somebody in, and has them choose their own password where they show a first one.
func (t *terminal) signIn(ctx context.Context, nobody *client.Client, c client.Credentials) (client.Session, error) {
	opened, err := answer[client.Session](nobody.SignIn(ctx, c))
	var refused *refusal
	if !errors.As(err, &refused) || refused.Code != "identity.password-first" {
		return opened, err
	}
	t.note("This is a first password, which others have seen. Choose your own.")
	next, err := t.newPassword()
	if err != nil {
		return client.Session{}, err
	}
	c.Next = &next
	return answer[client.Session](nobody.SignIn(ctx, c))
}
