package city

import (
	"cmp"
	"slices"
	"time"
)

// registration is an entry of the marriage register.
type registration struct {
	couple
	on   day
	kind uint8
}

const (
	wedding = iota
	divorce
	reissue
)

var registrationKinds = []string{wedding: "结婚", divorce: "离婚", reissue: "补领"}

func (g *generator) writeMarriages() error {
	d := g.dice("marriages")
	register := slices.Concat(g.weddings(d), g.divorces(d))
	slices.SortStableFunc(register, func(a, b registration) int { return cmp.Compare(a.on, b.on) })
	return g.write("marriages", func(t *table) error {
		for i, r := range register {
			a, b := g.people[r.husband], g.people[r.wife]
			home := a.street
			if d.chance(0.3) {
				home = b.street
			}
			ageA, ageB := a.birth.yearsUntil(r.on), b.birth.yearsUntil(r.on)
			before := [2]int{earlierMarriages(d, a.birth.yearsUntil(r.wedding)), earlierMarriages(d, b.birth.yearsUntil(r.wedding))}
			lasted := ""
			if r.kind == divorce {
				lasted = number(r.wedding.yearsUntil(r.on))
			}
			err := t.row(number(7_000_000+i), number(residentNumber(r.husband)), number(residentNumber(r.wife)), r.on.String(), number(r.on.year()),
				g.Districts[g.streets[home].district].Name, registrationKinds[r.kind], number(ageA), number(ageB),
				number(before[0]), number(before[1]), lasted)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// weddings gives the couples of the city who married here since the register begins, and later certificates.
func (g *generator) weddings(d dice) []registration {
	var register []registration
	begin := date(g.Marriages.FirstYear, time.January, 1)
	for _, c := range g.couples {
		if c.wedding >= begin && d.chance(g.Marriages.RegisteredShare) {
			register = append(register, registration{c, c.wedding, wedding})
		}
		if from := max(begin, c.wedding+365); from < g.AsOf && d.chance(g.Marriages.ReissuedShare) {
			register = append(register, registration{c, from + day(d.IntN(int(g.AsOf-from))), reissue})
		}
	}
	return register
}

// divorces pairs divorced men and women of like age and gives their marriages an end.
func (g *generator) divorces(d dice) []registration {
	var men, women []int32
	for i, r := range g.people {
		switch {
		case r.marital != divorced:
		case r.female:
			women = append(women, int32(i))
		default:
			men = append(men, int32(i))
		}
	}
	older := func(a, b int32) int { return cmp.Compare(g.people[a].birth, g.people[b].birth) }
	slices.SortStableFunc(men, older)
	slices.SortStableFunc(women, older)
	var register []registration
	begin := date(g.Marriages.FirstYear, time.January, 1)
	n := min(len(men), len(women))
	for i := range n {
		c := couple{husband: men[i*len(men)/n], wife: women[i*len(women)/n]}
		a, b := g.people[c.husband].birth, g.people[c.wife].birth
		c.wedding = max(b+daysOf(d.normal(26, 3.6, 20.1, 45)), a+daysOf(22.1), b+daysOf(20.1))
		c.wedding = min(c.wedding, g.AsOf-365)
		end := c.wedding + daysOf(d.normal(8, 5, 0.4, 40))
		if end > g.AsOf {
			end = c.wedding + 120 + day(d.IntN(int(g.AsOf-c.wedding)-120))
		}
		if c.wedding >= begin && d.chance(g.Marriages.RegisteredShare) {
			register = append(register, registration{c, c.wedding, wedding})
		}
		if end >= begin {
			register = append(register, registration{c, end, divorce})
		}
	}
	return register
}

// earlierMarriages is how often somebody had been married who weds at that age.
func earlierMarriages(d dice, age int) int {
	p := min(0.5, max(0.008, float64(age-27)*0.02))
	switch x := d.Float64(); {
	case x < p*0.07:
		return 2
	case x < p:
		return 1
	default:
		return 0
	}
}
