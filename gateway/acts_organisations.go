package gateway

import (
	"context"

	"weir/audit"
	"weir/policy"
)

// ListOrganisations shows who is admitted to the platform, and for what.
func (a *Acts) ListOrganisations(ctx context.Context, who policy.Principal) ([]policy.Organisation, error) {
	return a.Organisations.Organisations(ctx, who)
}

// AdmitOrganisation makes an organisation known.
func (a *Acts) AdmitOrganisation(ctx context.Context, who policy.Principal, wanted policy.NewOrganisation) (policy.Organisation, error) {
	d := deed{
		action: policy.OrganisationAdmit, about: audit.Word("organisation"), private: wanted.Name + ": " + wanted.Reason,
		facts: audit.Facts{"capacities": capacityList(wanted.Capacities)},
	}
	return act(ctx, a, who, d, func(ctx context.Context) (policy.Organisation, error) {
		return a.Organisations.AdmitOrganisation(ctx, who, wanted)
	})
}

// ChangeOrganisation changes what an organisation is admitted for, or makes it another, which has its people then.
func (a *Acts) ChangeOrganisation(ctx context.Context, who policy.Principal, id string, change policy.OrganisationChange) (policy.Organisation, error) {
	d := deed{
		action: policy.OrganisationChanged, about: audit.Word("organisation"), private: id + ": " + change.Reason,
		facts: audit.Facts{"added": capacityList(change.Add), "ended": capacityList(change.End)},
	}
	return act(ctx, a, who, d, func(ctx context.Context) (policy.Organisation, error) {
		ctx = context.WithoutCancel(ctx)
		now, err := a.Organisations.ChangeOrganisation(ctx, who, id, change)
		if err != nil || change.Into == "" {
			return now, err
		}
		// Should this fail, its people cannot act until the next start, which moves them.
		return now, a.Accounts.MoveOrganisation(ctx, id, now.ID)
	})
}

func capacityList(capacities []policy.Capacity) audit.Fact {
	names := make([]audit.Fact, len(capacities))
	for i, c := range capacities {
		names[i] = audit.OneOf(c, policy.CapacityAuthority, policy.CapacityProvider, policy.CapacityOperator, policy.CapacityReview, policy.CapacitySupervision, policy.CapacityMaintenance, policy.CapacityRescue)
	}
	return audit.List(names...)
}
