package api

import (
	"context"

	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/gateway/identity"
)

func (s *server) EnableAccount(ctx context.Context, req gen.EnableAccountRequestObject) (gen.EnableAccountResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	made, err := s.Acts.EnableAccount(ctx, person, req.Account, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	if made.Proposal != nil {
		return gen.EnableAccount202JSONResponse(admission(made)), nil
	}
	return gen.EnableAccount200JSONResponse(admission(made)), nil
}

func (s *server) ResetAccount(ctx context.Context, req gen.ResetAccountRequestObject) (gen.ResetAccountResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	made, err := s.Acts.ResetAccount(ctx, person, req.Account, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	if made.Proposal != nil {
		return gen.ResetAccount202JSONResponse(admission(made)), nil
	}
	return gen.ResetAccount200JSONResponse(admission(made)), nil
}

func (s *server) SetAccountRoles(ctx context.Context, req gen.SetAccountRolesRequestObject) (gen.SetAccountRolesResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	made, err := s.Acts.SetRoles(ctx, person, req.Account, roles(req.Body.Roles), req.Body.Reason)
	if err != nil {
		return nil, err
	}
	if made.Proposal != nil {
		return gen.SetAccountRoles202JSONResponse(admission(made)), nil
	}
	return gen.SetAccountRoles200JSONResponse(admission(made)), nil
}

func (s *server) ListProposals(ctx context.Context, _ gen.ListProposalsRequestObject) (gen.ListProposalsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.Acts.ListProposals(ctx, person)
	if err != nil {
		return nil, err
	}
	return gen.ListProposals200JSONResponse{Proposals: convert(list, proposal)}, nil
}

func (s *server) ConfirmProposal(ctx context.Context, req gen.ConfirmProposalRequestObject) (gen.ConfirmProposalResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	made, err := s.Acts.ConfirmProposal(ctx, person, req.Proposal)
	if err != nil {
		return nil, err
	}
	return gen.ConfirmProposal200JSONResponse(admission(made)), nil
}

func (s *server) RefuseProposal(ctx context.Context, req gen.RefuseProposalRequestObject) (gen.RefuseProposalResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.RefuseProposal204Response{}, s.Acts.RefuseProposal(ctx, person, req.Proposal, req.Body.Reason)
}

func admission(a gateway.Admission) gen.Admission {
	shown := gen.Admission{FirstPassword: optional(a.First)}
	if a.Account != nil {
		one := account(*a.Account)
		shown.Account = &one
	}
	if a.Proposal != nil {
		one := proposal(*a.Proposal)
		shown.Proposal = &one
	}
	return shown
}

func proposal(p identity.Proposal) gen.Proposal {
	return gen.Proposal{
		ID: p.ID, Kind: gen.ProposalKind(p.Kind), Account: p.Account.Name, DisplayName: p.Account.DisplayName,
		Organisation: p.Account.Organisation, Unit: optional(p.Account.Unit), Roles: convert(p.Account.Roles, role),
		Reason: p.Reason, By: p.By, Proposed: p.At, Expires: p.Expires,
	}
}
