package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"
)

// Member is somebody of an organisation that was a mere text when their account was made.
type Member struct {
	Organisation string
	Roles        []Role // none of an account that is disabled: what ended does not count
}

// BringOver makes organisations of the texts by which accounts and grants name them, each once. What can be taken for
// only one organisation, and is used only as one may be, goes on as it was; its identifier is the text. Everything else
// waits until the authority says what it is: names that would be taken for each other, that hold what cannot be seen, or
// whose people have duties that exclude each other. Nobody can act for an organisation that waits but the authority's
// own people, who are needed to settle it.
func (e *Engine) BringOver(ctx context.Context, members []Member) error {
	return e.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		used, err := e.usedAs(ctx, tx, members)
		if err != nil {
			return fmt.Errorf("bring organisations over: %w", err)
		}
		var known []organisationRow
		if err := tx.NewSelect().Model(&known).Scan(ctx); err != nil {
			return fmt.Errorf("bring organisations over: %w", err)
		}
		alike := map[string]int{}
		for _, o := range known {
			delete(used, o.ID)
			if o.State != OrganisationMerged {
				alike[o.Canonical]++
			}
		}
		for name := range used {
			alike[canonical(name)]++
		}
		for _, name := range slices.Sorted(maps.Keys(used)) {
			row := organisationRow{ID: name, Canonical: canonical(name), State: OrganisationActive, CreatedAt: e.now().Unix()}
			capacities := used[name]
			if name != Tidy(name) || !legible(name) || alike[row.Canonical] > 1 || CheckCapacities(capacities) != nil {
				row.State = OrganisationWaiting
				capacities = slices.DeleteFunc(capacities, func(c Capacity) bool { return c != CapacityAuthority })
			}
			if err := insertOrganisation(ctx, tx, row, capacities); err != nil {
				return fmt.Errorf("bring organisations over: %w", err)
			}
			if err := e.step(ctx, tx, "", name, "brought over", string(row.State)); err != nil {
				return fmt.Errorf("bring organisations over: %w", err)
			}
		}
		return nil
	})
}

// usedAs tells for each text what those who bear it do.
func (e *Engine) usedAs(ctx context.Context, tx bun.Tx, members []Member) (map[string][]Capacity, error) {
	used := map[string][]Capacity{}
	add := func(name string, c Capacity) {
		if c != "" && !slices.Contains(used[name], c) {
			used[name] = append(used[name], c)
		}
	}
	for _, m := range members {
		used[m.Organisation] = slices.Clip(used[m.Organisation])
		for _, role := range m.Roles {
			add(m.Organisation, Needs(role))
		}
	}
	var operators []string
	err := tx.NewSelect().Table("policy_grants").ColumnExpr("DISTINCT operator").Where("state <> ?", GrantTerminated).
		Where("valid_until > ?", e.now().Unix()).Scan(ctx, &operators)
	if err != nil {
		return nil, err
	}
	for _, operator := range operators {
		add(operator, CapacityOperator)
	}
	return used, nil
}
