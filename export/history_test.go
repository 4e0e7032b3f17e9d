package export

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/uptrace/bun"

	"weir/export/guard"
	"weir/export/span"
	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
)

// blocks are the units of a small world: a letter is a block of so many. A set of units is the letters of its blocks,
// twice for those who have two rows.
type blocks map[string]int

// print is the fingerprint of a set, as a worker makes it, and as it travels.
func (b blocks) print(set string) (text string, units int) {
	sums := map[int]uint64{}
	seen := map[string]bool{}
	for _, block := range strings.Split(set, "") {
		r := rand.New(rand.NewPCG(uint64(block[0]), 9))
		if !seen[block] {
			units += b[block]
		}
		seen[block] = true
		for range b[block] {
			sums[r.IntN(guard.FingerprintParts)] += uint64(r.Uint32()) + 1
		}
	}
	return base64.StdEncoding.EncodeToString(written(sums)), units
}

func written(sums map[int]uint64) (f fingerprint) {
	last := 0
	for _, part := range slices.Sorted(maps.Keys(sums)) {
		f = binary.AppendUvarint(binary.AppendUvarint(f, uint64(part-last)), sums[part])
		last = part
	}
	return f
}

// counted makes a release of counts of sets of units, or of sums to which the blocks from v on contribute nothing,
// and its evidence.
func (b blocks) counted(domain, sum string, sets []string) (guard.Release, sandbox.Table) {
	release := guard.Release{
		Name: "r1", Groups: []guard.Group{{Name: "g", Type: "VARCHAR"}}, Keys: []string{domain},
		Cells:  []guard.Cell{{Kind: guard.CountRows, Function: "count", Type: "BIGINT", Single: true, Prints: []int{0}}},
		Prints: []guard.Print{{Once: []bool{true}}},
	}
	if sum != "" {
		release.Cells[0] = guard.Cell{Kind: guard.Sum, Function: "sum", Type: "BIGINT", Single: true, Terms: []guard.Term{{Name: sum, Coefficient: 1}}, Prints: []int{0, 1}}
		release.Prints = append(release.Prints, guard.Print{Term: sum})
	}
	var table sandbox.Table
	for _, name := range []string{"g0", "w", "n0", "v0", "b0", "n0_0", "F0_0", "F1_0", "t0_0", "u0_0", "s0_0", guard.Fits} {
		table.Columns = append(table.Columns, sandbox.Column{Name: name})
	}
	for _, set := range sets {
		text, units := b.print(set)
		n := json.Number(fmt.Sprint(units))
		contributing := guard.SamePrint
		if i := strings.IndexAny(set, "vwxyz"); sum != "" && i >= 0 {
			contributing, _ = b.print(set[:i])
		}
		table.Rows = append(table.Rows, []any{set, false, n, n, n, n, text, contributing, json.Number("1"), json.Number("1"), n, true})
	}
	return release, table
}

// offer judges counts in exact mode and gives the sets that were shown, in order, and the check of the aggregation.
func (b blocks) offer(ctx context.Context, f *Filter, operator, domain, sum, job string, k int, sets []string) ([]string, Check, error) {
	release, table := b.counted(domain, sum, sets)
	return offered(ctx, f, operator, job, k, release, table)
}

func offered(ctx context.Context, f *Filter, operator, job string, k int, release guard.Release, table sandbox.Table) ([]string, Check, error) {
	rules := policy.DefaultRules
	rules.K = k
	a, err := f.Begin(job, &guard.Program{}, policy.Decision{Mode: policy.Exact, Rules: rules, Grant: policy.Grant{Operator: operator}})
	if err != nil {
		return nil, Check{}, err
	}
	if err := a.Admit(ctx, release, table); err != nil {
		return nil, Check{}, err
	}
	shown := []string{}
	for _, row := range a.released[0].Table.Rows {
		if row[1] != nil {
			shown = append(shown, row[0].(string))
		}
	}
	return shown, a.checks[0], nil
}

