package gateway

import (
	"context"
	"errors"
	"slices"

	"weir/audit"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
)

// Admission is what became of a wish about an account: it was done, or it waits for a second person of the authority.
type Admission struct {
	Account  *identity.Account  // as it is now; nil while it waits
	Proposal *identity.Proposal // what waits; nil where one person is enough
	First    string             // a first password, or this person's half of one; told once
}

// CreateAccount makes an account, or proposes it. The log names the person where it can be erased.
func (a *Acts) CreateAccount(ctx context.Context, who policy.Principal, account identity.Account, reason string) (Admission, error) {
	organisation, unknown := a.Organisations.Organisation(ctx, account.Organisation)
	if unknown == nil {
		account.Organisation = organisation.ID
	} else if problem.Of(unknown).Code != "policy.organisation-unknown" {
		return Admission{}, unknown
	}
	return a.admit(ctx, who, wish{policy.UserCreate, identity.ProposeCreate, account, reason, unknown}, func(ctx context.Context) (string, error) {
		if who.Has(policy.Rescuer) {
			return a.Accounts.AdmitBy(ctx, who.Subject, account)
		}
		return a.Accounts.Admit(ctx, account)
	})
}

// EnableAccount undoes a disabling, or proposes to.
func (a *Acts) EnableAccount(ctx context.Context, who policy.Principal, name, reason string) (Admission, error) {
	account, err := a.known(ctx, name)
	if err != nil {
		return Admission{}, err
	}
	return a.admit(ctx, who, wish{policy.UserEnable, identity.ProposeEnable, account, reason, nil}, func(ctx context.Context) (string, error) {
		return "", a.Accounts.EnableAccount(ctx, name)
	})
}

// ResetAccount gives an account a first password in place of the one it has, or proposes to.
func (a *Acts) ResetAccount(ctx context.Context, who policy.Principal, name, reason string) (Admission, error) {
	account, err := a.known(ctx, name)
	if err != nil {
		return Admission{}, err
	}
	return a.admit(ctx, who, wish{policy.UserReset, identity.ProposeReset, account, reason, nil}, func(ctx context.Context) (string, error) {
		return a.Accounts.Reset(ctx, name)
	})
}

// SetRoles gives an account other roles, or proposes to. Whoever does must be one who may admit to the old roles and to
// the new.
func (a *Acts) SetRoles(ctx context.Context, who policy.Principal, name string, roles []policy.Role, reason string) (Admission, error) {
	account, err := a.known(ctx, name)
	if err != nil {
		return Admission{}, err
	}
	held := wish{policy.UserRole, identity.ProposeRole, account, reason, nil}
	if err := a.Permit.Permit(ctx, who, held.action, held.object()); err != nil {
		return Admission{}, a.refused(ctx, who, held.deed(false), err)
	}
	second := policy.NeedsSecond(account.Roles)
	account.Roles = roles
	given := wish{policy.UserRole, identity.ProposeRole, account, reason, nil}
	if second && !policy.NeedsSecond(roles) {
		return a.propose(ctx, who, given)
	}
	return a.admit(ctx, who, given, func(ctx context.Context) (string, error) { return "", a.Accounts.SetRoles(ctx, name, roles) })
}

// wish is what somebody wants done with an account.
type wish struct {
	action  policy.Action
	kind    identity.Kind
	account identity.Account // as it is to be
	reason  string
	unknown error // that nobody knows its organisation, if so
}

func (w wish) object() policy.Object {
	return policy.Object{Organisation: w.account.Organisation, Roles: w.account.Roles, Account: w.account.Name}
}

func (w wish) deed(proposed bool) deed {
	d := deed{
		action: w.action, object: w.object(), about: audit.Word("account"),
		facts: audit.Facts{"roles": roleList(w.account.Roles)}, private: w.account.Name + ": " + w.reason,
	}
	if proposed {
		d.facts["proposed"] = audit.Word("true")
	}
	return d
}

// admit does at once what one person may do, and proposes what needs two. A rescuer needs no second person: where they
// are, there is none.
func (a *Acts) admit(ctx context.Context, who policy.Principal, w wish, do func(context.Context) (string, error)) (Admission, error) {
	if w.unknown != nil {
		why := a.Permit.Permit(ctx, who, w.action, w.object())
		if why == nil || problem.Of(why).Code == "policy.account-roles" {
			why = w.unknown
		}
		return Admission{}, a.refused(ctx, who, w.deed(false), why)
	}
	if policy.NeedsSecond(w.account.Roles) && !who.Has(policy.Rescuer) {
		return a.propose(ctx, who, w)
	}
	return act(ctx, a, who, w.deed(false), func(ctx context.Context) (Admission, error) {
		first, err := do(ctx)
		if err != nil {
			return Admission{}, err
		}
		account, err := a.account(ctx, w.account.Name)
		return Admission{Account: &account, First: first}, err
	})
}

