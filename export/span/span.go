// Package span decides whether a cell, with cells released before, says something about fewer than k units (E6).
//
// Units that lie in exactly the same released cells form an atom. A cell is a vector over the atoms, whose values say
// how many rows each unit of the atom has in the cell. Whoever knows some cells knows their span V, all linear combinations of
// them. A new cell z may be released if no vector of z + V rests on atoms of at least one and fewer than k units in
// all, or if z lies in V and says nothing new.
//
// To find the vector of least weight in z + V is hard in general. It is easy where V is small beside the number of
// units, and that it is kept small is the point of this package. An information set is a choice of one atom for each row of a
// basis of V such that z + V holds exactly one vector that is zero on all of them. The Space keeps k information sets at most, in
// which an atom takes part at most as often as it has units. A vector that rests on fewer than n units is zero on the
// whole of some set, if there are n sets: each of its units can spoil one of them only. So it is the one vector of that set, and looking at n
// vectors decides. Coefficients may be any, and combinations of any length: it is exact, and no false alarm is raised.
//
// What this asks for is that s independent cells rest on about n·s units or more. Where no free unit is left for a
// set, the set is blind on some atoms; where time or memory run out, a set is given up. A cell on which fewer than
// Fewest sets can decide is not released: then exact knowledge is used up.
//
// Prange (1962) decodes with information sets; that many disjoint ones exist where all subcodes are long enough is
// Edmonds' theorem on the packing of bases (1965). Auditing of sums starts with Chin and Özsoyoğlu, IEEE TSE 1982.
//
// The package holds numbers only, no keys and no values of data. It never does input or output.
package span

