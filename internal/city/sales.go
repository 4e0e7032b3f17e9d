package city

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// sale is one flat that changes hands.
type sale struct {
	on            day
	story         story
	buyer, seller int32
	property      int32 // number of the flat, counted from 0 in the order of first sale
	street        int16
	rooms, built  int16
	newBuild      bool
	area, price   float64 // square metres, yuan
	unitPrice     float64 // yuan per square metre
}

// story says which of the demonstration's stories a sale belongs to.
type story uint8

const (
	ordinary story = iota
	quiet
	dominant // sold by the dominant seller
	minor    // sold by one of the few others in that district
)

// season is how many sales each month sees beside the others: few at the Spring Festival, many in "golden September".
var season = cumulate(7, 4, 10, 9, 9, 8, 8, 8, 11, 10, 9, 8)

// market draws the sales in the order of their dates.
type market struct {
	*generator
	dice
	levels    []float64 // price level at the end of each year, the last being 1
	charm     []float64 // of each street, beside its district's price
	open      []float64 // cumulative weights of the streets that take part in ordinary sales
	investors []int32
	often     []float64 // how often each investor sells
	dominant  int32     // the dominant seller
	flats     int32
	recent    []sale // a ring of earlier sales whose buyers may sell again
	sold      int
}

// resaleMemory is how many earlier sales the resale of a flat is drawn from.
const resaleMemory = 1 << 14

func (g *generator) newMarket() *market {
	m := &market{generator: g, dice: g.dice("sales")}
	m.levels = make([]float64, g.years())
	level := 1.0
	for i := range m.levels {
		y := len(m.levels) - 1 - i
		m.levels[y] = level
		level /= 1 + g.Sales.YearlyGrowth[y]
	}
	var weights []float64
	for _, s := range g.streets {
		d := g.Districts[s.district]
		weight := d.Share / float64(len(d.Streets))
		if d.Name == g.Stories.DominantSeller.District || s.name == g.Stories.QuietStreet.Street && d.Name == g.Stories.QuietStreet.District {
			weight = 0
		}
		weights = append(weights, weight)
		m.charm = append(m.charm, m.normal(1, 0.07, 0.86, 1.16))
	}
	m.open = cumulate(weights...)
	var often []float64
	for i := range g.scaled(g.Sales.Investors) {
		m.investors = append(m.investors, m.adult(g.AsOf-daysOf(8), 24, 65))
		often = append(often, 1/float64(i+6))
	}
	m.often = cumulate(often...)
	m.dominant = m.adult(g.AsOf-daysOf(8), 30, 55)
	return m
}

// calendar lists what is sold when.
func (m *market) calendar() []sale {
	var all []sale
	add := func(n int, s story, first int) {
		for range n {
			on := m.saleDay(first)
			for on > m.AsOf {
				on = m.saleDay(first)
			}
			all = append(all, sale{on: on, story: s})
		}
	}
	last := m.AsOf.year()
	for y := m.Sales.FirstYear; y <= last; y++ {
		for range m.scaled(m.Sales.PerYear) {
			if on := m.dayOf(y); on <= m.AsOf {
				all = append(all, sale{on: on})
			}
		}
	}
	recent := max(m.Sales.FirstYear, last-4) // the district of the dominant seller is new
	add(m.Stories.QuietStreet.Sales, quiet, m.Sales.FirstYear)
	add(m.Stories.DominantSeller.Sales, dominant, recent)
	add(m.Stories.DominantSeller.Others, minor, recent)
	slices.SortStableFunc(all, func(a, b sale) int { return cmp.Compare(a.on, b.on) })
	return all
}

func (m *market) saleDay(first int) day { return m.dayOf(m.between(first, m.AsOf.year())) }

func (m *market) dayOf(year int) day {
	return date(year, time.Month(1+m.pick(season)), m.between(1, 28))
}

// adult draws somebody whose age on that day lies between the bounds.
func (m *market) adult(on day, least, most int) int32 {
	for {
		i := m.IntN(len(m.people))
		if age := m.people[i].birth.yearsUntil(on); age >= least && age <= most {
			return int32(i)
		}
	}
}

// purchaser draws a buyer: mostly between 25 and 45, and more often with a good income.
func (m *market) purchaser(on day) int32 {
	for {
		i := m.adult(on, 21, 76)
		willing := 0.12
		switch age := m.people[i].birth.yearsUntil(on); {
		case age >= 25 && age <= 45:
			willing = 1
		case age > 45 && age <= 60:
			willing = 0.4
		}
		if m.chance(willing * min(1, 0.05+float64(m.people[i].income)/110000)) {
			return i
		}
	}
}

