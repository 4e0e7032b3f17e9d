package hunt

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"weir/export/guard"
	"weir/export/noised"
	"weir/policy"
	"weir/sandbox"
)

// find is what tells two worlds apart.
type find struct {
	Kind   string // see the package comment
	At     int    // the question
	Detail string
}

func (f *find) String() string { return fmt.Sprintf("%s: question %d: %s", f.Kind, f.At+1, f.Detail) }

// compare holds what is heard in two worlds to each other.
func compare(mode policy.Mode, a, b []heard, c change) *find {
	for i := range a {
		if f := compareOne(mode, a[i], b[i], c); f != nil {
			f.At = i
			return f
		}
		if f := again(mode, a, i); f != nil {
			return f
		}
	}
	return repeated(a)
}

func compareOne(mode policy.Mode, a, b heard, c change) *find {
	switch {
	case a.Code != b.Code:
		return &find{Kind: "public", Detail: fmt.Sprintf("%q and %q: %s and %s", a.Code, b.Code, a.Shown, b.Shown)}
	case mode == policy.Exact && a.Shown != b.Shown: // before an officer has decided
		return &find{Kind: "public", Detail: a.Shown + " and " + b.Shown}
	case mode == policy.Exact:
		return nil
	}
	for i := range a.Public {
		if !reflect.DeepEqual(a.Public[i], b.Public[i]) {
			return &find{Kind: "public", Detail: fmt.Sprintf("%v and %v", a.Public[i], b.Public[i])}
		}
	}
	for i := range a.secret {
		for _, check := range []func(secret, secret, change) *find{charged, sameNoise, thresholds} {
			if f := check(a.secret[i], b.secret[i], c); f != nil {
				return f
			}
		}
	}
	if a.Shown != b.Shown {
		return &find{Kind: "public", Detail: a.Shown + "\nand\n" + b.Shown}
	}
	return nil
}

// charged holds what a unit moves to what was charged to its domain.
func charged(a, b secret, c change) *find {
	moved, of := a.moves(b)
	paid := a.public.Price.Rho
	if !slices.Contains(a.release.Noised.Domains, c.Domain) {
		paid = 0 // the order of rows is nobody's secret
	}
	if moved > paid*(1+1e-6) {
		return &find{Kind: "charge", Detail: fmt.Sprintf("moved ρ = %.6g, charged %.6g: %s", moved, paid, of)}
	}
	return nil
}

// moves gives how much ρ it costs to have the figures of one world instead of those of the other.
func (s secret) moves(o secret) (rho float64, of string) {
	var all []string
	groups := s.groups(o)
	a, b := s.figures(), o.figures()
	for i, n := range s.public.Noise[:len(s.release.Noised.Figures)] {
		if n.Kept {
			continue
		}
		square := 0.0
		for _, g := range groups {
			d := at(a, g, i) - at(b, g, i)
			square += d * d
		}
		switch {
		case square == 0:
		case n.Sigma == 0:
			rho = math.Inf(1)
		default:
			rho += square / (2 * n.Sigma * n.Sigma)
		}
		if square > 0 {
			all = append(all, fmt.Sprintf("figure %d moves by %.6g at σ = %.6g and ρ = %.6g", i, math.Sqrt(square), n.Sigma, n.Rho))
		}
	}
	for i, cell := range s.release.Noised.Cells {
		if n := s.public.Noise[len(s.release.Noised.Figures)+i]; cell.Bins != "" && !n.Kept {
			moved := quantileMoves(cell, n, s.parts[i], o.parts[i], len(s.release.Groups), groups)
			if rho += moved; moved > 0 {
				all = append(all, fmt.Sprintf("quantile %d moves by ρ = %.6g, and has %.6g", i, moved, n.Rho))
			}
		}
	}
	return rho, strings.Join(all, "; ")
}

