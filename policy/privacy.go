package policy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// Privacy is the budget of differential privacy that a grant in private mode may use up (Dwork & Roth, The Algorithmic
// Foundations of Differential Privacy, 2014). It holds for each data set and scenario: all queries of a scenario on
// a data set, whoever asks and under whichever grant, draw on one account, and what they cost adds up (sequential
// composition). It is zero in the other modes.
type Privacy struct {
	Epsilon      float64 `json:"epsilon"`       // of all answers together
	Delta        float64 `json:"delta"`         // of all answers together
	QueryEpsilon float64 `json:"query_epsilon"` // of one query
}

// Bounds of what a grant may say. A greater epsilon or delta would promise nothing that a person could rely on.
const (
	mostEpsilon  = 20
	mostDelta    = 1e-5
	leastEpsilon = 1e-6 // also the step in which budgets are counted
	leastDelta   = 1e-12
)

// Query is what one query costs: its part of epsilon, and the same part of delta.
func (p Privacy) Query() (epsilon, delta float64) {
	if p.Epsilon <= 0 {
		return 0, 0
	}
	return p.QueryEpsilon, p.Delta * (p.QueryEpsilon / p.Epsilon)
}

// checkPrivacy refuses a budget that a mode does not have, lacks, or that promises nothing.
func checkPrivacy(mode Mode, p Privacy) error {
	if mode != Private {
		if p != (Privacy{}) {
			return problem.New("policy.grant-privacy-mode")
		}
		return nil
	}
	within := func(x, least, most float64) bool { return x >= least && x <= most } // false for NaN
	if !within(p.Epsilon, leastEpsilon, mostEpsilon) || !within(p.Delta, leastDelta, mostDelta) || !within(p.QueryEpsilon, leastEpsilon, p.Epsilon) {
		return problem.New("policy.grant-privacy", "epsilon", strconv.Itoa(mostEpsilon), "delta", strconv.FormatFloat(mostDelta, 'f', -1, 64))
	}
	return nil
}

// Budgets are counted in whole millionths of epsilon, so that sums are exact. Delta is spent in the same proportion,
// so it needs no account of its own. What a query costs is rounded up, what there is, down.
func (p Privacy) steps() (query, all int64) {
	return int64(math.Ceil(p.QueryEpsilon/leastEpsilon - 1e-3)), int64(math.Floor(p.Epsilon/leastEpsilon + 1e-3))
}

// budget is the account of one scenario on one data set.
type budget struct {
	bun.BaseModel `bun:"table:policy_budgets"`

	Scenario string `bun:"scenario,pk"`
	Dataset  string `bun:"dataset,pk"`
	Spent    int64  `bun:"spent"` // millionths of epsilon
}

var errBudget = errors.New("a budget is used up")

// SpendPrivacy charges the budget of each named data set with one query of a grant in private mode, before it runs:
// all of them or, if one lacks what it costs, none. It is never given back, whatever becomes of the query: a
// refund would itself be an answer. The error is the problem policy.budget-spent.
func (e *Engine) SpendPrivacy(ctx context.Context, grantID string, datasets []string) error {
	grant, _, err := e.account(ctx, grantID)
	if errors.Is(err, errNoGrant) {
		return problem.New("policy.unknown-grant")
	}
	if err != nil {
		return err
	}
	query, all := grant.Privacy.steps()
	if grant.Mode != Private || query < 1 {
		return fmt.Errorf("grant %s has no budget to spend", grant.ID)
	}
	charged := slices.Compact(slices.Sorted(slices.Values(datasets))) // in one order, so that two charges cannot block each other
	err = e.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for _, name := range charged {
			if err := charge(ctx, tx, grant.Scenario, name, query, all); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errBudget) {
		return problem.New("policy.budget-spent")
	}
	if err != nil {
		return fmt.Errorf("charge privacy budget: %w", err)
	}
	return nil
}

// charge adds a query to one account in one statement, unless it would pass the limit.
func charge(ctx context.Context, tx bun.Tx, scenario, dataset string, query, all int64) error {
	result, err := tx.NewRaw(`
		INSERT INTO policy_budgets AS b (scenario, dataset, spent) SELECT ?, ?, ? WHERE ? <= ?
		ON CONFLICT (scenario, dataset) DO UPDATE SET spent = b.spent + excluded.spent WHERE b.spent + excluded.spent <= ?`,
		scenario, dataset, query, query, all, all).Exec(ctx)
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err == nil && changed != 1 {
		err = errBudget
	}
	return err
}

// PrivacySpent tells for each data set of a grant how much epsilon its scenario has used up, to a person who may
// read the grant.
func (e *Engine) PrivacySpent(ctx context.Context, who Principal, grantID string) (map[string]float64, error) {
	grant, err := e.reach(ctx, who, GrantRead, grantID)
	if err != nil {
		return nil, err
	}
	spent := map[string]float64{}
	for _, d := range grant.Datasets {
		spent[d.Name] = 0
	}
	var rows []budget
	if err := e.db.NewSelect().Model(&rows).Where("scenario = ?", grant.Scenario).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read privacy budgets: %w", err)
	}
	for _, row := range rows {
		if _, granted := spent[row.Dataset]; granted {
			spent[row.Dataset] = float64(row.Spent) / (1 / leastEpsilon)
		}
	}
	return spent, nil
}
