package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/gateway"
	"weir/internal/problem"
	"weir/policy"
)

// The attacker is an analyst with a grant who wants to know one bit about each of many people and asks as cleverly
// as they can: through the lab, which is the real path. What the attacks are worth is told by how often they are
// right, beside how often a guess without any answer is. The same attacks are played against the bare engine, so
// that one can see that it is the platform that stops them and not the attacker's clumsiness.

// oracle answers a query of one story.
type oracle func(t testing.TB, story, sql string) answer

// attacker asks an oracle and counts.
type attacker struct {
	oracle
	on             *population
	asked, refused int // figures
	jobs           int
	codes          map[string]int // of refused jobs
}

// question is one figure: what to compute, and over which rows.
type question struct{ what, from string }

// figure is its answer.
type figure struct {
	value float64
	shown bool
}

// together is how many figures one query asks for.
const together = 40

// ask gets figures, several with each query. A query that is refused before any data is read says nothing of the
// data, so what is like it is not asked; otherwise each figure is asked for alone.
func (a *attacker) ask(t testing.TB, story string, questions []question) []figure {
	t.Helper()
	a.asked += len(questions)
	var figures []figure
	for batch := range slices.Chunk(questions, together) {
		got, code := a.query(t, story, batch)
		switch {
		case code == "" || len(batch) == 1:
		case beforeData(code):
			if _, alone := a.query(t, story, batch[:1]); beforeData(alone) {
				break
			}
			fallthrough
		default:
			for i := range batch {
				one, _ := a.query(t, story, batch[i:i+1])
				got[i] = one[0]
			}
		}
		figures = append(figures, got...)
	}
	for _, f := range figures {
		if !f.shown {
			a.refused++
		}
	}
	return figures
}

// count notes a query for one figure.
func (a *attacker) count(code string, shown bool) {
	a.asked++
	a.jobs++
	if !shown {
		a.refused++
	}
	if code != "" {
		a.codes[code]++
	}
}

// beforeData reports whether a refusal came from the text alone, or from a budget that is used up.
func beforeData(code string) bool {
	return strings.HasPrefix(code, "guard.") || strings.HasPrefix(code, "sql.") || strings.HasPrefix(code, "policy.")
}

// query asks for a batch in one query, and returns the code where it is refused.
func (a *attacker) query(t testing.TB, story string, batch []question) ([]figure, string) {
	t.Helper()
	var parts []string
	for i, q := range batch {
		parts = append(parts, fmt.Sprintf("SELECT %d AS number, (%s)::DOUBLE AS figure FROM %s", i, q.what, q.from))
	}
	got := a.oracle(t, story, strings.Join(parts, "\nUNION ALL "))
	a.jobs++
	figures := make([]figure, len(batch))
	for _, row := range got.Rows {
		number, err := row[0].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := row[1].(json.Number); ok {
			value, err := n.Float64()
			if err != nil {
				t.Fatal(err)
			}
			figures[number] = figure{value, true}
		}
	}
	if got.Code != "" {
		a.codes[got.Code]++
	}
	return figures, got.Code
}

// guess is what an attack says of one target.
type guess struct {
	truth  bool
	says   bool   // by what the attack is built on
	signal string // what was seen: which figures were there, whether they were equal
}

// convinced is by how many standard deviations of a fair coin people with the same signal must lean to one side, for
// an attacker to believe them more than the theory.
const convinced = 2.5

// right is the share of targets of which the attacker tells the truth. The attacker knows one half of the targets
// and learns from them what the signals mean, whatever the theory says: so a defence that gives itself away, by
// withholding just where there is something to hide, is used too. Then the other way round.
func right(guesses []guess) float64 {
	correct := 0
	for half := range 2 {
		votes, count := map[string]int{}, map[string]int{}
		for i, g := range guesses {
			if i%2 != half {
				count[g.seen()]++
				votes[g.seen()] += sign(g.truth)
			}
		}
		for i, g := range guesses {
			if i%2 != half {
				continue
			}
			says := g.says
			if v, n := votes[g.seen()], count[g.seen()]; math.Abs(float64(v)) > convinced*math.Sqrt(float64(n)) {
				says = v > 0
			}
			if says == g.truth {
				correct++
			}
		}
	}
	return float64(correct) / float64(len(guesses))
}

