package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"time"

	"weir/audit"
	"weir/export"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Grants keeps the grants; policy.Engine does. Each method asks the rules for itself as well.
type Grants interface {
	Register
	CreateGrant(ctx context.Context, who policy.Principal, grant policy.Grant) (policy.Grant, error)
	Grant(ctx context.Context, who policy.Principal, id string) (policy.Grant, error)
	PrivacySpent(ctx context.Context, who policy.Principal, id string) (map[string]float64, error)
	Left(ctx context.Context, who policy.Principal, id string) (policy.Left, error)
	History(ctx context.Context, who policy.Principal, id string) ([]policy.Change, error)
	Grants(ctx context.Context, who policy.Principal, operator string) ([]policy.Grant, error)
	Suspend(ctx context.Context, who policy.Principal, id, reason string) error
	Restore(ctx context.Context, who policy.Principal, id, reason string) error
	Terminate(ctx context.Context, who policy.Principal, id, reason string) error
	Hold(ctx context.Context, who policy.Principal, id, reason string) error
	Lift(ctx context.Context, who policy.Principal, id, reason string) error
	End(ctx context.Context, who policy.Principal, id string) (end *policy.Ending, held bool, err error)
	Behind(ctx context.Context, grant string) (subjects, datasets []string, err error)
}

// Organisations keeps the organisations; policy.Engine does. Each method but the first asks the rules for itself as well.
type Organisations interface {
	Organisation(ctx context.Context, name string) (policy.Organisation, error)
	Organisations(ctx context.Context, who policy.Principal) ([]policy.Organisation, error)
	AdmitOrganisation(ctx context.Context, who policy.Principal, wanted policy.NewOrganisation) (policy.Organisation, error)
	ChangeOrganisation(ctx context.Context, who policy.Principal, id string, change policy.OrganisationChange) (policy.Organisation, error)
}

// Accounts keeps the accounts; identity.Identity does.
type Accounts interface {
	SignIn(ctx context.Context, c identity.Credentials) (identity.Tokens, policy.Principal, error)
	Refresh(ctx context.Context, token string) (identity.Tokens, error)
	SignOut(ctx context.Context, session string) error
	ChangePassword(ctx context.Context, name, current, next, from string) error
	Admit(ctx context.Context, account identity.Account) (first string, err error)
	AdmitBy(ctx context.Context, rescuer string, account identity.Account) (first string, err error)
	DisableAccount(ctx context.Context, name string) error
	EnableAccount(ctx context.Context, name string) error
	Reset(ctx context.Context, name string) (first string, err error)
	SetRoles(ctx context.Context, name string, roles []policy.Role) error
	Propose(ctx context.Context, proposal identity.Proposal) (kept identity.Proposal, half string, err error)
	Proposal(ctx context.Context, id string) (identity.Proposal, error)
	Proposals(ctx context.Context) ([]identity.Proposal, error)
	Confirm(ctx context.Context, id, by string) (done identity.Proposal, half string, err error)
	Refuse(ctx context.Context, id, by string) error
	MoveOrganisation(ctx context.Context, from, into string) error
	Unlock(ctx context.Context, name string) error
	Accounts(ctx context.Context) ([]identity.Account, error)
}

// Catalogue keeps the data sets; sandbox.Vault does.
type Catalogue interface {
	Receive(ctx context.Context, manifest []byte, file io.Reader) (policy.Version, error)
	Versions(ctx context.Context, name, provider string) ([]policy.Version, error)
	Decide(ctx context.Context, d policy.VersionDecision) ([]policy.Version, error)
	Dataset(ctx context.Context, name string) (policy.Dataset, error)
	Datasets(ctx context.Context) ([]policy.Dataset, error)
}

// ReleaseQueue keeps what waits for an officer; export.Queue does.
type ReleaseQueue interface {
	Waiting(ctx context.Context) ([]export.Offer, error)
	Decided(ctx context.Context, states []string, limit int) ([]export.Offer, error)
	Decision(ctx context.Context, job string) (*export.Decision, error)
	Show(ctx context.Context, id string) (export.Offer, error)
	Approve(ctx context.Context, id string, officer policy.Principal, reason string) error
	Refuse(ctx context.Context, id string, officer policy.Principal, reason string) error
	RefuseGrant(ctx context.Context, grant string) (int, error)
	ForgetGrant(ctx context.Context, grant string) (int, error)
}

// Stopper stops what runs; Jobs does.
type Stopper interface {
	StopGrant(ctx context.Context, grant string) error
	EndGrant(ctx context.Context, grant string) error
	StopAccount(ctx context.Context, account string) error
	Cancel(ctx context.Context, id string) (Job, error)
	Settle(ctx context.Context, id string) (Job, error)
	Find(ctx context.Context, id string) (Job, error)
}