// story is what operators ask one after the other.
type story struct {
	Name   string
	Blocks blocks
	Gives  gives // what a unit of a block gives to a sum; equal parts where it is left out
	Steps  []struct {
		Operator, Domain string
		Sum              string // of this measure; otherwise it is counted
		K                int
		Sets             []string
		Withheld         []string // of Sets
		Check            string   // that withheld them
		Together         []int    // steps, counted from 1
	}
}

func TestStories(t *testing.T) {
	text, err := os.ReadFile("testdata/history.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var stories []story
	if err := yaml.Unmarshal(text, &stories); err != nil {
		t.Fatal(err)
	}
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		queue, err := OpenQueue(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, restart := range []bool{false, true} {
			f := filterOver(t, queue, "k")
			for _, s := range stories {
				t.Run(fmt.Sprintf("%s/restart=%v", s.Name, restart), func(t *testing.T) {
					job := func(step int) string { return fmt.Sprintf("%s-%v-%d", s.Name, restart, step) }
					for i, step := range s.Steps {
						if restart {
							f = filterOver(t, queue, "k") // knows what the ledger knows
						}
						k := step.K
						if k == 0 {
							k = 10
						}
						operator, domain := fmt.Sprint(s.Name, restart, step.Operator), "person"+step.Domain
						release, table := s.Blocks.counted(domain, step.Sum, step.Sets)
						if len(s.Gives) > 0 {
							s.Blocks.weighed(release, &table, s.Gives, step.Sets)
						}
						shown, check, err := offered(t.Context(), f, operator, job(i+1), k, release, table)
						if err != nil {
							t.Fatal(err, unwrapAll(err))
						}
						want := slices.DeleteFunc(slices.Clone(step.Sets), func(set string) bool { return slices.Contains(step.Withheld, set) })
						slices.Sort(want) // cells come in the order of their groups
						slices.Sort(shown)
						if !slices.Equal(shown, want) || check.Withheld[step.Check] != len(step.Withheld) || check.UsedUp {
							t.Errorf("step %d shows %v and not %v; withheld %v, used up %v", i+1, shown, want, check.Withheld, check.UsedUp)
						}
						var together []string
						for _, n := range step.Together {
							together = append(together, job(n))
						}
						if slices.Sort(together); !slices.Equal(check.Together, together) {
							t.Errorf("step %d: together with %v and not %v", i+1, check.Together, together)
						}
					}
				})
			}
		}
	})
}