import (
	secret "crypto/rand"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// Fewest is how many sets must decide on a cell: combinations that rest on fewer units than that are always found.
const Fewest = 4

// Verdict is what is known about a cell.
type Verdict int

// The verdicts.
const (
	Exhausted Verdict = iota // not enough is known to decide; the zero value withholds
	Isolating                // with cells released before it would single out fewer than k units
	Known                    // it follows from cells released before
	Safe                     // neither; it was added to what is known
)

// Limits bound what a Space takes.
type Limits struct {
	Rows    int // of the basis
	Entries int // of all triangles, 4 bytes each
	Values  int // of all rows of the basis, 8 bytes each
	Atoms   int
}

// DefaultLimits keep a Space below about a gibibyte.
var DefaultLimits = Limits{Rows: 20_000, Entries: 112 << 20, Values: 64 << 20, Atoms: 1 << 20}

// Space is the span of the cells that were released, over the atoms into which they divide the units.
type Space struct {
	field
	k      int
	limits Limits
	atoms  []atom
	labels []int // of the rows of the basis
	sets   []*set
	values int // of all rows
	start  int // where the next look at a cell starts: not always at the same atoms

	// The atoms that are watched are no pivots in any set, so most residues are seen on them, without being factored.
	watched []int

	expected [][]Entry // cells that come next
	looked   int       // so many of them have been looked at ahead
	turn     int       // which of these it is, or -1

	z []uint32

	// A check sum tells whether a residue is zero without looking at all atoms: the sum of its values, each times a number
	// that is drawn for the atom. It is zero for another residue once in two thousand million.
	check   *rand.ChaCha8
	factors []uint32 // by atom
	sums    []uint32 // of the rows of the basis
	sum     uint32   // of the cell that was solved last
}

type atom struct {
	units int
	taken int     // sets in which it is a pivot
	in    []entry // the rows of the basis in which it lies
}

// entry is an atom's value in a row of the basis.
type entry struct {
	row   int32
	value uint32
}

// Entry is an atom's value in a cell: the rows that each of its units has in it.
type Entry struct {
	Atom int
	Rows uint64
}

// New makes the span of no cells, over no units. Units in combinations are too few below k.
func New(k int, l Limits) (*Space, error) {
	f, err := newField()
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	if _, err := secret.Read(seed[:]); err != nil {
		return nil, err
	}
	return empty(f, k, l, rand.NewChaCha8(seed)), nil
}

func empty(f field, k int, l Limits, check *rand.ChaCha8) *Space {
	s := &Space{field: f, k: k, limits: l, turn: -1, check: check}
	for range max(k, 1) {
		s.sets = append(s.sets, &set{field: f, sight: math.MaxInt / 2})
	}
	return s
}

// Atoms is the number of atoms.
func (s *Space) Atoms() int { return len(s.atoms) }

// Units is the number of units in an atom.
func (s *Space) Units(atom int) int { return s.atoms[atom].units }

// Rank is the number of independent cells.
func (s *Space) Rank() int { return len(s.labels) }

// Sets is the number of information sets that are left: combinations on fewer units than that are found.
func (s *Space) Sets() int { return len(s.sets) }

// Entries is what all the triangles hold; each takes 4 bytes.
func (s *Space) Entries() (n int) {
	for _, set := range s.sets {
		n += set.entries
	}
	return n
}

// Bytes is about what the Space takes of memory.
func (s *Space) Bytes() int { return 4*s.Entries() + 8*s.values + len(s.atoms)*(64+len(s.sets)) }

// Full reports whether so many atoms more would be too many.
func (s *Space) Full(more int) bool { return len(s.atoms)+more > s.limits.Atoms }

// Add makes an atom of units that no cell knew before, and gives its number.
func (s *Space) Add(units int) int {
	s.Expect(nil)
	s.atoms = append(s.atoms, atom{units: units})
	s.z = append(s.z, 0)
	s.factors = append(s.factors, s.reduce(s.check.Uint64()))
	for _, set := range s.sets {
		set.blind = append(set.blind, false)
		set.sight += units
	}
	return len(s.atoms) - 1
}

// Split takes some of an atom's units away into an atom of their own, whose number it gives. Both lie in the same
// cells as before. Sets in which the atom is a pivot keep it as far as it has units for them; the others go to the new one.
func (s *Space) Split(from, units int) int {
	n := s.Add(units)
	old, fresh := &s.atoms[from], &s.atoms[n]
	old.units -= units
	fresh.in = slices.Clip(old.in)
	old.in = fresh.in
	for _, e := range fresh.in {
		s.sums[e.row] = s.reduce(uint64(s.sums[e.row]) + uint64(s.factors[n])*uint64(e.value))
	}
	for _, set := range s.sets {
		if set.sight -= units; set.blind[from] { // counted above, as if they were new
			set.blind[n] = true
		}
		if old.taken <= old.units {
			continue
		}
		if i := slices.Index(set.pivots, int32(from)); i >= 0 {
			set.pivots[i] = int32(n)
			old.taken--
			fresh.taken++
		}
	}
	return n
}

// Judge decides on a cell, and adds it to what is known if it is Safe. Where it is Isolating, with gives the labels
// of the cells that take part; they are in ascending order and none is repeated.
func (s *Space) Judge(label int, cell []Entry) (v Verdict, with []int) {
	defer s.solve(cell, s.needed())()
	if s.full() {
		if weight, _ := s.weigh(s.sets[0], cell, 1); weight == 0 {
			return Known, nil
		}
		return Exhausted, nil
	}
	votes := 0
	for _, set := range s.sets {
		if s.isHeavy(set) {
			votes++
			continue
		}
		switch weight, sure := s.weigh(set, cell, s.k); {
		case weight == 0:
			return Known, nil
		case weight < s.k && with == nil:
			with = s.parts(set)
		case sure:
			votes++
		}
	}
	if with != nil {
		return Isolating, with
	}
	if votes < min(s.k, Fewest) || len(s.labels) >= s.limits.Rows || s.values+len(cell) > s.limits.Values {
		return Exhausted, nil
	}
	s.admit(label, cell)
	return Safe, nil
}

// Know adds a cell that is known already, whatever it says.
func (s *Space) Know(label int, cell []Entry) {
	defer s.solve(cell, s.sets)()
	for _, set := range s.sets {
		if s.isHeavy(set) {
			break
		}
		if weight, _ := s.weigh(set, cell, s.k); weight == 0 {
			return
		}
	}
	s.admit(label, cell)
}

// solve prepares to tell the residue of a cell in some sets. What it gives must be called when the cell is done with.
func (s *Space) solve(cell []Entry, sets []*set) (done func()) {
	s.watch()
	s.next(cell)
	var sum total
	for _, e := range cell {
		s.z[e.Atom] = s.reduce(e.Rows)
		sum.add(uint64(s.z[e.Atom]) * uint64(s.factors[e.Atom]))
	}
	s.sum = s.reduceTotal(sum)
	s.start++
	var solving sync.WaitGroup
	for _, set := range sets {
		solving.Go(func() { set.solve(s.z, s.partial(set)) })
	}
	solving.Wait()
	return func() {
		for _, e := range cell {
			s.z[e.Atom] = 0
		}
	}
}

// needed are the sets that are looked at: one is enough to recognise what is known.
func (s *Space) needed() []*set {
	if s.full() {
		return s.sets[:1]
	}
	return s.sets
}

// full reports whether exact knowledge is used up: too few sets see k units, so nothing can be Safe any more.
func (s *Space) full() bool {
	seeing := 0
	for _, set := range s.sets {
		if set.sight >= s.k {
			seeing++
		}
	}
	return seeing < min(s.k, Fewest)
}

// weigh counts the units on which the residue rests, up to k. It is sure where those alone on which the residue is unique are k. It does not
// count further than enough.
func (s *Space) weigh(set *set, cell []Entry, enough int) (weight int, sure bool) {
	set.factor(len(s.labels))
	if s.less(s.sum, 1, s.product(set.factors, s.sums)) == 0 {
		return 0, false // all of it is zero
	}
	seen := 0
	count := func(atom int) bool {
		if set.residue(s.z[atom], s.atoms[atom].in) != 0 {
			weight += s.atoms[atom].units
			if !set.blind[atom] {
				seen += s.atoms[atom].units
			}
		}
		return seen >= s.k || enough < s.k && weight >= enough
	}
	for i := range cell {
		if count(cell[(i+s.start)%len(cell)].Atom) {
			return s.k, true
		}
	}
	weight, seen = 0, 0
	for atom := range s.atoms {
		if count(atom) {
			return s.k, true
		}
	}
	return weight, false
}

// parts gives the labels of the cells that a residue is made of.
func (s *Space) parts(set *set) []int {
	labels := []int{}
	for row, f := range set.factors {
		if f != 0 {
			labels = append(labels, s.labels[row])
		}
	}
	slices.Sort(labels)
	return slices.Compact(labels)
}

// admit adds the cell that was judged last to the basis. Every set gets a pivot for it where it can.
func (s *Space) admit(label int, cell []Entry) {
	row := int32(len(s.labels))
	values := make([]uint32, len(s.watched))
	for i, atom := range s.watched {
		values[i] = s.z[atom]
	}
	chosen, extended := make([]int, len(s.sets)), make([]bool, len(s.sets))
	var extending sync.WaitGroup
	for i, set := range s.sets {
		var column []uint32
		if chosen[i], column = s.foreseen(set); chosen[i] < 0 {
			chosen[i] = s.pivot(set, cell, false)
		}
		if chosen[i] < 0 {
			continue
		}
		atom := &s.atoms[chosen[i]]
		atom.taken++
		in, z := atom.in, s.z[chosen[i]]
		extending.Go(func() {
			set.reduceColumn(in, column)
			if v := set.beyond(z, set.column); v != 0 {
				set.extend(row, int32(chosen[i]), v, values)
				extended[i] = true
			}
		})
	}
	extending.Wait()
	for i, set := range s.sets {
		if extended[i] {
			continue
		}
		if chosen[i] >= 0 { // it was not seen before that the residue is zero there
			s.atoms[chosen[i]].taken--
		}
		s.search(set, row, cell, values)
	}
	s.labels, s.sums = append(s.labels, label), append(s.sums, s.sum)
	for _, e := range cell {
		if v := s.z[e.Atom]; v != 0 {
			s.atoms[e.Atom].in = append(s.atoms[e.Atom].in, entry{row, v})
			s.values++
		}
	}
	for s.Entries() > s.limits.Entries && len(s.sets) > 1 {
		s.giveUp()
	}
}

// giveUp drops the set with the most entries.
func (s *Space) giveUp() {
	most := slices.MaxFunc(s.sets, func(a, b *set) int { return a.entries - b.entries })
	for _, atom := range most.pivots {
		s.atoms[atom].taken--
	}
	s.release(most)
	s.sets = slices.DeleteFunc(s.sets, func(x *set) bool { return x == most })
}
