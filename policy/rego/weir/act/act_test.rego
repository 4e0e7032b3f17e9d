package weir.act_test

import data.weir.act
import data.weir.person

actions := {
	"grant.create", "grant.read", "grant.list", "grant.suspend", "grant.restore", "grant.terminate",
	"grant.hold", "grant.lift", "dataset.import", "dataset.list", "dataset.describe", "query.explain",
	"job.read", "job.list", "job.cancel", "usage.read", "usage.list", "budget.read", "budget.set",
	"release.list", "release.show", "release.approve", "release.refuse",
	"user.create", "user.enable", "user.reset", "user.roles", "user.confirm", "user.refuse",
	"user.disable", "user.unlock", "user.list", "organisation.admit", "organisation.change", "organisation.list",
	"audit.read", "audit.verify", "audit.erase", "platform.operate",
}

# An object that has every fact and belongs to an operator that the person is not of.
theirs := {
	"operator": "银海数据",
	"owner": "li.na",
	"organisation": "银海数据",
	"roles": ["analyst"],
	"capacities": ["operator"],
	"first": false,
	"parties": [{"subject": "zhao.min", "organisation": "大数据局", "unit": ""}],
	"state": "released",
}

of(role, action) := {
	"action": action,
	"person": {"subject": "wang.wei", "organisation": "本单位", "roles": [role], "capacities": [person.sides[role]]},
	"object": theirs,
}

allowed[role] := acts if {
	some role, _ in person.sides

	# regal ignore:with-outside-test-context
	acts := {action | some action in actions; act.allow with input as of(role, action)}
}

test_what_each_role_may_do_to_others if {
	allowed.authority == {
		"grant.create", "grant.read", "grant.list", "grant.suspend", "grant.restore", "grant.terminate",
		"grant.hold", "grant.lift", "dataset.list", "dataset.describe", "job.cancel", "release.list",
		"user.confirm", "user.refuse", "user.disable", "user.unlock", "user.list",
		"audit.read", "audit.verify", "audit.erase", "usage.read", "usage.list",
		"organisation.admit", "organisation.change", "organisation.list", "budget.read", "budget.set",
	}
	allowed.provider == {"dataset.list", "dataset.describe"}
	allowed.operator == {"dataset.list", "dataset.describe"}
	allowed.analyst == {"dataset.list", "dataset.describe"}
	allowed.officer == {
		"grant.read", "grant.list", "dataset.list", "dataset.describe",
		"release.list", "release.show", "release.approve", "release.refuse", "organisation.list", "budget.read",
	}
	allowed.supervisor == {
		"grant.read", "grant.list", "grant.hold", "grant.lift", "dataset.list", "dataset.describe",
		"job.read", "job.list", "release.list", "user.list", "organisation.list", "audit.read",
		"audit.verify", "usage.read", "usage.list", "budget.read",
	}
	allowed.maintainer == {
		"dataset.list", "job.cancel", "user.disable", "user.unlock", "user.list",
		"audit.verify", "usage.read", "platform.operate", "organisation.list",
	}
	allowed.rescuer == set()
}

# A hold only keeps things as they are.
test_a_supervisor_changes_nothing if {
	reading := {action | some action in actions; regex.match(`\.(read|list|describe|verify|hold|lift)$`, action)}
	count(allowed.supervisor - reading) == 0
}

test_an_unknown_action_is_denied if {
	every role, _ in person.sides { not act.allow with input as of(role, "grant.transfer") }
}

test_decisions if {
	act.decision == {"allow": true} with input as of("authority", "audit.read")
	act.decision == {"allow": false, "reason": "policy.forbidden"} with input as of("maintainer", "audit.read")
	act.decision == {"allow": false, "reason": "policy.person-incomplete"} with input as {}
}

test_an_operator_reads_its_own_part_of_the_account if {
	ours := json.patch(of("analyst", "budget.read"), [{"op": "replace", "path": "/person/organisation", "value": "银海数据"}])
	act.allow with input as ours
	not act.allow with input as json.patch(ours, [{"op": "replace", "path": "/object/operator", "value": "another"}])
	not act.allow with input as json.patch(ours, [{"op": "remove", "path": "/object/operator"}])
	not act.allow with input as json.patch(ours, [{"op": "replace", "path": "/action", "value": "budget.set"}])
}

test_an_operator_reads_what_its_own_jobs_took if {
	ours := json.patch(of("operator", "usage.read"), [{"op": "replace", "path": "/person/organisation", "value": "银海数据"}])
	act.allow with input as ours
	not act.allow with input as json.patch(ours, [{"op": "replace", "path": "/person/roles", "value": ["analyst"]}])
	not act.allow with input as json.patch(ours, [{"op": "replace", "path": "/object/operator", "value": "another"}])
	not act.allow with input as json.patch(ours, [{"op": "remove", "path": "/object/operator"}])
	not act.allow with input as json.patch(ours, [{"op": "replace", "path": "/action", "value": "usage.list"}])
}

test_nobody_erases_their_own_traces if {
	others := of("authority", "audit.erase")
	act.allow with input as others
	own := json.patch(others, [{"op": "replace", "path": "/object/owner", "value": "wang.wei"}])
	act.decision == {"allow": false, "reason": "policy.own-entry"} with input as own
	not act.allow with input as json.patch(others, [{"op": "remove", "path": "/object/owner"}])
}
