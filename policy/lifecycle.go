package policy

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

// errNoGrant is told to nobody outside: a person hears "policy.unknown-grant".
var errNoGrant = errors.New("no such grant")

// row is a grant as it lies in the database.
type row struct {
	bun.BaseModel `bun:"table:policy_grants,alias:g"`

	ID             string           `bun:"id,pk"`
	Operator       string           `bun:"operator"`
	Scenario       string           `bun:"scenario"`
	Title          string           `bun:"title"`
	Datasets       []GrantedDataset `bun:"datasets,type:text"`
	Mode           Mode             `bun:"mode"`
	K              int              `bun:"k"`
	DominanceP     float64          `bun:"dominance_p"`
	DominanceShare float64          `bun:"dominance_share"`
	Digits         int              `bun:"digits"`
	JobsPerDay     int              `bun:"jobs_per_day"`
	CellsPerDay    int              `bun:"cells_per_day"`
	Epsilon        float64          `bun:"epsilon"`
	Delta          float64          `bun:"delta"`
	QueryEpsilon   float64          `bun:"query_epsilon"`
	Share          float64          `bun:"share"`
	TimeStep       int              `bun:"time_step"`
	From           int64            `bun:"valid_from"`
	Until          int64            `bun:"valid_until"`
	State          GrantState       `bun:"state"`
}

func (r row) grant(zone *time.Location) Grant {
	return Grant{
		ID: r.ID, Operator: r.Operator, Scenario: r.Scenario, Title: r.Title, Datasets: r.Datasets, Mode: r.Mode,
		Rules: Rules{K: r.K, DominanceP: r.DominanceP, DominanceShare: r.DominanceShare, Digits: r.Digits},
		Quota: Quota{JobsPerDay: r.JobsPerDay, CellsPerDay: r.CellsPerDay}, Privacy: Privacy{Epsilon: r.Epsilon, Delta: r.Delta, QueryEpsilon: r.QueryEpsilon},
		Share: r.Share, TimeStep: r.TimeStep, From: time.Unix(r.From, 0).In(zone), Until: time.Unix(r.Until, 0).In(zone), State: r.State,
	}
}

func rowOf(g Grant) *row {
	return &row{
		ID: g.ID, Operator: g.Operator, Scenario: g.Scenario, Title: g.Title, Datasets: g.Datasets, Mode: g.Mode,
		K: g.Rules.K, DominanceP: g.Rules.DominanceP, DominanceShare: g.Rules.DominanceShare, Digits: g.Rules.Digits,
		JobsPerDay: g.Quota.JobsPerDay, CellsPerDay: g.Quota.CellsPerDay,
		Epsilon: g.Privacy.Epsilon, Delta: g.Privacy.Delta, QueryEpsilon: g.Privacy.QueryEpsilon,
		Share: g.Share, TimeStep: g.TimeStep,
		From: g.From.Unix(), Until: g.Until.Unix(), State: g.State,
	}
}

// Change is one step in the life of a grant. Changes are only ever added.
type Change struct {
	bun.BaseModel `bun:"table:policy_grant_changes" json:"-"`

	Seq     int64      `bun:"seq,pk,autoincrement" json:"seq"`
	GrantID string     `bun:"grant_id" json:"grant"`
	At      int64      `bun:"at" json:"at"`      // whole seconds since 1970
	By      string     `bun:"subject" json:"by"` // the person, by subject
	State   GrantState `bun:"state" json:"state"`
	Reason  string     `bun:"reason" json:"reason"`
}

