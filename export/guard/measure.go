package guard

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"weir/policy"
)

// An aggregate's argument is arithmetic over measures and constants. It is kept as a polynomial in the measures,
// so that sum(2 * x + 1) is known to be 2 * sum(x) + count(*): each of the parts carries its own noise, and no
// spelling of the same sum gets another draw of it. That is what makes averaging over spellings useless.

// atom is a measure as the provider declared it, or a per-unit fact made of one.
type atom struct {
	id  string // tells its values from any others: two columns of it, or of two rows, do not cancel
	of  string // what its noise is drawn for, "data set.column^1": the same however the measure is reached
	sql string // its value as DOUBLE
	// within is the range of its values as far as one is declared, for private mode.
	within *Range
	reach  float64 // how large it is at most, as far as that may be published; see reach.go

	bound  Bound  // how much of it a unit has in the relation's rows, sizes added up; only for whole and decimal numbers
	block  int    // the rows that the bound speaks of
	digits int    // decimal digits that make it whole
	whole  string // its value as BIGINT, where it is whole and a column of the data set

	single  bool // a unit has one row of it in the data set
	even    bool // and no row of it is zero, so that the rows that add up to a figure say what each unit has in it
	present bool // it is NULL in no row of the relation
	orZero  bool // where sql is NULL, the value is zero
}

// term is coefficient · product of atoms with whole exponents.
type term struct {
	coefficient float64
	exponents   map[string]int
}

type polynomial struct {
	terms  map[string]term // by canonical name; "" is the constant
	known  map[string]atom
	column string // of a union's column as it is: what noise is drawn for of other figures than sums
}

const (
	maxDegree  = 2 // of one term, numerator and denominator each
	maxFactors = 3 // of a term without powers, as in price * (1 - discount) * (1 + tax)
	maxTerms   = 8

	maxCoefficient = 1e30 // larger ones say nothing of people, and figures of them no number can hold
)

// measure makes a polynomial of an atom that no other one has the values of.
func (c *checker) measure(a atom) polynomial {
	c.measures++
	a.id = "x" + itoa(c.measures)
	return polynomialOf(a)
}

func polynomialOf(a atom) polynomial {
	return polynomial{
		terms: map[string]term{a.id + "^1": {1, map[string]int{a.id: 1}}},
		known: map[string]atom{a.id: a},
	}
}

// keeps reports whether a cast to the type leaves a constant as it is. Where it does not, the polynomial would scale
// the noise by another number than the engine scales the value by, and the two could be told apart.
func (t typ) keeps(constant polynomial) bool {
	c := constant.terms[""].coefficient
	switch {
	case t.integer():
		return c == math.Trunc(c) && math.Abs(c) <= 1<<53
	case t.ID == "DECIMAL" && t.Info != nil:
		shifted := c * math.Pow10(t.Info.Scale)
		return math.Abs(shifted-math.Round(shifted)) <= 1e-9*math.Abs(shifted)
	}
	return t.ID == "DOUBLE"
}

func constantPolynomial(c float64) polynomial {
	return polynomial{terms: map[string]term{"": {coefficient: c}}}
}

// onlyAtom is the measure that the polynomial is as it is, if it is one.
func (p polynomial) onlyAtom() (atom, bool) {
	for _, t := range p.terms {
		if len(p.terms) != 1 || t.coefficient != 1 || len(t.exponents) != 1 {
			return atom{}, false
		}
		for id, e := range t.exponents {
			return p.known[id], e == 1
		}
	}
	return atom{}, false
}

func (p polynomial) isAtom() bool {
	_, alone := p.onlyAtom()
	return alone
}

// origin names a measure after what it is made of, so that its noise is the same wherever it goes on as a column. What
// is computed has its coefficients in the name: noise that is drawn for x and for -x alike would cancel.
func (p polynomial) origin() string {
	if p.isAtom() {
		return strings.TrimSuffix(p.drawnFor(p.terms[p.measures()[0]]), "^1")
	}
	var parts []string
	for _, t := range p.terms {
		parts = append(parts, strconv.FormatFloat(t.coefficient, 'g', -1, 64)+"*"+p.drawnFor(t))
	}
	slices.Sort(parts)
	return "of " + strings.Join(parts, "+")
}

// drawnFor is the name under which a term's noise is drawn: which measures are in it, and not in which columns or rows
// they are met.
func (p polynomial) drawnFor(t term) string {
	var parts []string
	for name, exponent := range p.powers(t) {
		if exponent != 1 {
			name = strings.TrimSuffix(name, "^1") + "^" + strconv.Itoa(exponent)
		}
		parts = append(parts, name)
	}
	slices.Sort(parts)
	return strings.Join(parts, "*")
}

// powers are the exponents of a term by what noise is drawn for, its denominator apart.
func (p polynomial) powers(t term) map[string]int {
	up, down := map[string]int{}, map[string]int{}
	for id, e := range t.exponents {
		if of := p.known[id].of; e > 0 {
			up[of] += e
		} else {
			down["1/"+of] -= e
		}
	}
	maps.Copy(up, down)
	return up
}

func (p polynomial) isZero() bool { return len(p.terms) == 0 }

func (p polynomial) atoms() []atom {
	var list []atom
	for _, id := range slices.Sorted(maps.Keys(p.known)) {
		list = append(list, p.known[id])
	}
	return list
}

// under gives the polynomial of a column after its relation was closed: its atoms are hidden columns now.
func (p polynomial) under(renamed map[string]string) polynomial {
	if p.isZero() {
		return p
	}
	n := polynomial{terms: p.terms, known: map[string]atom{}, column: p.column}
	for id := range p.known {
		a := p.known[id]
		a.sql, a.whole = renamed[id], ""
		n.known[id] = a
	}
	return n
}

