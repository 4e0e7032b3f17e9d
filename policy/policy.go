// Package policy decides who may do what, under which grant, for how much, and what the platform owes for it.
//
// It holds the nouns that all rooms share (data set, column, unit, grant, principal), the life cycle of grants, the
// day's account of each grant, and the engine that asks the rules written in rego. The rules are embedded; a bundle
// that is signed may replace them.
//
// Trust boundary: callers hand in a Principal that has proved who it is; everything else that decides (the grant,
// what it used today, whether an organisation is an operator, the time) is read here, never taken from a request.
// The rules see the facts of one person and one grant or object, and nothing else: no clock, no network, no data.
//
// It must never allow because something was missing: an answer that is undefined, in error, of another type, in
// contradiction with itself or without a known obligation is a denial. It must never loosen the disclosure model's
// own thresholds, whatever a grant or a bundle says, and never let one operator learn of another's grants.
package policy

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // the day's limits follow a time zone, also on a machine without the database of zones

	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store"
)

//go:embed problems.yaml
var messages []byte

var _ = problem.Register(messages)

//go:embed migrations
var migrations embed.FS

// DefaultZone is the time zone whose midnight ends a day's quota.
const DefaultZone = "Asia/Shanghai"

// Options say how an engine is run. The zero value is the platform's default.
type Options struct {
	Now    func() time.Time // the clock; time.Now if nil
	Zone   *time.Location   // where a day of quota begins and ends; DefaultZone if nil
	Bundle *SignedBundle    // rules instead of the embedded ones; none if nil
}

// Engine answers every question of permission. It is safe for concurrent use.
type Engine struct {
	db    *bun.DB
	now   func() time.Time
	zone  *time.Location
	query rego.PreparedEvalQuery
	act   rego.PreparedEvalQuery
}

// New brings the tables up to date and prepares the rules. It fails if a bundle is not signed as configured, or if
// the rules do not deny a question without any facts.
func New(ctx context.Context, db *bun.DB, options Options) (*Engine, error) {
	e := &Engine{db: db, now: options.Now, zone: options.Zone}
	if e.now == nil {
		e.now = time.Now
	}
	if e.zone == nil {
		zone, err := time.LoadLocation(DefaultZone)
		if err != nil {
			return nil, fmt.Errorf("policy time zone: %w", err)
		}
		e.zone = zone
	}
	modules, err := rules(options.Bundle)
	if err != nil {
		return nil, err
	}
	if e.query, err = prepare(ctx, "data.weir.query.decision", modules); err != nil {
		return nil, err
	}
	if e.act, err = prepare(ctx, "data.weir.act.decision", modules); err != nil {
		return nil, err
	}
	return e, store.Migrate(ctx, db, "policy", migrations)
}

// Decision is a permission to run one query now, with the obligations under which it holds. The rules allow it only
// for the grant and the person it was asked for; it says nothing about the next query.
type Decision struct {
	Grant     Grant
	Mode      Mode
	Rules     Rules // the strictest of the model's, the grant's and the policy's
	Review    bool  // an officer decides before anything leaves
	CellsLeft int   // cells that may still leave today, before this query; see Spend
}

// Datasets names the data sets that exist for this query, and their columns.
func (d Decision) Datasets() []GrantedDataset { return d.Grant.Datasets }

// Authorize asks whether this person may run a query under this grant now. The error is a problem that says why
// not; a grant of another operator gets the answer of a grant that does not exist.
func (e *Engine) Authorize(ctx context.Context, who Principal, grantID string) (Decision, error) {
	grant, used, err := e.account(ctx, grantID)
	if errors.Is(err, errNoGrant) {
		return Decision{}, problem.New("policy.unknown-grant")
	}
	if err != nil {
		return Decision{}, undecided(err)
	}
	person, err := e.personFacts(ctx, who)
	if err != nil {
		return Decision{}, undecided(err)
	}
	verdict, err := ask(ctx, e.query, queryFacts(e.now(), person, grant, used))
	if err != nil {
		return Decision{}, undecided(err)
	}
	if !verdict.allow {
		why := denied(verdict.reason)
		if why.Code == "policy.quota-jobs" || why.Code == "policy.quota-cells" {
			why = why.After(e.untilTomorrow())
		}
		return Decision{}, why
	}
	return decide(grant, used, verdict.obligations)
}

// Permit asks whether this person may do anything but run a query. The object holds only the facts that the act
// has; one that is missing denies. The error is a problem that says why not.
func (e *Engine) Permit(ctx context.Context, who Principal, action Action, object Object) error {
	facts, err := e.actFacts(ctx, who, action, object)
	if err != nil {
		return undecided(err)
	}
	verdict, err := ask(ctx, e.act, facts)
	if err != nil {
		return undecided(err)
	}
	if !verdict.allow {
		return denied(verdict.reason)
	}
	if len(verdict.obligations) > 0 {
		return undecided(errors.New("an act was allowed with obligations that nobody meets"))
	}
	return nil
}
