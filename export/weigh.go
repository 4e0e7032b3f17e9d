package export

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"weir/export/guard"
	"weir/export/span"
)

// E3 for differences. A sum that is mostly one person's is withheld, and is what is left of a total beside the sums that are
// shown. So with each sum come the masses of its parts: about how much each part of the units gives to it. What remains of a
// released sum when others are taken off that lie in it, one of them or all cells of one grouping, is held to the rules for
// dominance like a sum that is asked for.

// weighed is a sum that was released.
type weighed struct {
	job    string
	family string // of the cells of one grouping, which lie beside each other
	print  fingerprint
	mass   fingerprint
	times  uint64 // how often each row is in it
	weight
	glance [glances]uint64
}

// weight is what the dominance rules look at.
type weight struct{ greatest, second, total float64 }

// glances is in how many classes of parts two sums are compared before all their parts are: a sum that lies in another
// has no more than it in any class.
const glances = 64

// dominates is the rule of one grant for dominance.
type dominates func(greatest, second, total float64) bool

func (d dominates) by(w weight) bool { return w.total > 0 && d(w.greatest, w.second, w.total) }

// families are what was released in a history, and the cells of each grouping together.
type families[T any] struct {
	all []T
	of  map[string][]T // by job and family
}

func (f *families[T]) keep(job, family string, released T) {
	if f.of == nil {
		f.of = map[string][]T{}
	}
	f.all = append(f.all, released)
	f.of[job+" "+family] = append(f.of[job+" "+family], released)
}

// weighings are the sums of a history.
type weighings struct{ families[*weighed] }

func (w *weighings) add(s *weighed) { w.keep(s.job, s.family, s) }

// has reports whether a sum over the same rows was released.
func (w *weighings) has(z *weighed) bool {
	return slices.ContainsFunc(w.all, func(s *weighed) bool { return slices.Equal(s.print, z.print) })
}

// bytes is about what they take of memory.
func (w *weighings) bytes() (n int) {
	for _, s := range w.all {
		n += len(s.print) + len(s.mass) + 8*glances
	}
	return n
}

func newWeighed(job, family string, p print, mass fingerprint) (*weighed, error) {
	given, err := mass.parse()
	if err != nil {
		return nil, err
	}
	if len(p.cell) == 0 { // whoever brought it says two things
		return nil, errors.New("a sum of nobody gives something")
	}
	s := &weighed{job: job, family: family, print: p.written, mass: mass}
	s.times = timesOf(p.cell, given)
	for _, e := range given {
		s.count(float64(e.Rows / s.times))
	}
	for _, e := range p.cell {
		s.glance[e.Atom%glances] += e.Rows / s.times
	}
	return s, nil
}

// timesOf is how often every row is in a sum. What it says is that of the sum in which each is once.
func timesOf(rows, given []span.Entry) uint64 {
	times := uint64(0)
	for _, e := range rows {
		times = gcd(e.Rows, times)
	}
	if slices.ContainsFunc(given, func(e span.Entry) bool { return e.Rows%times != 0 }) {
		return 1
	}
	return times
}

