package span

import "sync"

// LookAhead is for how many cells the triangles are read at once.
const LookAhead = 16

// Expect says which cells come next, in their order, so that most of the work is done for several at once. Whoever judges
// others, or only some of them, gets the same verdicts, later. The cells may not change meanwhile.
func (s *Space) Expect(cells [][]Entry) {
	s.forget()
	s.expected = cells
}

// next turns to a cell, and looks ahead from it where that was not done.
func (s *Space) next(cell []Entry) {
	at := 0
	for at < len(s.expected) && !same(s.expected[at], cell) {
		at++
	}
	if s.turn = -1; at == len(s.expected) || len(cell) == 0 {
		return // it was not expected
	}
	if at >= s.looked {
		s.forget()
		s.expected = s.expected[at:]
		s.look()
		at = 0
	}
	s.turn = at
}

// same reports whether two cells are one in memory.
func same(a, b []Entry) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// look looks at the first of the cells that are expected.
func (s *Space) look() {
	cells := s.expected[:min(LookAhead, len(s.expected))]
	s.looked = len(cells)
	vectors := make([][]uint32, len(cells))
	for i, cell := range cells {
		vectors[i] = make([]uint32, len(s.atoms))
		for _, e := range cell {
			vectors[i][e.Atom] = s.reduce(e.Rows)
		}
	}
	var looking sync.WaitGroup
	for _, set := range s.needed() {
		set.ahead = make([]ahead, len(cells))
		columns := make([][]entry, len(cells))
		for i, cell := range cells {
			atom := s.pivot(set, cell, false)
			if set.ahead[i].atom = atom; atom >= 0 {
				s.atoms[atom].taken++ // until its turn, or until all is forgotten
				columns[i] = s.atoms[atom].in
			}
		}
		looking.Go(func() { set.look(vectors, columns) })
	}
	looking.Wait()
}

// forget leaves what was found ahead.
func (s *Space) forget() {
	for _, set := range s.sets {
		s.release(set)
	}
	s.looked, s.turn = 0, -1
}

// release gives back the atoms that a set had chosen ahead.
func (s *Space) release(set *set) {
	for _, a := range set.ahead {
		if a.atom >= 0 {
			s.atoms[a.atom].taken--
		}
	}
	set.ahead = nil
}

// partial is what was found ahead of the cell whose turn it is.
func (s *Space) partial(set *set) []uint32 {
	if s.turn < 0 || s.turn >= len(set.ahead) {
		return nil
	}
	return set.ahead[s.turn].partial
}

// foreseen is the atom that was chosen ahead for the cell whose turn it is, and its column; the atom is -1 where there is none, or where the
// set has gone blind on it since.
func (s *Space) foreseen(set *set) (atom int, column []uint32) {
	if s.turn < 0 || s.turn >= len(set.ahead) || set.ahead[s.turn].atom < 0 {
		return -1, nil
	}
	a := &set.ahead[s.turn]
	atom, column = a.atom, a.column
	s.atoms[atom].taken--
	a.atom = -1
	if set.blind[atom] {
		return -1, nil
	}
	return atom, column
}
