package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// attackPlay is one way to learn a bit about each of many people.
type attackPlay struct {
	name string
	run  func(t testing.TB, a *attacker) []guess
	pair bool // it lives on two sets of people that differ by the target
}

var attackPlays = []attackPlay{
	{"differencing of sums", differencing, true},
	{"leave one out", leaveOneOut(func(p *population, who string) string { return "NOT (" + who + ")" }), true},
	{"leave one out by semi join", leaveOneOut(func(p *population, who string) string {
		return fmt.Sprintf("pid IN (SELECT pid FROM %s WHERE NOT (%s))", p.table, who)
	}), true},
	{"tracker", tracker, true},
	{"is anything withheld", isAnythingWithheld, false},
	{"threshold, nine known", threshold, false},
	{"all others known, one question", knowingOthers(plainly, meanOf), false},
	{"all others known, spellings", knowingOthers(spelled, meanOf), false},
	{"all others known, splits", knowingOthers(split, meanOfPairs), false},
	{"all others known, joins", knowingOthers(joined, meanOf), false},
	{"reconstruction", reconstruction, false},
}

// aStory is as many targets as one operator attacks. Operators of the same data do not know of each other.
const aStory = 10

// differencing asks for a sum over one part of the target's group, and for the same without the target: people are
// put in order, and cut off just before and just after the target. The secret is here whether the target's figure is
// a large one.
func differencing(t testing.TB, a *attacker) []guess {
	p := a.on
	var guesses []guess
	for group := range slices.Chunk(p.targets, aStory) {
		var questions []question
		for _, i := range group {
			with, without := p.cuts(i)
			for _, cut := range []string{with, without} {
				questions = append(questions, question{"sum(" + p.measure + ")", p.table + " WHERE " + p.people[i].slice + " AND " + cut})
			}
		}
		figures := a.ask(t, fmt.Sprint("differencing ", group[0]), questions)
		for n, i := range group {
			with, without := figures[2*n], figures[2*n+1]
			guesses = append(guesses, guess{
				truth: p.people[i].figure > p.typical, signal: shownOf(with, without), says: with.value-without.value > float64(p.typical),
			})
		}
	}
	return guesses
}

// cuts are two conditions that differ by the target alone, on the side on which there are more people.
func (p *population) cuts(target int) (with, without string) {
	place := func(i int) int { return p.people[i].age*100 + p.people[i].hours }
	below := 0
	group := p.sliceOf(target)
	for _, i := range group {
		if place(i) < place(target) {
			below++
		}
	}
	cut := fmt.Sprintf("%s * 100 + %s %%s %d", p.age, p.hours, place(target))
	if 2*below > len(group) {
		return fmt.Sprintf(cut, "<="), fmt.Sprintf(cut, "<")
	}
	return fmt.Sprintf(cut, ">="), fmt.Sprintf(cut, ">")
}

func (p *population) sliceOf(person int) []int {
	i := slices.IndexFunc(p.slices, func(s []int) bool { return p.people[s[0]].slice == p.people[person].slice })
	return p.slices[i]
}

// leaveOneOut counts those who have the secret, and those of them who are not the target.
func leaveOneOut(but func(p *population, who string) string) func(testing.TB, *attacker) []guess {
	return func(t testing.TB, a *attacker) []guess {
		p := a.on
		var guesses []guess
		for group := range slices.Chunk(p.targets, aStory) {
			questions := []question{{"count(*)", p.table + " WHERE " + p.secret}}
			for _, i := range group {
				questions = append(questions, question{"count(*)", p.table + " WHERE " + p.secret + " AND " + but(p, p.people[i].who)})
			}
			figures := a.ask(t, fmt.Sprint("leave one out ", len(but(p, "")), group[0]), questions)
			for n, i := range group {
				all, others := figures[0], figures[n+1]
				guesses = append(guesses, guess{truth: p.people[i].secret, signal: shownOf(all, others), says: all != others})
			}
		}
		return guesses
	}
}

// tracker pads a question that is too small with two that are not (Denning, Denning and Schwartz, The tracker: a
// threat to statistical database security, TODS 1979).
func tracker(t testing.TB, a *attacker) []guess {
	p := a.on
	pad := "sex = '" + p.dull() + "'"
	var guesses []guess
	for group := range slices.Chunk(p.targets, aStory) {
		count := func(condition string) question { return question{"count(*)", p.table + " WHERE " + condition} }
		questions := []question{count(pad), count("NOT " + pad)}
		for _, i := range group {
			one := "(" + p.people[i].who + " AND " + p.secret + ")"
			questions = append(questions, count(one+" OR "+pad), count(one+" OR NOT "+pad))
		}
		figures := a.ask(t, fmt.Sprint("tracker ", group[0]), questions)
		for n, i := range group {
			padded := figures[2+2*n : 4+2*n]
			same := padded[0] == figures[0] && padded[1] == figures[1]
			estimate := padded[0].value + padded[1].value - figures[0].value - figures[1].value
			guesses = append(guesses, guess{
				truth: p.people[i].secret, says: !same && estimate > -0.5, signal: fmt.Sprint(same, shownOf(slices.Concat(figures[:2], padded)...)),
			})
		}
	}
	return guesses
}

