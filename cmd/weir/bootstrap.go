package main

import (
	"context"
	"errors"

	"weir/audit"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
)

// bootstrap makes the first account of a platform that has none, an authority's, and puts it on the log before and
// after. Nobody is permitted to do this: it is done by whoever holds the platform's files.
func bootstrap(ctx context.Context, s settings, account identity.Account, password string) (err error) {
	a, _, err := foundation(ctx, s, s.address(s.Listen))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close(context.WithoutCancel(ctx))) }()
	there, err := a.accounts.Accounts(ctx)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return problem.New("cli.not-first")
	}
	account.Roles = []policy.Role{policy.Authority}
	if err := a.engine.CheckAccount(ctx, account.Organisation, account.Roles); err != nil {
		return err
	}
	return a.recorded(ctx, audit.Event{
		Kind: "account.bootstrap", Object: "account", Facts: map[string]string{"roles": string(policy.Authority)},
		Payload: []byte(account.Name),
	}, func() (map[string]string, error) { return nil, a.accounts.CreateAccount(ctx, account, password) })
}