// quantileMoves gives the ρ of what two worlds' draws of a quantile differ by. Weights are exp(-ε·d/(2·reach)), so the
// logarithms of two probabilities differ by a constant and by ε/(2·reach) times the difference of their distances: the
// range of that is what bounded range means.
func quantileMoves(cell guard.Statistic, n noised.Noise, a, b sandbox.Table, width int, groups []string) float64 {
	of := func(t sandbox.Table) map[string][]float64 {
		counts := map[string][]float64{}
		for _, row := range t.Rows {
			g := key(row[:width])
			if counts[g] == nil {
				counts[g] = make([]float64, guard.QuantileBins+1)
			}
			counts[g][int(number(row[width]))] = number(row[width+1])
		}
		return counts
	}
	first, second := of(a), of(b)
	epsilon, rho := math.Sqrt(8*n.Rho), 0.0
	for _, g := range groups {
		x, y := distances(first[g], cell.Fraction), distances(second[g], cell.Fraction)
		least, most := math.Inf(1), math.Inf(-1)
		for i := range x {
			least, most = math.Min(least, x[i]-y[i]), math.Max(most, x[i]-y[i])
		}
		each := epsilon / (2 * cell.Reach) * (most - least)
		rho += each * each / 8
	}
	return rho
}

// distances are those of package noise's exponential mechanism.
func distances(counts []float64, fraction float64) []float64 {
	if counts == nil {
		counts = make([]float64, guard.QuantileBins+1)
	}
	n := 0.0
	for _, c := range counts {
		n += c
	}
	rank, before := math.Floor(fraction*n), 0.0
	out := make([]float64, len(counts))
	for i, c := range counts {
		out[i] = math.Max(0, math.Max(before-rank, rank-before-c))
		before += c
	}
	return out
}

// sameNoise holds answers that were drawn by the same draws to differ by what the figures do, and by nothing else.
func sameNoise(a, b secret, _ change) *find {
	x, y := a.noise(), b.noise()
	if len(x) != len(y) {
		return &find{Kind: "noise", Detail: fmt.Sprintf("%d and %d answers are drawn", len(x), len(y))}
	}
	for i := range x {
		if !reflect.DeepEqual(x[i].groups, y[i].groups) || i == 0 && a.unlisted() {
			continue // drawn in another order; see thresholds
		}
		if !reflect.DeepEqual(x[i].noise, y[i].noise) {
			return &find{Kind: "noise", Detail: fmt.Sprintf("answer %d has the noise %v and %v", i, x[i].noise, y[i].noise)}
		}
	}
	return nil
}

// added is the noise that was added to the groups of a figure.
type added struct {
	groups []string
	noise  []float64
	sigma  float64
}

// noise takes the figures off the answers again.
func (s secret) noise() (all []added) {
	of, truth := s.release.Noised, s.figures()
	var order []int
	if of.Units >= 0 {
		order = append(order, of.Units)
	}
	for i := range of.Figures {
		if i != of.Units {
			order = append(order, i)
		}
	}
	order = slices.DeleteFunc(order, func(i int) bool { return s.public.Noise[i].Kept })
	for n, i := range order[:min(len(order), len(s.drawn))] {
		one := added{sigma: s.public.Noise[i].Sigma}
		for k, g := range s.drawn[n].Groups {
			one.groups = append(one.groups, key(g))
			one.noise = append(one.noise, number(s.drawn[n].Values[k])-at(truth, key(g), i))
		}
		all = append(all, one)
	}
	return all
}

// thresholds holds groups that only one world has to what their δ is for: at most so many of them, and no more in each than one unit can add.
func thresholds(a, b secret, c change) *find {
	of := a.release.Noised
	if !a.unlisted() || a.public.Noise[of.Units].Kept {
		return nil
	}
	x, y := a.figures(), b.figures()
	sigma, n := a.public.Noise[of.Units].Sigma, 0
	for _, g := range a.groups(b) {
		if (at(x, g, of.Units) > 0) == (at(y, g, of.Units) > 0) { // one that the cut has emptied is not looked at
			continue
		}
		if n++; at(x, g, of.Units)+at(y, g, of.Units) > of.Alone {
			return &find{Kind: "threshold", Detail: fmt.Sprintf("%s is there in one world alone, with %v units, at σ = %v", g, at(x, g, of.Units)+at(y, g, of.Units), sigma)}
		}
	}
	if float64(n) > 2*of.Among || n > 0 && !(a.public.Price.Delta > 0) {
		return &find{Kind: "threshold", Detail: fmt.Sprintf("%d groups are there because of one unit, which is in %v; δ = %v", n, of.Among, a.public.Price.Delta)}
	}
	return nil
}

