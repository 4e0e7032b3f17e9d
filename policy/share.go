package policy

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"weir/internal/problem"
)

// DefaultShare is how much of a domain's privacy account an operator may spend under a grant that does not say, in ρ of
// zero-concentrated differential privacy. A grant may only say less.
func DefaultShare(mode Mode) float64 {
	switch mode {
	case Perturbed:
		return 1
	case Private:
		return 0.25
	}
	return 0
}

// checkShare refuses a share that is larger than the mode's, and one of a mode that has no account.
func checkShare(mode Mode, share float64) error {
	if share == 0 || share > 0 && share <= DefaultShare(mode) {
		return nil
	}
	return problem.New("policy.grant-share", "limit", strconv.FormatFloat(DefaultShare(mode), 'f', -1, 64))
}

// Share is how much of a domain's account the operator of a grant may spend when it asks under it: the grant's own share, or
// the smallest that another grant of the operator in force states. The account is kept by operator, so the stricter of two
// promises holds.
func (e *Engine) Share(ctx context.Context, grantID string) (float64, error) {
	grant, _, err := e.account(ctx, grantID)
	if errors.Is(err, errNoGrant) {
		return 0, problem.New("policy.unknown-grant")
	}
	if err != nil {
		return 0, err
	}
	share := DefaultShare(grant.Mode)
	if grant.Share > 0 {
		share = grant.Share
	}
	var stated []float64
	err = e.db.NewSelect().Table("policy_grants").Column("share").
		Where("operator = ? AND share > 0 AND state <> ? AND valid_until > ?", grant.Operator, GrantTerminated, e.now().Unix()).
		Scan(ctx, &stated)
	if err != nil {
		return 0, fmt.Errorf("read shares: %w", err)
	}
	for _, s := range stated {
		share = min(share, s)
	}
	return share, nil
}
