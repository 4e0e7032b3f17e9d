package span

// set is one information set: a pivot atom for each row of the basis, such that the rows, looked at on the pivots
// alone, are still independent. So in any z + V there is exactly one vector that is zero on all pivots, the residue of
// z. The rows on the pivots are kept as the product of a lower triangular matrix and an upper one with ones in its
// diagonal, bordered by a row and a column for each row that is admitted.
type set struct {
	field
	pivots   []int32  // atoms
	rows     []int32  // of the basis, in the order of the pivots
	place    []int32  // of each row of the basis among them, or -1: the row has no pivot here
	lower    []line   // rows of the lower triangle, each up to its diagonal
	upper    []line   // columns of the upper triangle, each up to its diagonal
	diagonal []uint32 // of the lower one, inverted
	blind    []bool   // by atom: residues are not unique here
	sight    int      // at most, units of the others that are no pivots: no residue rests on more where it is unique
	entries  int

	watched [][]uint32 // columns of the atoms that are watched, divided by the lower triangle

	ahead []ahead // of the cells that are expected

	partial  []uint32 // z on the pivots, divided by the upper triangle
	factored bool     // factors are those of z
	factors  []uint32 // by row of the basis: the residue is z minus that much of each
	rest     []uint32
	column   []uint32
}

// ahead is what was found of a cell before its turn: as far as the basis reached then.
type ahead struct {
	partial []uint32
	atom    int // that may be its pivot, or -1
	column  []uint32
}

// solve divides z by the upper triangle, of which a part may have been done. That is enough to tell the residue on atoms that are watched.
func (s *set) solve(z []uint32, done []uint32) {
	s.partial, s.factored = append(blank(s.partial, len(s.pivots))[:0], done...)[:len(s.pivots)], false
	s.solveFrom(len(done), z, s.partial)
}

func (s *set) solveFrom(begin int, z, partial []uint32) {
	for i := begin; i < len(partial); i++ {
		partial[i] = s.less(z[s.pivots[i]], 1, s.upper[i].times(s.field, partial[:i]))
	}
}

// look does for cells what can be done before their turn. The triangles are read once for all of them: from memory they come more slowly
// than they are computed with.
func (s *set) look(cells [][]uint32, columns [][]entry) {
	n := len(s.pivots)
	for i := range cells {
		s.ahead[i].partial, s.ahead[i].column = make([]uint32, n), nil
		if s.ahead[i].atom >= 0 {
			s.ahead[i].column = s.onPivots(make([]uint32, n), columns[i])
		}
	}
	for i := range n {
		for j, z := range cells {
			partial := s.ahead[j].partial
			partial[i] = s.less(z[s.pivots[i]], 1, s.upper[i].times(s.field, partial[:i]))
		}
	}
	for i := range n {
		for j := range cells {
			if column := s.ahead[j].column; column != nil {
				s.reduceAt(i, column)
			}
		}
	}
}

// factor finds what the residue consists of, by division by the lower triangle too.
func (s *set) factor(basis int) {
	if s.factored {
		return
	}
	s.factors, s.factored = blank(s.factors, basis), true
	s.rest = append(s.rest[:0], s.partial...)
	i := len(s.pivots)
	for ; i >= 4; i -= 4 {
		s.divideFour(i - 4)
	}
	for i--; i >= 0; i-- {
		s.lower[i].less(s.field, s.divide(i), s.rest)
	}
}

// divide finds the factor of the row with pivot i, when all behind it are known.
func (s *set) divide(i int) uint32 {
	f := s.times(s.rest[i], s.diagonal[i])
	s.factors[s.rows[i]] = f
	return f
}

// divideFour finds the factors of the four rows from pivot i on, and takes them from what stands before.
func (s *set) divideFour(i int) {
	var lines [4][]uint32
	var times [4]uint32
	full := true
	for j, l := range s.lower[i : i+4] {
		full = full && l.at == nil
		lines[j] = l.values
	}
	for j := 3; j >= 0; j-- {
		times[j] = s.divide(i + j)
		if !full {
			s.lower[i+j].less(s.field, times[j], s.rest)
			continue
		}
		line{values: lines[j][i : i+j]}.less(s.field, times[j], s.rest[i:])
	}
	if full {
		lessFour(s.field, lines, times, s.rest[:i])
	}
}

// beyond is the residue's value on an atom whose column was divided by the lower triangle.
func (s *set) beyond(z uint32, column []uint32) uint32 {
	return s.less(z, 1, s.product(column, s.partial))
}

// residue is the residue's value on an atom that lies in the given rows of the basis, when it was factored.
func (s *set) residue(z uint32, column []entry) uint32 {
	var t total
	for _, e := range column {
		t.add(uint64(s.factors[e.row]) * uint64(e.value))
	}
	return s.less(z, 1, s.reduceTotal(t))
}

// reduceColumn divides an atom's column by the lower triangle, of which a part may have been done.
func (s *set) reduceColumn(column []entry, done []uint32) {
	s.column = s.onPivots(blank(s.column, len(s.pivots)), column)
	copy(s.column, done)
	for i := len(done); i < len(s.column); i++ {
		s.reduceAt(i, s.column)
	}
}

// onPivots puts the values of a column into the order of the pivots.
func (s *set) onPivots(values []uint32, column []entry) []uint32 {
	for _, e := range column {
		if i := s.place[e.row]; i >= 0 {
			values[i] = e.value
		}
	}
	return values
}

func (s *set) reduceAt(i int, column []uint32) {
	column[i] = s.times(s.less(column[i], 1, s.lower[i].times(s.field, column[:i])), s.diagonal[i])
}

// extend borders the triangles by the row that was solved last and by an atom where its residue is not zero, whose column was
// reduced last. values are those of the row on the atoms that are watched.
func (s *set) extend(row, atom int32, residue uint32, values []uint32) {
	n, inverse := int32(len(s.pivots)), s.over(residue)
	for i, v := range values {
		s.watched[i] = append(s.watched[i], s.times(s.beyond(v, s.watched[i]), inverse))
	}
	left, above := newLine(s.partial), newLine(s.column)
	s.lower, s.upper, s.diagonal = append(s.lower, left), append(s.upper, above), append(s.diagonal, inverse)
	s.entries += left.size() + above.size()
	s.pivots, s.rows, s.place = append(s.pivots, atom), append(s.rows, row), append(s.place, n)
}

// blank gives a slice of n zeros, the given one where it is large enough.
func blank(s []uint32, n int) []uint32 {
	if cap(s) < n {
		return make([]uint32, n, n+n/2)
	}
	s = s[:n]
	clear(s)
	return s
}
