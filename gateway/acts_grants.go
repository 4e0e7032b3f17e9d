package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weir/audit"
	"weir/policy"
)

// CreateGrant gives an operator columns of data sets for one scenario. The data sets and columns must exist.
func (a *Acts) CreateGrant(ctx context.Context, who policy.Principal, grant policy.Grant) (policy.Grant, error) {
	d := deed{
		action:  policy.GrantCreate,
		object:  policy.Object{Operator: grant.Operator},
		about:   audit.Word("grant"),
		facts:   audit.Facts{"mode": audit.OneOf(grant.Mode, policy.Modes...)},
		private: grant.Operator + ": " + grant.Scenario,
		made:    &made{},
	}
	return act(ctx, a, who, d, func(ctx context.Context) (policy.Grant, error) {
		if err := a.granted(ctx, grant.Datasets); err != nil {
			return policy.Grant{}, err
		}
		created, err := a.Grants.CreateGrant(ctx, who, grant)
		d.made.grant = audit.Registered(created.ID)
		return created, err
	})
}

// ListGrants lists the grants that the person may see: all, or those of their own operator.
func (a *Acts) ListGrants(ctx context.Context, who policy.Principal) ([]policy.Grant, error) {
	all, err := a.Grants.Grants(ctx, who, "")
	if err == nil {
		return all, nil
	}
	own, err2 := a.Grants.Grants(ctx, who, who.Organisation)
	if err2 != nil {
		return nil, err
	}
	return own, nil
}

// Grant shows one grant to a person who may read it.
func (a *Acts) Grant(ctx context.Context, who policy.Principal, id string) (policy.Grant, error) {
	return a.Grants.Grant(ctx, who, id)
}

// PrivacySpent tells for each data set of a grant how much epsilon its scenario has used up.
func (a *Acts) PrivacySpent(ctx context.Context, who policy.Principal, id string) (map[string]float64, error) {
	return a.Grants.PrivacySpent(ctx, who, id)
}

// Left tells what is left of a grant's quota today, and of its budgets.
func (a *Acts) Left(ctx context.Context, who policy.Principal, id string) (policy.Left, error) {
	return a.Grants.Left(ctx, who, id)
}

// GrantHistory lists what happened to a grant, with who did it and the reason, for those who may read the grant: a
// reason that nobody reads need not have been given.
func (a *Acts) GrantHistory(ctx context.Context, who policy.Principal, id string) ([]policy.Change, error) {
	return a.Grants.History(ctx, who, id)
}

// SuspendGrant stops a grant until it is restored, and every job under it at once.
func (a *Acts) SuspendGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error) {
	return a.changeGrant(ctx, who, policy.GrantSuspend, id, reason, func(ctx context.Context, _ *made) error {
		return a.close(ctx, id, a.Grants.Suspend(ctx, who, id, reason))
	})
}

// RestoreGrant lets a suspended grant go on.
func (a *Acts) RestoreGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error) {
	return a.changeGrant(ctx, who, policy.GrantRestore, id, reason, func(ctx context.Context, _ *made) error {
		return a.Grants.Restore(ctx, who, id, reason)
	})
}

// TerminateGrant ends a grant for good, and every job under it at once. What waits for an officer is refused; what is kept
// is closed at once, and deleted when the grace is over.
func (a *Acts) TerminateGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error) {
	var ended []policy.Ending
	grant, err := a.changeGrant(ctx, who, policy.GrantTerminate, id, reason, func(ctx context.Context, m *made) error {
		if err := a.close(ctx, id, a.Grants.Terminate(ctx, who, id, reason)); err != nil {
			return err
		}
		refused, err := a.refuse(ctx, id)
		if err != nil {
			return err
		}
		if ended, err = a.Endings.Endings(ctx, a.Grace); err != nil {
			return err
		}
		ended = slices.DeleteFunc(ended, func(e policy.Ending) bool { return e.Grant != id })
		for _, end := range ended {
			m.facts = endFacts(end, refused)
		}
		return nil
	})
	if err != nil {
		return policy.Grant{}, err
	}
	for _, end := range ended { // noted when it is on the log: whatever was cut off before is done again
		if err := a.Endings.Close(context.WithoutCancel(ctx), end); err != nil {
			return policy.Grant{}, err
		}
	}
	return grant, nil
}

// changeGrant is the way of all three. Once announced, a change is not given up because its author went away.
func (a *Acts) changeGrant(ctx context.Context, who policy.Principal, action policy.Action, id, reason string, change func(context.Context, *made) error) (policy.Grant, error) {
	d := deed{action: action, grant: grantFact(ctx, a.Grants, id), private: reason, made: &made{}}
	grant, err := a.Grants.Grant(ctx, who, id)
	if err != nil {
		d.private = fmt.Sprintf("grant %q: %s", id, reason)
		return policy.Grant{}, a.refused(ctx, who, d, err)
	}
	d.object.Operator = grant.Operator
	return act(ctx, a, who, d, func(ctx context.Context) (policy.Grant, error) {
		ctx = context.WithoutCancel(ctx)
		if err := change(ctx, d.made); err != nil {
			return policy.Grant{}, err
		}
		return a.Grants.Grant(ctx, who, id)
	})
}

// close stops the jobs of a grant that no longer authorises anything. They are stopped even when the change
// reported an error, unless that was a refusal: it may have happened.
func (a *Acts) close(ctx context.Context, id string, changed error) error {
	if refusal(changed) {
		return changed
	}
	return errors.Join(changed, a.Jobs.StopGrant(ctx, id))
}

// Register tells whether there is a grant of this name, and whether what was made under it may be read or released now;
// policy.Engine does.
type Register interface {
	Known(ctx context.Context, grant string) (bool, error)
	Usable(ctx context.Context, grant string) error
}

// grantFact names a grant on the log, if there is one of this name: any other text was made up by whoever asked. Where
// that cannot be found out, nothing is named.
func grantFact(ctx context.Context, grants Register, id string) audit.Fact {
	if known, err := grants.Known(context.WithoutCancel(ctx), id); err != nil || !known {
		return audit.Fact{}
	}
	return audit.Registered(id)
}
