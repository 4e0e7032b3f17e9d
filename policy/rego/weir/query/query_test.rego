package weir.query_test

import data.weir.query

model := {"k": 10, "dominance_p": 10, "dominance_share": 90, "digits": 10}

facts := {
	"now": 1000,
	"person": {"subject": "li.na", "organisation": "银海数据", "roles": ["analyst"], "capacities": ["operator"]},
	"grant": {
		"id": "g-1",
		"operator": "银海数据",
		"scenario": "房地产金融",
		"datasets": [{"name": "mortgages", "columns": ["district"]}],
		"mode": "exact",
		"state": "active",
		"from": 1000,
		"until": 1001,
		"rules": {"k": 20, "dominance_p": 15, "dominance_share": 80, "digits": 4},
		"quota": {"jobs_per_day": 2, "cells_per_day": 100},
	},
	"used": {"jobs": 1, "cells": 40},
	"floor": model,
}

patched(path, value) := json.patch(facts, [{"op": "replace", "path": path, "value": value}])

test_allowed_with_obligations if {
	query.decision == {"allow": true, "obligations": {
		"mode": "exact",
		"review": true,
		"k": 20,
		"dominance_p": 15,
		"dominance_share": 80,
		"digits": 4,
		"cells": 60,
	}} with input as facts
}

test_grant_never_loosens_the_floor if {
	loose := {"k": 1, "dominance_p": 0, "dominance_share": 100, "digits": 17}
	merged := query.obligations with input as patched("/grant/rules", loose)
	object.subset(merged, model)
}

test_perturbed_leaves_at_once if {
	obligations := query.obligations with input as patched("/grant/mode", "perturbed")
	obligations.review == false
}

test_private_leaves_at_once_too if {
	obligations := query.obligations with input as patched("/grant/mode", "private")
	obligations.review == false
}

test_nothing_known if {
	query.decision == {"allow": false, "reason": "policy.person-incomplete"} with input as {}
}

test_reasons if {
	every case in [
		["/person/subject", "", "policy.person-incomplete"],
		["/grant/operator", "another", "policy.unknown-grant"],
		["/person/roles", ["analyst", "officer"], "policy.roles-conflict"],
		["/person/roles", ["operator"], "policy.not-analyst"],
		["/grant/state", "terminated", "policy.grant-terminated"],
		["/grant/state", "suspended", "policy.grant-suspended"],
		["/grant/state", "unheard of", "policy.denied"],
		["/now", 999, "policy.grant-not-yet-valid"],
		["/now", 1001, "policy.grant-expired"],
		["/grant/mode", "raw", "policy.mode-unavailable"],
		["/used/jobs", 2, "policy.quota-jobs"],
		["/used/cells", 100, "policy.quota-cells"],
		["/grant/scenario", "", "policy.denied"],
	] {
		expected := {"allow": false, "reason": case[2]}
		query.decision == expected with input as patched(case[0], case[1])
	}
}

test_another_operators_state_stays_unknown if {
	every state in ["suspended", "terminated", "active"] {
		theirs := json.patch(facts, [
			{"op": "replace", "path": "/grant/operator", "value": "another"},
			{"op": "replace", "path": "/grant/state", "value": state},
		])
		query.reason == "policy.unknown-grant" with input as theirs
	}
}
