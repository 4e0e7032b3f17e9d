package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weir/audit"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
)

// SignIn checks who somebody is. Nothing has to be announced before it, since nothing has happened until the tokens
// are handed out; if it cannot be logged, they are not, and the session ends.
func (a *Acts) SignIn(ctx context.Context, c identity.Credentials) (identity.Tokens, error) {
	tokens, who, err := a.Accounts.SignIn(ctx, c)
	if err != nil {
		return identity.Tokens{}, a.failedSignIn(ctx, c.Name, err)
	}
	if _, err := a.Record.Append(ctx, audit.Event{Kind: "session.begun", Actor: who.Subject}); err != nil {
		ended := a.Accounts.SignOut(context.WithoutCancel(ctx), who.Session)
		return identity.Tokens{}, errors.Join(fmt.Errorf("log sign-in: %w", err), ended)
	}
	return tokens, nil
}

// failedSignIn puts a failure on the log. The name stands there only if an account has it: people type passwords
// into the field for names.
func (a *Acts) failedSignIn(ctx context.Context, name string, why error) error {
	event := audit.Event{Kind: "session.refused", Facts: audit.Facts{"code": audit.Code(why)}}
	accounts, err := a.Accounts.Accounts(ctx)
	if err != nil {
		return errors.Join(why, err)
	}
	if slices.ContainsFunc(accounts, func(c identity.Account) bool { return c.Name == name }) {
		event.Actor = name
	}
	if _, err := a.Record.Append(ctx, event); err != nil {
		return errors.Join(why, fmt.Errorf("log refused sign-in: %w", err))
	}
	return why
}

// Refresh exchanges a refresh token for new tokens of the same session. It begins nothing, so it is not logged.
func (a *Acts) Refresh(ctx context.Context, token string) (identity.Tokens, error) {
	return a.Accounts.Refresh(ctx, token)
}

// SignOut ends the person's own session. It happens even if it cannot be logged: a person who wants out must not
// be kept in; the error says then that it is not on the log.
func (a *Acts) SignOut(ctx context.Context, who policy.Principal) error {
	if err := a.Accounts.SignOut(ctx, who.Session); err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	return a.note(ctx, who, "session.ended")
}

// ChangePassword sets the person's own password, if they know the present one, and ends all their sessions.
func (a *Acts) ChangePassword(ctx context.Context, who policy.Principal, current, next, from string) error {
	if err := a.note(ctx, who, "password.intent"); err != nil {
		return err
	}
	if err := a.Accounts.ChangePassword(ctx, who.Subject, current, next, from); err != nil {
		return errors.Join(err, a.note(ctx, who, "password.refused"))
	}
	return a.note(ctx, who, "password.changed")
}

func (a *Acts) note(ctx context.Context, who policy.Principal, kind string) error {
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	if _, err := a.Record.Append(last, audit.Event{Kind: kind, Actor: who.Subject}); err != nil {
		return fmt.Errorf("log %s: %w", kind, err)
	}
	return nil
}

// DisableAccount ends everything that an account could do, at once, and every job of it.
func (a *Acts) DisableAccount(ctx context.Context, who policy.Principal, name, reason string) error {
	d := deed{action: policy.UserDisable, about: audit.Word("account"), private: name + ": " + reason}
	account, err := a.account(ctx, name)
	if err != nil && problem.Of(err).Code != "identity.no-such-account" {
		return err
	}
	// For a name that nobody has, the rules are asked all the same: only who may disable some account learns
	// that there is none of this name.
	d.object = policy.Object{Organisation: account.Organisation, Roles: account.Roles}
	return perform(ctx, a, who, d, func(ctx context.Context) error {
		ctx = context.WithoutCancel(ctx) // announced, it is not given up because its author went away
		disabled := a.Accounts.DisableAccount(ctx, name)
		if refusal(disabled) {
			return disabled
		}
		return errors.Join(disabled, a.Jobs.StopAccount(ctx, name))
	})
}

// UnlockAccount forgets the failed attempts to sign in to an account, so that its owner need not wait any longer.
func (a *Acts) UnlockAccount(ctx context.Context, who policy.Principal, name string) error {
	d := deed{action: policy.UserUnlock, about: audit.Word("account"), private: name}
	account, err := a.account(ctx, name)
	if err != nil && problem.Of(err).Code != "identity.no-such-account" {
		return err
	}
	d.object = policy.Object{Organisation: account.Organisation, Roles: account.Roles}
	return perform(ctx, a, who, d, func(ctx context.Context) error { return a.Accounts.Unlock(ctx, name) })
}

// ListAccounts shows the accounts: all, or those of the person's own organisation.
func (a *Acts) ListAccounts(ctx context.Context, who policy.Principal) ([]identity.Account, error) {
	d := deed{action: policy.UserList, about: audit.Word("account")}
	own := a.Permit.Permit(ctx, who, d.action, d.object) != nil
	if own {
		d.object.Organisation = who.Organisation
	}
	return act(ctx, a, who, d, func(ctx context.Context) ([]identity.Account, error) {
		accounts, err := a.Accounts.Accounts(ctx)
		if own {
			accounts = slices.DeleteFunc(accounts, func(c identity.Account) bool { return c.Organisation != who.Organisation })
		}
		return accounts, err
	})
}

func (a *Acts) account(ctx context.Context, name string) (identity.Account, error) {
	accounts, err := a.Accounts.Accounts(ctx)
	if err != nil {
		return identity.Account{}, err
	}
	i := slices.IndexFunc(accounts, func(c identity.Account) bool { return c.Name == name })
	if i < 0 {
		return identity.Account{}, problem.New("identity.no-such-account")
	}
	return accounts[i], nil
}

func roleList(roles []policy.Role) audit.Fact {
	names := make([]audit.Fact, len(roles))
	for i, role := range roles {
		names[i] = audit.OneOf(role, policy.Roles...)
	}
	return audit.List(names...)
}
