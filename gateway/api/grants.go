package api

import (
	"context"
	"time"

	"weir/gateway/api/gen"
	"weir/policy"
)

func (s *server) ListGrants(ctx context.Context, _ gen.ListGrantsRequestObject) (gen.ListGrantsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	grants, err := s.Acts.ListGrants(ctx, person)
	if err != nil {
		return nil, err
	}
	return gen.ListGrants200JSONResponse{Grants: convert(grants, grant)}, nil
}

func (s *server) GetGrant(ctx context.Context, req gen.GetGrantRequestObject) (gen.GetGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.Acts.Grant(ctx, person, req.Grant)
	if err != nil {
		return nil, err
	}
	shown := grant(g)
	if g.Mode == policy.Private {
		spent, err := s.Acts.PrivacySpent(ctx, person, g.ID)
		if err != nil {
			return nil, err
		}
		shown.PrivacySpent = &spent
	}
	rest, err := s.Acts.Left(ctx, person, g.ID)
	if err != nil {
		return nil, err
	}
	shown.Left = left(rest)
	history, err := s.Acts.GrantHistory(ctx, person, g.ID)
	if err != nil {
		return nil, err
	}
	steps := convert(history, func(c policy.Change) gen.GrantChange {
		return gen.GrantChange{At: time.Unix(c.At, 0).In(g.From.Location()), By: c.By, State: gen.GrantChangeState(c.State), Reason: c.Reason}
	})
	shown.History = &steps
	end, held, err := s.Acts.GrantEnd(ctx, person, g.ID)
	if err != nil {
		return nil, err
	}
	shown.Held = &held
	if end != nil {
		shown.Ended, shown.DeleteAfter, shown.Deleted = &end.Ended, &end.DeleteAfter, optional(end.Deleted)
	}
	return gen.GetGrant200JSONResponse(shown), nil
}

func (s *server) CreateGrant(ctx context.Context, req gen.CreateGrantRequestObject) (gen.CreateGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	wanted := policy.Grant{
		Operator: req.Body.Operator, Scenario: req.Body.Scenario, Title: req.Body.Title,
		Datasets: convert(req.Body.Datasets, func(d gen.GrantedDataset) policy.GrantedDataset {
			return policy.GrantedDataset{Name: d.Name, Columns: d.Columns}
		}),
		Mode:  policy.Mode(req.Body.Mode),
		Rules: rules(req.Body.Rules),
		Quota: policy.Quota{JobsPerDay: req.Body.Quota.JobsPerDay, CellsPerDay: req.Body.Quota.CellsPerDay},
		From:  time.Now(), Until: req.Body.Until,
	}
	if p := req.Body.Privacy; p != nil {
		wanted.Privacy = policy.Privacy{Epsilon: p.Epsilon, Delta: p.Delta, QueryEpsilon: p.QueryEpsilon}
	}
	if step := req.Body.TimeStep; step != nil {
		wanted.TimeStep = *step
	}
	if share := req.Body.Share; share != nil {
		wanted.Share = *share
	}
	if req.Body.From != nil {
		wanted.From = *req.Body.From
	}
	g, err := s.Acts.CreateGrant(ctx, person, wanted)
	if err != nil {
		return nil, err
	}
	return gen.CreateGrant201JSONResponse(grant(g)), nil
}

func (s *server) SuspendGrant(ctx context.Context, req gen.SuspendGrantRequestObject) (gen.SuspendGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.Acts.SuspendGrant(ctx, person, req.Grant, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	return gen.SuspendGrant200JSONResponse(grant(g)), nil
}

func (s *server) RestoreGrant(ctx context.Context, req gen.RestoreGrantRequestObject) (gen.RestoreGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.Acts.RestoreGrant(ctx, person, req.Grant, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	return gen.RestoreGrant200JSONResponse(grant(g)), nil
}

func (s *server) TerminateGrant(ctx context.Context, req gen.TerminateGrantRequestObject) (gen.TerminateGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.Acts.TerminateGrant(ctx, person, req.Grant, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	return gen.TerminateGrant200JSONResponse(grant(g)), nil
}

func left(l policy.Left) *gen.Left {
	shown := &gen.Left{Jobs: l.Jobs, Cells: l.Cells}
	if l.Privacy != nil {
		shown.Privacy = &l.Privacy
	}
	return shown
}

func (s *server) HoldGrant(ctx context.Context, req gen.HoldGrantRequestObject) (gen.HoldGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.Acts.HoldGrant(ctx, person, req.Grant, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	return gen.HoldGrant200JSONResponse(grant(g)), nil
}

func (s *server) LiftGrant(ctx context.Context, req gen.LiftGrantRequestObject) (gen.LiftGrantResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	g, err := s.Acts.LiftGrant(ctx, person, req.Grant, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	return gen.LiftGrant200JSONResponse(grant(g)), nil
}

func grant(g policy.Grant) gen.Grant {
	shown := gen.Grant{
		ID: g.ID, Operator: g.Operator, Scenario: g.Scenario, Title: g.Title,
		Datasets: convert(g.Datasets, func(d policy.GrantedDataset) gen.GrantedDataset {
			return gen.GrantedDataset{Name: d.Name, Columns: d.Columns}
		}),
		Mode:  gen.Mode(g.Mode),
		Rules: gen.Rules{K: g.Rules.K, DominanceP: g.Rules.DominanceP, DominanceShare: g.Rules.DominanceShare, Digits: g.Rules.Digits},
		Quota: gen.Quota{JobsPerDay: g.Quota.JobsPerDay, CellsPerDay: g.Quota.CellsPerDay},
		From:  g.From, Until: g.Until, State: gen.GrantState(g.State),
	}
	if g.Share > 0 {
		shown.Share = &g.Share
	}
	if g.TimeStep > 0 {
		shown.TimeStep = &g.TimeStep
	}
	if g.Mode == policy.Private {
		shown.Privacy = &gen.Privacy{Epsilon: g.Privacy.Epsilon, Delta: g.Privacy.Delta, QueryEpsilon: g.Privacy.QueryEpsilon}
	}
	return shown
}

// rules are the model's own where none are given.
func rules(r *gen.Rules) policy.Rules {
	if r == nil {
		return policy.Rules{}
	}
	return policy.Rules{K: r.K, DominanceP: r.DominanceP, DominanceShare: r.DominanceShare, Digits: r.Digits}
}