func filterOver(t testing.TB, queue *Queue, letter string) *Filter {
	t.Helper()
	f, err := New([]byte(strings.Repeat(letter, 32)), queue)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What the ledger did not take was not offered, is not shown, and is not held against anybody.
func TestLedgerThatFails(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		queue, err := OpenQueue(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := blocks{"a": 40, "b": 1}
		f := filterOver(t, queue, "k")
		full := "ALTER TABLE export_cells ADD CONSTRAINT full_up CHECK (job <> 'first')"
		free := "ALTER TABLE export_cells DROP CONSTRAINT full_up"
		if !strings.Contains(fmt.Sprintf("%T", db.Dialect()), "pg") {
			full = "CREATE TRIGGER full_up BEFORE INSERT ON export_cells BEGIN SELECT RAISE(ABORT, 'full'); END"
			free = "DROP TRIGGER full_up"
		}
		if _, err := db.ExecContext(t.Context(), full); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.offer(t.Context(), f, "o", "person", "", "first", 10, []string{"ab"}); err == nil {
			t.Fatal("offered without an entry in the ledger")
		}
		if _, err := db.ExecContext(t.Context(), free); err != nil {
			t.Fatal(err)
		}
		if shown, check, err := b.offer(t.Context(), f, "o", "person", "", "second", 10, []string{"a"}); err != nil || len(shown) != 1 {
			t.Errorf("a cell beside one that was never shown: %v %v %v", shown, check, err)
		}
		if shown, check, err := b.offer(t.Context(), f, "o", "person", "", "third", 10, []string{"ab"}); err != nil || len(shown) != 0 || !slices.Equal(check.Together, []string{"second"}) {
			t.Errorf("the cell that now tells one person: %v %v %v", shown, check, err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := b.offer(gone, f, "o", "person", "", "fourth", 10, []string{"a"}); err == nil {
			t.Error("offered although the ledger could not be read")
		}
		if _, _, err := b.offer(t.Context(), filterOver(t, queue, "x"), "o", "person", "", "fifth", 10, []string{"a"}); problem.Of(err).Code != "internal" {
			t.Errorf("with another key: %v", err)
		}
		// An entry that was moved to somebody else, or changed, is no entry.
		for _, change := range []string{"operator = 'p'", "fingerprint = 'abcdefghijklmnopqrstuvwxyzabcdefghij'"} {
			if _, err := db.ExecContext(t.Context(), "UPDATE export_cells SET "+change); err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.offer(t.Context(), filterOver(t, queue, "k"), "p", "person", "", "sixth", 10, []string{"a"}); err == nil {
				t.Errorf("%s: offered over a damaged ledger", change)
			}
		}
	})
}

func TestFingerprintsAreRead(t *testing.T) {
	most := uint64(1<<64 - 1)
	for _, c := range []struct {
		blob fingerprint
		want []span.Entry
	}{
		{fingerprint{0, 1}, []span.Entry{{Atom: 0, Rows: 1}}},
		{fingerprint{2, 7, 3, 1}, []span.Entry{{Atom: 2, Rows: 7}, {Atom: 5, Rows: 1}}},
		{written(map[int]uint64{2: most, 32767: 300}), []span.Entry{{Atom: 2, Rows: most}, {Atom: 32767, Rows: 300}}},
		{nil, nil}, {fingerprint{}, nil}, {fingerprint{1}, nil}, {fingerprint{128}, nil}, {fingerprint{1, 128}, nil}, {fingerprint{1, 7, 1}, nil},
		{fingerprint{1, 0}, nil}, {fingerprint{1, 7, 0, 7}, nil}, // nothing in a part; a part twice
		{fingerprint{129, 0, 7}, nil}, {fingerprint{1, 135, 0}, nil}, // more bytes than are needed
		{fingerprint{128, 128, 2, 1}, nil}, {fingerprint{255, 255, 1, 1, 1, 1}, nil}, // beyond the last part
		{append(binary.AppendUvarint(nil, most), 1), nil}, {append(binary.AppendUvarint(fingerprint{1, 1}, most), 1), nil},
		{append(fingerprint{1}, append(slices.Repeat([]byte{255}, 9), 2)...), nil}, // more than 64 bits
		{slices.Repeat(fingerprint{1, 1}, guard.FingerprintParts), nil},
	} {
		if got, err := c.blob.parse(); (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v %v", c.blob, got, err)
		}
	}
}

// Whatever a worker says, a fingerprint is read in one way or not at all, with memory in proportion.
func FuzzFingerprint(f *testing.F) {
	f.Add([]byte{2, 7, 3, 1})
	f.Add([]byte(written(map[int]uint64{0: 1, 77: 1 << 40, 32767: 1<<64 - 1})))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1})
	f.Fuzz(func(t *testing.T, blob []byte) {
		cell, err := fingerprint(blob).parse()
		if err != nil {
			return
		}
		sums := map[int]uint64{}
		for i, e := range cell {
			if e.Atom < 0 || e.Atom >= guard.FingerprintParts || e.Rows == 0 || i > 0 && e.Atom <= cell[i-1].Atom {
				t.Fatalf("%v is read as %v", blob, cell)
			}
			sums[e.Atom] = e.Rows
		}
		if len(cell) == 0 || cap(cell) > 2*len(blob)+8 || !slices.Equal(written(sums), blob) {
			t.Errorf("%v is read as %v", blob, cell)
		}
	})
}

