# METADATA
# description: |
#   May this person do this? Every act but running a query.
#   Input: action, person (with capacities: what their organisation is admitted for),
#   object: only the facts that the act has. An act that no rule names is denied.
package weir.act

import data.weir.person

default allow := false

allow if {
	person.named
	person.fits(input.person.roles, input.person.capacities)
	is_object(input.object)
	permitted
}

# The authority makes and ends grants, never its own organisation's.
permitted if {
	input.action in {"grant.create", "grant.suspend", "grant.restore", "grant.terminate"}
	person.holds("authority")
	apart
}

# A hold keeps from deletion what an inquiry may need. It opens nothing.
permitted if {
	input.action in {"grant.hold", "grant.lift"}
	person.holds("authority")
	apart
}

permitted if {
	input.action in {"grant.hold", "grant.lift"}
	person.holds("supervisor")
	apart
}

permitted if {
	input.action == "grant.read"
	overseer
	apart
}

permitted if {
	input.action == "grant.read"
	operation
	ours
}

permitted if {
	input.action in {"grant.list", "release.list"}
	overseer
}

permitted if {
	input.action in {"grant.list", "release.list"}
	operation
	ours
}

# A provider supplies its own data and nobody else does.
permitted if {
	input.action == "dataset.import"
	person.holds("provider")
	home
}

# What a data set is declared to be holds by the authority's word, and a provider's word alone is not enough.
permitted if {
	input.action in {"dataset.approve", "dataset.refuse", "dataset.withdraw"}
	person.holds("authority")
	is_string(input.object.organisation)
	input.object.organisation != ""
}

# A provider takes its own data back, and sees how much came in.
permitted if {
	input.action in {"dataset.withdraw", "dataset.versions", "dataset.count"}
	person.holds("provider")
	home
}

permitted if {
	input.action == "dataset.versions"
	overseer
}

# The catalogue is public; what columns mean is for those who work with them, not for those who run the machines.
permitted if {
	input.action == "dataset.list"
	not person.holds("rescuer")
}

permitted if {
	input.action == "dataset.describe"
	not person.holds("rescuer")
	not person.holds("maintainer")
}

# Only an officer sees what waits for release, and never their own work.
permitted if {
	input.action in {"release.show", "release.approve", "release.refuse"}
	person.holds("officer")
	apart
	not_mine
	impartial
}

permitted if {
	input.action == "release.show"
	operation
	ours
	input.object.state == "released"
}

permitted if {
	input.action in {"job.read", "job.list", "job.cancel"}
	person.holds("analyst")
	ours
	mine
}

permitted if {
	input.action in {"job.read", "job.list", "job.cancel"}
	person.holds("operator")
	ours
}

permitted if {
	input.action in {"job.read", "job.list"}
	person.holds("supervisor")
}

permitted if {
	input.action == "job.cancel"
	person.holds("authority")
}

# Who runs the platform may stop a job without having read it.
permitted if {
	input.action == "job.cancel"
	person.holds("maintainer")
}

# What jobs took is for whoever bills, pays or supervises; what single jobs took depends on the data, so it is for those
# who oversee operators.
permitted if {
	input.action in {"usage.read", "usage.list"}
	person.holds("authority")
}

permitted if {
	input.action in {"usage.read", "usage.list"}
	person.holds("supervisor")
}

permitted if {
	input.action == "usage.read"
	person.holds("maintainer")
}

permitted if {
	input.action == "usage.read"
	person.holds("operator")
	ours
}

# What the answers have cost is public among those who oversee; an operator sees its own part and what is left for
# everybody. Only the authority decides what may be spent.
permitted if {
	input.action == "budget.read"
	overseer
}

permitted if {
	input.action == "budget.read"
	operation
	ours
}

permitted if {
	input.action == "budget.set"
	person.holds("authority")
}

permitted if {
	input.action == "query.explain"
	person.holds("analyst")
	ours
}

permitted if {
	input.action in {"audit.read", "audit.verify"}
	person.holds("authority")
}

permitted if {
	input.action in {"audit.read", "audit.verify"}
	person.holds("supervisor")
}

permitted if {
	input.action == "audit.verify"
	person.holds("maintainer")
}

# Whoever answers for the personal data in the log erases it, and never the traces of their own acts.
permitted if {
	input.action == "audit.erase"
	person.holds("authority")
	not_mine
}

