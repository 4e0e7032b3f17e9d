package export

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Two questions whose public parts differ in fewer than k units are not both answered; see guard's public.go. What
// was asked before is kept in the store; see comparison.go.

// publicPart is the units that a figure would look at under one assignment of true and false to what is secret.
type publicPart struct {
	units  float64
	sketch sketch
	set    int  // parts of one set are disjoint
	known  bool // it was compared already, as part of another group's cell
	failed bool
}

// overlapShift is above what numbers the sets of a job.
const overlapShift = 40

// publicParts is the parts of a release by figure, key and public groups.
type publicParts map[string][]*publicPart

// Compare takes in what a release's query for its public part brought. Admit compares it.
func (a *Assessment) Compare(r guard.Release, t sandbox.Table) error {
	j := a.judging(r, t)
	parts := publicParts{}
	for i, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return problem.New("export.evidence")
		}
		j.current = row
		name, part, err := j.publicPart()
		if err != nil {
			return problem.New("export.evidence").Because(err)
		}
		if r.Overlap {
			part.set += (i + 1) << overlapShift // each is a set of its own
		}
		parts[name] = append(parts[name], part)
		if part.units < float64(a.rules.K) {
			// Whether the group is there, and is left out, may hang on a secret: it is said that something was in any case.
			a.withheld = true
		}
	}
	if a.public == nil {
		a.public = map[string]publicParts{}
	}
	a.public[r.Name] = parts
	return nil
}

func (j *judging) publicPart() (name string, part *publicPart, err error) {
	var n [4]float64
	for i, column := range []string{"a", "cell", "key", "n"} {
		if n[i], err = j.read(column); err != nil {
			return "", nil, err
		}
	}
	text, ok := j.value("F").(string)
	if !ok {
		return "", nil, fmt.Errorf("the fingerprint of a public part is missing")
	}
	part = &publicPart{units: n[3], set: (len(j.released)*1000+int(n[0]))*1000 + int(n[1]) + 1}
	if part.sketch, err = parseSketch(text); err != nil {
		return "", nil, err
	}
	name, err = j.publicName(int(n[1]), int(n[2]))
	return name, part, err
}

// publicName names a figure, a key and the groups that are not secrets, of the row that is being looked at.
func (j *judging) publicName(cell, key int) (string, error) {
	var by []any
	for i, g := range j.release.Groups {
		if !g.Secret {
			by = append(by, j.value("g"+strconv.Itoa(i)))
		}
	}
	text, err := json.Marshal(by)
	return fmt.Sprintf("%d %d %s", cell, key, text), err
}

// publicIsolates is E6 for the public part of a figure of the row that is being judged; -1 is the row itself. A part
// that passes is part of the history from now.
func (j *judging) publicIsolates(cell int) (bool, error) {
	if j.release.Public == "" {
		return false, nil
	}
	var fresh [][]*publicPart
	for key, domain := range j.release.Keys {
		name, err := j.publicName(cell, key)
		if err != nil {
			return true, err
		}
		parts := j.public[j.release.Name][name]
		for _, p := range parts {
			if !p.known {
				var job string
				if job, p.failed = j.singlesOut(p, domain); job != "" {
					j.check.together([]string{job})
				}
				p.known = true
			}
			if p.failed {
				return true, nil
			}
		}
		if fewBetween(parts, j.rules.K) {
			return true, nil
		}
		fresh = append(fresh, parts)
	}
	for key, domain := range j.release.Keys {
		for _, p := range fresh[key] {
			j.asked[domain].add(j.job, p.set, p.sketch)
		}
	}
	return false, nil
}

// everybody reports whether a condition on something sensitive chose everybody of whom it depended: with their number, which
// is no secret, it would be known of each of them (E4). A condition in an aggregate is held to the same by its complement.
func (j *judging) everybody() (bool, error) {
	if !j.release.Senses || j.release.Public == "" {
		return false, nil
	}
	for key := range j.release.Keys {
		name, err := j.publicName(-1, key)
		if err != nil {
			return true, err
		}
		units, err := j.number("n", key)
		if err != nil {
			return true, err
		}
		parts := j.public[j.release.Name][name]
		differ := len(parts) == 1 // where the condition does not hold, nobody is left
		for _, p := range parts {
			differ = differ || p.units != parts[0].units
		}
		if differ && slices.ContainsFunc(parts, func(p *publicPart) bool { return p.units == units }) {
			return true, nil
		}
	}
	return false, nil
}

// fewBetween reports whether two parts of one figure differ in too few units: then it is they for whom the figure
// depends on the secret.
func fewBetween(parts []*publicPart, k int) bool {
	for i, p := range parts {
		for _, q := range parts[:i] {
			if difference := p.sketch.minus(&q.sketch); difference.few(k) {
				return true
			}
		}
	}
	return false
}

// singlesOut reports whether a public part rests on too few units, by itself or together with earlier ones.
func (j *judging) singlesOut(p *publicPart, domain string) (job string, yes bool) {
	if p.units < float64(j.rules.K) {
		return "", p.units > 0
	}
	if j.asked[domain].whole[p.sketch] {
		return "", false
	}
	if job, yes = j.asked[domain].near(&p.sketch); yes || j.mode != policy.Exact {
		return job, yes
	}
	return j.asked[domain].tracks(&p.sketch, p.set)
}