// dull is the value of sex in the first row.
func (p *population) dull() string {
	_, rest, _ := strings.Cut(p.people[0].slice, "sex = '")
	value, _, _ := strings.Cut(rest, "'")
	return value
}

// isAnythingWithheld asks for a group of many people beside a group that only the target could be in. Nothing of it is
// shown; but the answer says whether it was left out.
func isAnythingWithheld(t testing.TB, a *attacker) []guess {
	p := a.on
	var guesses []guess
	for n, i := range p.targets {
		got := a.oracle(t, fmt.Sprint("withheld ", n/aStory), fmt.Sprintf("SELECT 'others' AS who FROM %s WHERE sex = '%s' UNION SELECT 'target' FROM %s WHERE %s AND %s",
			p.table, p.dull(), p.table, p.secret, p.people[i].who))
		a.count(got.Code, len(got.Rows) > 0)
		guesses = append(guesses, guess{
			truth: p.people[i].secret, says: got.Withheld || len(got.Rows) > 1, signal: fmt.Sprint(got.Withheld, len(got.Rows), got.Code),
		})
	}
	return guesses
}

// threshold counts nine people who are known to have the secret, and the target: one too few, or just enough.
func threshold(t testing.TB, a *attacker) []guess {
	p := a.on
	var guesses []guess
	for group := range slices.Chunk(p.targets, aStory) {
		var questions []question
		for _, i := range group {
			people := []string{p.people[i].who}
			for _, n := range p.dice.Perm(len(p.known))[:9] {
				people = append(people, p.people[p.known[n]].who)
			}
			questions = append(questions, question{"count(*)", p.table + " WHERE " + p.secret + " AND ((" + strings.Join(people, ") OR (") + "))"})
		}
		figures := a.ask(t, fmt.Sprint("threshold ", group[0]), questions)
		for n, i := range group {
			guesses = append(guesses, guess{truth: p.people[i].secret, says: figures[n].value > 9, signal: shownOf(figures[n])})
		}
	}
	return guesses
}

// knowingOthers estimates how many of a group have the secret, and takes off all others of the group, whom the
// attacker knows: the most that an attacker can know beforehand.
func knowingOthers(ask func(p *population, group string) []question, estimate func([]figure) (float64, bool)) func(testing.TB, *attacker) []guess {
	return func(t testing.TB, a *attacker) []guess {
		p := a.on
		var guesses []guess
		for _, group := range p.slices {
			questions := ask(p, p.people[group[0]].slice)
			figures := a.ask(t, fmt.Sprint("others ", len(questions), questions[0].from), questions)
			total, known := estimate(figures)
			for _, i := range p.targets {
				if !slices.Contains(group, i) {
					continue
				}
				others := 0
				for _, o := range group {
					if o != i && p.people[o].secret {
						others++
					}
				}
				guesses = append(guesses, guess{truth: p.people[i].secret, says: total-float64(others) > 0.5, signal: fmt.Sprint(known)})
			}
		}
		return guesses
	}
}

func plainly(p *population, group string) []question {
	return []question{{"count(*)", p.table + " WHERE " + p.secret + " AND " + group}}
}

// spelled asks the same in other words.
func spelled(p *population, group string) []question {
	t := p.table
	where := t + " WHERE " + p.secret + " AND " + group
	return []question{
		{"count(*)", where}, {"count(pid)", where}, {"count(DISTINCT pid)", where}, {"sum(1)", where}, {"sum(3) / 3", where},
		{"count(*) / 2", t + ", range(2) WHERE " + p.secret + " AND " + group},
		{"count(*) FILTER (WHERE " + p.secret + ")", t + " WHERE " + group},
		{"count(CASE WHEN " + group + " THEN 1 END)", t + " WHERE " + p.secret},
		{"count(*)", "(SELECT * FROM " + where + ")"},
		{"count(*)", "(SELECT DISTINCT pid FROM " + where + ")"},
		{"count(*)", t + " WHERE " + p.secret + " AND pid IN (SELECT pid FROM " + t + " WHERE " + group + ")"},
		{"count(*)", t + " WHERE " + group + " AND pid IN (SELECT pid FROM " + t + " WHERE " + p.secret + ")"},
		{"count(*)", "(SELECT * FROM " + t + " WHERE " + p.secret + ") JOIN (SELECT pid FROM " + t + " WHERE " + group + ") USING (pid)"},
		{"count(*)", t + " a WHERE " + p.secret + " AND " + group + " AND EXISTS (SELECT 1 FROM " + t + " b WHERE a.pid = b.pid)"},
	}
}

// split asks for two parts of the group, which are added up, and again for two others.
func split(p *population, group string) []question {
	var questions []question
	for range 40 {
		half := p.half()
		for _, part := range []string{half.sql, "NOT " + half.sql} {
			questions = append(questions, question{"count(*)", p.table + " WHERE " + p.secret + " AND " + group + " AND " + part})
		}
	}
	return questions
}

