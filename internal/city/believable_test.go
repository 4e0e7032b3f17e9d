package city

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestCorrelations checks that the city behaves as one: each case gives groups in the order in which a mean must rise.
func TestCorrelations(t *testing.T) {
	p := parameters(t, 0.15)
	sets := generate(t, p)
	story := p.Stories.DominantSeller.District
	var districts []string
	for _, d := range p.Districts {
		if d.Name != story {
			districts = append(districts, d.Name)
		}
	}
	slices.SortFunc(districts, func(a, b string) int {
		return p.Districts[p.district(a)].Price - p.Districts[p.district(b)].Price
	})
	for _, c := range []struct {
		set, of, by string
		rising      []string
	}{
		{"property_sales", "unit_price", "district", districts},
		{"property_sales", "price", "rooms", []string{"1", "2", "3", "4", "5"}},
		{"property_sales", "unit_price", "is_new_build", []string{"false", "true"}},
		{"property_sales", "unit_price", "sale_year", []string{"2018", "2019", "2021"}},
		{"property_sales", "unit_price", "sale_year", []string{"2025", "2023", "2021"}},
		{"mortgages", "loan_amount", "district", districts},
		{"mortgages", "interest_rate", "granted_year", []string{"2026", "2024", "2022", "2018"}},
		{"mortgages", "loan_amount", "overdue", []string{"false", "true"}},
		{"residents", "annual_income", "education", []string{"学龄前", "高中", "本科", "研究生"}},
		{"residents", "annual_income", "occupation", []string{"待业", "农业劳动者", "办公室职员", "软件工程师"}},
		{"residents", "age", "marital_status", []string{"未婚", "已婚", "丧偶"}},
		{"marriages", "age_a", "kind", []string{"结婚", "离婚"}},
		{"domestic_workers", "hourly_wage", "service_type", []string{"钟点工", "养老护理", "育儿嫂", "月嫂"}},
	} {
		means := sets[c.set].average(t, c.of, c.by)
		for i := 1; i < len(c.rising); i++ {
			if lower, higher := means[c.rising[i-1]], means[c.rising[i]]; !(lower < higher) {
				t.Errorf("%s: mean %s is %.1f for %s %s and %.1f for %s", c.set, c.of, lower, c.by, c.rising[i-1], higher, c.rising[i])
			}
		}
	}
	women := 0
	for _, w := range sets["residents"].column(t, "sex") {
		if w == "女" {
			women++
		}
	}
	if share := float64(women) / float64(len(sets["residents"].rows)); share < 0.47 || share > 0.53 {
		t.Errorf("%.3f of the residents are women", share)
	}
}

// TestAgesAreLawful checks the ages of people when they act, against their dates of birth.
func TestAgesAreLawful(t *testing.T) {
	sets := generate(t, parameters(t, 0.06))
	births := map[string]day{}
	dates := sets["residents"].column(t, "birth_date")
	for i, id := range sets["residents"].column(t, "resident_id") {
		births[id] = parseDay(t, dates[i])
	}
	for _, c := range []struct {
		set, person, on string
		least, most     int
	}{
		{"property_sales", "buyer_id", "sale_date", 18, 80},
		{"property_sales", "seller_id", "sale_date", 18, 90},
		{"mortgages", "borrower_id", "granted_on", 18, 65},
		{"marriages", "spouse_a", "registered_on", 22, 100}, // Civil Code, art. 1047
		{"marriages", "spouse_b", "registered_on", 20, 100},
		{"domestic_workers", "worker_id", "registered_on", 16, 65},
	} {
		on := sets[c.set].column(t, c.on)
		for i, id := range sets[c.set].column(t, c.person) {
			if age := births[id].yearsUntil(parseDay(t, on[i])); age < c.least || age > c.most {
				t.Fatalf("%s row %d: %s is %d years old", c.set, i+1, c.person, age)
			}
		}
	}
	amounts, rest := sets["mortgages"].column(t, "loan_amount"), sets["mortgages"].column(t, "outstanding")
	for i := range amounts {
		if toNumber(t, rest[i]) > toNumber(t, amounts[i]) {
			t.Fatalf("loan %d: more is outstanding than was lent", i+1)
		}
	}
}

func TestStories(t *testing.T) {
	for _, scale := range []float64{0.02, 0.1} { // the stories are told at every scale
		p := parameters(t, scale)
		sets := generate(t, p)
		sales := sets["property_sales"]
		prices, sellers := sales.column(t, "price"), sales.column(t, "seller_id")
		districts, streets := sales.column(t, "district"), sales.column(t, "street")
		quiet := 0
		turnover := map[string]float64{}
		for i := range prices {
			if districts[i] == p.Stories.QuietStreet.District && streets[i] == p.Stories.QuietStreet.Street {
				quiet++
			}
			if districts[i] == p.Stories.DominantSeller.District {
				turnover[sellers[i]] += toNumber(t, prices[i])
			}
		}
		if quiet != p.Stories.QuietStreet.Sales || quiet == 0 {
			t.Errorf("scale %g: the quiet street has %d sales, want %d", scale, quiet, p.Stories.QuietStreet.Sales)
		}
		// The p% rule with p = 10: what remains without the two largest is less than a tenth of the largest.
		shares := make([]float64, 0, len(turnover))
		for _, x := range turnover {
			shares = append(shares, x)
		}
		slices.SortFunc(shares, func(a, b float64) int { return int(b - a) })
		rest := 0.0
		for _, x := range shares[2:] {
			rest += x
		}
		if len(shares) < 10 || rest >= 0.1*shares[0] {
			t.Errorf("scale %g: %d sellers, the largest with %.0f beside %.0f of the rest: not dominant, or withheld for its size", scale, len(shares), shares[0], rest)
		}
		rare := 0
		home := sets["residents"].column(t, "district")
		for i, o := range sets["residents"].column(t, "occupation") {
			if o == p.Stories.RareOccupation.Name {
				rare++
				if home[i] != p.Stories.RareOccupation.District {
					t.Errorf("scale %g: the rare occupation lives in %s", scale, home[i])
				}
			}
		}
		if rare != p.Stories.RareOccupation.Residents || rare == 0 {
			t.Errorf("scale %g: %d people have the rare occupation, want %d", scale, rare, p.Stories.RareOccupation.Residents)
		}
	}
}

// TestAnnuity checks the balance against paying month by month.
func TestAnnuity(t *testing.T) {
	for _, c := range []struct {
		amount, rate float64
		term, paid   int
	}{{600000, 4.05, 360, 0}, {600000, 4.05, 360, 37}, {300000, 5.4, 120, 119}, {300000, 5.4, 120, 120}, {300000, 5.4, 120, 140}} {
		monthly, got := annuity(c.amount, c.rate, c.term, c.paid)
		want := c.amount
		for range min(c.paid, c.term) {
			want += want*c.rate/1200 - monthly
		}
		if diff := got - want; diff > 0.02 || diff < -0.02 {
			t.Errorf("%+v: %.2f outstanding, want %.2f", c, got, want)
		}
	}
}

func parseDay(t *testing.T, text string) day {
	t.Helper()
	parsed, err := time.Parse(time.DateOnly, text)
	if err != nil {
		t.Fatal(err)
	}
	return date(parsed.Year(), parsed.Month(), parsed.Day())
}

func toNumber(t *testing.T, text string) float64 {
	t.Helper()
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x
}