func (g guess) seen() string { return fmt.Sprint(g.signal, g.says) }

func sign(b bool) int {
	if b {
		return 1
	}
	return -1
}

// blind is the best that can be said of the targets without any answer: the same of all.
func blind(guesses []guess) float64 {
	have := 0
	for _, g := range guesses {
		if g.truth {
			have++
		}
	}
	return float64(max(have, len(guesses)-have)) / float64(len(guesses))
}

// noGuard is the bare engine, as a mode of the table.
const noGuard policy.Mode = "no guard"

var modes = []policy.Mode{noGuard, policy.Exact, policy.Perturbed, policy.Private}

// bareOracle answers everything truly, with the engine alone.
func bareOracle(t testing.TB, p *population) oracle {
	engine := plainEngine(t, p.manifest, p.table)
	return func(t testing.TB, _, sql string) answer {
		rows := engine(t, sql)
		return answer{State: "released", Rows: rows}
	}
}

// labOracle answers as the platform does in a mode.
func labOracle(t testing.TB, p *population, mode policy.Mode) (ask oracle, end func()) {
	lab, err := gateway.OpenLab(t.Context(), realWorker(t), []string{p.manifest}, mode)
	if err != nil {
		t.Fatal(err)
	}
	lab.Trouble = func(job string, cause error) { t.Logf("%s: %v", job, cause) }
	return func(t testing.TB, story, sql string) answer {
			t.Helper()
			if mode == policy.Private { // a story has a budget of its own there, and an attacker has one
				story = "attack"
			}
			return readAnswer(t, lab, story, sql)
		}, func() {
			if err := lab.Close(); err != nil {
				t.Error(err)
			}
		}
}

func readAnswer(t testing.TB, lab *gateway.Lab, story, sql string) answer {
	t.Helper()
	released, err := lab.Ask(context.WithoutCancel(t.Context()), story, sql)
	if err != nil {
		t.Fatal(problem.Of(err).Code, err)
	}
	text, err := json.Marshal(released)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{text: string(text)}
	d := json.NewDecoder(strings.NewReader(a.text))
	d.UseNumber()
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	if a.State == "failed" {
		t.Errorf("failed, where it should be answered or denied: %s\n%.2000s", a.text, sql)
	}
	return a
}

// outcome is a line of the table.
type outcome struct {
	attack       string
	mode         policy.Mode
	targets      int
	right, blind float64
	attacker     attacker
	took         time.Duration
}

// assault plays an attack against the oracle of a mode.
func assault(t testing.TB, p *population, mode policy.Mode, ask oracle, play attackPlay) outcome {
	t.Helper()
	a := attacker{oracle: ask, on: p, codes: map[string]int{}}
	begin := time.Now()
	guesses := play.run(t, &a)
	return outcome{play.name, mode, len(guesses), right(guesses), blind(guesses), a, time.Since(begin)}
}

// oracleOf opens what answers in a mode.
func oracleOf(t testing.TB, p *population, mode policy.Mode) (ask oracle, end func()) {
	if mode == noGuard {
		return bareOracle(t, p), func() {}
	}
	return labOracle(t, p, mode)
}

// attackTable writes outcomes, one a line.
func attackTable(p *population, results []outcome) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %d people, %d targets\n%-36s %-10s %7s %6s %6s %8s %6s %8s %7s  %s\n", p.table, len(p.people), len(p.targets),
		"attack", "mode", "targets", "right", "blind", "figures", "jobs", "refused", "seconds", "refused with")
	for _, r := range results {
		out.WriteString(r.line())
	}
	return out.String()
}

