# METADATA
# description: |
#   May this person run a query under this grant now, and with what obligations?
#   Input: now, person, grant (the facts of one grant), used (what it asked today), floor (the model's own rules).
#   Times are whole seconds since 1970. Values are compared only after their type is known, since rego orders
#   values of different types and would call any string later than any number.
package weir.query

import data.weir.person

# METADATA
# description: The modes that have a release path, and whether an officer reviews what they release.
modes := {"exact": true, "perturbed": false, "private": false}

default allow := false

allow if {
	own
	person.fits(input.person.roles, input.person.capacities)
	person.holds("analyst")
	purposeful
	input.grant.state == "active"
	begun
	unexpired
	jobs_left > 0
	cells_left > 0
	obligations
}

# METADATA
# description: The grant belongs to the person's own operator. It cannot be transferred.
own if {
	person.named
	input.grant.operator == input.person.organisation
}

# METADATA
# description: The grant says what it is, for what it is, and names columns for each of its data sets.
purposeful if {
	is_string(input.grant.id)
	input.grant.id != ""
	is_string(input.grant.scenario)
	input.grant.scenario != ""
	is_array(input.grant.datasets)
	count(input.grant.datasets) > 0
	every dataset in input.grant.datasets {
		is_string(dataset.name)
		dataset.name != ""
		is_array(dataset.columns)
		count(dataset.columns) > 0
		every column in dataset.columns {
			is_string(column)
			column != ""
		}
	}
}

begun if {
	is_number(input.grant.from)
	input.now >= input.grant.from
}

unexpired if {
	is_number(input.grant.until)
	input.now < input.grant.until
}

jobs_left := input.grant.quota.jobs_per_day - input.used.jobs

cells_left := input.grant.quota.cells_per_day - input.used.cells

# METADATA
# description: What the platform owes for allowing it. A grant can only be stricter than the floor.
obligations := {
	"mode": input.grant.mode,
	"review": modes[input.grant.mode],
	"k": greatest(input.floor.k, input.grant.rules.k),
	"dominance_p": greatest(input.floor.dominance_p, input.grant.rules.dominance_p),
	"dominance_share": least(input.floor.dominance_share, input.grant.rules.dominance_share),
	"digits": least(input.floor.digits, input.grant.rules.digits),
	"cells": cells_left,
}

greatest(a, b) := max([a, b]) if {
	is_number(a)
	is_number(b)
}

least(a, b) := min([a, b]) if {
	is_number(a)
	is_number(b)
}

# METADATA
# description: |
#   Why not, most general first. Somebody else's grant gets the answer of a grant that does not exist, before
#   anything else about it is looked at.
# scope: document
default reason := "policy.denied"

reason := "policy.person-incomplete" if {
	not person.named
} else := "policy.unknown-grant" if {
	not own
} else := "policy.roles-conflict" if {
	not person.one_side(input.person.roles)
} else := "policy.not-analyst" if {
	not person.holds("analyst")
} else := "policy.organisation-capacity" if {
	not person.fits(input.person.roles, input.person.capacities)
} else := "policy.grant-terminated" if {
	input.grant.state == "terminated"
} else := "policy.grant-suspended" if {
	input.grant.state == "suspended"
} else := "policy.grant-not-yet-valid" if {
	not begun
} else := "policy.grant-expired" if {
	not unexpired
} else := "policy.mode-unavailable" if {
	not input.grant.mode in object.keys(modes)
} else := "policy.quota-jobs" if {
	jobs_left <= 0
} else := "policy.quota-cells" if {
	cells_left <= 0
}

# METADATA
# description: The one document that the platform reads.
# scope: document
# entrypoint: true
decision := {"allow": allow, "obligations": obligations} if allow

decision := {"allow": false, "reason": reason} if not allow