// missing gives the polynomial of a column that rows may lack from now on.
func (p polynomial) missing() polynomial {
	n := polynomial{terms: p.terms, known: maps.Clone(p.known), column: p.column}
	for id, a := range n.known {
		a.present = false
		n.known[id] = a
	}
	return n
}

func (p polynomial) plus(q polynomial, sign float64) polynomial {
	sum := polynomial{terms: maps.Clone(p.terms), known: mergeAtoms(p, q)}
	for name, t := range q.terms {
		have := sum.terms[name]
		have.exponents = t.exponents
		have.coefficient += sign * t.coefficient
		sum.terms[name] = have
		if have.coefficient == 0 {
			delete(sum.terms, name)
		}
	}
	if len(sum.terms) == 0 {
		return constantPolynomial(0)
	}
	return sum
}

// times multiplies; ok is false where the product has no bound that the guard accepts.
func (p polynomial) times(q polynomial) (product polynomial, ok bool) {
	product = polynomial{terms: map[string]term{}, known: mergeAtoms(p, q)}
	for _, a := range p.terms {
		for _, b := range q.terms {
			t := term{a.coefficient * b.coefficient, maps.Clone(a.exponents)}
			if t.exponents == nil {
				t.exponents = map[string]int{}
			}
			for id, e := range b.exponents {
				t.exponents[id] += e
				if t.exponents[id] == 0 {
					delete(t.exponents, id)
				}
			}
			have := product.terms[t.name()]
			t.coefficient += have.coefficient
			product.terms[t.name()] = t
		}
	}
	return product, product.bounded()
}

// over divides by a single term; division by a sum would let a constant be varied without end.
func (p polynomial) over(q polynomial) (quotient polynomial, ok bool) {
	if len(q.terms) != 1 {
		return polynomial{}, false
	}
	for _, t := range q.terms {
		if t.coefficient == 0 {
			return polynomial{}, false
		}
		inverse := term{1 / t.coefficient, map[string]int{}}
		for id, e := range t.exponents {
			inverse.exponents[id] = -e
		}
		return p.times(polynomial{terms: map[string]term{inverse.name(): inverse}, known: q.known})
	}
	return polynomial{}, false
}

func (p polynomial) bounded() bool {
	if len(p.terms) > maxTerms {
		return false
	}
	for _, t := range p.terms {
		if size := math.Abs(t.coefficient); size > maxCoefficient || size != 0 && size < 1/maxCoefficient {
			return false
		}
		up, down, power := 0, 0, 0
		for _, e := range t.exponents {
			up += max(e, 0)
			down += max(-e, 0)
		}
		for _, e := range p.powers(t) { // of a measure, in whichever columns
			power = max(power, e)
		}
		if up > maxDegree && (up > maxFactors || power > 1 || down > 0) || down > maxDegree {
			return false
		}
	}
	return true
}

func (t term) name() string {
	var parts []string
	for _, id := range slices.Sorted(maps.Keys(t.exponents)) {
		parts = append(parts, id+"^"+strconv.Itoa(t.exponents[id]))
	}
	return strings.Join(parts, "*")
}

// sql writes the term without its coefficient, as DOUBLE.
func (p polynomial) termSQL(t term) string {
	var up, down []string
	for _, id := range slices.Sorted(maps.Keys(t.exponents)) {
		for range max(t.exponents[id], 0) {
			up = append(up, p.known[id].sql)
		}
		for range max(-t.exponents[id], 0) {
			down = append(down, p.known[id].sql)
		}
	}
	if len(up) == 0 {
		up = []string{"1.0::DOUBLE"}
	}
	sql := "(" + strings.Join(up, " * ") + ")"
	for _, d := range down {
		sql = "(" + sql + " / NULLIF(" + d + ", 0))"
	}
	return sql
}

// asPolynomial renders arithmetic in floating point as the polynomial whose parts noise is drawn for. The two differ by what the
// engine rounds on the way: (x + 1e17) - 1e17 is x in steps of sixteen, and the sums of both would carry the same noise.
func (c *checker) asPolynomial(v value) string {
	a, alone := v.poly.onlyAtom()
	if c.mode != policy.Perturbed || v.typ.ID != "DOUBLE" && v.typ.ID != "FLOAT" || v.sort != measureValue || alone && (a.orZero || a.sql == "CAST("+v.sql+" AS DOUBLE)") {
		return v.sql
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(v.poly.terms)) {
		t := v.poly.terms[name]
		parts = append(parts, fmt.Sprintf("CAST(%s AS DOUBLE) * %s", strconv.FormatFloat(t.coefficient, 'g', -1, 64), v.poly.termSQL(t)))
	}
	t, _ := v.typ.sql()
	return "CASE WHEN " + v.sql + " IS NOT NULL THEN TRY_CAST(TRY(" + strings.Join(parts, " + ") + ") AS " + t + ") END"
}

// measures are the terms that are no constant, in canonical order.
func (p polynomial) measures() []string {
	names := slices.Sorted(maps.Keys(p.terms))
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func mergeAtoms(p, q polynomial) map[string]atom {
	all := maps.Clone(p.known)
	if all == nil {
		all = map[string]atom{}
	}
	for id, a := range q.known {
		if b, twice := all[id]; twice {
			a.bound = a.bound.greater(b.bound)
			a.even, a.present = a.even && b.even, a.present && b.present
			if a.block != b.block {
				a.bound = Bound{}
			}
		}
		all[id] = a
	}
	return all
}