// CreateGrant checks and keeps a new grant, and gives it back with its identifier. Rules that are all zero are the
// model's own. The terms never change afterwards.
func (e *Engine) CreateGrant(ctx context.Context, who Principal, g Grant) (Grant, error) {
	if g.Operator == "" { // the rules would deny it as a fact that is missing, which would not help anybody
		return Grant{}, problem.New("policy.grant-text", "field", "operator", "limit", strconv.Itoa(textLimit))
	}
	if err := e.Permit(ctx, who, GrantCreate, Object{Operator: g.Operator}); err != nil {
		return Grant{}, err
	}
	if g.Rules == (Rules{}) {
		g.Rules = DefaultRules
	}
	if err := e.checkOperator(ctx, &g); err != nil {
		return Grant{}, err
	}
	g.From, g.Until = g.From.Truncate(time.Second).In(e.zone), g.Until.Truncate(time.Second).In(e.zone)
	if err := checkGrant(g, e.now()); err != nil {
		return Grant{}, err
	}
	g.ID = "g-" + strings.ToLower(rand.Text()[:10])
	g.State = GrantActive
	err := e.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(rowOf(g)).Exec(ctx); err != nil {
			return err
		}
		return e.record(ctx, tx, who, g.ID, GrantActive, "created")
	})
	if err != nil {
		return Grant{}, fmt.Errorf("create grant: %w", err)
	}
	return g, nil
}

// checkOperator refuses a grant to whoever is not admitted as an operator: an organisation that nobody knows, or one that
// supplies, reviews, supervises, authorises or maintains, whose people a grant would lock out (Jinan, order 286, art. 11).
// The grant refers to the operator by its identifier, however the name was typed.
func (e *Engine) checkOperator(ctx context.Context, g *Grant) error {
	operator, err := e.Organisation(ctx, g.Operator)
	if err != nil {
		return err
	}
	if !slices.Contains(operator.Capacities, CapacityOperator) {
		return problem.New("policy.grant-operator")
	}
	g.Operator = operator.ID
	return nil
}

// Grant gives one grant to a person who may read it. A grant of another operator is unknown to an operator.
func (e *Engine) Grant(ctx context.Context, who Principal, id string) (Grant, error) {
	return e.reach(ctx, who, GrantRead, id)
}

// Grants lists the grants of one operator, or of all if operator is empty and the person may see all.
func (e *Engine) Grants(ctx context.Context, who Principal, operator string) ([]Grant, error) {
	if err := e.Permit(ctx, who, GrantList, Object{Operator: operator}); err != nil {
		return nil, err
	}
	var rows []row
	query := e.db.NewSelect().Model(&rows).Order("valid_from", "id")
	if operator != "" {
		query = query.Where("operator = ?", operator)
	}
	if err := query.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	grants := make([]Grant, len(rows))
	for i, r := range rows {
		grants[i] = r.grant(e.zone)
	}
	return grants, nil
}

// History lists the changes of a grant, the first first, for a person who may read it.
func (e *Engine) History(ctx context.Context, who Principal, id string) ([]Change, error) {
	if _, err := e.reach(ctx, who, GrantRead, id); err != nil {
		return nil, err
	}
	var changes []Change
	if err := e.db.NewSelect().Model(&changes).Where("grant_id = ?", id).Order("seq").Scan(ctx); err != nil {
		return nil, fmt.Errorf("history of grant: %w", err)
	}
	return changes, nil
}

// Suspend stops a grant at once, until it is restored (order 286 of Jinan, art. 18).
func (e *Engine) Suspend(ctx context.Context, who Principal, id, reason string) error {
	return e.change(ctx, who, GrantSuspend, id, reason, GrantSuspended, GrantActive)
}

// Restore lets a suspended grant go on. Its term has not been prolonged.
func (e *Engine) Restore(ctx context.Context, who Principal, id, reason string) error {
	return e.change(ctx, who, GrantRestore, id, reason, GrantActive, GrantSuspended)
}

// Terminate ends a grant for good.
func (e *Engine) Terminate(ctx context.Context, who Principal, id, reason string) error {
	return e.change(ctx, who, GrantTerminate, id, reason, GrantTerminated, GrantActive, GrantSuspended)
}

