package main

import (
	"context"
	"errors"
	"strings"

	"weir/gateway/api/client"
)

type loginCommand struct {
	Account string `arg:"" help:"Your account."`
}

// Run signs in and keeps the session in the person's own settings.
func (l *loginCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	server := strings.TrimSuffix(c.Server, "/")
	if server == "" {
		server = defaultServer
	}
	nobody, err := c.dial(t, server)
	if err != nil {
		return err
	}
	password, err := t.password("Password: ")
	if err != nil {
		return err
	}
	known, err := knownAs(t, server, l.Account)
	if err != nil {
		return err
	}
	opened, err := t.signIn(ctx, nobody, client.Credentials{Account: l.Account, Password: password, Device: known})
	if err != nil {
		return err
	}
	s := session{Server: server, Account: l.Account}.with(opened)
	if err := keep(t, s, opened.Device); err != nil {
		return err
	}
	person, err := c.dial(t, server, bearer(s.Access))
	if err != nil {
		return err
	}
	who, err := answer[client.Principal](person.GetSession(ctx))
	if err != nil {
		return err
	}
	t.note("Signed in to %s as %s of %s (%s).", server, who.Subject, who.Organisation, roleWords(t, who.Roles))
	return nil
}

// keep stores a session as the one that acts, and by what the platform knows this machine from now on.
func keep(t *terminal, s session, known *string) error {
	w, err := openWallet(t.config)
	if err != nil {
		return err
	}
	err = w.first(s)
	if err == nil && known != nil {
		err = w.remember(device{Server: s.Server, Account: s.Account, Secret: *known})
	}
	return errors.Join(err, w.close())
}

type logoutCommand struct{}

// Run ends the session on the platform and forgets it here. It forgets it even where the platform does not answer,
// and says so then, since the session would go on.
func (l *logoutCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	s, err := c.session(ctx, t)
	if err != nil {
		return err
	}
	person, err := c.dial(t, s.Server, bearer(s.Access))
	if err != nil {
		return err
	}
	ended := done(person.SignOut(ctx))
	w, err := openWallet(t.config)
	if err != nil {
		return errors.Join(ended, err)
	}
	if err := errors.Join(ended, w.drop(s), w.close()); err != nil {
		return err
	}
	t.note("Signed out of %s.", s.Server)
	return nil
}

type whoamiCommand struct {
	printing `embed:""`
}

// Run tells who acts: the account of the session, as the platform knows it.
func (w *whoamiCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	s, err := c.session(ctx, t)
	if err != nil {
		return err
	}
	person, err := c.dial(t, s.Server, c.bearer(t, s))
	if err != nil {
		return err
	}
	who, err := answer[client.Principal](person.GetSession(ctx))
	if err != nil {
		return err
	}
	shown := table{head: []string{t.text("Account"), t.text("Organisation"), t.text("Roles"), t.text("Platform")}}
	shown.add(who.Subject, who.Organisation, roleWords(t, who.Roles), s.Server)
	return w.list(t, who, shown)
}
