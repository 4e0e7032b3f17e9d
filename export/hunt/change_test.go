package hunt

import (
	"math/rand/v2"
	"slices"

	"weir/policy"
)

// change is how the second world differs from the first: in the secrets of a unit, or, without one, in the order of rows.
type change struct {
	Domain string `yaml:"domain,omitempty"`
	Unit   string `yaml:"unit,omitempty"`
}

// neighbour makes the second world.
func (f family) neighbour(r *rand.Rand, first rows) (second rows, c change) {
	second = rows{}
	if r.IntN(8) == 0 {
		for _, d := range f.tables {
			second[d.Name] = slices.Clone(first[d.Name])
			if len(d.Units) == 1 && !d.Open { // of rows with several units, those that come first are kept
				r.Shuffle(len(second[d.Name]), func(i, k int) {
					list := second[d.Name]
					list[i], list[k] = list[k], list[i]
				})
			}
		}
		return second, c
	}
	var domains []string
	for _, d := range f.tables {
		for _, u := range d.Units {
			if !slices.Contains(domains, u.Domain) {
				domains = append(domains, u.Domain)
			}
		}
	}
	c.Domain = domains[r.IntN(len(domains))]
	c.Unit = unitName(c.Domain, skewed(r, units))
	for _, d := range f.tables {
		second[d.Name] = changed(r, d, first[d.Name], c)
	}
	return second, c
}

// changed gives a unit other secrets: other rows where it is secret which it has, and otherwise other values in columns
// that are not public.
func changed(r *rand.Rand, d policy.Dataset, list [][]string, c change) (out [][]string) {
	if !d.PublicMembership() {
		for _, fields := range list {
			if !belongs(d, fields, c) {
				out = append(out, fields)
			}
		}
		for key, u := range d.Units {
			if u.Domain == c.Domain {
				out = append(out, rowsOf(r, d, key, c.Unit)...)
			}
		}
		return out
	}
	alike := r.IntN(2) == 0 // all rows of the unit get the same values
	var fixed []string
	for _, fields := range list {
		if d.Open || !belongs(d, fields, c) {
			out = append(out, fields)
			continue
		}
		fields = slices.Clone(fields)
		if fixed == nil || !alike {
			fixed = row(r, d, nil)
		}
		for i, column := range d.Columns {
			if column.Class != policy.Identifier && !column.Public {
				fields[i] = fixed[i]
			}
		}
		out = append(out, fields)
	}
	return out
}

// belongs reports whether a row names the unit.
func belongs(d policy.Dataset, fields []string, c change) bool {
	return slices.ContainsFunc(d.Units, func(u policy.Unit) bool {
		at := slices.IndexFunc(d.Columns, func(col policy.Column) bool { return col.Name == u.Key })
		return u.Domain == c.Domain && fields[at] == c.Unit
	})
}
