package span

// set is one information set: a pivot atom for each row of the basis, such that the rows, looked at on the pivots
// alone, are still independent. So in any z + V there is exactly one vector that is zero on all pivots, the residue of
// z. The rows on the pivots are kept as the product of a lower triangular matrix and an upper one with ones in its
// diagonal, bordered by a row and a column for each row that is admitted.
type set struct {
	field
	pivots   []int32 // atoms
	rows     []int32 // of the basis, in the order of the pivots
	place    []int32 // of each row of the basis among them, or -1: the row has no pivot here
	below    [][]element
	right    [][]element
	diagonal []uint32 // inverted
	blind    []bool   // by atom: residues are not unique here
	entries  int

	partial []uint32 // z on the pivots, divided by the upper triangle
	factors []uint32 // by row of the basis: the residue is z minus that much of each
	column  []uint32
}

// element is an entry of a triangle: of the upper in some row, of the lower in some column.
type element struct {
	at    int32
	value uint32
}

// solve finds what the residue of z consists of.
func (s *set) solve(z []uint32, basis int) {
	n := len(s.pivots)
	s.partial, s.factors = blank(s.partial, n), blank(s.factors, basis)
	for i, atom := range s.pivots {
		s.partial[i] = z[atom]
	}
	for i, v := range s.partial {
		if v != 0 {
			for _, e := range s.right[i] {
				s.partial[e.at] = s.less(s.partial[e.at], v, e.value)
			}
		}
	}
	for i := n - 1; i >= 0; i-- {
		v := s.partial[i]
		for _, e := range s.below[i] {
			if f := s.factors[s.rows[e.at]]; f != 0 {
				v = s.less(v, f, e.value)
			}
		}
		s.factors[s.rows[i]] = s.times(v, s.diagonal[i])
	}
}

// residue is the residue's value on an atom that lies in the given rows of the basis.
func (s *set) residue(z uint32, column []entry) uint32 {
	for _, e := range column {
		if f := s.factors[e.row]; f != 0 {
			z = s.less(z, f, e.value)
		}
	}
	return z
}

// reduceColumn divides an atom's column by the lower triangle.
func (s *set) reduceColumn(column []entry) {
	s.column = blank(s.column, len(s.pivots))
	for _, e := range column {
		if i := s.place[e.row]; i >= 0 {
			s.column[i] = e.value
		}
	}
	for i, v := range s.column {
		if v == 0 {
			continue
		}
		v = s.times(v, s.diagonal[i])
		s.column[i] = v
		for _, e := range s.below[i] {
			s.column[e.at] = s.less(s.column[e.at], v, e.value)
		}
	}
}

// extend borders the triangles by the row that was solved last and by an atom where its residue is not zero.
func (s *set) extend(row, atom int32, residue uint32, column []entry) {
	s.reduceColumn(column)
	n := int32(len(s.pivots))
	for i := range s.pivots {
		if v := s.partial[i]; v != 0 {
			s.below[i] = append(s.below[i], element{n, v})
			s.entries++
		}
		if v := s.column[i]; v != 0 {
			s.right[i] = append(s.right[i], element{n, v})
			s.entries++
		}
	}
	s.pivots, s.rows, s.place = append(s.pivots, atom), append(s.rows, row), append(s.place, n)
	s.below, s.right, s.diagonal = append(s.below, nil), append(s.right, nil), append(s.diagonal, s.over(residue))
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
