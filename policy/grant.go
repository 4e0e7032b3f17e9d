package policy

import "time"

// Mode is the way in which a grant's results are released.
type Mode string

// The modes.
const (
	Exact     Mode = "exact"     // true values, after an officer released them
	Perturbed Mode = "perturbed" // values with sticky noise, at once
	Private   Mode = "private"   // differential privacy, at once, while budget lasts
)

// Modes lists every mode.
var Modes = []Mode{Exact, Perturbed, Private}

// Rules are the thresholds of the disclosure model that a grant's results are held to. A grant may only tighten
// the defaults.
type Rules struct {
	K              int     `json:"k"`               // E1, E2: least number of units in a cell
	DominanceP     float64 `json:"dominance_p"`     // E3: p% rule, in percent
	DominanceShare float64 `json:"dominance_share"` // E3: greatest share of the two largest units, in percent
	Digits         int     `json:"digits"`          // significant digits of a released number
}

// DefaultRules are the model's own.
var DefaultRules = Rules{K: 10, DominanceP: 10, DominanceShare: 90, Digits: 10}

// Quota limits what a grant may ask.
type Quota struct {
	JobsPerDay  int `json:"jobs_per_day"`
	CellsPerDay int `json:"cells_per_day"`
}

// GrantedDataset is a data set under a grant, with the columns that exist for it.
type GrantedDataset struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
}

// GrantState is where a grant stands in its life.
type GrantState string

// The states of a grant. Only an active grant inside its term authorises anything.
const (
	GrantActive     GrantState = "active"
	GrantSuspended  GrantState = "suspended"
	GrantTerminated GrantState = "terminated"
)

// Grant ties one operator to one scenario: these columns of these data sets, in this mode, within this term
// (order 286 of Jinan, art. 13: one scenario, one application). It cannot be transferred.
type Grant struct {
	ID       string           `json:"id"`
	Operator string           `json:"operator"`
	Scenario string           `json:"scenario"`
	Title    string           `json:"title"`
	Datasets []GrantedDataset `json:"datasets"`
	Mode     Mode             `json:"mode"`
	Rules    Rules            `json:"rules"`
	Quota    Quota            `json:"quota"`
	Privacy  Privacy          `json:"privacy,omitzero"`
	Share    float64          `json:"share,omitempty"`     // of a domain's privacy account, in ρ; 0: DefaultShare of the mode
	TimeStep int              `json:"time_step,omitempty"` // answers come at whole multiples of so many seconds; 0: when they are ready
	From     time.Time        `json:"from"`
	Until    time.Time        `json:"until"`
	State    GrantState       `json:"state"`
}