// What a worker could not bring all of is not audited in part.
func TestTooMuchToAudit(t *testing.T) {
	f := newFilter(t)
	for _, c := range []struct {
		fits any
		code string
	}{{true, ""}, {false, "export.too-much-to-audit"}, {nil, "export.evidence"}, {"true", "export.evidence"}} {
		a, err := f.Begin("job", &guard.Program{}, policy.Decision{Mode: policy.Exact, Rules: policy.DefaultRules, Grant: policy.Grant{Operator: "o"}})
		if err != nil {
			t.Fatal(err)
		}
		release, table := blocks{"a": 40}.counted("person", "", []string{"a"})
		table.Rows[0][len(table.Columns)-1] = c.fits
		if err := a.Admit(t.Context(), release, table); (err == nil) != (c.code == "") || err != nil && problem.Of(err).Code != c.code {
			t.Errorf("fits %v: %v", c.fits, err)
		}
	}
}

// The same through the engine: a chain of harmless counts that ends at a few people, and counts of units over rows.
func TestHistoryOverTheEngine(t *testing.T) {
	w := newWorld(t)
	ask := func(operator, sql string) releasedTable {
		t.Helper()
		got, err := w.ask(t.Context(), operator, sql, policy.Exact, loose)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	few := 0
	for _, p := range w.rows["people"] {
		if p["age"].(float64) == 77 && p["sex"] == "F" {
			few++
		}
	}
	if few == 0 || few >= loose.K {
		t.Fatalf("the world has %d women of 77", few)
	}
	target := "age = 77 AND sex = 'F'"
	ages := []string{"age BETWEEN 18 AND 29", "age BETWEEN 30 AND 41", "age BETWEEN 42 AND 53", "age BETWEEN 54 AND 65", target}
	for i := range ages[1:] {
		if got := ask("chain", fmt.Sprintf("SELECT count(*) FROM people WHERE (%s) OR (%s)", ages[i], ages[i+1])); got.failed("E6") > 0 {
			t.Fatalf("link %d is withheld: %v", i, got.checks)
		}
	}
	last := "SELECT count(*) FROM people WHERE " + ages[0]
	if got := ask("chain", last); got.failed("E6") != 1 || len(got.checks[0].Together) != 4 {
		t.Errorf("the end of the chain: %v %+v", got.rows, got.checks)
	}
	if got := ask("", last); got.failed("E6", "E7") > 0 || got.rows[0][0] == nil {
		t.Errorf("somebody who knows nothing: %v %+v", got.rows, got.checks)
	}

	entries := func(operator string) int64 {
		t.Helper()
		n, err := w.queue.db.NewSelect().Model((*ledgerRow)(nil)).Where("operator = ?", operator).Count(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, sql := range []string{
		"SELECT count(DISTINCT patient) FROM events",
		"SELECT count(*) FROM (SELECT patient FROM events GROUP BY patient) AS t",
		"SELECT count(DISTINCT patient) AS a, count(DISTINCT patient) AS b FROM events",
	} {
		if got := ask("units", sql); got.failed("E6", "E7") > 0 || entries("units") != 1 {
			t.Errorf("%s: %+v, %d entries", sql, got.checks, entries("units"))
		}
	}
	if got := ask("units", "SELECT count(*) FROM events"); got.failed("E6", "E7") > 0 || entries("units") != 2 {
		t.Errorf("rows are not units: %+v, %d entries", got.checks, entries("units"))
	}
}

// A history that was made again from the ledger decides as the one in memory did.
func TestHistoryForgetsNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	f := newFilter(t)
	b := blocks{"a": 30, "b": 25, "c": 14, "d": 3, "e": 60, "f": 11, "g": 40, "h": 1}
	for step := range 60 {
		set := ""
		for _, block := range slices.Sorted(maps.Keys(b)) {
			if r.IntN(2) == 0 {
				set += block
			}
		}
		if _, units := b.print(set + "e"); units < 10 {
			continue
		}
		again := filterOver(t, f.queue, "k")
		h, err := again.ledger.history(t.Context(), f.queue.db, "o", "person", 10)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := b.print(set + "e")
		p, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		read, err := readPrint(p)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := h.judge("again", read, nil, nil)
		shown, check, err := b.offer(t.Context(), f, "o", "person", "", fmt.Sprint(step), 10, []string{set + "e"})
		if err != nil {
			t.Fatal(err)
		}
		if (want == span.Safe || want == span.Known) != (len(shown) == 1) || check.UsedUp != (want == span.Exhausted) {
			t.Errorf("step %d, %s: %v from the ledger, %v from memory", step, set, want, check)
		}
	}
}

// Only so many histories stay in memory, the ones that were used last; what is no longer there is read again.
func TestHistoriesInMemory(t *testing.T) {
	f := newFilter(t)
	b := blocks{"a": 40, "b": 1}
	for i := range heldHistories + 3 {
		if shown, _, err := b.offer(t.Context(), f, fmt.Sprint("o", i), "person", "", fmt.Sprint("first", i), 10, []string{"a"}); err != nil || len(shown) != 1 {
			t.Fatal(shown, err)
		}
	}
	if n := len(f.ledger.histories); n != heldHistories || f.ledger.histories[0].operator != "o3" {
		t.Errorf("%d histories are held, the first of %s", n, f.ledger.histories[0].operator)
	}
	for i := range heldHistories + 3 {
		shown, check, err := b.offer(t.Context(), f, fmt.Sprint("o", i), "person", "", fmt.Sprint("second", i), 10, []string{"ab"})
		if err != nil || len(shown) != 0 || !slices.Equal(check.Together, []string{fmt.Sprint("first", i)}) {
			t.Errorf("operator %d: %v %v %v", i, shown, check, err)
		}
	}
}

// After a start, the histories that were used last are made again before anybody asks, as they were; what is not, or not all of
// it, is made when it is needed.
func TestRecall(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		queue, err := OpenQueue(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := blocks{}
		var sets []string
		for i := range 26 {
			letter := string(rune('a' + i))
			b[letter], sets = 15, append(sets, letter)
		}
		before := filterOver(t, queue, "k")
		for i := range heldHistories + 2 {
			if _, _, err := b.offer(t.Context(), before, fmt.Sprint("o", i), "person", "", "first", 10, sets); err != nil {
				t.Fatal(err)
			}
		}
		after := filterOver(t, queue, "k")
		used := fmt.Sprint("o", heldHistories)
		if shown, _, err := b.offer(t.Context(), after, used, "person", "", "second", 7, []string{"ab"}); err != nil || len(shown) != 1 {
			t.Fatal(shown, err)
		}
		if err := after.Recall(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(after.ledger.histories); n != heldHistories {
			t.Errorf("%d histories are held", n)
		}
		for i, h := range after.ledger.histories {
			if want := map[bool]int{true: 7, false: 10}[h.operator == used]; h.space.Rank() != 26 || h.k != want {
				t.Errorf("%s: %d cells, k %d", h.operator, h.space.Rank(), h.k)
			}
			if last := i == heldHistories-1; last != (h.operator == used) {
				t.Errorf("place %d is that of %s", i, h.operator)
			}
		}
		if again := after.Recall(t.Context()); again != nil {
			t.Error(again)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := filterOver(t, queue, "k").Recall(gone); err == nil {
			t.Error("recalled after the end")
		}
		if err := filterOver(t, queue, "x").Recall(t.Context()); err == nil {
			t.Error("recalled with another key")
		}
		middle := filterOver(t, queue, "k") // a job comes in the middle, and goes on from where it is
		if _, err := middle.ledger.recallSome(t.Context(), "o5", "person", 10); err != nil {
			t.Fatal(err)
		}
		if shown, check, err := b.offer(t.Context(), middle, "o5", "person", "", "third", 10, []string{"ab", "c"}); err != nil || len(shown) != 2 || check.UsedUp {
			t.Fatal(shown, check, err)
		}
	})
}
