# METADATA
# description: |
#   Separation of duties: what must be true of a person before any rule looks at what they want.
#   Every rule is a positive statement about facts that are there, so a missing fact makes it undefined.
package weir.person

# METADATA
# description: The side that each role works for. Nobody works for two sides.
sides := {
	"authority": "authority",
	"provider": "provider",
	"operator": "operation",
	"analyst": "operation",
	"officer": "review",
	"supervisor": "supervision",
	"maintainer": "platform",
}

# METADATA
# description: The person is known by name and belongs to an organisation.
named if {
	is_string(input.person.subject)
	input.person.subject != ""
	is_string(input.person.organisation)
	input.person.organisation != ""
}

# METADATA
# description: Every role in the list is known and all belong to one side.
one_side(roles) if {
	is_array(roles)
	every role in roles { sides[role] }
	count({sides[role] | some role in roles}) == 1
}

# METADATA
# description: |
#   An organisation that holds or ever held a grant is an operator. Nobody who reviews, supervises, authorises,
#   supplies or maintains may belong to it.
# scope: document
fits(roles, operates) if {
	operates == false
	one_side(roles)
}

fits(roles, operates) if {
	operates == true
	one_side(roles)
	every role in roles { sides[role] == "operation" }
}

# METADATA
# description: The person holds the role.
holds(role) if role in input.person.roles
