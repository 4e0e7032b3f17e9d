package export

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"weir/export/guard"
	"weir/export/span"
	"weir/internal/problem"
	"weir/policy"
)

// E6 and E7: no combination of released cells rests on fewer than k units.
//
// Every cell that passes leaves its linear fingerprint: for each of many parts into which the units are divided, a
// weighted sum of its rows. Combinations of cells have the same combination of fingerprints, so what rests on fewer
// than k units rests on fewer than k parts. Package span decides on that exactly, for combinations of any number of cells with any
// coefficients. Margins are combinations like others: the sum over a grouping's cells, less a total. What was counted once
// stays counted, whether or not the job ended well: a refund would be an answer.

// fingerprint is a cell's value in each part, in the order of the parts, where it has any. There is one form of writing it down,
// see sandbox.Fingerprint.
type fingerprint []byte

// parse reads a fingerprint, and refuses what is not in its form.
func (f fingerprint) parse() ([]span.Entry, error) {
	if len(f) == 0 || len(f) > guard.FingerprintParts*13 {
		return nil, fmt.Errorf("a fingerprint of %d bytes", len(f))
	}
	entries := make([]span.Entry, 0, len(f)/6+1) // a sum takes five bytes or more
	for last := 0; len(f) > 0; {
		step, n := binary.Uvarint(f)
		sum, m := binary.Uvarint(f[max(n, 0):])
		switch {
		case n <= 0 || m <= 0 || n > 1 && f[n-1] == 0 || m > 1 && f[n+m-1] == 0:
			return nil, errors.New("a fingerprint has a number that is not in its form")
		case step >= uint64(guard.FingerprintParts-last) || step == 0 && len(entries) > 0 || sum == 0:
			return nil, errors.New("a fingerprint has a part that cannot be")
		}
		last += int(step)
		entries = append(entries, span.Entry{Atom: last, Rows: sum})
		f = f[n+m:]
	}
	return entries, nil
}

// history is what one operator was offered, in one domain of units.
type history struct {
	k     int
	space *span.Space
	small *margins // nil while nothing of use was withheld
	sums  weighings
	chose choices
	jobs  []string // of the space's labels
	last  int64    // entry of the ledger that is in it
	fresh []entry  // not in the ledger yet
}

// entry is a cell as the ledger keeps it, or a count that was withheld for being small.
type entry struct {
	job      string
	print    fingerprint
	withheld bool
	family   string      // of a sum, see weighed
	mass     fingerprint // of a sum; empty where it is none
	public   []byte      // of a set that a secret chose, see chosen; empty where it is none
}

// print is a fingerprint that was read.
type print struct {
	written fingerprint
	cell    []span.Entry
}

func readPrint(written fingerprint) (print, error) {
	cell, err := written.parse()
	return print{written, cell}, err
}

func newHistory(k int) (*history, error) {
	space, err := span.New(k, span.DefaultLimits)
	if err != nil {
		return nil, fmt.Errorf("begin a history: %w", err)
	}
	for range guard.FingerprintParts {
		space.Add(1)
	}
	return &history{k: k, space: space}, nil
}

// bytes is about what it takes of memory.
func (h *history) bytes() int {
	if h.small == nil {
		return h.space.Bytes() + h.sums.bytes() + h.chose.bytes()
	}
	return h.space.Bytes() + h.sums.bytes() + h.chose.bytes() + h.small.space.Bytes()
}

// label numbers the jobs.
func (h *history) label(job string) int {
	if n := len(h.jobs); n > 0 && h.jobs[n-1] == job {
		return n - 1
	}
	h.jobs = append(h.jobs, job)
	return len(h.jobs) - 1
}

// know adds cells that the ledger has.
func (h *history) know(entries []entry) error {
	cells := make([][]span.Entry, len(entries))
	for i, e := range entries {
		var err error
		if cells[i], err = e.print.parse(); err != nil {
			return err
		}
	}
	h.space.Expect(cells)
	for i, e := range entries {
		if e.withheld {
			h.withhold(e.job, print{e.print, cells[i]})
			continue
		}
		h.space.Know(h.label(e.job), cells[i])
		h.small.know(cells[i])
		if len(e.mass) > 0 {
			sum, err := newWeighed(e.job, e.family, print{e.print, cells[i]}, e.mass)
			if err != nil {
				return err
			}
			h.sums.add(sum)
		}
		if len(e.public) > 0 {
			set, err := readChosen(e, cells[i])
			if err != nil {
				return err
			}
			h.chose.add(set)
		}
	}
	h.fresh = nil // all of it comes from there
	return nil
}

