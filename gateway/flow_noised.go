package gateway

import (
	"context"

	"weir/export"
	"weir/export/account"
	"weir/export/guard"
	"weir/export/noised"
	"weir/sandbox"
)

// Budgets charges what figures tell of each unit. The charge and its entry on the log are there together or not at all.
type Budgets interface {
	Charge(ctx context.Context, p Payer, charges []account.Charge) error
}

// answer has one guarded aggregation of a noised mode answered. First comes what is public of the question, which
// decides how much noise there is and so what it costs; then the charge, on the log before anything secret is read; then
// the figures. What was answered before costs nothing and reads nothing.
func (f *Flow) answer(ctx context.Context, of asking, session Session, a *export.Assessment, r guard.Release) error {
	question, err := a.Ask(r, of.schema)
	if err != nil {
		return err
	}
	tables := a.Tables(r.Reads)
	if r.Noised.Proofs != "" {
		proofs, err := session.Query(ctx, sandbox.Query{SQL: r.Noised.Proofs, Tables: tables})
		if err != nil {
			return err
		}
		if err := question.Proven(proofs); err != nil {
			return err
		}
	}
	if r.Noised.Sizes != "" {
		sizes, err := session.Query(ctx, sandbox.Query{SQL: r.Noised.Sizes, Tables: tables})
		if err != nil {
			return err
		}
		if err := question.Public(sizes); err != nil {
			return err
		}
	}
	price, err := question.Price(ctx)
	if err != nil {
		return err
	}
	if price.Rho > 0 || price.Delta > 0 {
		var charges []account.Charge
		for _, domain := range r.Noised.Domains {
			charges = append(charges, account.Charge{Domain: domain, Rho: account.Rho(price.Rho), Delta: account.Delta(price.Delta)})
		}
		payer := Payer{Job: of.req.Job, Grant: of.req.Grant, Operator: of.decision.Grant.Operator}
		if payer.Share, err = f.Policy.Share(ctx, of.req.Grant); err != nil {
			return err
		}
		if err := f.Budgets.Charge(context.WithoutCancel(ctx), payer, charges); err != nil {
			return err
		}
	}
	if err := measure(ctx, session, question, r, tables); err != nil {
		return err
	}
	return a.Answered(r, question)
}

// measure brings the figures that were not answered before, and has them answered.
func measure(ctx context.Context, session Session, question *noised.Question, r guard.Release, tables []sandbox.Named) (err error) {
	missing, quantiles := question.Missing()
	var truth sandbox.Table
	if missing {
		if truth, err = session.Query(ctx, sandbox.Query{SQL: r.SQL, Tables: tables}); err != nil {
			return err
		}
	}
	parts := map[int]sandbox.Table{}
	for _, i := range quantiles {
		if parts[i], err = session.Query(ctx, sandbox.Query{SQL: r.Noised.Cells[i].Bins, Tables: tables}); err != nil {
			return err
		}
	}
	return question.Answer(ctx, truth, parts)
}