// change moves a grant to a state from one of others, and writes the step into its history in the same transaction.
// The states are compared and set in one statement, so of two people who act at once one is told that it has moved.
func (e *Engine) change(ctx context.Context, who Principal, action Action, id, reason string, to GrantState, from ...GrantState) error {
	if _, err := e.reach(ctx, who, action, id); err != nil {
		return err
	}
	if !plain(reason, reasonLimit) {
		return problem.New("policy.reason-needed")
	}
	err := e.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.NewUpdate().Table("policy_grants").Set("state = ?", to).
			Where("id = ?", id).Where("state IN (?)", bun.List(from)).Exec(ctx)
		if err != nil {
			return err
		}
		moved, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if moved != 1 {
			return problem.New("policy.grant-state")
		}
		return e.record(ctx, tx, who, id, to, reason)
	})
	if p := (*problem.Problem)(nil); errors.As(err, &p) {
		return p
	}
	if err != nil {
		return fmt.Errorf("change state of grant: %w", err)
	}
	return nil
}

func (e *Engine) record(ctx context.Context, tx bun.Tx, who Principal, id string, state GrantState, reason string) error {
	step := &Change{GrantID: id, At: e.now().Unix(), By: who.Subject, State: state, Reason: reason}
	_, err := tx.NewInsert().Model(step).Exec(ctx)
	return err
}

// reach finds a grant for a person who may do something with it.
func (e *Engine) reach(ctx context.Context, who Principal, action Action, id string) (Grant, error) {
	var found row
	err := e.db.NewSelect().Model(&found).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Grant{}, e.absent(ctx, who, action)
	}
	if err != nil {
		return Grant{}, fmt.Errorf("read grant: %w", err)
	}
	if err := e.Permit(ctx, who, action, Object{Operator: found.Operator}); err != nil {
		return Grant{}, err
	}
	return found.grant(e.zone), nil
}

// absent answers for a grant that does not exist. The rules are asked all the same, as if it belonged to somebody
// else, so that whoever may not do this to any grant gets the same answer for one that exists.
func (e *Engine) absent(ctx context.Context, who Principal, action Action) error {
	if err := e.Permit(ctx, who, action, Object{Operator: "-"}); err != nil {
		return err
	}
	return problem.New("policy.unknown-grant")
}

// Known reports whether there is a grant of this name. It is for the platform itself, which names a grant on the log only
// if there is one, and asks for nobody.
func (e *Engine) Known(ctx context.Context, id string) (bool, error) {
	known, err := e.db.NewSelect().Table("policy_grants").Where("id = ?", id).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for a grant: %w", err)
	}
	return known, nil
}

// Lapsed names those of some grants that authorise nothing now: they are suspended, terminated, or outside their term.
// It is for the platform itself, which stops what runs under them, and asks for nobody.
func (e *Engine) Lapsed(ctx context.Context, grants []string) ([]string, error) {
	if len(grants) == 0 {
		return nil, nil
	}
	now := e.now().Unix()
	var lapsed []string
	err := e.db.NewSelect().Table("policy_grants").Column("id").Where("id IN (?)", bun.List(grants)).
		Where("state <> ? OR valid_from > ? OR valid_until <= ?", GrantActive, now, now).Order("id").Scan(ctx, &lapsed)
	if err != nil {
		return nil, fmt.Errorf("look for lapsed grants: %w", err)
	}
	return lapsed, nil
}

// Behind tells who made a grant or changed it, and which data sets it gives. It is for the platform itself, which keeps
// officers from what they took part in, and asks for nobody.
func (e *Engine) Behind(ctx context.Context, id string) (subjects, datasets []string, err error) {
	var found row
	err = e.db.NewSelect().Model(&found).Where("id = ?", id).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, problem.New("policy.unknown-grant")
	}
	if err == nil {
		err = e.db.NewSelect().Model((*Change)(nil)).ColumnExpr("DISTINCT subject").Where("grant_id = ?", id).
			Order("subject").Scan(ctx, &subjects)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look behind grant: %w", err)
	}
	for _, d := range found.Datasets {
		datasets = append(datasets, d.Name)
	}
	return subjects, datasets, nil
}
