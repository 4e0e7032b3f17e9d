package policy

import "slices"

// Role is what a person does on the platform. What a role must never do stands in REQUIREMENTS and in the
// policy's rego; a person holds the roles of one side only (separation of duties).
type Role string

// The roles.
const (
	Authority  Role = "authority"
	Provider   Role = "provider"
	Operator   Role = "operator"
	Analyst    Role = "analyst"
	Officer    Role = "officer"
	Supervisor Role = "supervisor"
	Maintainer Role = "maintainer"
	Rescuer    Role = "rescuer" // made on the machine only, to let two authorities in
)

// Roles lists every role.
var Roles = []Role{Authority, Provider, Operator, Analyst, Officer, Supervisor, Maintainer, Rescuer}

// Principal is a person who has proved who they are.
type Principal struct {
	Subject      string `json:"subject"`      // stable, unique: issuer-local account name
	Organisation string `json:"organisation"` // identifier of the organisation that the person belongs to
	Unit         string `json:"unit"`         // the unit of it, where it has several; see Party
	Roles        []Role `json:"roles"`
	Session      string `json:"session"` // the session that the token belongs to
}

// Has reports whether the person holds the role.
func (p Principal) Has(role Role) bool { return slices.Contains(p.Roles, role) }
