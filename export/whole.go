package export

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"weir/export/guard"
	"weir/export/span"
)

// E4 for differences. That everybody in a group is ill is withheld, and it follows as well from the ill of two larger groups of
// which one holds it besides: if they differ by as many as the groups do, everybody in it is ill, and if they are as many, nobody is.
// So each count with a secret in it is kept beside how many people its public part has (see public.go), and what
// remains of it without others that lie in it must be neither nobody nor everybody of what remains of their public parts.

// chosen is a set of units that a secret chose out of its public part, and that was released. Each unit is in it once.
type chosen struct {
	job, family string
	print       fingerprint
	glance      [glances]uint64
	Units       float64 `json:"units"`
	Public      float64 `json:"public"` // how many units its public part has
	Name        string  `json:"name"`   // of the public part
}

// choices are those of a history.
type choices struct{ families[*chosen] }

func (c *choices) add(s *chosen) { c.keep(s.job, s.family, s) }

func (c *choices) has(z *chosen) bool {
	return slices.ContainsFunc(c.all, func(s *chosen) bool { return s.Name == z.Name && slices.Equal(s.print, z.print) })
}

func (c *choices) bytes() (n int) {
	for _, s := range c.all {
		n += len(s.print) + 8*glances
	}
	return n
}

func newChosen(job, family string, p print, units, public float64, name string) *chosen {
	s := &chosen{job: job, family: family, print: p.written, Units: units, Public: public, Name: name}
	s.look(p.cell)
	return s
}

func (s *chosen) look(cell []span.Entry) {
	for _, e := range cell {
		s.glance[e.Atom%glances] += e.Rows
	}
}

// readChosen reads what the ledger holds of one.
func readChosen(e entry, cell []span.Entry) (*chosen, error) {
	s := &chosen{job: e.job, family: e.family, print: e.print}
	if err := json.Unmarshal(e.public, s); err != nil {
		return nil, fmt.Errorf("a public part has an unknown form")
	}
	s.look(cell)
	return s, nil
}

// tell looks for a difference that is nobody or everybody, and gives the jobs of the others.
func (c *choices) tell(z *chosen) (jobs []string, yes bool) {
	if c.has(z) {
		return nil, false
	}
	beside := append(slices.Clone(c.of[z.job+" "+z.family]), z)
	for _, s := range c.all {
		if z.isTold([]*chosen{s}) || s.isTold([]*chosen{z}) || s.mayHold(z) && s.isTold(s.within(beside)) {
			return []string{s.job}, true
		}
	}
	for _, cells := range c.of {
		if z.isTold(z.within(cells)) {
			return []string{cells[0].job}, true
		}
	}
	return nil, false
}

func (s *chosen) mayHold(other *chosen) bool {
	for i := range s.glance {
		if other.glance[i] > s.glance[i] {
			return false
		}
	}
	return true
}

// within gives those of the cells of one grouping that lie in a set, if there are several.
func (s *chosen) within(cells []*chosen) (list []*chosen) {
	var rows []uint64
	for _, o := range cells {
		if len(cells) < 2 || !s.mayHold(o) {
			continue
		}
		if rows == nil {
			rows = s.rows()
		}
		if takeRows(rows, o) {
			list = append(list, o)
		}
	}
	return list
}

func (s *chosen) rows() []uint64 {
	all := make([]uint64, guard.FingerprintParts)
	entries, _ := s.print.parse() // it was read before
	add(all, entries)
	return all
}

func takeRows(all []uint64, s *chosen) bool {
	entries, err := s.print.parse()
	if err != nil || !holds(all, entries) {
		return false
	}
	for _, e := range entries {
		all[e.Atom] -= e.Rows
	}
	return true
}

// isTold reports whether what is left of a set without others is nobody, or everybody, of what is left of its public part.
func (s *chosen) isTold(others []*chosen) bool {
	left, public := s.Units, s.Public
	seen := map[string]bool{}
	for _, o := range others {
		left -= o.Units
		if !seen[o.Name] {
			public -= o.Public
		}
		seen[o.Name] = true
	}
	if len(others) == 0 || public <= 0 || left != 0 && left != public {
		return false
	}
	rows := s.rows()
	return !slices.ContainsFunc(others, func(o *chosen) bool { return !takeRows(rows, o) })
}

// chosen reads of the row that is being judged what a secret chose for a cell; nil where nothing sensitive is asked about, or
// where a unit can be in it more than once.
func (j *judging) chosen(i, key int, p int, of print) (*chosen, error) {
	if !j.senses(j.release.Cells[i]) || j.release.Public == "" || len(j.release.Prints[p].Once) <= key || !j.release.Prints[p].Once[key] {
		return nil, nil
	}
	column := "b" // a unit has one row, or its rows count once
	if j.release.Cells[i].Kind == guard.CountUnits {
		column = "v"
	}
	units, err := j.read(column + strconv.Itoa(i))
	if err != nil {
		return nil, err
	}
	part, err := j.largestPart(i, key, units)
	if err != nil || part == nil {
		return nil, err
	}
	hash := sha256.New()
	for _, sum := range part.sketch {
		hash.Write(binary.LittleEndian.AppendUint64(nil, sum))
	}
	return newChosen(j.job, fmt.Sprintf("%s %d", j.release.Name, i), of, units, part.units, fmt.Sprintf("%x", hash.Sum(nil)[:16])), nil
}

// senses reports whether anything sensitive chose the rows of a cell.
func (j *judging) senses(c guard.Cell) bool {
	return j.release.Senses || c.Secret || slices.ContainsFunc(j.release.Groups, func(g guard.Group) bool { return g.Sensitive })
}

// largestPart is the public part of a cell if all that is secret held: that of a count its own, or that of the whole row if the
// cell is of all units in it. Who is left out of a sum since a value is missing is in its public part, so it is not compared.
func (j *judging) largestPart(cell, key int, units float64) (*publicPart, error) {
	if c := j.release.Cells[cell]; c.Kind == guard.CountRows || c.Kind == guard.CountUnits {
		if part, err := j.largestOf(cell, key); part != nil || err != nil {
			return part, err
		}
	}
	if all, err := j.number("n", key); err != nil || all != units {
		return nil, err
	}
	return j.largestOf(-1, key)
}

func (j *judging) largestOf(cell, key int) (largest *publicPart, err error) {
	name, err := j.publicName(cell, key)
	for _, p := range j.public[j.release.Name][name] {
		if largest == nil || p.units > largest.units {
			largest = p
		}
	}
	return largest, err
}
