package policy

import (
	_ "embed" // the matrix of duties
	"slices"

	"github.com/goccy/go-yaml"

	"weir/internal/problem"
)

// Capacity is what an organisation is on the platform for. It may have several, as the matrix of duties says.
type Capacity string

// The capacities.
const (
	CapacityAuthority   Capacity = "authority"
	CapacityProvider    Capacity = "provider"
	CapacityOperator    Capacity = "operator"
	CapacityReview      Capacity = "review"
	CapacitySupervision Capacity = "supervision"
	CapacityMaintenance Capacity = "maintenance"
	CapacityRescue      Capacity = "rescue"
)

//go:embed duties.yaml
var dutiesText []byte

// dutyMatrix is duties.yaml.
type dutyMatrix struct {
	Capacities map[Capacity]map[string]string `yaml:"capacities"` // what each is, by language
	Roles      map[Role]struct {
		Capacity Capacity `yaml:"capacity"`
		Second   bool     `yaml:"second"`
	} `yaml:"roles"`
	Pairs []struct {
		Of     [2]Capacity       `yaml:"of"`
		May    bool              `yaml:"may"`
		Source string            `yaml:"source"`
		Why    map[string]string `yaml:"why"`
	} `yaml:"pairs"`
}

var duties = readDuties(dutiesText)

// readDuties panics on a matrix that cannot be read: it is compiled in, so every test would.
func readDuties(text []byte) dutyMatrix {
	var d dutyMatrix
	if err := yaml.UnmarshalWithOptions(text, &d, yaml.Strict()); err != nil {
		panic("duties.yaml: " + err.Error())
	}
	return d
}

// Needs is the capacity that an organisation must have for its people to hold a role; "" for a role that is unknown.
func Needs(role Role) Capacity { return duties.Roles[role].Capacity }

// NeedsSecond reports whether an account with these roles is made, and given back, by two people of the authority.
func NeedsSecond(roles []Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return duties.Roles[r].Second })
}

// compatible reports whether one organisation may have both. What the matrix does not name is not allowed.
func compatible(a, b Capacity) bool {
	for _, pair := range duties.Pairs {
		if pair.Of == [2]Capacity{a, b} || pair.Of == [2]Capacity{b, a} {
			return pair.May
		}
	}
	return false
}

// CheckCapacities refuses capacities that are unknown, given twice, or that one organisation must not have together.
func CheckCapacities(capacities []Capacity) error {
	for i, a := range capacities {
		if _, known := duties.Capacities[a]; !known || slices.Contains(capacities[:i], a) {
			return problem.New("policy.capacity-unknown")
		}
		for _, b := range capacities[:i] {
			if !compatible(a, b) {
				return problem.New("policy.capacities-exclude", "first", string(b), "second", string(a))
			}
		}
	}
	return nil
}

// CheckRoles refuses a set of roles that one person must not hold: none, an unknown one, one twice, or roles of two
// capacities (separation of duties: Jilin City, implementation plan, section 8(1)). Roles are checked again at every
// decision, so an identity provider elsewhere cannot join what is apart here.
func CheckRoles(roles []Role) error {
	if len(roles) == 0 {
		return problem.New("policy.roles-none")
	}
	for i, role := range roles {
		if Needs(role) == "" {
			return problem.New("policy.roles-unknown")
		}
		if slices.Contains(roles[:i], role) {
			return problem.New("policy.roles-unknown")
		}
		if Needs(role) != Needs(roles[0]) {
			return problem.New("policy.account-conflict", "first", string(roles[0]), "second", string(role))
		}
	}
	return nil
}
