package city

import "math"

// lender grants the loans that pay for sales.
type lender struct {
	*generator
	dice
	banks   []float64
	granted int
}

func newLender(g *generator) *lender {
	l := &lender{generator: g, dice: g.dice("mortgages")}
	weights := make([]float64, len(g.Banks))
	for i := range weights {
		weights[i] = 1 / float64(i+2)
	}
	l.banks = cumulate(weights...)
	return l
}

var terms = []int{120, 180, 240, 300, 360}
var termShares = cumulate(9, 14, 27, 12, 38)

// lend writes the loan for a sale, if the buyer takes one. The dice fall in the same way whether or not they do.
func (l *lender) lend(t *table, saleID string, s sale) error {
	buyer := l.people[s.buyer]
	on := s.on + day(l.between(6, 45))
	age := buyer.birth.yearsUntil(on)
	taken := l.chance(l.Sales.MortgageShare)
	term := terms[l.pick(termShares)]
	for term > terms[0] && age+term/12 > 75 {
		term -= 60
	}
	share := l.normal(0.58, 0.12, 0.2, 0.8)
	rate := max(0.5, math.Round((l.Sales.LendingRate[s.on.year()-l.Sales.FirstYear]+l.normal(0, 0.16, -0.4, 0.5))*100)/100)
	bank := l.Banks[l.pick(l.banks)]
	late := l.Float64()
	months := 1 + min(59, int(l.ExpFloat64()*4))
	if !taken || on > l.AsOf || age > 65 {
		return nil
	}
	amount := math.Round(s.price*share/10000) * 10000
	paid := (l.AsOf.year()-on.year())*12 + int(l.AsOf.time().Month()) - int(on.time().Month())
	monthly, rest := annuity(amount, rate, term, paid)
	burden := monthly * 12 / float64(buyer.income+24000)
	overdue := paid > 0 && late < min(0.3, 0.006+float64(0.07*max(0, burden-0.35)))
	if !overdue {
		months = 0
	}
	l.granted++
	return t.row(number(5_000_000+l.granted), number(residentNumber(s.buyer)), saleID, bank,
		l.Districts[l.streets[s.street].district].Name, on.String(), number(on.year()), decimal(amount, 2), decimal(rate, 2),
		number(term), decimal(rest, 2), flag(overdue), number(min(months, paid)))
}

// annuity gives the monthly payment of a loan and what is left of it after some payments.
func annuity(amount, yearlyPercent float64, term, paid int) (monthly, rest float64) {
	r := yearlyPercent / 1200
	growth := math.Pow(1+r, float64(term))
	monthly = amount * r * growth / (growth - 1)
	done := math.Pow(1+r, float64(min(paid, term)))
	rest = float64(amount*done) - float64(monthly*(done-1)/r)
	return monthly, math.Max(0, math.Round(rest*100)/100)
}
