package weir.person_test

import data.weir.person

known := {"subject": "li.na", "organisation": "银海数据", "roles": ["analyst"]}

test_named if person.named with input.person as known

test_every_bad_subject_or_organisation_is_unnamed if {
	every bad in [null, "", 7, ["x"], {"x": 1}, true] {
		not person.named with input.person as object.union(known, {"subject": bad})
		not person.named with input.person as object.union(known, {"organisation": bad})
	}
}

test_a_missing_subject_or_organisation_is_unnamed if {
	not person.named with input as {"person": object.remove(known, ["subject"])}
	not person.named with input as {"person": object.remove(known, ["organisation"])}
	not person.named with input as {}
}

test_each_role_alone_is_one_side if {
	every role, _ in person.sides { person.one_side([role]) }
}

test_operator_and_analyst_are_one_side if person.one_side(["operator", "analyst"])

test_two_sides_are_never_one if {
	every a, side in person.sides {
		every b, other in person.sides {
			not conflict(side, other, [a, b])
		}
	}
}

conflict(side, other, roles) if {
	side != other
	person.one_side(roles)
}

test_no_roles if {
	every bad in [[], null, "analyst", {"analyst": true}, {"role": "analyst"}, ["analyst", "root"], [null]] {
		not person.one_side(bad)
	}
}

test_a_role_fits_its_own_capacity_alone if {
	every role, side in person.sides {
		{other | some other in person.sides; person.fits([role], [other])} == {side}
	}
}

test_two_sides_fit_nowhere if {
	all_of_them := [side | some side in person.sides]
	not person.fits(["authority", "officer"], all_of_them)
}

test_unknown_organisation_fits_nobody if {
	every bad in [null, "", "review", 0, [], {"review"}, {"review": "review"}] { not person.fits(["officer"], bad) }
}

test_holds if {
	person.holds("analyst") with input.person as known
	not person.holds("officer") with input.person as known
}
