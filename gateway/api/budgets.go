package api

import (
	"context"

	privacy "weir/export/account"
	"weir/gateway/api/gen"
)

func (s *server) ListBudgets(ctx context.Context, req gen.ListBudgetsRequestObject) (gen.ListBudgetsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	balances, err := s.Acts.Budgets(ctx, person, given(req.Params.Operator))
	if err != nil {
		return nil, err
	}
	return gen.ListBudgets200JSONResponse{Budgets: convert(balances, budget)}, nil
}

func (s *server) SetBudget(ctx context.Context, req gen.SetBudgetRequestObject) (gen.SetBudgetResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	b, err := s.Acts.SetBudget(ctx, person, req.Domain, req.Body.Left, req.Body.Reason)
	if err != nil {
		return nil, err
	}
	return gen.SetBudget200JSONResponse(budget(b)), nil
}

func budget(b privacy.Balance) gen.Budget {
	shown := gen.Budget{
		Domain: b.Domain, Left: rho(b.Left), Spent: rho(b.Spent), Delta: float64(b.Delta) / privacy.Femto, Refills: b.Refills,
		Shares: convert(b.Shares, func(s privacy.Share) gen.BudgetShare {
			return gen.BudgetShare{Operator: s.Operator, Spent: rho(s.Spent), Total: rho(s.Total)}
		}),
	}
	if !b.Refilled.IsZero() {
		shown.Refilled = &b.Refilled
	}
	return shown
}

func rho(billionths int64) float64 { return float64(billionths) / privacy.Nano }
