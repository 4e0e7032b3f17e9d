package span

import (
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// truth is what the Space decides, by brute force: every set of atoms, and elimination over the rational numbers.
type truth struct {
	k     int
	units []int
	cells [][]int64 // released, over the atoms
}

// verdict is Known, Safe or Isolating; least is on how few units a combination with z rests, up to k.
func (t *truth) verdict(z []int64) (v Verdict, least int) {
	base := rank(t.cells)
	if rank(append(slices.Clone(t.cells), z)) == base {
		return Known, t.k
	}
	least = t.k
	for subset := 1; subset < 1<<len(t.units); subset++ {
		units := 0
		rows := slices.Clone(t.cells)
		for atom, n := range t.units {
			if subset>>atom&1 == 1 {
				units += n
				e := make([]int64, len(t.units))
				e[atom] = 1
				rows = append(rows, e)
			}
		}
		if units < least && rank(append(slices.Clone(rows), z)) == rank(rows) {
			least = units
		}
	}
	if least < t.k {
		return Isolating, least
	}
	return Safe, least
}

func rank(rows [][]int64) (n int) {
	if len(rows) == 0 {
		return 0
	}
	m := make([][]*big.Rat, len(rows))
	for i, row := range rows {
		for _, v := range row {
			m[i] = append(m[i], big.NewRat(v, 1))
		}
	}
	for column := range rows[0] {
		at := slices.IndexFunc(m[n:], func(row []*big.Rat) bool { return row[column].Sign() != 0 })
		if at < 0 {
			continue
		}
		m[n], m[n+at] = m[n+at], m[n]
		for i := n + 1; i < len(m); i++ {
			if m[i][column].Sign() == 0 {
				continue
			}
			f := new(big.Rat).Quo(m[i][column], m[n][column])
			for c := column; c < len(m[i]); c++ {
				m[i][c] = new(big.Rat).Sub(m[i][c], new(big.Rat).Mul(f, m[n][c]))
			}
		}
		if n++; n == len(m) {
			break
		}
	}
	return n
}

// source gives choices: random ones, or those of a fuzzer.
type source func(n int) int

// play releases cells over a small world and holds every verdict against brute force. At a few points an atom is split,
// as a release does. It gives how many cells were safe, and how many of those were withheld because the sets ran out.
func play(t *testing.T, choose source, k int, units []int, cells int, mostRows int) (safe, exhausted int) {
	t.Helper()
	s, err := New(k, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	w := &truth{k: k, units: slices.Clone(units)}
	for _, n := range units {
		s.Add(n)
	}
	for label := range cells {
		if from := choose(len(w.units)); len(w.units) < 9 && w.units[from] > 1 && choose(3) == 0 {
			n := 1 + choose(w.units[from]-1)
			s.Split(from, n)
			w.units[from] -= n
			w.units = append(w.units, n)
			for i := range w.cells {
				w.cells[i] = append(w.cells[i], w.cells[i][from])
			}
		}
		z := make([]int64, len(w.units))
		var cell []Entry
		counted := 0
		for atom, n := range w.units {
			if choose(2) == 0 {
				z[atom] = int64(1 + choose(mostRows))
				cell = append(cell, Entry{atom, uint64(z[atom])})
				counted += n
			}
		}
		if counted < k { // E1
			continue
		}
		want, least := w.verdict(z)
		got, with := s.Judge(label, cell)
		if want == Safe {
			safe++
		}
		switch {
		case got == want:
		case got == Exhausted:
			if want == Safe {
				exhausted++
			}
		case got == Safe && want == Isolating && least >= Fewest && s.Sets() >= Fewest:
			// possible where sets are blind; the package says up to where it is complete
		default:
			t.Fatalf("k %d, units %v, cells %v, z %v: %v instead of %v (least %d)", k, w.units, w.cells, z, got, want, least)
		}
		if got == Isolating {
			for _, l := range with {
				if l >= label {
					t.Fatalf("cell %d is said to isolate with %v", label, with)
				}
			}
		}
		if got == Safe {
			w.cells = append(w.cells, z)
		}
		if s.Rank() != len(w.cells) {
			t.Fatalf("rank %d, and %d independent cells", s.Rank(), len(w.cells))
		}
		checkPacking(t, s)
	}
	return safe, exhausted
}

// checkPacking holds the sets to what the proof needs: no atom takes part more often than it has units.
func checkPacking(t *testing.T, s *Space) {
	t.Helper()
	taken := make([]int, len(s.atoms))
	for _, set := range s.sets {
		once := map[int32]bool{}
		for _, atom := range set.pivots {
			if once[atom] || set.blind[atom] {
				t.Fatalf("atom %d is a pivot twice, or where the set is blind", atom)
			}
			once[atom] = true
			taken[atom]++
		}
	}
	for i, a := range s.atoms {
		if a.taken != taken[i] || taken[i] > a.units {
			t.Fatalf("atom %d of %d units takes part %d times and says %d", i, a.units, taken[i], a.taken)
		}
	}
}

// Atoms of k units or more suffice for all sets, so that no safe cell is withheld and nothing is missed.
func TestExactWhereAtomsAreLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 80 {
		k := 2 + r.IntN(9)
		units := make([]int, 4+r.IntN(4))
		for i := range units {
			units[i] = 1 + r.IntN(4*k)
		}
		units[0], units[1] = 20*k, 30*k
		play(t, r.IntN, k, units, 12, 1+r.IntN(3))
	}
}

// With small k all sets must decide, so nothing is missed whatever the sizes are.
func TestSoundWhereAtomsAreSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	safe, exhausted := 0, 0
	for range 150 {
		k := 2 + r.IntN(3)
		units := make([]int, 5+r.IntN(4))
		for i := range units {
			units[i] = 1 + r.IntN(3)
		}
		a, b := play(t, r.IntN, k, units, 12, 1+r.IntN(3))
		safe, exhausted = safe+a, exhausted+b
	}
	t.Logf("%d cells were safe, for %d of them the sets ran out", safe, exhausted)
	if exhausted*2 > safe {
		t.Error("most safe cells are withheld")
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789"), uint8(3))
	f.Add([]byte{7, 0, 200, 3, 9, 9, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1}, uint8(8))
	f.Fuzz(func(t *testing.T, choices []byte, k uint8) {
		at := 0
		choose := func(n int) int {
			if at >= len(choices) {
				at++
				return at % n
			}
			at++
			return int(choices[at-1]) % n
		}
		units := make([]int, 3+choose(5))
		for i := range units {
			units[i] = 1 + choose(12)
		}
		play(t, choose, 2+int(k%9), units, 8, 2)
	})
}

// X + Y - Z is twice one person, who is in none of the differences of two.
func TestNamedAttacks(t *testing.T) {
	// Atoms: three blocks of 30 units, and the target.
	x, y := []Entry{{0, 1}, {1, 1}, {3, 1}}, []Entry{{0, 1}, {2, 1}, {3, 1}}
	cases := []struct {
		name  string
		given [][]Entry
		asked []Entry
		want  Verdict
		with  []int
	}{
		{"difference", [][]Entry{{{0, 1}, {3, 1}}}, []Entry{{0, 1}}, Isolating, []int{0}},
		{"difference of a block", [][]Entry{{{0, 1}, {1, 1}}}, []Entry{{0, 1}}, Safe, nil},
		{"twice one person", [][]Entry{x, y}, []Entry{{0, 2}, {1, 1}, {2, 1}}, Isolating, []int{0, 1}},
		{"twice one person, spread", [][]Entry{x, y, {{1, 1}, {2, 1}}}, []Entry{{0, 1}}, Isolating, []int{0, 1, 2}},
		{"coefficients of three", [][]Entry{{{0, 1}, {1, 3}}, {{1, 1}, {3, 1}}}, []Entry{{0, 1}}, Isolating, []int{0, 1}},
		{"the same again", [][]Entry{x, y}, x, Known, nil},
		{"a sum of what is known", [][]Entry{x, y}, []Entry{{0, 2}, {1, 1}, {2, 1}, {3, 2}}, Known, nil},
	}
	for _, c := range cases {
		s, err := New(10, DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{30, 30, 30, 1} {
			s.Add(n)
		}
		for label, cell := range c.given {
			if v, _ := s.Judge(label, cell); v != Safe {
				t.Fatalf("%s: cell %d is %v", c.name, label, v)
			}
		}
		if v, with := s.Judge(len(c.given), c.asked); v != c.want || !slices.Equal(with, c.with) {
			t.Errorf("%s: %v with %v instead of %v with %v", c.name, v, with, c.want, c.with)
		}
	}
}

// A chain of differences reaches a person by as many cells as one likes. No search for combinations of three finds it.
func TestLongChains(t *testing.T) {
	for _, length := range []int{2, 3, 4, 10, 50} {
		s, err := New(10, DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		for range length {
			s.Add(20)
		}
		target := s.Add(1)
		// Block 1 with block 2, block 2 with block 3, …, and the last with the target; then the first alone.
		for i := range length {
			cell := []Entry{{i, 1}, {i + 1, 1}}
			if v, _ := s.Judge(i, cell); v != Safe {
				t.Fatalf("link %d is %v", i, v)
			}
		}
		v, with := s.Judge(length, []Entry{{0, 1}})
		if v != Isolating || len(with) != length {
			t.Errorf("the first block of %d is %v with %d others (target %d)", length, v, len(with), target)
		}
		if length > 1 {
			if v, _ := s.Judge(length, []Entry{{0, 1}, {2, 1}}); v == Exhausted {
				t.Errorf("the sets ran out on a small world")
			}
		}
	}
}

// What is used up withholds, and does not forget what was known.
func TestLimits(t *testing.T) {
	s, err := New(5, Limits{Rows: 3, Entries: 1 << 20, Values: 100, Atoms: 6})
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		s.Add(50)
	}
	if !s.Full(1) || s.Full(0) {
		t.Error("the limit of atoms is not told")
	}
	for i := range 3 {
		if v, _ := s.Judge(i, []Entry{{i, 1}, {5, 1}}); v != Safe {
			t.Fatalf("cell %d is %v", i, v)
		}
	}
	if v, _ := s.Judge(3, []Entry{{3, 1}}); v != Exhausted {
		t.Errorf("a cell beyond the limit is %v", v)
	}
	if v, _ := s.Judge(3, []Entry{{0, 1}, {1, 1}, {5, 2}}); v != Known {
		t.Errorf("a sum of what is known is %v beyond the limit", v)
	}
	few, err := New(12, Limits{Rows: 100, Entries: 40, Values: 100, Atoms: 100})
	if err != nil {
		t.Fatal(err)
	}
	for range 30 {
		few.Add(20)
	}
	last := Safe
	for i := 0; i < 29 && last != Exhausted; i++ {
		last, _ = few.Judge(i, []Entry{{i, 1}, {i + 1, 1}})
	}
	if last != Exhausted || few.Sets() >= Fewest || few.Entries() > 40 {
		t.Errorf("with little memory the last cell is %v, %d sets and %d entries are left", last, few.Sets(), few.Entries())
	}
}

// Values are bounded too, and what is known is added whatever it says: from then on it counts.
func TestKnow(t *testing.T) {
	s, err := New(10, Limits{Rows: 10, Entries: 1 << 20, Values: 4, Atoms: 6})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{30, 30, 30, 1} {
		s.Add(n)
	}
	s.Know(0, []Entry{{0, 1}, {3, 1}})
	s.Know(1, []Entry{{0, 1}})
	if s.Rank() != 2 {
		t.Fatalf("rank %d", s.Rank())
	}
	if v, _ := s.Judge(2, []Entry{{3, 1}}); v != Known {
		t.Errorf("the person who is known already is %v", v)
	}
	if v, with := s.Judge(2, []Entry{{1, 1}}); v != Safe {
		t.Errorf("another block is %v with %v", v, with)
	}
	if v, _ := s.Judge(3, []Entry{{2, 1}}); v != Exhausted {
		t.Errorf("a value too many is %v", v)
	}
	s.Know(4, []Entry{{2, 1}})
	if v, _ := s.Judge(5, []Entry{{0, 1}, {1, 1}, {2, 1}, {3, 1}}); v != Known {
		t.Errorf("all of them are %v", v)
	}
}

// Where atoms are watched, residues are told from these; the decisions are the same.
func TestSoundWhereAtomsAreWatched(t *testing.T) {
	defer func(n int) { many = n }(many)
	many = 8
	r := rand.New(rand.NewPCG(4, 1))
	safe, exhausted := 0, 0
	for i := range 60 {
		k := 2 + r.IntN(3)
		units := make([]int, 8+r.IntN(2))
		for i := range units {
			units[i] = 1 + r.IntN(3)
		}
		if i%2 == 0 {
			k = 2 + r.IntN(9)
			units[0], units[2], units[4] = 20*k, 30*k, 20*k
		}
		a, b := play(t, r.IntN, k, units, 12, 1+r.IntN(3))
		safe, exhausted = safe+a, exhausted+b
	}
	t.Logf("%d cells were safe, for %d of them the sets ran out", safe, exhausted)
	if exhausted == safe {
		t.Error("all cells are withheld")
	}
}

// The product is that of whole numbers, whatever its length and however large its numbers are.
func TestProduct(t *testing.T) {
	f, err := newField()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(6, 1))
	for n := range 200 {
		if n > 150 {
			n *= 50
		}
		a, b, want := make([]uint32, n), make([]uint32, n+3), new(big.Int)
		for i := range a {
			a[i], b[i] = uint32(f.p)-1, uint32(f.p)-1
			if n%2 == 0 {
				a[i], b[i] = r.Uint32N(uint32(f.p)), r.Uint32N(uint32(f.p))
			}
			want.Add(want, new(big.Int).Mul(big.NewInt(int64(a[i])), big.NewInt(int64(b[i]))))
		}
		b[n] = 5 // is not read
		if got := f.product(a, b); uint64(got) != want.Mod(want, new(big.Int).SetUint64(f.p)).Uint64() {
			t.Fatalf("%d values: %d", n, got)
		}
	}
}

// What is expected is judged as it is without: in the order that was said, with some left out, and beside others.
func TestExpect(t *testing.T) {
	defer func(n int) { many = n }(many)
	r := rand.New(rand.NewPCG(7, 1))
	for round := range 10 {
		many = 10 + 1000*(round%2) // half of the time atoms are watched
		two := [2]*Space{}
		for i := range two {
			var err error
			if two[i], err = New(5, DefaultLimits); err != nil {
				t.Fatal(err)
			}
			for atom := range 200 {
				two[i].Add(1 + atom%7)
			}
		}
		cells := make([][]Entry, 90)
		for i := range cells {
			if i > 2 && r.IntN(4) == 0 { // one that follows from others, or nearly
				cells[i] = slices.Concat(cells[r.IntN(i)], nil)
				if r.IntN(2) == 0 {
					cells[i] = cells[i][1:]
				}
				continue
			}
			for atom := range 200 {
				if r.IntN(5) == 0 {
					cells[i] = append(cells[i], Entry{atom, 1 + r.Uint64N(3)})
				}
			}
		}
		two[0].Expect(cells)
		kinds := map[Verdict]int{}
		for i, cell := range cells {
			switch {
			case r.IntN(10) == 0:
				continue
			case r.IntN(30) == 0:
				for _, s := range two {
					if s.Units(6) > 1 {
						s.Split(6, 1)
					}
				}
			case r.IntN(20) == 0:
				for _, s := range two {
					s.Know(i, slices.Clone(cell))
				}
			}
			a, withA := two[0].Judge(i, cell)
			b, withB := two[1].Judge(i, slices.Clone(cell))
			if a != b || len(withA) > 0 != (len(withB) > 0) {
				t.Fatalf("round %d, cell %d: %v with %v where it is expected, else %v with %v", round, i, a, withA, b, withB)
			}
			kinds[a]++
		}
		for _, s := range two {
			s.Expect(nil)
			checkPacking(t, s)
		}
		if kinds[Safe] == 0 || kinds[Known] == 0 || kinds[Isolating] == 0 {
			t.Errorf("round %d: %v", round, kinds)
		}
	}
}

// When the units are used up, nothing new is safe; what is known stays known, and what was known elsewhere can still be added.
func TestFull(t *testing.T) {
	s, err := New(5, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		s.Add(1)
	}
	r := rand.New(rand.NewPCG(8, 1))
	cells := make([][]Entry, 40)
	for i := range cells {
		for atom := range 60 {
			if r.IntN(2) == 0 {
				cells[i] = append(cells[i], Entry{atom, 1 + r.Uint64N(1000)})
			}
		}
	}
	s.Expect(cells)
	kinds := map[Verdict]int{}
	for i, cell := range cells {
		v, _ := s.Judge(i, cell)
		kinds[v]++
	}
	safe := kinds[Safe]
	if safe < 12 || safe > 20 || kinds[Exhausted] != 40-safe || !s.full() {
		t.Errorf("60 units told apart by fives: %v, full %v", kinds, s.full())
	}
	s.Expect(cells)
	if v, _ := s.Judge(0, cells[0]); v != Known {
		t.Errorf("the first cell is %v", v)
	}
	s.Know(40, cells[39])
	if s.Rank() != safe+1 {
		t.Errorf("rank %d", s.Rank())
	}
	checkPacking(t, s)
}
