# METADATA
# description: |
#   Separation of duties: what must be true of a person before any rule looks at what they want.
#   Every rule is a positive statement about facts that are there, so a missing fact makes it undefined.
package weir.person

# METADATA
# description: |
#   The capacity that the person's organisation must have for each role. Nobody holds roles of two. The matrix of duties
#   (duties.yaml) says which capacities one organisation may have together; it is held to when they are given.
sides := {
	"authority": "authority",
	"provider": "provider",
	"operator": "operator",
	"analyst": "operator",
	"officer": "review",
	"supervisor": "supervision",
	"maintainer": "maintenance",
	"rescuer": "rescue",
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
# description: The organisation is admitted, now, for what the roles need.
fits(roles, capacities) if {
	one_side(roles)
	is_array(capacities)
	every role in roles { sides[role] in capacities }
}

# METADATA
# description: The person holds the role.
holds(role) if role in input.person.roles
