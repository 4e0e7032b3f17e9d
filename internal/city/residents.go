package city

import (
	_ "embed" // the names that people bear
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
)

//go:embed names.yaml
var namesText []byte

// names is what people are called.
type names struct {
	Surnames    Weights      `yaml:"surnames"`
	Generations []generation `yaml:"generations"`
	common      []float64
}

// generation gives the characters of given names for people born before a year.
type generation struct {
	Until        int     `yaml:"until"`
	Single       float64 `yaml:"single"` // share of given names of one character
	MaleFirst    string  `yaml:"male_first"`
	MaleSecond   string  `yaml:"male_second"`
	FemaleFirst  string  `yaml:"female_first"`
	FemaleSecond string  `yaml:"female_second"`
}

func readNames() (names, error) {
	var n names
	if err := yaml.UnmarshalWithOptions(namesText, &n, yaml.Strict()); err != nil {
		return n, fmt.Errorf("names: %w", err)
	}
	n.common = n.Surnames.cumulative()
	return n, nil
}

func (n names) surname(d dice) string { return n.Surnames[d.pick(n.common)].Name }

func (n names) given(d dice, born int, female bool) string {
	for _, g := range n.Generations {
		if born >= g.Until {
			continue
		}
		first, second := []rune(g.MaleFirst), []rune(g.MaleSecond)
		if female {
			first, second = []rune(g.FemaleFirst), []rune(g.FemaleSecond)
		}
		last := string(second[d.IntN(len(second))])
		if d.chance(g.Single) {
			return last
		}
		return string(first[d.IntN(len(first))]) + last
	}
	return "安"
}

// residentNumber and householdNumber scatter indexes over eight digits, so that a number tells nothing about the
// household or the order of registration. Both multipliers are prime to the modulus, so no number comes twice.
func residentNumber(index int32) int64  { return 10_000_000 + int64(index)*55_621_847%90_000_000 }
func householdNumber(index int32) int64 { return 10_000_000 + int64(index)*34_376_303%90_000_000 }

// idCards issues identity numbers in the form of GB 11643-1999 that nobody can have: region 99 does not exist, and the
// check character is wrong. It counts how many have been issued for a district, a birthday and a sex.
type idCards map[idCardBatch]int16

type idCardBatch struct {
	district int16
	birth    day
	female   bool
}

// idCardsPerBatch is how many three-digit orders there are whose parity is that of one sex.
const idCardsPerBatch = 500

func (c idCards) issue(districts []District, district int, r resident) (string, error) {
	batch := idCardBatch{int16(district), r.birth, r.female}
	order := 2 * int(c[batch])
	if !r.female {
		order++
	}
	c[batch]++
	if c[batch] > idCardsPerBatch {
		return "", errors.New("more people with one birthday in a district than identity numbers")
	}
	body := fmt.Sprintf("99%s01%s%03d", districts[district].Code, r.birth.time().Format("20060102"), order)
	wrong := (checkDigit(body) + 1 + order%9) % 11
	return body + string("0123456789X"[wrong]), nil
}

// checkDigit is the check digit of GB 11643-1999 (ISO 7064, MOD 11-2) for seventeen digits, with 10 for X.
func checkDigit(body string) int {
	sum := 0
	for _, c := range body {
		sum = (sum + int(c-'0')) * 2 % 11
	}
	return (12 - sum) % 11
}

var remarks = []string{"租住", "常年外出务工", "户籍地与居住地不一致", "联系电话为亲属所有", "已办理居住证", "信息待核实"}

func (g *generator) writeResidents() error {
	n, err := readNames()
	if err != nil {
		return err
	}
	return g.write("residents", func(t *table) error {
		d, cards := g.dice("residents"), idCards{}
		household, surname := int32(-1), ""
		for i, r := range g.people {
			if r.household != household {
				household, surname = r.household, n.surname(d)
			}
			own := surname
			if !r.kin {
				own = n.surname(d)
			}
			age := r.birth.yearsUntil(g.AsOf)
			home := g.streets[r.street]
			card, err := cards.issue(g.Districts, home.district, r)
			if err != nil {
				return err
			}
			err = t.row(
				number(residentNumber(int32(i))), own+n.given(d, r.birth.year(), r.female), card, phone(d, age),
				number(householdNumber(r.household)), r.birth.String(), number(age), sex(r.female),
				g.Districts[home.district].Name, home.name,
				educations[r.education], g.occupationName(r.occupation), maritalStatus[r.marital],
				number(r.income), remark(d))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func sex(female bool) string {
	if female {
		return "女"
	}
	return "男"
}

// phone is a number under the prefix 129, which no operator has; some of the youngest and oldest have none.
func phone(d dice, age int) string {
	n := fmt.Sprintf("129%08d", d.IntN(100_000_000))
	if age < 12 || age > 80 && d.chance(0.4) {
		return ""
	}
	return n
}

func remark(d dice) string {
	if !d.chance(0.04) {
		return ""
	}
	return remarks[d.IntN(len(remarks))]
}
