package span

import (
	"math/rand/v2"
	"testing"
)

// What a cell is said to be made of makes that cell, or a multiple of it; and a copy knows what its original knows.
func TestParts(t *testing.T) {
	const atoms = 12
	entries := func(values []int) (cell []Entry) {
		for atom, v := range values {
			if v != 0 {
				cell = append(cell, Entry{atom, uint64(v)})
			}
		}
		return cell
	}
	made, halves, strangers := 0, 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 8))
		s, err := New(1, DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		for range atoms {
			s.Add(1)
		}
		cells := make([][]int, 1+r.IntN(6))
		for label := range cells {
			cells[label] = make([]int, atoms)
			for atom := range atoms {
				cells[label][atom] = r.IntN(3)
			}
		}
		var hidden []int // half of two cells less a third
		if len(cells) == 3 {
			hidden = make([]int, atoms)
			for atom := range atoms {
				u, v, w := r.IntN(3), r.IntN(3), r.IntN(3)
				cells[0][atom], cells[1][atom], cells[2][atom], hidden[atom] = u+v, u+w, v+w, u
			}
		}
		for label, cell := range cells {
			s.Know(label, entries(cell))
		}
		z := make([]int, atoms) // a sum of cells, or half of one, and sometimes something besides
		for _, cell := range cells {
			times := r.IntN(4)
			for atom, v := range cell {
				z[atom] += times * v
			}
		}
		if hidden != nil {
			z = hidden
		}
		stranger := r.IntN(4) == 0
		if stranger {
			z[r.IntN(atoms)] += 1 + r.IntN(3)
		}
		if len(entries(z)) == 0 {
			continue
		}
		parts, follows, plain := s.Parts(entries(z))
		copied := s.Copy(1, 7)
		_, again, _ := copied.Parts(entries(z))
		if again != follows || copied.Rank() != s.Rank() || copied.Atoms() != atoms {
			t.Errorf("seed %d: a copy says %v, and not %v", seed, again, follows)
		}
		if !follows {
			if strangers++; !stranger {
				t.Errorf("seed %d: %v is not made of %v", seed, z, cells)
			}
			continue
		}
		if !plain {
			t.Errorf("seed %d: %v is not plainly made of %v", seed, z, cells)
		}
		sum := make([]int, atoms)
		for _, p := range parts {
			for atom, v := range cells[p.Label] {
				sum[atom] += p.Times * v
			}
		}
		often := 0
		for atom := range z {
			if z[atom] != 0 && often == 0 {
				often = sum[atom] / z[atom]
			}
			if sum[atom] != often*z[atom] {
				t.Errorf("seed %d: %v makes %v, and not %v", seed, parts, sum, z)
				break
			}
		}
		made++
		if often > 1 {
			halves++
		}
	}
	if made < 100 || halves < 3 || strangers < 20 {
		t.Errorf("too little was tried: %d made, %d of them halves, %d strangers", made, halves, strangers)
	}
}
