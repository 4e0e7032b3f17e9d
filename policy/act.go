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

	DatasetImport   Action = "dataset.import" // Organisation: the provider
	DatasetList     Action = "dataset.list"
	DatasetDescribe Action = "dataset.describe"

	QueryExplain Action = "query.explain" // Operator

	JobRead   Action = "job.read"   // Operator, Owner
	JobList   Action = "job.list"   // Operator, Owner; an operator needs no Owner, a supervisor neither
	JobCancel Action = "job.cancel" // Operator, Owner

	UsageRead Action = "usage.read" // Operator; empty for those who may see all
	UsageList Action = "usage.list" // of single jobs

	BudgetRead Action = "budget.read" // Operator; empty for those who may see all
	BudgetSet  Action = "budget.set"  // what a domain may still spend

	ReleaseList    Action = "release.list"    // Operator; empty for those who may see all
	ReleaseShow    Action = "release.show"    // Operator, Owner, State
	ReleaseApprove Action = "release.approve" // Operator, Owner
	ReleaseRefuse  Action = "release.refuse"  // Operator, Owner

	UserCreate  Action = "user.create"  // Organisation, Roles
	UserDisable Action = "user.disable" // Organisation, Roles
	UserUnlock  Action = "user.unlock"  // Organisation, Roles
	UserList    Action = "user.list"    // Organisation; empty for those who may see all

	AuditRead   Action = "audit.read"
	AuditVerify Action = "audit.verify"

	PlatformOperate Action = "platform.operate" // metrics, keys, queues
)

// StateReleased is the State of a release that may be shown to the analysts of its operator.
const StateReleased = "released"

// Object is what an act is about. A field that is empty is a fact that is missing.
type Object struct {
	Operator     string // the operator whose grant, job or release it is
	Owner        string // the subject whose job or release it is
	Organisation string // the provider of a data set, the organisation of an account
	Roles        []Role // of an account
	State        string // of a release
}

// actFacts are what the rules learn about one act.
func (e *Engine) actFacts(ctx context.Context, who Principal, action Action, object Object) (facts, error) {
	person := personFacts(who)
	operates, err := e.operates(ctx, who.Organisation)
	if err != nil {
		return nil, err
	}
	person["operates"] = operates
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
		if thing["operates"], err = e.operates(ctx, object.Organisation); err != nil {
			return nil, err
		}
	}
	return facts{"action": string(action), "person": person, "object": thing}, nil
}

// operates reports whether the organisation holds or ever held a grant: that is what makes it an operator. It is
// looked up and not declared, so nobody can forget to declare it.
func (e *Engine) operates(ctx context.Context, organisation string) (bool, error) {
	found, err := e.db.NewSelect().Table("policy_grants").Where("operator = ?", organisation).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look up operator: %w", err)
	}
	return found, nil
}