// again holds a question that was asked before to its first answer.
func again(mode policy.Mode, all []heard, i int) *find {
	for k := range all[:i] {
		if mode == policy.Exact || all[k].SQL != all[i].SQL || all[k].Code != "" || all[i].Code != "" {
			continue
		}
		if all[k].Shown != all[i].Shown {
			return &find{"kept", i, all[k].Shown + "\nand\n" + all[i].Shown}
		}
		for _, p := range all[i].Public {
			if p.Price.Rho != 0 || p.Price.Delta != 0 {
				return &find{"kept", i, fmt.Sprintf("the answer was kept, and costs %v", p.Price)}
			}
		}
	}
	return nil
}

// sameByChance is below what probability two answers have the same noise. Each group has it with 1/(2σ√π) about.
const sameByChance = 1e-12

// repeated looks for two answers that have the same noise in every group.
func repeated(all []heard) *find {
	var before []added
	for i, h := range all {
		for _, s := range h.secret {
			for _, n := range s.noise() {
				for _, o := range before {
					if n.sigma > 0 && n.sigma == o.sigma && reflect.DeepEqual(n.groups, o.groups) && reflect.DeepEqual(n.noise, o.noise) &&
						math.Pow(1/(2*n.sigma*math.SqrtPi), float64(len(n.noise))) < sameByChance {
						return &find{"noise", i, fmt.Sprintf("two answers have the noise %v", n.noise)}
					}
				}
				before = append(before, n)
			}
		}
	}
	return nil
}

// unlisted reports whether the noisy number of units says which groups are shown.
func (s secret) unlisted() bool {
	return s.release.Noised.Units >= 0 && len(s.release.Noised.Listed) == 0
}

// groups are those that can be shown, of either world. Where it is public which there are, only those are drawn.
func (s secret) groups(o secret) (list []string) {
	seen := map[string]bool{}
	if len(s.release.Groups) == 0 {
		return []string{"[]"}
	}
	if !s.unlisted() && len(s.drawn) > 0 {
		for _, g := range s.drawn[0].Groups {
			list = append(list, key(g))
		}
		return list
	}
	for _, t := range []secret{s, o} {
		tables := []sandbox.Table{t.truth}
		for _, p := range t.parts {
			tables = append(tables, p)
		}
		for _, table := range tables {
			for _, row := range table.Rows {
				if g := key(row[:len(s.release.Groups)]); !seen[g] {
					seen[g], list = true, append(list, g)
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// figures are those of each group as they are.
func (s secret) figures() map[string][]float64 {
	all, width := map[string][]float64{}, len(s.release.Groups)
	for _, row := range s.truth.Rows {
		values := make([]float64, 0, len(row)-width)
		for _, v := range row[width:] {
			values = append(values, number(v))
		}
		all[key(row[:width])] = values
	}
	return all
}

func at(of map[string][]float64, group string, i int) float64 {
	if v, ok := of[group]; ok {
		return v[i]
	}
	return 0
}

// key names a group.
func key(g []any) string {
	if len(g) == 0 {
		return "[]"
	}
	text, err := json.Marshal(g)
	if err != nil {
		panic(err) // values of a decoded table
	}
	return string(text)
}

func number(v any) float64 {
	x, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil {
		panic(err) // figures are whole numbers
	}
	return x
}

func sorted(list [][]any) [][]any {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b []any) int { return strings.Compare(key(a), key(b)) })
	return list
}

func decode(text []byte, into any) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	return d.Decode(into)
}
