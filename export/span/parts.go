package span

// Part is how often a cell of the basis, named by its label, is in another.
type Part struct{ Label, Times int }

// mostTimes is how often a part can be in a cell that is made of few, and mostOften how often the cell itself may have to be
// taken for that.
const (
	mostTimes = 1 << 10
	mostOften = 12
)

// Parts tells which cells a cell is made of, if it follows from those that are known, or some multiple of it where it is made of
// fractions. plain is false where not even that is made of small numbers. Nothing is added to what is known.
func (s *Space) Parts(cell []Entry) (parts []Part, follows, plain bool) {
	set := s.sets[0]
	defer s.solve(cell, s.sets[:1])()
	if s.isHeavy(set) {
		return nil, false, false
	}
	if weight, _ := s.weigh(set, cell, 1); weight > 0 {
		return nil, false, false
	}
	for often := uint32(1); often <= mostOften && !plain; often++ {
		parts, plain = s.multiple(set, often)
	}
	return parts, true, plain
}

// multiple gives the parts of the cell that was factored last, taken so often.
func (s *Space) multiple(set *set, often uint32) (parts []Part, plain bool) {
	plain = true
	for row, f := range set.factors {
		if f == 0 {
			continue
		}
		times := int(s.times(f, often))
		if times > int(s.p)/2 {
			times -= int(s.p)
		}
		plain = plain && -mostTimes < times && times < mostTimes
		parts = append(parts, Part{s.labels[row], times})
	}
	return parts, plain
}

// Copy gives a Space that knows the same cells, all under one label, and looks for combinations of fewer than k units.
func (s *Space) Copy(k, label int) *Space {
	c := empty(s.field, k, s.limits, s.check)
	cells := make([][]Entry, len(s.labels))
	for i, atom := range s.atoms {
		c.Add(atom.units)
		for _, e := range atom.in {
			cells[e.row] = append(cells[e.row], Entry{i, uint64(e.value)})
		}
	}
	c.Expect(cells)
	for _, cell := range cells {
		c.Know(label, cell)
	}
	return c
}