// withhold notes a count that was withheld for being small.
func (h *history) withhold(job string, p print) {
	if !nearly(len(p.cell), h.k) {
		return
	}
	if h.small == nil {
		h.small = marginsOf(h.k, h.space)
	}
	if h.small.withhold(job, p.cell) {
		h.fresh = append(h.fresh, entry{job: job, print: p.written, withheld: true})
	}
}

// judge decides on a cell, which counts from now if it is safe. together are the jobs of the cells with which it
// would isolate somebody. sum is nil where no unit can give more to it than another, and set where no secret chose it.
func (h *history) judge(job string, p print, sum *weighed, set *chosen) (v span.Verdict, together []string) {
	v, labels := h.space.Judge(h.label(job), p.cell)
	told, fresh := v == span.Safe || v == span.Known, entry{job: job, print: p.written}
	if told && sum != nil && !h.sums.has(sum) {
		fresh.family, fresh.mass = sum.family, sum.mass
		h.sums.add(sum)
	}
	if told && set != nil && !h.chose.has(set) { // rows that a unit has once each have no masses
		fresh.family = set.family
		fresh.public, _ = json.Marshal(set) // numbers and a name
		h.chose.add(set)
	}
	if v == span.Safe || fresh.family != "" {
		h.fresh = append(h.fresh, fresh)
	}
	if v == span.Safe {
		h.small.know(p.cell)
	}
	for _, l := range labels {
		together = append(together, h.jobs[l])
	}
	return v, together
}

// combines is E6 and E7 for one cell of the row that is being judged. It names the check that the cell fails. A cell
// is judged among all cells by its rows, and a sum besides among the sums of the same measure by the rows that contribute to it.
// Dominance is a matter of each measure in a figure: counts are known, so avg(x + 1000000) - 1000000 is avg(x).
func (j *judging) combines(i int, c guard.Cell) (string, error) {
	if j.mode != policy.Exact {
		return "", nil
	}
	if len(c.Prints) == 0 {
		return "", fmt.Errorf("a cell without a fingerprint")
	}
	for key := range j.release.Keys {
		for n, p := range c.Prints {
			f, err := j.print(p, key)
			if err != nil {
				return "", err
			}
			sum, err := j.weighed(p, key, f)
			if err != nil {
				return "", err
			}
			var set *chosen
			if n == 0 {
				if set, err = j.chosen(i, key, p, f); err != nil {
					return "", err
				}
			}
			if n > 0 && sum != nil && !c.Bare && dominates(j.dominates).by(sum.weight) {
				return "E3", nil
			}
			if failed := j.isolates(j.history(p, key), f, sum, set); failed != "" {
				return failed, nil
			}
		}
	}
	return "", nil
}

// isolates names the check that cells of a history fail together with one of the given fingerprint.
func (j *judging) isolates(name string, p print, sum *weighed, set *chosen) string {
	known := j.known[name]
	if jobs, narrow := known.small.narrows(p.cell); narrow {
		j.together(jobs)
		return "E7"
	}
	if sum != nil {
		if jobs, shown := known.sums.shows(sum, j.dominates); shown {
			j.together(jobs)
			return "E7"
		}
	}
	if set != nil {
		if jobs, told := known.chose.tell(set); told {
			j.together(jobs)
			return "E4"
		}
	}
	v, jobs := known.judge(j.job, p, sum, set)
	switch v {
	case span.Safe, span.Known:
		return ""
	case span.Isolating:
		if !j.together(jobs) {
			return "E7" // cells of this very query give it away
		}
	default:
		j.check.UsedUp = true
	}
	return "E6"
}

