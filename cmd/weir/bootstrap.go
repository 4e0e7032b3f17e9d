package main

import (
	"context"
	"errors"
	"slices"

	"weir/audit"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
)

// founded is an account that was made on the machine.
type founded struct {
	organisation string
	password     string // the first one
	alone        bool   // it is the only authority yet
}

// bootstrap makes the first two accounts of a platform, the authority's, and puts each on the log before and after.
// Nobody is permitted to do this: it is done by whoever holds the platform's files. From the second on, the two admit
// everybody else.
func bootstrap(ctx context.Context, s settings, account identity.Account) (made founded, err error) {
	a, _, err := foundation(ctx, s, s.address(s.Listen))
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, a.close(context.WithoutCancel(ctx))) }()
	there, err := a.accounts.Accounts(ctx)
	if err != nil {
		return made, err
	}
	authorities := slices.DeleteFunc(there, func(c identity.Account) bool { return !slices.Contains(c.Roles, policy.Authority) })
	if len(authorities) > 1 || len(authorities) == 0 && len(there) > 0 {
		return made, problem.New("cli.not-first")
	}
	if len(authorities) == 1 { // the second works for an authority that there is
		if _, err := a.engine.Organisation(ctx, account.Organisation); err != nil {
			return made, err
		}
	}
	organisation, err := a.engine.FoundAuthority(ctx, account.Organisation)
	if err != nil {
		return made, err
	}
	account.Organisation, account.Roles = organisation.ID, []policy.Role{policy.Authority}
	made.organisation, made.alone = organisation.ID, len(authorities) == 0
	return made, a.recorded(ctx, audit.Event{
		Kind: "account.bootstrap", Object: audit.Word("account"), Facts: audit.Facts{"roles": audit.OneOf(policy.Authority, policy.Roles...)},
		Payload: []byte(account.Name),
	}, func() (audit.Facts, error) {
		var err error
		made.password, err = a.accounts.Admit(ctx, account)
		return nil, err
	})
}

// rescue makes an account that can admit two authorities, where none can sign in any more. It goes on the log under a name
// of its own, and the platform says at each start that it is there.
func rescue(ctx context.Context, s settings, account identity.Account, reason string) (first string, err error) {
	a, _, err := foundation(ctx, s, s.address(s.Listen))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.close(context.WithoutCancel(ctx))) }()
	organisation, err := a.engine.FoundRescue(ctx)
	if err != nil {
		return "", err
	}
	account.Organisation = organisation.ID
	return first, a.recorded(ctx, audit.Event{
		Kind: "account.break-glass", Object: audit.Word("account"), Facts: audit.Facts{"roles": audit.OneOf(policy.Rescuer, policy.Rescuer)},
		Payload: []byte(account.Name + ": " + reason),
	}, func() (audit.Facts, error) {
		var err error
		first, err = a.accounts.AdmitRescuer(ctx, account)
		return nil, err
	})
}

// bringOver makes organisations of the texts that accounts of an earlier platform name, and moves the people of those that
// were made others. It is done whenever a folder is opened, and changes nothing the second time.
func (a *assembly) bringOver(ctx context.Context) error {
	accounts, err := a.accounts.Accounts(ctx)
	if err != nil {
		return err
	}
	members := make([]policy.Member, len(accounts))
	for i, c := range accounts {
		members[i] = policy.Member{Organisation: c.Organisation}
		if !c.Disabled {
			members[i].Roles = c.Roles
		}
	}
	if err := a.engine.BringOver(ctx, members); err != nil {
		return err
	}
	moved := map[string]bool{}
	for _, c := range accounts {
		now, err := a.engine.Organisation(ctx, c.Organisation)
		if err != nil {
			return err
		}
		if now.ID != c.Organisation && !moved[c.Organisation] {
			moved[c.Organisation] = true
			if err := a.accounts.MoveOrganisation(ctx, c.Organisation, now.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
