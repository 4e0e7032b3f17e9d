package gateway_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// population is what an attacker works on, and what is true of it. The attacker knows who everybody is (their
// columns to filter by), and not the secret.
type population struct {
	table, manifest string
	secret          string   // the condition that holds for those who have the secret
	measure         string   // the sum that tells of one person's figure
	slice           []string // columns whose values together divide people into groups
	age, hours      string   // numbers that, within a group, tell most people apart
	people          []person
	targets         []int      // people whom nobody else is like; every other one has the secret
	slices          [][]int    // groups of some dozens of people
	known           []int      // others with the secret whom nobody else is like, and whom the attacker knows
	dice            *rand.Rand // of the attacker
	typical         int        // half of the targets have a larger figure
}

type person struct {
	who, slice         string // conditions
	secret             bool
	age, hours, figure int
}

// borough is generated: 2 000 people, of whom every other one has the flu, independently of everything else. So
// whatever an attacker knows better than by tossing a coin comes from the answers.
func borough() []byte {
	r := rand.New(rand.NewPCG(7, 11))
	text := "pid,age,hours,sex,job,street,illness,pay\n"
	for i := range 2000 {
		text += fmt.Sprintf("P%04d,%d,%d,%s,%s,%s,%s,%d\n", i, 20+r.IntN(60), 1+r.IntN(60), []string{"F", "M"}[r.IntN(2)],
			[]string{"baker", "miller", "smith", "clerk"}[r.IntN(4)], []string{"elm", "oak", "ash", "fir"}[r.IntN(4)],
			[]string{"flu", "none"}[r.IntN(2)], 1000+r.IntN(4000))
	}
	return []byte(text)
}

func boroughPopulation(t testing.TB, targets int) *population {
	content := borough()
	p := &population{
		table: "borough", secret: "illness = 'flu'", measure: "pay", age: "age", hours: "hours",
		slice: []string{"sex", "job", "street"},
	}
	p.manifest = dataFolder(t, p.table, content)
	p.read(t, content, func(row map[string]string) bool { return row["illness"] == "flu" }, targets)
	return p
}

// adultPopulation is the microdata beside the project. ok is false where there is none.
func adultPopulation(t testing.TB, targets int) (p *population, ok bool) {
	content, err := os.ReadFile(filepath.Join(shared, "data", "adult.csv"))
	if err != nil {
		return nil, false
	}
	p = &population{
		table: "adult", secret: "class = '>50K'", measure: "fnlwgt", age: "age", hours: "hours_per_week",
		slice: []string{"sex", "occupation", "education"},
	}
	p.manifest = dataFolder(t, p.table, content)
	p.read(t, content, func(row map[string]string) bool { return row["class"] == ">50K" }, targets)
	return p, true
}

// read takes the truth from the file, and chooses targets: people whom nobody else is like, as many with the
// secret as without.
func (p *population) read(t testing.TB, content []byte, secret func(map[string]string) bool, targets int) {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	alike, members := map[string]int{}, map[string][]int{}
	for _, fields := range rows[1:] {
		row := map[string]string{}
		for i, f := range fields {
			row[rows[0][i]] = f
		}
		one := person{who: condition(slices.Concat(p.slice, []string{p.age, p.hours}), row), slice: condition(p.slice, row), secret: secret(row)}
		for column, to := range map[string]*int{p.age: &one.age, p.hours: &one.hours, p.measure: &one.figure} {
			if *to, err = strconv.Atoi(row[column]); err != nil {
				t.Fatal(err)
			}
		}
		alike[one.who]++
		members[one.slice] = append(members[one.slice], len(p.people))
		p.people = append(p.people, one)
	}
	p.dice = rand.New(rand.NewPCG(1, uint64(len(p.people))))
	p.choose(t, alike, members, targets)
}

// choose takes targets from as few groups as there must be, half of them with the secret, and remembers whom else
// nobody is like.
func (p *population) choose(t testing.TB, alike map[string]int, members map[string][]int, targets int) {
	t.Helper()
	const most = 5 // of one group, with the secret or without it
	wanted := map[bool]int{true: targets / 2, false: targets / 2}
	groups := slices.Sorted(maps.Keys(members))
	for _, g := range p.dice.Perm(len(groups)) {
		group := members[groups[g]]
		chosen := map[bool]int{}
		for _, i := range group {
			one := p.people[i]
			switch {
			case alike[one.who] > 1:
			case len(group) >= 40 && len(group) <= 150 && wanted[one.secret] > 0 && chosen[one.secret] < most:
				wanted[one.secret]--
				chosen[one.secret]++
				p.targets = append(p.targets, i)
			case one.secret:
				p.known = append(p.known, i)
			}
		}
		if len(chosen) > 0 {
			p.slices = append(p.slices, group)
		}
	}
	if len(p.targets) != targets/2*2 {
		t.Fatalf("%s has only %d targets", p.table, len(p.targets))
	}
	p.dice.Shuffle(len(p.targets), func(i, j int) { p.targets[i], p.targets[j] = p.targets[j], p.targets[i] })
	var figures []int
	for _, i := range p.targets {
		figures = append(figures, p.people[i].figure)
	}
	slices.Sort(figures)
	p.typical = figures[len(figures)/2]
}

// condition says in SQL that the columns have a row's values.
func condition(columns []string, row map[string]string) string {
	var parts []string
	for _, c := range columns {
		if _, err := strconv.Atoi(row[c]); err == nil {
			parts = append(parts, c+" = "+row[c])
		} else if row[c] == "" {
			parts = append(parts, c+" IS NULL")
		} else {
			parts = append(parts, c+" = '"+strings.ReplaceAll(row[c], "'", "''")+"'")
		}
	}
	return strings.Join(parts, " AND ")
}
