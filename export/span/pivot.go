package span

import "slices"

// search gives a set a pivot wherever there is one, or makes it blind on what the row rests on.
func (s *Space) search(set *set, row int32, cell []Entry, values []uint32) {
	set.factor(len(s.labels))
	if atom := s.pivot(set, cell, true); atom >= 0 {
		set.reduceColumn(s.atoms[atom].in, nil)
		set.extend(row, int32(atom), set.residue(s.z[atom], s.atoms[atom].in), values)
		s.atoms[atom].taken++
		return
	}
	set.place = append(set.place, -1)
	set.sight = 0
	for atom := range s.atoms {
		set.blind[atom] = set.blind[atom] || set.residue(s.z[atom], s.atoms[atom].in) != 0
		if !set.blind[atom] {
			set.sight += s.atoms[atom].units
		}
	}
	for _, atom := range set.pivots {
		if !set.blind[atom] {
			set.sight -= s.atoms[atom].units
		}
	}
}

// looks is how many atoms are looked at for a pivot.
const looks = 200

// pivot chooses an atom for a set: one with units to spare, since small ones are scarce, and then one that lies in few
// rows of the basis, since it fills the triangles least. It is -1 where all are taken. Only if the residue was factored is it
// known whether it can be one.
func (s *Space) pivot(set *set, cell []Entry, factored bool) int {
	best, seen := -1, 0
	spare := func(atom int) int { return min(s.atoms[atom].units, s.k) - s.atoms[atom].taken }
	look := func(atom int) {
		a := &s.atoms[atom]
		if a.taken >= a.units || set.blind[atom] || slices.Contains(s.watched, atom) {
			return
		}
		seen++
		better := best < 0 || spare(atom) > spare(best) || spare(atom) == spare(best) && len(a.in) < len(s.atoms[best].in)
		if better && (!factored || set.residue(s.z[atom], a.in) != 0) {
			best = atom
		}
	}
	for i := 0; i < len(cell) && seen < looks; i++ {
		look(cell[(i+s.start)%len(cell)].Atom)
	}
	for atom := 0; atom < len(s.atoms) && best < 0 && factored; atom++ {
		look(atom)
	}
	return best
}
