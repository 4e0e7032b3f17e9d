package main

import (
	"context"

	"weir/gateway/api/client"
	"weir/gateway/identity"
	"weir/internal/problem"
)

type accountCommand struct {
	Bootstrap accountBootstrapCommand `cmd:"" help:"Create the first two accounts, the authority's, on the platform's own machine."`
	Rescue    accountRescueCommand    `cmd:"" help:"Break glass: create an account that can only admit two authorities, on the platform's own machine."`
	Create    accountCreateCommand    `cmd:"" help:"Create an account."`
	List      accountListCommand      `cmd:"" help:"List the accounts."`
	Disable   accountDisableCommand   `cmd:"" help:"Disable an account and end its sessions."`
	Enable    accountEnableCommand    `cmd:"" help:"Undo the disabling of an account."`
	Reset     accountResetCommand     `cmd:"" help:"Give an account a first password in place of the one it has."`
	Role      accountRoleCommand      `cmd:"" help:"Give an account other roles."`
	Proposals accountProposalsCommand `cmd:"" help:"List what waits for a second person of the authority."`
	Confirm   accountConfirmCommand   `cmd:"" help:"Do what another person of the authority proposed."`
	Refuse    accountRefuseCommand    `cmd:"" help:"Do away with a proposal."`
	Unlock    accountUnlockCommand    `cmd:"" help:"Forget the failed attempts to sign in to an account."`
	Password  accountPasswordCommand  `cmd:"" help:"Change your own password; ends all your sessions."`
}

type accountBootstrapCommand struct {
	settingsFlag `embed:""`
	Name         string `arg:"" help:"Account name; it is never given to another person."`
	Person       string `required:"" help:"The person's real name."`
	Organisation string `required:"" help:"The authority that the person belongs to."`
}

// Run makes the first account, and then the second, without which nothing that needs two can be done. It needs the
// platform's own files, so whoever can run it could do anything to the platform anyway; and there is no password that a
// fresh platform answers to.
func (a *accountBootstrapCommand) Run(ctx context.Context, t *terminal) error {
	s, err := readSettings(a.File, t.environ())
	if err != nil {
		return err
	}
	made, err := bootstrap(ctx, s, identity.Account{Name: a.Name, DisplayName: a.Person, Organisation: a.Organisation})
	if err != nil {
		return err
	}
	t.say("Account %s of %s was created (%s).", a.Name, made.organisation, word(t, "authority"))
	t.say("First password, for one sign-in within seven days: %s", made.password)
	if made.alone {
		t.say("A second person of the authority is needed: weir account bootstrap NAME --person=… --organisation=%s", made.organisation)
	}
	return nil
}

// newPassword asks twice at a keyboard, and takes one line where there is none.
func (t *terminal) newPassword() (string, error) {
	first, err := t.password("New password: ")
	if err != nil || !t.keyboard() {
		return first, err
	}
	again, err := t.password("The same again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", problem.New("cli.password-differs")
	}
	return first, nil
}

type accountListCommand struct {
	printing `embed:""`
}

// Run lists the accounts.
func (a *accountListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.AccountList](person.ListAccounts(ctx))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Account"), t.text("Person"), t.text("Organisation"), t.text("Roles"), t.text("State")}}
	for _, one := range list.Accounts {
		state := t.text("active")
		switch {
		case one.Disabled:
			state = t.text("disabled")
		case one.FirstPassword != nil:
			state = t.text("has not signed in")
		}
		shown.add(one.Name, one.DisplayName, one.Organisation, roleWords(t, one.Roles), state)
	}
	return a.list(t, list, shown)
}

type accountDisableCommand struct {
	Name   string `arg:"" help:"The account."`
	Reason string `required:"" help:"Why; it goes on the log."`
}

// Run disables an account.
func (a *accountDisableCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.DisableAccount(ctx, a.Name, client.Reason{Reason: a.Reason})); err != nil {
		return err
	}
	t.say("Account %s is disabled.", a.Name)
	return nil
}

type accountUnlockCommand struct {
	Name string `arg:"" help:"The account."`
}

// Run lets the owner of an account try again at once.
func (a *accountUnlockCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	if err := done(person.UnlockAccount(ctx, a.Name)); err != nil {
		return err
	}
	t.say("Account %s may sign in again at once.", a.Name)
	return nil
}

type accountPasswordCommand struct{}

// Run changes the person's own password, and signs in anew since that ends every session.
func (a *accountPasswordCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	s, err := c.session(ctx, t)
	if err != nil {
		return err
	}
	person, err := c.dial(t, s.Server, bearer(s.Access))
	if err != nil {
		return err
	}
	current, err := t.password("Password: ")
	if err != nil {
		return err
	}
	next, err := t.newPassword()
	if err != nil {
		return err
	}
	if err := done(person.ChangePassword(ctx, client.PasswordChange{Current: current, Next: next})); err != nil {
		return err
	}
	known, err := knownAs(t, s.Server, s.Account)
	if err != nil {
		return err
	}
	opened, err := answer[client.Session](person.SignIn(ctx, client.Credentials{Account: s.Account, Password: next, Device: known}))
	if err != nil {
		return err
	}
	if err := keep(t, s.with(opened), opened.Device); err != nil {
		return err
	}
	t.say("The password of %s was changed.", s.Account)
	return nil
}
