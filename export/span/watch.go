package span

// many atoms are so many that some of them can be kept from being pivots, and watch is how many of these there are for each
// of the units that are too few.
var many = 1 << 12

const watch = 3

// watch chooses the atoms to be watched, before there is a basis.
func (s *Space) watch() {
	n := min(watch*s.k, len(s.atoms)/4)
	if len(s.labels) > 0 || s.watched != nil || len(s.atoms) < many || n == 0 {
		return
	}
	for i := range n {
		s.watched = append(s.watched, i*(len(s.atoms)/n))
	}
	for _, set := range s.sets {
		set.watched = make([][]uint32, n)
	}
}

// isHeavy reports whether the residue rests on k units for certain, by the atoms that are watched.
func (s *Space) isHeavy(set *set) bool {
	units := 0
	for i, column := range set.watched {
		if atom := s.watched[i]; !set.blind[atom] && set.beyond(s.z[atom], column) != 0 {
			if units += s.atoms[atom].units; units >= s.k {
				return true
			}
		}
	}
	return false
}
