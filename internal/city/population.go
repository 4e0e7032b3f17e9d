package city

import (
	"cmp"
	"fmt"
	"slices"
)

// street is a street with the district that it lies in.
type street struct {
	name     string
	district int
}

// resident is what the rest of the city needs to know of a person. Names and numbers are drawn when the person is
// written, since nothing else depends on them.
type resident struct {
	birth      day
	income     int32 // yuan a year
	household  int32
	street     int16
	education  uint8
	occupation uint8
	marital    uint8
	female     bool
	kin        bool // bears the surname of the household's first person
}

// couple is a married pair, by index into the people.
type couple struct {
	husband, wife int32
	wedding       day
}

const (
	unmarried = iota
	married
	divorced
	widowed
)

var maritalStatus = []string{unmarried: "未婚", married: "已婚", divorced: "离异", widowed: "丧偶"}

// The kinds of household, and how many of each there are beside the others.
const (
	youngSingle = iota
	pair
	family
	threeGenerations
	singleParent
	widowedElder
	divorcedAlone
)

var householdKinds = cumulate(16, 28, 32, 9, 6, 7, 6)

const daysPerYear = 365.2425

func daysOf(years float64) day { return day(float64(years * daysPerYear)) }

// populate fills the city with households until the population is reached.
func (g *generator) populate() {
	var weights []float64
	for i, d := range g.Districts {
		total := d.Streets.cumulative()[len(d.Streets)-1]
		for _, s := range d.Streets {
			g.streets = append(g.streets, street{s.Name, i})
			weights = append(weights, float64(d.Share*s.Value)/total)
		}
	}
	streets := cumulate(weights...)
	h := household{generator: g, dice: g.dice("population")}
	for target := g.scaled(g.Population); len(g.people) < target; h.number++ {
		h.street = int16(h.pick(streets))
		h.settle()
	}
}

// household is the household that is moving in.
type household struct {
	*generator
	dice
	number int32
	street int16
}

// settle adds the people of one household.
func (h *household) settle() {
	switch kind := h.pick(householdKinds); kind {
	case youngSingle:
		h.join(h.aged(h.normal(28, 6, 18, 60)), h.chance(0.47), unmarried, true)
	case pair:
		h.marry(h.normal(54, 15, 27, 88))
	case family, threeGenerations:
		wed := h.marry(h.normal(40, 8.5, 27, 58))
		h.children(wed.wedding, 1+h.pick(cumulate(62, 33, 5)))
		if kind == threeGenerations {
			h.elder(h.people[wed.husband].birth)
		}
	case singleParent:
		age := h.normal(41, 7, 28, 58)
		birth := h.aged(age)
		h.join(birth, h.chance(0.62), divorced, true)
		h.children(birth+daysOf(h.normal(26, 3, 20, age-1)), 1+h.pick(cumulate(85, 15)))
	case widowedElder:
		h.join(h.aged(h.normal(76, 8, 55, 99)), h.chance(0.72), widowed, true)
	case divorcedAlone:
		h.join(h.aged(h.normal(46, 11, 28, 78)), h.chance(0.44), divorced, true)
	}
}

// aged is the birthday of somebody who is about that old.
func (h *household) aged(years float64) day { return h.AsOf - daysOf(years) - day(h.IntN(200)) }

// marry adds a husband of about that age and his wife.
func (h *household) marry(age float64) couple {
	husband := h.join(h.aged(age), false, married, true)
	wife := h.join(h.aged(h.normal(age-1.9, 2.4, 24, 95)), true, married, false)
	education := float64(h.people[wife].education) // those who study longer marry later
	wedding := h.people[wife].birth + daysOf(h.normal(23.4+float64(0.55*education), 2.9, 20.2, 48))
	if h.chance(0.1) { // a later marriage, often not the first
		wedding += daysOf(h.normal(9, 5, 1, 25))
	}
	earliest := max(h.people[wife].birth+daysOf(20.1), h.people[husband].birth+daysOf(22.1)) // Civil Code, art. 1047
	wedding = max(wedding, earliest)
	if wedding > h.AsOf { // married young, or not married twice
		wedding = earliest + day(h.IntN(int(max(1, h.AsOf-earliest))))
	}
	c := couple{husband, wife, wedding}
	h.couples = append(h.couples, c)
	return c
}

// children adds those of up to n children who are born already and live at home still.
func (h *household) children(after day, n int) {
	birth := after
	for range n {
		birth += daysOf(h.normal(2.2, 1.1, 0.7, 6))
		if birth <= h.AsOf && birth.yearsUntil(h.AsOf) < 24 {
			h.join(birth, h.chance(0.475), unmarried, true)
		}
	}
}

// elder adds the husband's mother or father, or both.
func (h *household) elder(child day) {
	father := child - daysOf(h.normal(27.5, 3, 22, 40))
	mother := father + daysOf(h.normal(2, 2, -3, 6))
	switch h.IntN(3) {
	case 0:
		h.join(mother, true, widowed, false)
	case 1:
		h.join(father, false, widowed, true)
	default:
		a, b := h.join(father, false, married, true), h.join(mother, true, married, false)
		wedding := max(father+daysOf(22.1), mother+daysOf(20.1), child-daysOf(h.normal(1.6, 0.8, 0.8, 5)))
		h.couples = append(h.couples, couple{a, b, wedding})
	}
}

// join adds one person and decides on schooling, work and income.
func (h *household) join(birth day, female bool, marital uint8, kin bool) int32 {
	r := resident{birth: birth, household: h.number, street: h.street, marital: marital, female: female, kin: kin}
	age := birth.yearsUntil(h.AsOf)
	r.education = h.schooling(birth.year(), age)
	r.occupation = h.work(age, female, r.education)
	r.income = h.earn(age, r)
	h.people = append(h.people, r)
	return int32(len(h.people) - 1)
}

// employ draws the domestic workers among people who do simple work, before anybody is written, so that a worker's
// occupation and income agree in both data sets.
func (g *generator) employ() {
	d := g.dice("employ")
	wanted := min(g.scaled(g.Workers), len(g.people)/20)
	for _, i := range d.Perm(len(g.people)) {
		if len(g.workers) == wanted {
			break
		}
		r := &g.people[i]
		age := r.birth.yearsUntil(g.AsOf)
		simple := r.education >= primary && r.education <= vocational
		if age < 20 || age > 62 || !simple || r.occupation == student || !r.female && !d.chance(0.22) {
			continue
		}
		w := g.hire(d, int32(i), age)
		r.occupation = domestic
		r.income = int32(w.wage*d.normal(1650, 350, 500, 2800)) / 100 * 100
		g.workers = append(g.workers, w)
	}
	slices.SortFunc(g.workers, func(a, b worker) int { return cmp.Compare(a.since, b.since) })
}

// tellRareOccupation gives the rare occupation to its few people.
func (g *generator) tellRareOccupation() error {
	story := g.Stories.RareOccupation
	district := g.district(story.District)
	left := story.Residents
	d := g.dice("rare occupation")
	for _, i := range d.Perm(len(g.people)) {
		r := &g.people[i]
		if left > 0 && g.streets[r.street].district == district && r.occupation < ordinaryOccupations {
			r.occupation = rare
			left--
		}
	}
	if left > 0 {
		return fmt.Errorf("city: %s has too few people for its rare occupation", story.District)
	}
	return nil
}
