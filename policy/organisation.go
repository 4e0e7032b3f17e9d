package policy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// OrganisationState is where an organisation stands.
type OrganisationState string

// The states of an organisation. One that waits was brought over from a time when organisations were mere texts, and
// what it is has to be said by the authority; one that was merged is another by now.
const (
	OrganisationActive  OrganisationState = "active"
	OrganisationWaiting OrganisationState = "waiting"
	OrganisationMerged  OrganisationState = "merged"
)

// Organisation is an authority, a provider, an operator, or whoever else has people on the platform. Accounts, grants
// and data sets refer to it by its identifier, which is its name as it was admitted and never changes. No two active
// organisations have names that a person would take for each other.
type Organisation struct {
	ID         string            `json:"id"`
	Capacities []Capacity        `json:"capacities"`
	State      OrganisationState `json:"state"`
	First      string            `json:"first,omitempty"` // account of an operator's first person, whom the authority may admit
	Into       string            `json:"into,omitempty"`  // what a merged one is by now
	Since      time.Time         `json:"since"`
}

type organisationRow struct {
	bun.BaseModel `bun:"table:policy_organisations,alias:o"`

	ID        string            `bun:"id,pk"`
	Canonical string            `bun:"canonical"`
	State     OrganisationState `bun:"state"`
	First     string            `bun:"first_person"`
	Into      string            `bun:"merged_into"`
	CreatedAt int64             `bun:"created_at"`
}

type capacityRow struct {
	bun.BaseModel `bun:"table:policy_organisation_capacities,alias:c"`

	Organisation string   `bun:"organisation"`
	Capacity     Capacity `bun:"capacity"`
	Since        int64    `bun:"since"`
	EndedAt      int64    `bun:"ended_at"`
}

// organisationStep is one step in the life of an organisation. Steps are only ever added.
type organisationStep struct {
	bun.BaseModel `bun:"table:policy_organisation_changes"`

	Organisation string `bun:"organisation"`
	At           int64  `bun:"at"`
	By           string `bun:"subject"`
	Change       string `bun:"change"`
	Reason       string `bun:"reason"`
}

// NewOrganisation is what is admitted.
type NewOrganisation struct {
	Name       string
	Capacities []Capacity
	First      string // required of an operator, and of nobody else
	Reason     string
}

// AdmitOrganisation makes an organisation known, with what it is admitted for.
func (e *Engine) AdmitOrganisation(ctx context.Context, who Principal, wanted NewOrganisation) (Organisation, error) {
	if err := e.Permit(ctx, who, OrganisationAdmit, Object{}); err != nil {
		return Organisation{}, err
	}
	if err := checkOrganisation(wanted); err != nil {
		return Organisation{}, err
	}
	row := organisationRow{
		ID: Tidy(wanted.Name), Canonical: canonical(wanted.Name), State: OrganisationActive, First: wanted.First, CreatedAt: e.now().Unix(),
	}
	return e.inOrganisation(ctx, row.ID, func(ctx context.Context, tx bun.Tx) error {
		if err := insertOrganisation(ctx, tx, row, wanted.Capacities); err != nil {
			return err
		}
		return e.step(ctx, tx, who.Subject, row.ID, "admitted", wanted.Reason)
	})
}

func checkOrganisation(wanted NewOrganisation) error {
	switch {
	case !legible(Tidy(wanted.Name)):
		return problem.New("policy.organisation-name")
	case len(wanted.Capacities) == 0 || slices.Contains(wanted.Capacities, CapacityRescue):
		return problem.New("policy.capacity-unknown")
	case slices.Contains(wanted.Capacities, CapacityOperator) != (wanted.First != ""):
		return problem.New("policy.organisation-first")
	case !plain(wanted.Reason, reasonLimit):
		return problem.New("policy.reason-needed")
	}
	return CheckCapacities(wanted.Capacities)
}

// FoundAuthority makes the organisation of the first authority's account known, on the platform's own machine, or finds
// it where it is known as an authority.
func (e *Engine) FoundAuthority(ctx context.Context, name string) (Organisation, error) {
	return e.found(ctx, name, CapacityAuthority)
}

// rescueID is the organisation of whoever lets authorities in again. It is nobody's.
const rescueID = "break-glass"

// FoundRescue gives the organisation of a rescuer's account.
func (e *Engine) FoundRescue(ctx context.Context) (Organisation, error) {
	return e.found(ctx, rescueID, CapacityRescue)
}

