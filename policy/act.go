package policy

import (
	"context"
	"fmt"
)

// Action is an act that needs permission and is not a query. Which role may do it stands in rego/weir/act.
type Action string

// The acts, each with the facts of its object that the rules need.
const (
	GrantCreate    Action = "grant.create"    // Operator
	GrantRead      Action = "grant.read"      // Operator
	GrantList      Action = "grant.list"      // Operator; empty for those who may see all
	GrantSuspend   Action = "grant.suspend"   // Operator
	GrantRestore   Action = "grant.restore"   // Operator
	GrantTerminate Action = "grant.terminate" // Operator
	GrantHold      Action = "grant.hold"      // Operator
	GrantLift      Action = "grant.lift"      // Operator

	DatasetImport   Action = "dataset.import" // Organisation: the provider
	DatasetList     Action = "dataset.list"
	DatasetDescribe Action = "dataset.describe"
	DatasetVersions Action = "dataset.versions" // Organisation: the provider; empty for those who may see all
	DatasetCount    Action = "dataset.count"    // Organisation: the provider; exact numbers of rows
	DatasetApprove  Action = "dataset.approve"  // Organisation: the provider
	DatasetRefuse   Action = "dataset.refuse"   // Organisation: the provider
	DatasetWithdraw Action = "dataset.withdraw" // Organisation: the provider

	QueryExplain Action = "query.explain" // Operator

	JobRead   Action = "job.read"   // Operator, Owner
	JobList   Action = "job.list"   // Operator, Owner; an operator needs no Owner, a supervisor neither
	JobCancel Action = "job.cancel" // Operator, Owner

	UsageRead Action = "usage.read" // Operator; empty for those who may see all
	UsageList Action = "usage.list" // of single jobs

	BudgetRead Action = "budget.read" // Operator; empty for those who may see all
	BudgetSet  Action = "budget.set"  // what a domain may still spend

	ReleaseList    Action = "release.list"    // Operator; empty for those who may see all
	ReleaseShow    Action = "release.show"    // Operator, Owner, Parties, State
	ReleaseApprove Action = "release.approve" // Operator, Owner, Parties
	ReleaseRefuse  Action = "release.refuse"  // Operator, Owner, Parties

	UserCreate  Action = "user.create"  // Organisation, Roles, Account
	UserEnable  Action = "user.enable"  // Organisation, Roles, Account
	UserReset   Action = "user.reset"   // Organisation, Roles, Account
	UserRole    Action = "user.roles"   // Organisation, Roles, Account
	UserConfirm Action = "user.confirm" // Owner: who proposed it
	UserRefuse  Action = "user.refuse"
	UserDisable Action = "user.disable" // Organisation, Roles
	UserUnlock  Action = "user.unlock"  // Organisation, Roles
	UserList    Action = "user.list"    // Organisation; empty for those who may see all

	OrganisationAdmit   Action = "organisation.admit"
	OrganisationChanged Action = "organisation.change"
	OrganisationList    Action = "organisation.list"

	AuditRead   Action = "audit.read"
	AuditVerify Action = "audit.verify"
	AuditErase  Action = "audit.erase" // Owner: who did what the entry says

	PlatformOperate Action = "platform.operate" // metrics, keys, queues
)

// StateReleased is the State of a release that may be shown to the analysts of its operator.
const StateReleased = "released"

// Object is what an act is about. A field that is empty is a fact that is missing.
type Object struct {
	Operator     string  // the operator whose grant, job or release it is
	Owner        string  // the subject whose job or release it is
	Organisation string  // the provider of a data set, the organisation of an account
	Roles        []Role  // of an account
	Account      string  // its name
	Parties      []Party // who took part in what is reviewed; nil where that is not known
	State        string  // of a release
}

// Party is somebody who took part in what an officer reviews: who made the grant, who supplied the data. An officer
// decides nothing that they themselves or their own unit took part in.
type Party struct {
	Subject      string
	Organisation string
	Unit         string // empty where the organisation has none, or the person is in none
}

// actFacts are what the rules learn about one act.
func (e *Engine) actFacts(ctx context.Context, who Principal, action Action, object Object) (facts, error) {
	person, err := e.personFacts(ctx, who)
	if err != nil {
		return nil, err
	}
	thing := facts{}
	for name, value := range map[string]string{
		"operator": object.Operator, "owner": object.Owner, "organisation": object.Organisation, "state": object.State,
	} {
		if value != "" {
			thing[name] = value
		}
	}
	if len(object.Roles) > 0 {
		thing["roles"] = list(object.Roles)
	}
	if object.Organisation != "" {
		capacities, err := e.capacities(ctx, object.Organisation)
		if err != nil {
			return nil, err
		}
		thing["capacities"] = list(capacities)
	}
	if object.Account != "" && object.Organisation != "" {
		if thing["first"], err = e.first(ctx, object.Organisation, object.Account); err != nil {
			return nil, err
		}
	}
	if object.Parties != nil {
		parties := make([]any, len(object.Parties))
		for i, p := range object.Parties {
			parties[i] = facts{"subject": p.Subject, "organisation": p.Organisation, "unit": p.Unit}
		}
		thing["parties"] = parties
	}
	return facts{"action": string(action), "person": person, "object": thing}, nil
}

// personFacts are what the rules learn about a person. What their organisation is admitted for is looked up and not
// declared.
func (e *Engine) personFacts(ctx context.Context, who Principal) (facts, error) {
	capacities, err := e.capacities(ctx, who.Organisation)
	if err != nil {
		return nil, err
	}
	person := facts{
		"subject": who.Subject, "organisation": who.Organisation, "roles": list(who.Roles), "capacities": list(capacities),
	}
	if who.Unit != "" {
		person["unit"] = who.Unit
	}
	return person, nil
}

// first reports whether an account is the one of an operator's first person.
func (e *Engine) first(ctx context.Context, organisation, account string) (bool, error) {
	found, err := e.db.NewSelect().Model((*organisationRow)(nil)).Where("id = ?", organisation).Where("first_person = ?", account).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look up first person: %w", err)
	}
	return found, nil
}
