package city

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml"
)

// Parameters are what a city is invented from. Scale multiplies the population, sales, investors and workers.
type Parameters struct {
	City       string     `yaml:"city"`
	Seed       uint64     `yaml:"seed"`
	Scale      float64    `yaml:"scale"`
	AsOf       day        `yaml:"as_of"`      // ages, balances and marital status are as of this day
	Population int        `yaml:"population"` // reached with the household that completes it
	Sales      Sales      `yaml:"sales"`
	Marriages  Marriages  `yaml:"marriages"`
	Workers    int        `yaml:"workers"`
	Agencies   int        `yaml:"agencies"`
	Banks      []string   `yaml:"banks"` // the largest first
	Districts  []District `yaml:"districts"`
	Stories    Stories    `yaml:"stories"`
}

// Sales says how flats change hands. The last year is that of AsOf.
type Sales struct {
	PerYear       int       `yaml:"per_year"`
	FirstYear     int       `yaml:"first_year"`
	MortgageShare float64   `yaml:"mortgage_share"`
	NewBuildShare float64   `yaml:"new_build_share"`
	ResaleShare   float64   `yaml:"resale_share"` // of sales whose seller had bought the same flat earlier
	Investors     int       `yaml:"investors"`    // people who sell many times
	InvestorShare float64   `yaml:"investor_share"`
	YearlyGrowth  []float64 `yaml:"yearly_growth"` // of prices during each year, as a fraction
	LendingRate   []float64 `yaml:"lending_rate"`  // of each year, in per cent
}

// Marriages says which part of the couples stands in the register.
type Marriages struct {
	FirstYear       int     `yaml:"first_year"`
	RegisteredShare float64 `yaml:"registered_share"`
	ReissuedShare   float64 `yaml:"reissued_share"`
}

// District is a part of the city.
type District struct {
	Name    string  `yaml:"name"`
	English string  `yaml:"english"`
	Code    string  `yaml:"code"`  // two digits, in identity numbers after the region 99
	Share   float64 `yaml:"share"` // of the population
	AreaKM2 float64 `yaml:"area_km2"`
	Price   int     `yaml:"price"` // yuan per square metre as of the day of the data
	Streets Weights `yaml:"streets"`
}

// Stories are the places that the demonstration points at.
type Stories struct {
	QuietStreet struct {
		District string `yaml:"district"`
		Street   string `yaml:"street"`
		Sales    int    `yaml:"sales"` // all that there ever were: fewer than a cell may hold
	} `yaml:"quiet_street"`
	DominantSeller struct {
		District string `yaml:"district"`
		Sales    int    `yaml:"sales"`  // of one seller
		Others   int    `yaml:"others"` // each of another seller
	} `yaml:"dominant_seller"`
	RareOccupation struct {
		Name      string `yaml:"name"`
		District  string `yaml:"district"`
		Residents int    `yaml:"residents"`
	} `yaml:"rare_occupation"`
}

// Weight is a name and how often it is drawn beside the others.
type Weight struct {
	Name  string
	Value float64
}

// Weights is written as a YAML mapping; its order counts, since the draw depends on it.
type Weights []Weight

// UnmarshalYAML reads a mapping from names to positive numbers.
func (w *Weights) UnmarshalYAML(text []byte) error {
	var pairs yaml.MapSlice
	if err := yaml.Unmarshal(text, &pairs); err != nil {
		return err
	}
	for _, pair := range pairs {
		name, isText := pair.Key.(string)
		var value float64
		switch n := pair.Value.(type) {
		case uint64:
			value = float64(n)
		case float64:
			value = n
		}
		if !isText || name == "" || !(value > 0) || math.IsInf(value, 0) {
			return errors.New("weights are names with a positive number each")
		}
		if slices.ContainsFunc(*w, func(x Weight) bool { return x.Name == name }) {
			return fmt.Errorf("weight of %s is given twice", name)
		}
		*w = append(*w, Weight{name, value})
	}
	return nil
}

func (w Weights) cumulative() []float64 {
	values := make([]float64, len(w))
	for i := range w {
		values[i] = w[i].Value
	}
	return cumulate(values...)
}

// Load reads parameters from a file.
func Load(file string) (Parameters, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Parameters{}, err
	}
	return Parse(text)
}