// Workspaces keeps the tables that jobs leave behind; sandbox.Workspaces does.
type Workspaces interface {
	List(ctx context.Context, owner sandbox.Owner) ([]sandbox.Kept, error)
	Delete(ctx context.Context, owner sandbox.Owner) ([]sandbox.Kept, error)
}

// ActsParts is what the acts are done with. All of it is required.
type ActsParts struct {
	Permit   Permitter
	Record   Recorder
	Log      LogReader
	Grants   Grants
	Accounts Accounts

	Organisations Organisations
	Endings       Endings
	Grace         time.Duration // for which what was made under a grant is kept after its end

	Catalogue Catalogue
	Releases  ReleaseQueue
	Jobs      Stopper
	Ledger    Ledger
	Budget    *Budget
	Tables    Workspaces
}

// Acts is everything that people do besides asking queries: what changes something, and what shows something that
// is not for everybody.
//
// Each act goes one way: the rules permit it, it is announced on the log, it is done, and what became of it is on
// the log before anybody hears of it. An act that cannot be announced is not done; one whose outcome cannot be
// logged is not shown.
type Acts struct{ ActsParts }

// NewActs makes the acts. It refuses parts that are missing.
func NewActs(parts ActsParts) (*Acts, error) {
	v := reflect.ValueOf(parts)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			return nil, fmt.Errorf("acts without %s", v.Type().Field(i).Name)
		}
	}
	return &Acts{parts}, nil
}

// conclude bounds how long the outcome of an act may take to be logged.
const conclude = 30 * time.Second

// deed is one thing that a person wants to do.
type deed struct {
	action  policy.Action
	object  policy.Object // what the rules must know
	grant   audit.Fact    // from here on what the log says for ever
	job     audit.Fact
	about   audit.Fact
	facts   audit.Facts
	private string // what may have to be erased some day: reasons, people's names, whatever was typed
	made    *made  // what the outcome can say and the intent could not
}

// made is what a deed has brought into being, and what the log then calls it. Whoever does the deed fills it in.
type made struct {
	grant, about audit.Fact
	facts        audit.Facts
	private      string // what may have to be erased some day
}

// act does one thing. It is the only way in which anything but a query happens.
func act[T any](ctx context.Context, a *Acts, who policy.Principal, d deed, do func(context.Context) (T, error)) (T, error) {
	var nothing T
	if err := a.Permit.Permit(ctx, who, d.action, d.object); err != nil {
		return nothing, a.refused(ctx, who, d, err)
	}
	intent, err := a.Record.Append(ctx, d.event(who, "intent"))
	if err != nil {
		return nothing, fmt.Errorf("announce %s: %w", d.action, err)
	}
	result, failure := do(ctx)
	// Whoever asked may have gone away meanwhile; what happened is logged all the same.
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	if _, err := a.Record.Append(last, d.outcome(who, intent, failure)); err != nil {
		return nothing, problem.New("gateway.outcome-not-logged").Because(errors.Join(err, failure))
	}
	if failure != nil {
		return nothing, failure
	}
	return result, nil
}

// perform is act for what has no result.
func perform(ctx context.Context, a *Acts, who policy.Principal, d deed, do func(context.Context) error) error {
	_, err := act(ctx, a, who, d, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

// refused puts a refusal on the log and gives it back. Nothing was done, so a failure to log it changes nothing
// for the person; the operation log hears of it.
func (a *Acts) refused(ctx context.Context, who policy.Principal, d deed, why error) error {
	event := d.event(who, "refused")
	event.Facts = d.with("code", audit.Code(why))
	if _, err := a.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("%w (and the refusal is not on the log: %w)", why, err)
	}
	return why
}

func (d deed) event(who policy.Principal, stage string) audit.Event {
	return audit.Event{
		Kind: string(d.action) + "." + stage, Actor: who.Subject, Grant: d.grant, Job: d.job, Object: d.about,
		Facts: d.facts, Payload: []byte(d.private),
	}
}

func (d deed) outcome(who policy.Principal, intent audit.Receipt, failure error) audit.Event {
	event := d.event(who, "outcome")
	event.Payload = nil // it stands with the intent
	event.Facts = d.with("intent", audit.Number(intent.Index))
	event.Facts["outcome"] = audit.Word("done")
	if failure != nil {
		event.Facts["outcome"], event.Facts["code"] = audit.Word("failed"), audit.Code(failure)
		return event
	}
	if d.made != nil {
		event.Grant, event.Object = cmp.Or(d.made.grant, d.grant), cmp.Or(d.made.about, d.about)
		maps.Copy(event.Facts, d.made.facts)
		event.Payload = []byte(d.made.private)
	}
	return event
}

// with gives the facts and one more.
func (d deed) with(name string, value audit.Fact) audit.Facts {
	facts := audit.Facts{name: value}
	maps.Copy(facts, d.facts)
	return facts
}