func (a *Acts) propose(ctx context.Context, who policy.Principal, w wish) (Admission, error) {
	return act(ctx, a, who, w.deed(true), func(ctx context.Context) (Admission, error) {
		kept, half, err := a.Accounts.Propose(ctx, identity.Proposal{Kind: w.kind, Account: w.account, Reason: w.reason, By: who.Subject})
		if err != nil {
			return Admission{}, err
		}
		return Admission{Proposal: &kept, First: half}, nil
	})
}

// ListProposals shows what waits for a second person.
func (a *Acts) ListProposals(ctx context.Context, who policy.Principal) ([]identity.Proposal, error) {
	return act(ctx, a, who, deed{action: policy.UserList, about: audit.Word("proposals")}, a.Accounts.Proposals)
}

// ConfirmProposal does what another person of the authority proposed. It must be allowed now as if it were asked for now:
// an organisation may have lost its capacity since.
func (a *Acts) ConfirmProposal(ctx context.Context, who policy.Principal, id string) (Admission, error) {
	d := deed{action: policy.UserConfirm, about: audit.Word("account")}
	p, err := a.Accounts.Proposal(ctx, id)
	if err != nil {
		return Admission{}, a.refused(ctx, who, d, a.absent(ctx, who, d.action, err))
	}
	w := wish{kind: p.Kind, account: p.Account}
	d.object = policy.Object{Owner: p.By}
	d.facts, d.private = audit.Facts{
		"kind":  audit.OneOf(p.Kind, identity.ProposeCreate, identity.ProposeEnable, identity.ProposeReset, identity.ProposeRole),
		"roles": roleList(p.Account.Roles),
	}, p.Account.Name
	if p.By == who.Subject || p.Account.Name == who.Subject {
		return Admission{}, a.refused(ctx, who, d, problem.New("policy.own-account"))
	}
	if err := a.Permit.Permit(ctx, who, policy.Action("user."+string(p.Kind)), w.object()); err != nil {
		return Admission{}, a.refused(ctx, who, d, err)
	}
	return act(ctx, a, who, d, func(ctx context.Context) (Admission, error) {
		_, half, err := a.Accounts.Confirm(ctx, id, who.Subject)
		if err != nil {
			return Admission{}, err
		}
		account, err := a.account(ctx, p.Account.Name)
		return Admission{Account: &account, First: half}, err
	})
}

// RefuseProposal does away with what somebody proposed; whoever proposed it may, too.
func (a *Acts) RefuseProposal(ctx context.Context, who policy.Principal, id, reason string) error {
	d := deed{action: policy.UserRefuse, about: audit.Word("account"), private: reason}
	return perform(ctx, a, who, d, func(ctx context.Context) error { return a.Accounts.Refuse(ctx, id, who.Subject) })
}

// known is an account, or one that nobody has: the rules are asked about it all the same, so that only who may do this to
// some account learns that there is none of this name.
func (a *Acts) known(ctx context.Context, name string) (identity.Account, error) {
	account, err := a.account(ctx, name)
	if err != nil && problem.Of(err).Code != "identity.no-such-account" {
		return identity.Account{}, err
	}
	account.Name = name
	return account, nil
}

// parties are those who took part in what an officer is to decide: who made the grant or changed it, and who supplies
// data to it. A supplier whose people are not known is a party as a whole.
func (a *Acts) parties(ctx context.Context, grant string) ([]policy.Party, error) {
	subjects, datasets, err := a.Grants.Behind(ctx, grant)
	if err != nil {
		return nil, err
	}
	accounts, err := a.Accounts.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	parties := []policy.Party{}
	for _, subject := range subjects {
		party := policy.Party{Subject: subject}
		if i := slices.IndexFunc(accounts, func(c identity.Account) bool { return c.Name == subject }); i >= 0 {
			party.Organisation, party.Unit = accounts[i].Organisation, accounts[i].Unit
		}
		parties = append(parties, party)
	}
	for _, name := range datasets {
		dataset, err := a.Catalogue.Dataset(ctx, name)
		if err != nil {
			return nil, errors.Join(problem.New("gateway.supplier-unknown"), err)
		}
		known := false
		for _, c := range accounts {
			if c.Organisation == dataset.Provider && slices.Contains(c.Roles, policy.Provider) {
				known = true
				parties = append(parties, policy.Party{Subject: c.Name, Organisation: c.Organisation, Unit: c.Unit})
			}
		}
		if !known {
			parties = append(parties, policy.Party{Subject: "?", Organisation: dataset.Provider})
		}
	}
	return parties, nil
}
