package export

import (
	"encoding/binary"
	"errors"
	"slices"

	"weir/export/guard"
	"weir/export/span"
	"weir/policy"
)

// E7, bounds. A count that was withheld is known to be below k, and not negative. Two counts that were withheld, of nine
// each, are nine each for whoever learns that they make eighteen together. So a cell may not be released if with cells
// released before it is a sum of withheld counts which hardly has room for them: each of them must be able to be smaller by
// guard.Room(k) than the threshold allows, at least.
//
// Only counts that are nearly k can take part in such a sum, so no others are kept. What was withheld is told apart by its
// fingerprint, which has as many parts as there are units where each of them counts once. A count that follows from what was
// known before it was withheld is not kept either: it may have been withheld for that reason, and be k or more.

// mostSmall bounds how many withheld counts are kept of one history; beyond them none is.
const mostSmall = 4_000

// margins is what one history knows of counts that were withheld.
type margins struct {
	k      int
	space  *span.Space // of the cells that were released, and of small
	small  []smallCount
	totals [][]portion // sums of withheld counts that were released
}

// smallCount is a count that was withheld.
type smallCount struct {
	job   string
	lacks int // units, to be k-1
}

// portion is how often a withheld count is in a sum of them.
type portion struct {
	count int
	times int
}

// ofReleased is the label of cells that were released; withheld counts have their number, counted from 1.
const ofReleased = 0

// marginsOf begins with what was released.
func marginsOf(k int, released *span.Space) *margins {
	return &margins{k: k, space: released.Copy(1, ofReleased)}
}

// nearly reports whether a count of so many units, which was withheld for being small, matters.
func nearly(units, k int) bool { return units < k && units >= k-guard.Room(k) }

// withhold notes a count that was withheld for being small, nearly k, and reports whether it is new.
func (m *margins) withhold(job string, cell []span.Entry) bool {
	if len(m.small) >= mostSmall {
		return false
	}
	if _, follows, _ := m.space.Parts(cell); follows {
		return false
	}
	m.small = append(m.small, smallCount{job, m.k - 1 - len(cell)})
	m.space.Know(len(m.small), cell)
	return true
}

// know adds a cell that was released.
func (m *margins) know(cell []span.Entry) {
	if m == nil {
		return
	}
	if total := m.sumOf(cell); total != nil {
		m.totals = append(m.totals, total)
		return
	}
	m.space.Know(ofReleased, cell)
}

// narrows reports whether a cell leaves withheld counts too little room, alone or less an earlier sum of them. jobs are those
// in which they were withheld.
func (m *margins) narrows(cell []span.Entry) (jobs []string, yes bool) {
	if m == nil {
		return nil, false
	}
	total := m.sumOf(cell)
	if total == nil {
		return nil, false
	}
	for _, sum := range append([][]portion{nil}, m.totals...) {
		for _, sign := range []int{-1, 1} {
			if left := plusTimes(total, sum, sign); m.isNarrow(left) {
				return m.jobsOf(left), true
			}
		}
	}
	return nil, false
}

// sumOf is the sum of withheld counts that a cell is, with cells that were released taken off; nil where it is none.
func (m *margins) sumOf(cell []span.Entry) (total []portion) {
	parts, _, plain := m.space.Parts(cell)
	if !plain {
		return nil
	}
	for _, p := range parts {
		if p.Label != ofReleased {
			total = append(total, portion{p.Label - 1, p.Times})
		}
	}
	slices.SortFunc(total, func(a, b portion) int { return a.count - b.count })
	return total
}

// isNarrow reports whether a sum of withheld counts, which is known, shows one of them to within less than Room. All of them
// must be counted in one sense: where some are taken off, these may be nothing, and leave the others room.
func (m *margins) isNarrow(total []portion) bool {
	lacks, most := 0, 0
	for _, s := range total {
		times := s.times * sign(total[0].times)
		if times < 0 {
			return false
		}
		lacks += times * m.small[s.count].lacks
		most = max(most, times)
	}
	return most > 0 && lacks < most*guard.Room(m.k)
}

func sign(n int) int {
	if n < 0 {
		return -1
	}
	return 1
}

// plusTimes adds a sum of withheld counts, so often, to another.
func plusTimes(a, b []portion, times int) (sum []portion) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].count < b[0].count:
			sum, a = append(sum, a[0]), a[1:]
		case len(a) == 0 || b[0].count < a[0].count:
			sum, b = append(sum, portion{b[0].count, times * b[0].times}), b[1:]
		default:
			if n := a[0].times + times*b[0].times; n != 0 {
				sum = append(sum, portion{a[0].count, n})
			}
			a, b = a[1:], b[1:]
		}
	}
	return sum
}

func (m *margins) jobsOf(total []portion) (jobs []string) {
	for _, s := range total {
		jobs = append(jobs, m.small[s.count].job)
	}
	return jobs
}

// smallGroup notes the counts of a group that was withheld for having too few units.
func (j *judging) smallGroup() error {
	for p := range j.release.Prints {
		if err := j.small(p, j.printOrNone); err != nil {
			return err
		}
	}
	return nil
}

// smallCell notes a count that was withheld in a group that is shown: it is small, or what is left of the group beside it.
func (j *judging) smallCell(c guard.Cell, failed string) error {
	if j.mode != policy.Exact || c.Kind != guard.CountRows && c.Kind != guard.CountUnits {
		return nil
	}
	whole := slices.IndexFunc(j.release.Cells, func(c guard.Cell) bool { return c.Kind == guard.CountRows && c.Whole })
	switch {
	case failed == "E2":
		return j.small(c.Prints[0], j.printOrNone)
	case failed == "E5" && whole >= 0:
		return j.small(c.Prints[0], func(p, key int) (print, error) {
			all, errAll := j.printOrNone(j.release.Cells[whole].Prints[0], key)
			part, errPart := j.printOrNone(p, key)
			return all.less(part), errors.Join(errAll, errPart)
		})
	}
	return nil
}

// small notes a count for each of its keys.
func (j *judging) small(p int, read func(p, key int) (print, error)) error {
	for key := range j.release.Keys {
		if is := j.release.Prints[p]; is.Term != "" || !is.Once[key] {
			continue
		}
		f, err := read(p, key)
		if err != nil {
			return err
		}
		j.known[j.history(p, key)].withhold(j.job, f)
	}
	return nil
}

// printOrNone reads a fingerprint of the row that is being judged, which is NULL where nobody is in it.
func (j *judging) printOrNone(p, key int) (print, error) {
	if j.value(printColumn(p, key)) == guard.SamePrint {
		p = 0
	}
	if at, there := j.index[printColumn(p, key)]; there && j.current[at] == nil {
		return print{}, nil
	}
	return j.print(p, key)
}

// less is the fingerprint of the units that are not in a part of them.
func (a print) less(part print) print {
	of := map[int]uint64{}
	for _, e := range part.cell {
		of[e.Atom] = e.Rows
	}
	var rest print
	last := 0
	for _, e := range a.cell {
		if e.Rows -= of[e.Atom]; e.Rows != 0 {
			rest.cell = append(rest.cell, e)
			rest.written = binary.AppendUvarint(binary.AppendUvarint(rest.written, uint64(e.Atom-last)), e.Rows)
			last = e.Atom
		}
	}
	return rest
}