// read gives the rows of a sum and what the parts give, each row once. They were read before, so they are in their form.
func (s *weighed) read() (rows, given []span.Entry) {
	rows, errRows := s.print.parse()
	given, errGiven := s.mass.parse()
	if errRows != nil || errGiven != nil {
		return nil, nil
	}
	for _, list := range [][]span.Entry{rows, given} {
		for i := range list {
			list[i].Rows /= s.times
		}
	}
	return rows, given
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func (w *weight) count(given float64) {
	w.total += given
	if given > w.greatest {
		given, w.greatest = w.greatest, given
	}
	w.second = max(w.second, given)
}

// shows looks for a difference between a sum and those that were released before which is mostly one or two units', and gives
// the jobs of these.
func (w *weighings) shows(z *weighed, rule dominates) (jobs []string, yes bool) {
	if w.has(z) {
		return nil, false
	}
	beside := append(slices.Clone(w.of[z.job+" "+z.family]), z)
	for _, s := range w.all {
		if z.total > s.total && w.leaves([]*weighed{z}, []*weighed{s}, rule) || s.total > z.total && w.leaves([]*weighed{s}, []*weighed{z}, rule) ||
			s.total > z.total && s.mayHold(z) && w.leaves([]*weighed{s}, s.within(beside), rule) {
			return []string{s.job}, true
		}
	}
	for _, cells := range w.of {
		if w.leaves([]*weighed{z}, z.within(cells), rule) {
			return []string{cells[0].job}, true
		}
	}
	return w.tracked(z, rule)
}

// mostTracked is how many sums, the last ones, are looked at in pairs beside a third.
const mostTracked = 200

// tracked looks for what three sums leave: two that overlap say with their union what they have in common.
func (w *weighings) tracked(z *weighed, rule dominates) (jobs []string, yes bool) {
	last := w.all[max(0, len(w.all)-mostTracked):]
	for i, s := range last {
		for _, t := range last[:i] {
			if w.intersect(z, s, t, rule) || w.intersect(z, t, s, rule) || w.intersect(s, t, z, rule) ||
				w.parted(z, s, t, rule) || w.parted(s, z, t, rule) || w.parted(t, z, s, rule) {
				return []string{s.job, t.job}, true
			}
		}
	}
	return nil, false
}

// intersect looks at what two sums leave without a third, and parted at what one leaves without two. Nearly always it is too much
// to be anybody's, which must be seen quickly.
func (w *weighings) intersect(a, b, less *weighed, rule dominates) bool {
	most := weight{a.greatest + b.greatest, a.second + b.second, a.total + b.total - less.total}
	return rule.by(most) && w.leaves([]*weighed{a, b}, []*weighed{less}, rule)
}

func (w *weighings) parted(a, less, more *weighed, rule dominates) bool {
	most := weight{a.greatest, a.second, a.total - less.total - more.total}
	return rule.by(most) && w.leaves([]*weighed{a}, []*weighed{less, more}, rule)
}

// mayHold reports whether another sum may lie in this one.
func (s *weighed) mayHold(other *weighed) bool { return mayLeave([]*weighed{s}, []*weighed{other}) }

// mayLeave reports whether no class of parts has less in the sums that are added up than in those that are taken off.
func mayLeave(sums, less []*weighed) bool {
	for i := range glances {
		var more, fewer uint64
		for _, s := range sums {
			more += s.glance[i]
		}
		for _, s := range less {
			fewer += s.glance[i]
		}
		if fewer > more {
			return false
		}
	}
	return true
}

// within gives those of the cells of one grouping that lie in a sum and beside each other.
func (s *weighed) within(cells []*weighed) (list []*weighed) {
	if len(cells) < 2 {
		return nil // a single one is looked at by itself
	}
	rest, _ := remainderOf([]*weighed{s}, nil)
	for _, c := range cells {
		if s.mayHold(c) && rest.take(c) {
			list = append(list, c)
		}
	}
	return list
}

// weighedMost is the most that can be said of what sums leave without others: nobody gives more than in the sums together.
func weighedMost(sums, less []*weighed) (w weight) {
	for _, s := range sums {
		w.greatest, w.second, w.total = w.greatest+s.greatest, w.second+s.second, w.total+s.total
	}
	for _, s := range less {
		w.total -= s.total
	}
	return w
}

// leaves reports whether what sums leave without others that lie in them is dominated.
func (w *weighings) leaves(sums, less []*weighed, rule dominates) bool {
	if len(less) == 0 || !rule.by(weighedMost(sums, less)) || !mayLeave(sums, less) {
		return false
	}
	rest, ok := remainderOf(sums, less)
	return ok && rule.by(rest.weight()) && !rest.isOne(w.all)
}

// remainder is what is left of sums, by parts.
type remainder struct{ rows, mass []uint64 }

// remainderOf reports with ok whether the others lie in the sums.
func remainderOf(sums, less []*weighed) (r remainder, ok bool) {
	r = remainder{make([]uint64, guard.FingerprintParts), make([]uint64, guard.FingerprintParts)}
	for _, s := range sums {
		rows, given := s.read()
		add(r.rows, rows)
		add(r.mass, given)
	}
	for _, s := range less {
		if !r.take(s) {
			return r, false
		}
	}
	return r, true
}

// take takes a sum off, if it lies in what is left.
func (r remainder) take(s *weighed) bool {
	rows, given := s.read()
	if !holds(r.rows, rows) || !holds(r.mass, given) {
		return false
	}
	for _, e := range rows {
		r.rows[e.Atom] -= e.Rows
	}
	for _, e := range given {
		r.mass[e.Atom] -= e.Rows
	}
	return true
}

func holds(all []uint64, some []span.Entry) bool {
	return !slices.ContainsFunc(some, func(e span.Entry) bool { return all[e.Atom] < e.Rows })
}

func add(all []uint64, some []span.Entry) {
	for _, e := range some {
		all[e.Atom] += e.Rows
	}
}

func (r remainder) weight() (w weight) {
	for _, given := range r.mass {
		w.count(float64(given))
	}
	return w
}

// isOne reports whether what is left is a sum that was released itself.
func (r remainder) isOne(of []*weighed) bool {
	return slices.ContainsFunc(of, func(s *weighed) bool {
		rows, _ := s.read()
		all := make([]uint64, len(r.rows))
		add(all, rows)
		return slices.Equal(all, r.rows)
	})
}

// weighed reads what the parts of a sum give, of the row that is being judged; nil where no unit can give more than another, or
// nobody gives anything.
func (j *judging) weighed(p, key int, of print) (*weighed, error) {
	weighs := j.release.Prints[p].Weighs
	if len(weighs) <= key || !weighs[key] {
		return nil, nil
	}
	column := fmt.Sprintf("M%d_%d", p, key)
	at, there := j.index[column]
	if there && j.current[at] == nil && len(of.cell) == 0 {
		return nil, nil
	}
	text, ok := j.value(column).(string)
	if !ok {
		return nil, fmt.Errorf("masses %s are missing", column)
	}
	mass, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("masses %s are not in their form", column)
	}
	return newWeighed(j.job, fmt.Sprintf("%s %d", j.release.Name, p), of, mass)
}