func (e *Engine) found(ctx context.Context, name string, capacity Capacity) (Organisation, error) {
	known, err := e.Organisation(ctx, name)
	if err == nil {
		if !slices.Contains(known.Capacities, capacity) {
			return Organisation{}, problem.New("policy.organisation-capacity")
		}
		return known, nil
	}
	if problem.Of(err).Code != "policy.organisation-unknown" {
		return Organisation{}, err
	}
	if !legible(Tidy(name)) {
		return Organisation{}, problem.New("policy.organisation-name")
	}
	row := organisationRow{ID: Tidy(name), Canonical: canonical(name), State: OrganisationActive, CreatedAt: e.now().Unix()}
	return e.inOrganisation(ctx, row.ID, func(ctx context.Context, tx bun.Tx) error {
		if err := insertOrganisation(ctx, tx, row, []Capacity{capacity}); err != nil {
			return err
		}
		return e.step(ctx, tx, "", row.ID, "founded", string(capacity))
	})
}

// insertOrganisation refuses a name that another organisation has, or that would be taken for it.
func insertOrganisation(ctx context.Context, tx bun.Tx, row organisationRow, capacities []Capacity) error {
	result, err := tx.NewInsert().Model(&row).On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(problem.New("policy.organisation-exists"), err)
	}
	for _, c := range capacities {
		given := capacityRow{Organisation: row.ID, Capacity: c, Since: row.CreatedAt}
		if _, err := tx.NewInsert().Model(&given).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Organisation finds an organisation by its name, however it is typed. One that was merged is what it was merged into.
func (e *Engine) Organisation(ctx context.Context, name string) (Organisation, error) {
	var row organisationRow
	err := e.db.NewSelect().Model(&row).Where("id = ?", name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		err = e.db.NewSelect().Model(&row).Where("canonical = ?", canonical(name)).Where("state = ?", OrganisationActive).Scan(ctx)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return Organisation{}, problem.New("policy.organisation-unknown")
	}
	if err != nil {
		return Organisation{}, fmt.Errorf("look up organisation: %w", err)
	}
	if row.State == OrganisationMerged {
		return e.Organisation(ctx, row.Into)
	}
	return e.organisation(ctx, row)
}

func (e *Engine) organisation(ctx context.Context, row organisationRow) (Organisation, error) {
	capacities, err := e.capacities(ctx, row.ID)
	return Organisation{
		ID: row.ID, Capacities: capacities, State: row.State, First: row.First, Into: row.Into, Since: time.Unix(row.CreatedAt, 0).In(e.zone),
	}, err
}

// capacities are what an organisation is admitted for now; none for one that is unknown. What ended does not count.
func (e *Engine) capacities(ctx context.Context, id string) ([]Capacity, error) {
	return openCapacities(ctx, e.db, id)
}

func openCapacities(ctx context.Context, db bun.IDB, id string) ([]Capacity, error) {
	list := []Capacity{}
	err := db.NewSelect().Model((*capacityRow)(nil)).Column("capacity").Where("organisation = ?", id).Where("ended_at = 0").
		Order("capacity").Scan(ctx, &list)
	if err != nil {
		return nil, fmt.Errorf("look up capacities: %w", err)
	}
	return list, nil
}

// Organisations lists every organisation by name, for a person who may know them all.
func (e *Engine) Organisations(ctx context.Context, who Principal) ([]Organisation, error) {
	if err := e.Permit(ctx, who, OrganisationList, Object{}); err != nil {
		return nil, err
	}
	var rows []organisationRow
	if err := e.db.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list organisations: %w", err)
	}
	all := make([]Organisation, len(rows))
	for i, row := range rows {
		var err error
		if all[i], err = e.organisation(ctx, row); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// inOrganisation changes an organisation in one transaction and gives it as it is then.
func (e *Engine) inOrganisation(ctx context.Context, id string, change func(context.Context, bun.Tx) error) (Organisation, error) {
	err := e.db.RunInTx(ctx, nil, change)
	if p := (*problem.Problem)(nil); errors.As(err, &p) {
		return Organisation{}, p
	}
	if err != nil {
		return Organisation{}, fmt.Errorf("change organisation: %w", err)
	}
	return e.Organisation(ctx, id)
}

func (e *Engine) step(ctx context.Context, tx bun.Tx, by, id, change, reason string) error {
	s := &organisationStep{Organisation: id, At: e.now().Unix(), By: by, Change: change, Reason: reason}
	_, err := tx.NewInsert().Model(s).Exec(ctx)
	return err
}
