package policy

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// OrganisationChange is what becomes of an organisation.
type OrganisationChange struct {
	Add    []Capacity // admitted for these too
	End    []Capacity // no longer for these
	First  string     // the operator's first person from now on, by account; "" leaves it
	Into   string     // it is another organisation, which has its people from now on
	Reason string
}

// ChangeOrganisation changes what an organisation is admitted for, and settles one that waits: as an organisation of its
// own by giving it capacities, or as another. A capacity ends only when nothing is open that rests on it.
func (e *Engine) ChangeOrganisation(ctx context.Context, who Principal, id string, change OrganisationChange) (Organisation, error) {
	if err := e.Permit(ctx, who, OrganisationChanged, Object{}); err != nil {
		return Organisation{}, err
	}
	if !plain(change.Reason, reasonLimit) {
		return Organisation{}, problem.New("policy.reason-needed")
	}
	if slices.Contains(change.Add, CapacityRescue) || slices.Contains(change.End, CapacityRescue) || id == rescueID {
		return Organisation{}, problem.New("policy.capacity-unknown")
	}
	return e.inOrganisation(ctx, id, func(ctx context.Context, tx bun.Tx) error {
		row, err := lockOrganisation(ctx, tx, id)
		if err != nil {
			return err
		}
		if change.Into != "" {
			return e.merge(ctx, tx, who, row, change)
		}
		return e.alter(ctx, tx, who, row, change)
	})
}

// lockOrganisation reads an organisation and keeps others from changing it until the transaction ends.
func lockOrganisation(ctx context.Context, tx bun.Tx, id string) (organisationRow, error) {
	row := organisationRow{}
	if _, err := tx.NewUpdate().Model(&row).Set("state = state").Where("id = ?", id).Exec(ctx); err != nil {
		return row, err
	}
	err := tx.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) || err == nil && row.State == OrganisationMerged {
		return row, problem.New("policy.organisation-unknown")
	}
	return row, err
}

func (e *Engine) alter(ctx context.Context, tx bun.Tx, who Principal, row organisationRow, change OrganisationChange) error {
	held, err := openCapacities(ctx, tx, row.ID)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(held), func(c Capacity) bool { return slices.Contains(change.End, c) })
	if err := CheckCapacities(slices.Concat(left, change.Add)); err != nil {
		return err
	}
	first := row.First
	if change.First != "" {
		first = change.First
	}
	operates := slices.Contains(slices.Concat(left, change.Add), CapacityOperator)
	switch {
	case slices.Contains(change.Add, CapacityOperator) && first == "", change.First != "" && !operates:
		return problem.New("policy.organisation-first")
	case row.State == OrganisationWaiting && Tidy(row.ID) != row.ID, !legible(Tidy(row.ID)) && row.State == OrganisationWaiting:
		return problem.New("policy.organisation-name")
	case row.State == OrganisationWaiting && len(left)+len(change.Add) == 0:
		return problem.New("policy.capacity-unknown")
	}
	if slices.Contains(change.End, CapacityOperator) {
		if err := e.noOpenGrant(ctx, tx, row.ID); err != nil {
			return err
		}
	}
	if row.State == OrganisationWaiting {
		taken, err := tx.NewSelect().Model((*organisationRow)(nil)).Where("canonical = ?", row.Canonical).
			Where("state = ?", OrganisationActive).Exists(ctx)
		if err != nil {
			return err
		}
		if taken {
			return problem.New("policy.organisation-exists")
		}
	}
	return e.write(ctx, tx, who, row.ID, first, change)
}

func (e *Engine) write(ctx context.Context, tx bun.Tx, who Principal, id, first string, change OrganisationChange) error {
	now := e.now().Unix()
	for _, c := range change.End {
		_, err := tx.NewUpdate().Model((*capacityRow)(nil)).Set("ended_at = ?", now).
			Where("organisation = ?", id).Where("capacity = ?", c).Where("ended_at = 0").Exec(ctx)
		if err != nil {
			return err
		}
	}
	for _, c := range change.Add {
		given := capacityRow{Organisation: id, Capacity: c, Since: now}
		if _, err := tx.NewInsert().Model(&given).Exec(ctx); err != nil {
			return err
		}
	}
	_, err := tx.NewUpdate().Model((*organisationRow)(nil)).Set("state = ?", OrganisationActive).Set("first_person = ?", first).
		Where("id = ?", id).Exec(ctx)
	if err != nil {
		return err
	}
	words := []string{}
	for _, c := range change.Add {
		words = append(words, "+"+string(c))
	}
	for _, c := range change.End {
		words = append(words, "-"+string(c))
	}
	if change.First != "" {
		words = append(words, "first person")
	}
	return e.step(ctx, tx, who.Subject, id, strings.Join(words, " "), change.Reason)
}

// merge makes an organisation another. Grants cannot be transferred (Chongqing, draft on operation, art. 18), so those of
// the first must have ended.
func (e *Engine) merge(ctx context.Context, tx bun.Tx, who Principal, row organisationRow, change OrganisationChange) error {
	if len(change.Add)+len(change.End) > 0 || change.First != "" || change.Into == row.ID {
		return problem.New("policy.organisation-merge")
	}
	into, err := lockOrganisation(ctx, tx, change.Into)
	if err != nil {
		return err
	}
	if into.State != OrganisationActive || into.ID == rescueID {
		return problem.New("policy.organisation-merge")
	}
	if err := e.noOpenGrant(ctx, tx, row.ID); err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*capacityRow)(nil)).Set("ended_at = ?", e.now().Unix()).
		Where("organisation = ?", row.ID).Where("ended_at = 0").Exec(ctx)
	if err != nil {
		return err
	}
	_, err = tx.NewUpdate().Model((*organisationRow)(nil)).Set("state = ?", OrganisationMerged).Set("merged_into = ?", into.ID).
		Where("id = ?", row.ID).Exec(ctx)
	if err != nil {
		return err
	}
	return e.step(ctx, tx, who.Subject, row.ID, "merged into "+into.ID, change.Reason)
}

// noOpenGrant refuses while an organisation holds a grant that may still authorise something.
func (e *Engine) noOpenGrant(ctx context.Context, tx bun.Tx, operator string) error {
	open, err := tx.NewSelect().Table("policy_grants").Where("operator = ?", operator).
		Where("state <> ?", GrantTerminated).Where("valid_until > ?", e.now().Unix()).Exists(ctx)
	if err != nil {
		return err
	}
	if open {
		return problem.New("policy.organisation-grants")
	}
	return nil
}