// complete draws who sells which flat to whom, and for how much.
func (m *market) complete(s sale) sale {
	s.buyer = m.purchaser(s.on)
	if s.story == ordinary && m.chance(m.Sales.ResaleShare) && len(m.recent) > 0 {
		old := m.recent[m.IntN(len(m.recent))]
		if old.buyer != s.buyer && s.on-old.on > 540 {
			s.seller, s.property, s.street, s.area, s.rooms, s.built = old.buyer, old.property, old.street, old.area, old.rooms, old.built
			return m.value(s)
		}
	}
	s.property = m.flats
	m.flats++
	s.street = m.where(s)
	s.newBuild = s.story == dominant || s.story == ordinary && m.chance(m.Sales.NewBuildShare)
	s.built = int16(s.on.year())
	if !s.newBuild {
		s.built = int16(max(1978, s.on.year()-1-int(m.normal(14, 9, 0, 45))))
	}
	s.area = m.size(s)
	s.rooms = int16(max(1, min(8, math.Round(s.area/33+m.normal(0, 0.45, -1, 1)))))
	s.seller = m.vendor(s)
	return m.value(s)
}

func (m *market) where(s sale) int16 {
	switch s.story {
	case quiet:
		return m.streetOf(func(x street) bool {
			return x.name == m.Stories.QuietStreet.Street && m.Districts[x.district].Name == m.Stories.QuietStreet.District
		})
	case dominant, minor:
		return m.streetOf(func(x street) bool { return m.Districts[x.district].Name == m.Stories.DominantSeller.District })
	}
	home := m.people[s.buyer].street
	closed := m.open[home] == 0 || home > 0 && m.open[home] == m.open[home-1]
	if !closed && m.chance(0.5) { // people like to stay
		return home
	}
	return int16(m.pick(m.open))
}

// streetOf draws one of the streets that fit; the parameters are checked to have one.
func (m *market) streetOf(fits func(street) bool) int16 {
	var fitting []int16
	for i, s := range m.streets {
		if fits(s) {
			fitting = append(fitting, int16(i))
		}
	}
	return fitting[m.IntN(len(fitting))]
}

func (m *market) size(s sale) float64 {
	area := 0.0
	switch s.story {
	case dominant:
		area = m.normal(128, 22, 80, 240)
	case minor:
		area = m.normal(70, 9, 45, 95)
	default:
		means := math.Log(float64(m.people[s.buyer].income+20000) / 90000)
		area = m.normal(90*(1+float64(0.16*means)), 22, 32, 280)
	}
	return math.Round(area*100) / 100
}

func (m *market) vendor(s sale) int32 {
	if s.story == dominant {
		return m.dominant
	}
	for {
		seller := m.adult(s.on, 24, 85)
		if s.story == ordinary && m.chance(m.Sales.InvestorShare) {
			seller = m.investors[m.pick(m.often)]
		}
		if seller != s.buyer && seller != m.dominant {
			return seller
		}
	}
}

// value sets the price: that of the district and the year, of the street, the age of the house and of chance.
func (m *market) value(s sale) sale {
	year := s.on.year() - m.Sales.FirstYear
	growth := m.Sales.YearlyGrowth[year]
	passed := float64(s.on-date(s.on.year(), time.January, 1)) / daysPerYear
	level := m.levels[year] * (1 - float64(growth*(1-passed)))
	wear := max(0.62, 1-float64(0.0085*float64(s.on.year()-int(s.built))))
	if s.newBuild {
		wear = 1.07
	}
	base := float64(m.Districts[m.streets[s.street].district].Price)
	s.unitPrice = math.Round(min(base*level*m.charm[s.street]*wear*m.factor(0.11), 100_000)*100) / 100
	s.price = math.Round(min(s.area*s.unitPrice, 60_000_000)/100) * 100
	return s
}

// remember keeps a sale for a later resale of the same flat.
func (m *market) remember(s sale) {
	if s.story != ordinary {
		return
	}
	if len(m.recent) < resaleMemory {
		m.recent = append(m.recent, s)
		return
	}
	m.recent[m.sold%resaleMemory] = s
	m.sold++
}

func (g *generator) writeSales() error {
	sales, err := g.table("property_sales")
	if err != nil {
		return err
	}
	loans, err := g.table("mortgages")
	if err != nil {
		return errors.Join(err, sales.close())
	}
	if err := errors.Join(g.newMarket().trade(sales, loans), sales.close(), loans.close()); err != nil {
		return fmt.Errorf("write property_sales and mortgages: %w", err)
	}
	g.record("property_sales", sales.rows)
	g.record("mortgages", loans.rows)
	return nil
}

// trade writes every sale and the loan that paid for it.
func (m *market) trade(sales, loans *table) error {
	lender := newLender(m.generator)
	for i, planned := range m.calendar() {
		s := m.complete(planned)
		m.remember(s)
		place := m.streets[s.street]
		id := number(2_000_000 + i)
		property := fmt.Sprintf("CY%s%08d", m.Districts[place.district].Code, int64(s.property)*7_368_787%100_000_000)
		err := sales.row(id, property, number(residentNumber(s.buyer)), number(residentNumber(s.seller)),
			s.on.String(), number(s.on.year()), m.Districts[place.district].Name, place.name,
			decimal(s.area, 2), decimal(s.price, 2), decimal(s.unitPrice, 2), number(int(s.rooms)), number(int(s.built)), flag(s.newBuild))
		if err != nil {
			return err
		}
		if err := lender.lend(loans, id, s); err != nil {
			return err
		}
	}
	return nil
}

func flag(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
