package policy

import (
	"context"
	"slices"

	"weir/internal/problem"
)

// sides tells for whom each role works. The rules hold the same table; a test compares them.
var sides = map[Role]string{
	Authority:  "authority",
	Provider:   "provider",
	Operator:   "operation",
	Analyst:    "operation",
	Officer:    "review",
	Supervisor: "supervision",
	Maintainer: "platform",
}

// CheckRoles refuses a set of roles that one person must not hold: none, an unknown one, one twice, or roles of two
// sides (separation of duties: Jilin City, implementation plan, section 8(1)). Roles are checked again at every
// decision, so an identity provider elsewhere cannot join what is apart here.
func CheckRoles(roles []Role) error {
	if len(roles) == 0 {
		return problem.New("policy.roles-none")
	}
	for i, role := range roles {
		if sides[role] == "" {
			return problem.New("policy.roles-unknown")
		}
		if slices.Contains(roles[:i], role) {
			return problem.New("policy.roles-unknown")
		}
		if sides[role] != sides[roles[0]] {
			return problem.New("policy.account-conflict", "first", string(roles[0]), "second", string(role))
		}
	}
	return nil
}

// CheckAccount refuses an account whose roles do not fit its organisation: whoever belongs to an organisation that
// holds or ever held a grant works for an operator and for nobody else. An officer never belongs to an operator.
func (e *Engine) CheckAccount(ctx context.Context, organisation string, roles []Role) error {
	if err := CheckRoles(roles); err != nil {
		return err
	}
	if organisation == "" {
		return problem.New("policy.person-incomplete")
	}
	operates, err := e.operates(ctx, organisation)
	if err != nil {
		return undecided(err)
	}
	if operates && sides[roles[0]] != "operation" {
		return problem.New("policy.operator-organisation")
	}
	return nil
}