// joined pairs the group with people of another one, so that the noise is drawn anew, and divides by their number,
// which needs no question.
func joined(p *population, group string) []question {
	var questions []question
	in := "(SELECT 1 AS one FROM " + p.table + " WHERE " + p.secret + " AND " + group + ")"
	for len(questions) < 30 {
		others := p.slices[p.dice.IntN(len(p.slices))]
		not := p.people[others[p.dice.IntN(len(others))]].age
		n := 0
		for _, i := range others {
			if p.people[i].age != not {
				n++
			}
		}
		from := fmt.Sprintf("%s, %s o WHERE o.%s AND o.%s <> %d", in, p.table, strings.ReplaceAll(p.people[others[0]].slice, " AND ", " AND o."), p.age, not)
		questions = append(questions, question{fmt.Sprintf("count(*) / %d", n), from})
	}
	return questions
}

func meanOf(figures []figure) (float64, bool) {
	sum, n := 0.0, 0.0
	for _, f := range figures {
		if f.shown {
			sum, n = sum+f.value, n+1
		}
	}
	return sum / max(n, 1), n > 0
}

func meanOfPairs(figures []figure) (float64, bool) {
	var sums []figure
	for pair := range slices.Chunk(figures, 2) {
		sums = append(sums, figure{pair[0].value + pair[1].value, pair[0].shown && pair[1].shown})
	}
	return meanOf(sums)
}

// half is a condition that about half of the people fulfil, by no rule that means anything, and who they are.
type half struct {
	sql   string
	holds func(person) bool
}

func (p *population) half() half {
	a, b, c := 1+p.dice.IntN(100), 1+p.dice.IntN(100), p.dice.IntN(100)
	return half{
		fmt.Sprintf("(%s * %d + %s * %d + %d) %% 101 < 50", p.age, a, p.hours, b, c),
		func(one person) bool { return (one.age*a+one.hours*b+c)%101 < 50 },
	}
}

// subsets is how many random subsets of a group are counted for each person in it.
const subsets = 6

// reconstruction counts those with the secret in many random subsets of a group and solves for everybody at once
// (Dinur and Nissim, Revealing information while preserving privacy, PODS 2003).
func reconstruction(t testing.TB, a *attacker) []guess {
	p := a.on
	groups := slices.Clone(p.slices)
	slices.SortStableFunc(groups, func(a, b []int) int { return p.lopsided(a) - p.lopsided(b) })
	var guesses []guess
	for n := 0; n < len(groups) && len(guesses) < len(p.targets); n++ {
		group := groups[n]
		var questions []question
		var rows [][]float64
		for range subsets * len(group) {
			half := p.half()
			questions = append(questions, question{"count(*)", p.table + " WHERE " + p.secret + " AND " + p.people[group[0]].slice + " AND " + half.sql})
			row := make([]float64, len(group))
			for i, member := range group {
				if half.holds(p.people[member]) {
					row[i] = 1
				}
			}
			rows = append(rows, row)
		}
		figures := a.ask(t, fmt.Sprint("reconstruction ", n), questions)
		for i, share := range solve(t, rows, figures, len(group)) {
			guesses = append(guesses, guess{truth: p.people[group[i]].secret, says: share > 0.5})
		}
	}
	return guesses
}

// lopsided is by how many more people of a group have the secret than have not, or the other way round, in
// thousandths: the nearer to nothing, the less is known without asking.
func (p *population) lopsided(group []int) int {
	have := 0
	for _, i := range group {
		have += sign(p.people[i].secret)
	}
	return max(have, -have) * 1000 / len(group)
}

// solve gives the least-squares solution near one half, from the figures that were shown.
func solve(t testing.TB, rows [][]float64, figures []figure, unknowns int) []float64 {
	t.Helper()
	normal, right := mat.NewSymDense(unknowns, nil), mat.NewVecDense(unknowns, nil)
	for i := range unknowns {
		normal.SetSym(i, i, 1)
	}
	for r, row := range rows {
		if !figures[r].shown {
			continue
		}
		x := mat.NewVecDense(unknowns, row)
		normal.SymRankOne(normal, 1, x)
		right.AddScaledVec(right, figures[r].value-mat.Sum(x)/2, x)
	}
	var cholesky mat.Cholesky
	if !cholesky.Factorize(normal) {
		t.Fatal("the equations have no solution")
	}
	var solution mat.VecDense
	if err := cholesky.SolveVecTo(&solution, right); err != nil {
		t.Fatal(err)
	}
	shares := make([]float64, unknowns)
	for i := range shares {
		shares[i] = 0.5 + solution.AtVec(i)
	}
	return shares
}

// shownOf says which figures are there.
func shownOf(figures ...figure) string {
	text := ""
	for _, f := range figures {
		text += map[bool]string{true: "+", false: "-"}[f.shown]
	}
	return text
}