// Parse reads parameters and refuses fields that it does not know and values that make no city.
func Parse(text []byte) (Parameters, error) {
	var p Parameters
	if err := yaml.UnmarshalWithOptions(text, &p, yaml.Strict()); err != nil {
		return Parameters{}, fmt.Errorf("city parameters: %w", err)
	}
	return p, p.validate()
}

// scaled is a count at the chosen scale, one at least.
func (p Parameters) scaled(n int) int { return max(1, int(math.Round(float64(n)*p.Scale))) }

// years is the number of calendar years that sales cover, the last one perhaps in part.
func (p Parameters) years() int { return p.AsOf.year() - p.Sales.FirstYear + 1 }

// mostResidents is how many residents and households the eight-digit numbers can tell apart.
const mostResidents = 40_000_000

func (p Parameters) validate() error {
	checks := []struct {
		ok   bool
		must string
	}{
		{p.City != "", "city needs a name"},
		{p.Scale > 0 && p.Scale*float64(p.Population) <= mostResidents, "scale must be positive and leave at most 40 million residents"},
		{p.Population >= 1000 && p.scaled(p.Population) >= 1000, "population must be 1000 or more at the chosen scale"},
		{p.Sales.PerYear > 0 && p.Sales.Investors > 0, "sales need a positive number a year and investors"},
		{p.years() >= 1 && p.years() <= 60, "sales must begin at most 60 years before as_of"},
		{len(p.Sales.YearlyGrowth) == p.years() && len(p.Sales.LendingRate) == p.years(), "yearly_growth and lending_rate need a value for each year of sales"},
		{p.Marriages.FirstYear >= 1950 && p.Marriages.FirstYear <= p.AsOf.year(), "marriages must begin between 1950 and as_of"},
		{p.Workers > 0 && p.Workers*20 <= p.Population, "workers must be between 1 and a twentieth of the population"},
		{p.Agencies >= 1 && p.Agencies <= mostAgencies, "agencies must be between 1 and 400"},
		{len(p.Banks) > 0 && len(p.Districts) > 0, "a city needs banks and districts"},
		{p.Stories.QuietStreet.Sales >= 0 && p.Stories.DominantSeller.Sales >= 0 && p.Stories.DominantSeller.Others >= 0 && p.Stories.RareOccupation.Residents >= 0, "stories count from 0"},
	}
	for _, c := range checks {
		if !c.ok {
			return errors.New("city parameters: " + c.must)
		}
	}
	for _, share := range []float64{p.Sales.MortgageShare, p.Sales.NewBuildShare, p.Sales.ResaleShare, p.Sales.InvestorShare, p.Marriages.RegisteredShare, p.Marriages.ReissuedShare} {
		if !(share >= 0 && share <= 1) {
			return errors.New("city parameters: a share lies between 0 and 1")
		}
	}
	return p.validatePlaces()
}

func (p Parameters) validatePlaces() error {
	seen := map[string]bool{}
	for _, d := range p.Districts {
		if seen[d.Name] || seen[d.Code] || !twoDigits(d.Code) || !(d.Share > 0) || d.Price <= 0 || !(d.AreaKM2 > 0) || len(d.Streets) == 0 {
			return fmt.Errorf("city parameters: district %q needs a name and a two-digit code of its own, a share, a price, an area and streets", d.Name)
		}
		seen[d.Name], seen[d.Code] = true, true
	}
	quiet := p.Stories.QuietStreet
	i := p.district(quiet.District)
	if i < 0 || !slices.ContainsFunc(p.Districts[i].Streets, func(w Weight) bool { return w.Name == quiet.Street }) {
		return errors.New("city parameters: the quiet street must be one of its district's streets")
	}
	if p.district(p.Stories.DominantSeller.District) < 0 || p.district(p.Stories.RareOccupation.District) < 0 {
		return errors.New("city parameters: a story's district must be one of the city's")
	}
	if quiet.District == p.Stories.DominantSeller.District {
		return errors.New("city parameters: the quiet street and the dominant seller need districts of their own")
	}
	return nil
}

func twoDigits(code string) bool {
	_, err := strconv.ParseUint(code, 10, 8)
	return err == nil && len(code) == 2
}

// district finds a district by its name; -1 when there is none.
func (p Parameters) district(name string) int {
	return slices.IndexFunc(p.Districts, func(d District) bool { return d.Name == name })
}
