package api

import (
	"context"

	"weir/gateway/api/gen"
	"weir/policy"
)

func (s *server) ListOrganisations(ctx context.Context, _ gen.ListOrganisationsRequestObject) (gen.ListOrganisationsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.Acts.ListOrganisations(ctx, person)
	if err != nil {
		return nil, err
	}
	return gen.ListOrganisations200JSONResponse{Organisations: convert(list, organisation)}, nil
}

func (s *server) AdmitOrganisation(ctx context.Context, req gen.AdmitOrganisationRequestObject) (gen.AdmitOrganisationResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	made, err := s.Acts.AdmitOrganisation(ctx, person, policy.NewOrganisation{
		Name: req.Body.Name, Capacities: capacities(req.Body.Capacities), First: given(req.Body.First), Reason: req.Body.Reason,
	})
	if err != nil {
		return nil, err
	}
	return gen.AdmitOrganisation201JSONResponse(organisation(made)), nil
}

func (s *server) ChangeOrganisation(ctx context.Context, req gen.ChangeOrganisationRequestObject) (gen.ChangeOrganisationResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.Acts.ChangeOrganisation(ctx, person, req.Body.Organisation, policy.OrganisationChange{
		Add: capacities(given(req.Body.Add)), End: capacities(given(req.Body.End)), First: given(req.Body.First),
		Into: given(req.Body.Into), Reason: req.Body.Reason,
	})
	if err != nil {
		return nil, err
	}
	return gen.ChangeOrganisation200JSONResponse(organisation(now)), nil
}

func organisation(o policy.Organisation) gen.Organisation {
	return gen.Organisation{
		ID: o.ID, State: gen.OrganisationState(o.State), First: optional(o.First), Into: optional(o.Into), Since: o.Since,
		Capacities: convert(o.Capacities, func(c policy.Capacity) gen.Capacity { return gen.Capacity(c) }),
	}
}

func capacities(list []gen.Capacity) []policy.Capacity {
	return convert(list, func(c gen.Capacity) policy.Capacity { return policy.Capacity(c) })
}
