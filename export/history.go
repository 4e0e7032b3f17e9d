package export

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir/export/guard"
	"weir/export/span"
	"weir/policy"
)

// E6 and E7: no combination of released cells rests on fewer than k units.
//
// Every cell that passes leaves its linear fingerprint: for each of many parts into which the units are divided, a
// weighted sum of its rows. Combinations of cells have the same combination of fingerprints, so what rests on fewer
// than k units rests on fewer than k parts. Package span decides on that exactly, for combinations of any number of cells with any
// coefficients. Margins are combinations like others: the sum over a grouping's cells, less a total. What was counted once
// stays counted, whether or not the job ended well: a refund would be an answer.

// fingerprint is a cell's value in each part, in the order of the parts, where it has any.
type fingerprint []span.Entry

func parseFingerprint(text string) (fingerprint, error) {
	var f fingerprint
	for pair := range strings.FieldsSeq(text) {
		part, sum, ok := strings.Cut(pair, "=")
		i, err := strconv.Atoi(part)
		v, invalid := strconv.ParseUint(sum, 10, 64)
		if !ok || err != nil || invalid != nil || i < 0 || i >= guard.FingerprintParts || v == 0 {
			return nil, fmt.Errorf("a fingerprint has an unknown form")
		}
		f = append(f, span.Entry{Atom: i, Rows: v})
	}
	slices.SortFunc(f, func(a, b span.Entry) int { return cmp.Compare(a.Atom, b.Atom) })
	for i := range f {
		if i > 0 && f[i-1].Atom == f[i].Atom {
			return nil, fmt.Errorf("a fingerprint has a part twice")
		}
	}
	if len(f) == 0 {
		return nil, fmt.Errorf("a fingerprint is empty")
	}
	return f, nil
}

// history is what one operator was offered, in one domain of units.
type history struct {
	k     int
	space *span.Space
	jobs  []string // of the space's labels
	last  int64    // entry of the ledger that is in it
	fresh []entry  // not in the ledger yet
}

// entry is a cell as the ledger keeps it.
type entry struct {
	job   string
	print fingerprint
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

// label numbers the jobs.
func (h *history) label(job string) int {
	if n := len(h.jobs); n > 0 && h.jobs[n-1] == job {
		return n - 1
	}
	h.jobs = append(h.jobs, job)
	return len(h.jobs) - 1
}

// know adds a cell that the ledger has.
func (h *history) know(e entry) { h.space.Know(h.label(e.job), e.print) }

// judge decides on a cell, which counts from now if it is safe. together are the jobs of the cells with which it
// would isolate somebody.
func (h *history) judge(job string, f fingerprint) (v span.Verdict, together []string) {
	v, labels := h.space.Judge(h.label(job), f)
	if v == span.Safe {
		h.fresh = append(h.fresh, entry{job, f})
	}
	for _, l := range labels {
		together = append(together, h.jobs[l])
	}
	return v, together
}

// combines is E6 and E7 for one cell of the row that is being judged. It names the check that the cell fails. A cell
// is judged among all cells by its rows, and a sum besides among the sums of the same measure by the rows that contribute to it.
func (j *judging) combines(c guard.Cell) (string, error) {
	if j.mode != policy.Exact {
		return "", nil
	}
	if len(c.Prints) == 0 {
		return "", fmt.Errorf("a cell without a fingerprint")
	}
	for key := range j.release.Keys {
		for _, p := range c.Prints {
			f, err := j.print(p, key)
			if err != nil {
				return "", err
			}
			if failed := j.isolates(j.history(p, key), f); failed != "" {
				return failed, nil
			}
		}
	}
	return "", nil
}

// isolates names the check that cells of a history fail together with one of the given fingerprint.
func (j *judging) isolates(name string, f fingerprint) string {
	v, together := j.known[name].judge(j.job, f)
	switch v {
	case span.Safe, span.Known:
		return ""
	case span.Isolating:
		together = slices.DeleteFunc(together, func(job string) bool { return job == j.job })
		if len(together) == 0 {
			return "E7" // cells of this very query give it away
		}
		j.check.together(together)
	default:
		j.check.UsedUp = true
	}
	return "E6"
}

// print reads a fingerprint of the row that is being judged. That of a term may be empty: then nobody contributes.
func (j *judging) print(p, key int) (fingerprint, error) {
	column := fmt.Sprintf("F%d_%d", p, key)
	value := j.value(column)
	if value == guard.SamePrint && p > 0 {
		return j.print(0, key)
	}
	text, ok := value.(string)
	if _, there := j.index[column]; there && value == nil && j.release.Prints[p].Term != "" {
		return nil, nil
	}
	if !ok {
		return nil, fmt.Errorf("fingerprint %s is missing", column)
	}
	return parseFingerprint(text)
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
