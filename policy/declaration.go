package policy

import "slices"

// Declaration gives what the provider declared, without anything that intake found or that tells of single units. It is
// what reviewers decide on and what the log keeps.
func (d Dataset) Declaration() Dataset {
	declared := Dataset{
		Name: d.Name, Title: d.Title, Provider: d.Provider, Open: d.Open, Version: d.Version,
		Membership: d.Membership, Frame: d.Frame, Size: d.Size,
	}
	for _, u := range d.Units {
		declared.Units = append(declared.Units, Unit{Domain: u.Domain, Key: u.Key, Rows: u.Rows, Protect: u.Protection()})
	}
	for _, c := range d.Columns {
		declared.Columns = append(declared.Columns, Column{
			Name: c.Name, Type: c.Type, Class: c.Class, Bound: c.Bound, Title: c.Title, Public: c.Public,
			Values: slices.Clone(c.Values), Cap: c.Cap,
		})
	}
	return declared
}