# The authority admits people, and lets them in again. Whoever runs the platform does not, or they
# could admit themselves as an analyst; nor does the authority admit analysts, or it could be one by
# the first password that it gave.
permitted if {
	input.action in admitting
	person.holds("authority")
	person.fits(input.object.roles, input.object.capacities)
	not_operating
}

# An operator's first person is named by the authority when it is admitted.
permitted if {
	input.action in admitting
	person.holds("authority")
	input.object.roles == ["operator"]
	person.fits(input.object.roles, input.object.capacities)
	input.object.first == true
}

# Where no authority can sign in, somebody made on the machine lets two in, and does nothing else.
permitted if {
	input.action == "user.create"
	person.holds("rescuer")
	input.object.roles == ["authority"]
	person.fits(input.object.roles, input.object.capacities)
}

# Another person of the authority confirms what one proposed.
permitted if {
	input.action == "user.confirm"
	person.holds("authority")
	not_mine
}

permitted if {
	input.action in {"user.refuse", "organisation.admit", "organisation.change"}
	person.holds("authority")
}

permitted if {
	input.action == "organisation.list"
	overseer
}

permitted if {
	input.action == "organisation.list"
	person.holds("maintainer")
}

# An operator answers for its analysts.
permitted if {
	input.action in {"user.create", "user.enable", "user.reset", "user.disable", "user.unlock"}
	person.holds("operator")
	home
	input.object.roles == ["analyst"]
}

permitted if {
	input.action in {"user.disable", "user.unlock", "user.list"}
	person.holds("authority")
}

permitted if {
	input.action in {"user.disable", "user.unlock", "user.list"}
	person.holds("maintainer")
}

permitted if {
	input.action == "user.list"
	person.holds("supervisor")
}

permitted if {
	input.action == "user.list"
	person.holds("operator")
	home
}

permitted if {
	input.action == "platform.operate"
	person.holds("maintainer")
}

admitting := {"user.create", "user.enable", "user.reset", "user.roles"}

not_operating if {
	every role in input.object.roles { not person.sides[role] in {"operator", "rescue"} }
}

# Nobody who took part in it is the person, or of the same unit.
impartial if {
	count(input.object.parties) > 0
	every party in input.object.parties {
		is_string(party.subject)
		party.subject != input.person.subject
		of_another_unit(party, input.person)
	}
}

of_another_unit(party, officer) if {
	is_string(party.organisation)
	party.organisation != officer.organisation
}

of_another_unit(party, officer) if {
	party.organisation == officer.organisation
	is_string(party.unit)
	is_string(officer.unit)
	party.unit != ""
	party.unit != officer.unit
}

overseer if person.holds("authority")

overseer if person.holds("officer")

overseer if person.holds("supervisor")

operation if person.holds("operator")

operation if person.holds("analyst")

# The object belongs to the person's own operator.
ours if input.object.operator == input.person.organisation

# The object belongs to an operator, and another organisation than the person's.
apart if {
	is_string(input.object.operator)
	input.object.operator != ""
	not ours
}

# The account or data set belongs to the person's own organisation.
home if input.object.organisation == input.person.organisation

mine if input.object.owner == input.person.subject

not_mine if {
	is_string(input.object.owner)
	input.object.owner != ""
	not mine
}

# METADATA
# description: |
#   Why not. What belongs to another operator gets the answer of what does not exist.
# scope: document
default reason := "policy.forbidden"

reason := "policy.person-incomplete" if {
	not person.named
} else := "policy.roles-conflict" if {
	not person.one_side(input.person.roles)
} else := "policy.organisation-capacity" if {
	not person.fits(input.person.roles, input.person.capacities)
} else := "policy.unknown-grant" if {
	input.action in {"grant.read", "grant.suspend", "grant.restore", "grant.terminate", "grant.hold", "grant.lift"}
	operation
	apart
} else := "policy.unknown-object" if {
	input.action in {"release.show", "release.approve", "release.refuse", "job.read", "job.cancel"}
	operation
	apart
} else := "policy.own-output" if {
	input.action in {"release.show", "release.approve", "release.refuse"}
	person.holds("officer")
} else := "policy.account-operator" if {
	input.action in admitting
	person.holds("authority")
	person.fits(input.object.roles, input.object.capacities)
} else := "policy.own-entry" if {
	input.action == "audit.erase"
	person.holds("authority")
} else := "policy.account-roles" if {
	input.action in admitting
	person.holds("authority")
}

# METADATA
# description: The one document that the platform reads.
# scope: document
# entrypoint: true
decision := {"allow": true} if allow

decision := {"allow": false, "reason": reason} if not allow
