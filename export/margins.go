package export

import (
	"encoding/json"
	"fmt"
	"strconv"

	"weir/policy"
)

// E7: a withheld cell cannot be computed back from totals. Whoever has the released cells of a grouping has their
// sums too, over all of them and over each choice of its columns. So those sums are looked at as if they were
// cells: where one of them would, with a total that is known, isolate too few units, further cells are withheld,
// the smallest first (secondary suppression); and they are remembered, so that a total asked for later is checked
// against them. ROLLUP and CUBE are nothing else: their finest grouping is judged first.

// maxMargins bounds the columns over whose choices sums are formed: 4 columns have 15 choices.
const maxMargins = 4

// accepted is a cell that passed every check of its own.
type accepted struct {
	row    []any // as it will be released
	place  int   // of the cell in the row
	cell   int
	prints []fingerprint // by key
	units  float64
}

// combines is E6 for one cell of the row that is being judged. A cell that passes is part of the history from now.
func (j *judging) combines(i int, row []any) (bool, error) {
	if j.mode != policy.Exact {
		return false, nil
	}
	a := accepted{place: len(j.release.Groups) + i, cell: i, prints: make([]fingerprint, len(j.release.Keys))}
	for key, domain := range j.release.Keys {
		text, ok := j.value("F" + strconv.Itoa(i) + "_" + strconv.Itoa(key)).(string)
		if !ok {
			return true, fmt.Errorf("the fingerprint of a cell is missing")
		}
		f, err := parseFingerprint(text)
		if err != nil {
			return true, err
		}
		a.prints[key] = f
		if job, found := j.known[domain].isolates(&f, j.disjoint(i)); found {
			j.check.Together = append(j.check.Together, job)
			return true, nil
		}
	}
	for key, domain := range j.release.Keys {
		units, err := j.cellNumber("n", i, key)
		if err != nil {
			return true, err
		}
		a.units = units
		j.known[domain].add(j.job, j.disjoint(i), a.prints[key])
	}
	a.row = row
	j.accepted = append(j.accepted, a)
	return false, nil
}

// disjoint numbers the sets of cells that cannot overlap: the groups of one aggregate.
func (j *judging) disjoint(cell int) int { return len(j.released)*1000 + cell }

// settle withholds cells until no sum of the rest isolates anybody, and remembers the sums.
func (j *judging) settle() error {
	if j.mode != policy.Exact || len(j.release.Groups) == 0 {
		return nil
	}
	for i := range j.release.Cells {
		for {
			sums, worst, err := j.sums(i)
			if err != nil {
				return err
			}
			if worst == nil {
				for _, s := range sums {
					for key, domain := range j.release.Keys {
						j.known[domain].add(j.job, earlier, s.prints[key])
					}
				}
				break
			}
			worst.row[worst.place] = nil
			worst.prints = nil
			j.withhold("E7")
		}
	}
	return nil
}

// margin is a sum of released cells, with the smallest of them.
type margin struct {
	prints   []fingerprint
	smallest *accepted
	cells    int
}

// sums forms the sums of aggregate i's cells over every choice of groups. worst is a cell to withhold, if some sum
// isolates too few units.
func (j *judging) sums(i int) (all []*margin, worst *accepted, err error) {
	columns := min(len(j.release.Groups), maxMargins)
	for choice := range 1<<columns - 1 {
		margins := map[string]*margin{}
		for n := range j.accepted {
			a := &j.accepted[n]
			if a.cell != i || a.prints == nil {
				continue
			}
			var by []any
			for g := range columns {
				if choice&(1<<g) != 0 {
					by = append(by, a.row[g])
				}
			}
			name, err := json.Marshal(by)
			if err != nil {
				return nil, nil, err
			}
			m := margins[string(name)]
			if m == nil {
				m = &margin{prints: make([]fingerprint, len(a.prints)), smallest: a}
				margins[string(name)] = m
			}
			m.cells++
			for key := range a.prints {
				m.prints[key] = m.prints[key].plus(&a.prints[key])
			}
			if a.units < m.smallest.units {
				m.smallest = a
			}
		}
		for _, m := range margins {
			if m.cells == 1 {
				continue // a cell, which was looked at
			}
			for key, domain := range j.release.Keys {
				if job, found := j.known[domain].isolates(&m.prints[key], j.disjoint(i)); found {
					j.check.Together = append(j.check.Together, job)
					return nil, m.smallest, nil
				}
			}
			all = append(all, m)
		}
	}
	return all, nil, nil
}