// together notes the jobs besides this one with whose cells a cell would have given somebody away, and reports whether there are any.
func (j *judging) together(jobs []string) bool {
	others := slices.DeleteFunc(jobs, func(job string) bool { return job == j.job })
	j.check.together(others)
	return len(others) > 0
}

// printKey names a fingerprint of a row, which is the place of its first value.
type printKey struct {
	row    *any
	p, key int
}

// expect reads the fingerprints of the rows that come next, and has the histories look at them together. What cannot be
// read is an error only if it is needed.
func (j *judging) expect(rows [][]any, next []int) {
	j.ahead = map[printKey]print{}
	if j.mode != policy.Exact {
		return
	}
	cells := map[string][][]span.Entry{}
	for _, name := range j.histories() {
		cells[name] = nil
	}
	for _, i := range next {
		j.current = rows[i]
		for p := range j.release.Prints {
			for key := range j.release.Keys {
				f, err := j.print(p, key)
				if name := j.history(p, key); err == nil {
					cells[name] = append(cells[name], f.cell)
					j.ahead[printKey{&rows[i][0], p, key}] = f
				}
			}
		}
	}
	for name, list := range cells {
		j.known[name].space.Expect(list)
	}
}

// print reads a fingerprint of the row that is being judged. That of a term may be empty: then nobody contributes.
func (j *judging) print(p, key int) (print, error) {
	if f, ok := j.ahead[printKey{&j.current[0], p, key}]; ok {
		return f, nil
	}
	column := printColumn(p, key)
	value := j.value(column)
	if value == guard.SamePrint && p > 0 {
		if _, there := j.index[printColumn(0, key)]; !there || j.value(printColumn(0, key)) != nil {
			return j.print(0, key)
		}
		value = nil // nobody contributes, and nobody meets the first cell's condition
	}
	text, ok := value.(string)
	if _, there := j.index[column]; there && value == nil && j.release.Prints[p].Term != "" {
		return print{}, nil
	}
	if !ok {
		return print{}, fmt.Errorf("fingerprint %s is missing", column)
	}
	written, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return print{}, fmt.Errorf("fingerprint %s is not in its form", column)
	}
	return readPrint(written)
}

func printColumn(p, key int) string { return fmt.Sprintf("F%d_%d", p, key) }

// auditable refuses a release of which the worker says that it has more fingerprints than can be audited, and did not
// bring them.
func (j *judging) auditable(rows [][]any) error {
	for _, row := range rows {
		j.current = row
		switch fits, ok := j.value(guard.Fits).(bool); {
		case len(j.release.Prints) == 0 || fits:
		case !ok:
			return problem.New("export.evidence").Because(errors.New("whether the fingerprints are all there is missing"))
		default:
			return problem.New("export.too-much-to-audit")
		}
	}
	return nil
}

// histories names the histories that a release's cells are judged in.
func (j *judging) histories() (names []string) {
	for p := range j.release.Prints {
		for key := range j.release.Keys {
			names = append(names, j.history(p, key))
		}
	}
	return names
}

// history names one: by the domain of the units, and the measure where it is one of sums.
func (j *judging) history(p, key int) string {
	if term := j.release.Prints[p].Term; term != "" {
		return j.release.Keys[key] + " " + term
	}
	return j.release.Keys[key]
}

// mostTogether bounds how many jobs a check names.
const mostTogether = 20

// together notes the other jobs with whose cells a cell would have isolated somebody.
func (c *Check) together(jobs []string) {
	c.Together = slices.Compact(slices.Sorted(slices.Values(append(c.Together, jobs...))))
	c.Together = c.Together[:min(len(c.Together), mostTogether)]
}

// largestFirst gives the order in which the cells of an exact release are judged: where not all of them can be
// released beside what is known, it is the smallest that are withheld.
func (j *judging) largestFirst(rows [][]any) ([]int, error) {
	order := make([]int, len(rows))
	units := make([]float64, len(rows))
	for i, row := range rows {
		order[i] = i
		if j.mode != policy.Exact {
			continue
		}
		j.current = row
		n, err := j.number("n", 0)
		if err != nil {
			return nil, err
		}
		units[i] = n
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(units[b], units[a]) })
	return order, nil
}