func (r outcome) line() string {
	line := fmt.Sprintf("%-36s %-10s %7d %5.0f%% %5.0f%% %8d %6d %7.0f%% %7.1f", r.attack, r.mode, r.targets, 100*r.right, 100*r.blind,
		r.attacker.asked, r.attacker.jobs, 100*float64(r.attacker.refused)/float64(max(1, r.attacker.asked)), r.took.Seconds())
	for _, code := range slices.Sorted(maps.Keys(r.attacker.codes)) {
		line += fmt.Sprintf("  %s (%d)", code, r.attacker.codes[code])
	}
	return line + "\n"
}

// BenchmarkAttacker prints what each attack is worth against each mode. Every attack begins with a platform of its own,
// so that none uses up the budget, or what may be known exactly, of another.
func BenchmarkAttacker(b *testing.B) {
	populations := []*population{boroughPopulation(b, 100)}
	if p, ok := adultPopulation(b, 100); ok {
		populations = append(populations, p)
	}
	for _, p := range populations {
		var results []outcome
		for _, play := range attackPlays {
			for _, mode := range modes {
				b.Run(fmt.Sprintf("%s/%s/%s", p.table, mode, play.name), func(b *testing.B) {
					var o outcome
					for b.Loop() {
						ask, end := oracleOf(b, p, mode)
						o = assault(b, p, mode, ask, play)
						end()
					}
					b.ReportMetric(100*o.right, "right-%")
					b.ReportMetric(100*o.blind, "blind-%")
					b.ReportMetric(0, "ns/op")
					results = append(results, o)
				})
			}
		}
		fmt.Print(attackTable(p, results))
	}
}

// What must hold surely, whatever the noise: played against the bare engine every attack finds out everything, so
// that a failure is the platform's merit; and in exact mode two figures whose sets differ by one person never both leave.
func TestAttacker(t *testing.T) {
	p := boroughPopulation(t, 12)
	bare := bareOracle(t, p)
	for _, play := range attackPlays {
		if o := assault(t, p, noGuard, bare, play); o.right < 1 {
			t.Errorf("%s is right of %.0f%% only where nothing stops it", o.attack, 100*o.right)
		}
	}
	t.Run("exact", func(t *testing.T) {
		ask, end := labOracle(t, p, policy.Exact)
		defer end()
		shown := 0
		for _, play := range attackPlays {
			if !play.pair {
				continue
			}
			a := attacker{oracle: ask, on: p, codes: map[string]int{}}
			for i, g := range play.run(t, &a) {
				if !strings.Contains(g.signal, "-") && (g.says || play.name == "differencing of sums") {
					t.Errorf("%s, target %d: both sides of a difference of one person are shown", play.name, i)
				}
			}
			shown += a.asked - a.refused
		}
		if shown == 0 {
			t.Error("nothing was shown at all, so this says nothing")
		}
	})
	t.Run("private", func(t *testing.T) {
		ask, end := labOracle(t, p, policy.Private)
		defer end()
		a := attacker{oracle: ask, on: p, codes: map[string]int{}}
		answered := 0
		for _, q := range split(p, p.people[0].slice)[:14] {
			if _, code := a.query(t, "", []question{q}); code == "" {
				answered++
			}
		}
		if answered == 14 || a.codes["export.share-spent"] != 14-answered {
			t.Errorf("of 14 queries %d were answered, and refused were %v; a share is for fewer", answered, a.codes)
		}
	})
	t.Run("perturbed", func(t *testing.T) {
		ask, end := labOracle(t, p, policy.Perturbed)
		defer end()
		a := attacker{oracle: ask, on: p, codes: map[string]int{}}
		for _, group := range p.slices {
			a.ask(t, "spellings", spelled(p, p.people[group[0]].slice))
		}
		if a.asked == a.refused {
			t.Error("nothing was shown at all, so this says nothing")
		}
	})
}
