package export

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
	"weir/policy"
)

// TestTheSecretDoesNotDecideWhatIsAnswered asks pairs of questions about people who have an illness and people who
// have not. Whether the second is answered must be the same for all of them, and as the case says.
func TestTheSecretDoesNotDecideWhatIsAnswered(t *testing.T) {
	var pairs []struct {
		First, Second, Also, Why string
		Answered                 bool
		Perturbed                bool // answered in perturbed mode, where noise hides what three answers tell
	}
	text, err := os.ReadFile("testdata/public.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, &pairs, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	rules := loose
	rules.K = 5
	var targets []record
	for _, ill := range []bool{true, false, true, false} { // who live where enough others do
		for i := len(targets) * 50; ; i++ {
			p := w.rows["people"][i]
			alike := 0
			for _, q := range w.rows["people"] {
				if q["ward"] == p["ward"] && q["age"] == p["age"] {
					alike++
				}
			}
			if p["illness"] != nil && p["pay"] != nil && (p["illness"] == "i0") == ill && p["ward"] == "w0" && p["age"].(float64) > 35 && alike < rules.K {
				targets = append(targets, p)
				break
			}
		}
	}
	for n, pair := range pairs {
		t.Run(fmt.Sprint(n, " ", pair.Second), func(t *testing.T) {
			for _, mode := range []policy.Mode{policy.Exact} {
				for i, p := range targets {
					fill := strings.NewReplacer(
						"{T}", fmt.Sprintf("(city = '%s' AND ward = '%s' AND age = %v AND sex = '%s')", p["city"], p["ward"], p["age"], p["sex"]),
						"{pay}", fmt.Sprintf("%.0f", p["pay"]), "{age}", fmt.Sprint(p["age"]), "{ward}", fmt.Sprint(p["ward"]), "{city}", fmt.Sprint(p["city"]))
					operator := fmt.Sprintf("pair %d of %d %s", n, i, mode)
					ask := func(sql string) bool {
						t.Helper()
						got, err := w.ask(t.Context(), operator, fill.Replace(sql), mode, rules)
						if err != nil {
							t.Fatalf("%s: %v", fill.Replace(sql), err)
						}
						return len(got.rows) > 0 && got.rows[0][len(got.rows[0])-1] != nil
					}
					ask(pair.First)
					if pair.Also != "" {
						ask(pair.Also)
					}
					if answered := ask(pair.Second); answered != pair.Answered {
						t.Errorf("%s, of a person with illness %v: answered %v, want %v (%s)", mode, p["illness"], answered, pair.Answered, pair.Why)
					}
				}
			}
		})
	}
}

// TestTheFlagTellsNoSecret: that something was left out is said of a group of one person whether or not the person has
// what makes the group; a group that is large without the secret says nothing by itself.
func TestTheFlagTellsNoSecret(t *testing.T) {
	w := newWorld(t)
	p := w.rows["people"][3]
	person := fmt.Sprintf("city = '%s' AND ward = '%s' AND age = %v", p["city"], p["ward"], p["age"])
	for _, mode := range []policy.Mode{policy.Exact} {
		for i := range 3 {
			for sql, want := range map[string]bool{
				fmt.Sprintf("SELECT sex FROM people UNION SELECT sex FROM people WHERE %s AND illness = 'i%d'", person, i): true,
				fmt.Sprintf("SELECT (%s AND illness = 'i%d') AS t, count(*) FROM people GROUP BY 1", person, i):            true,
				"SELECT sex FROM people UNION SELECT sex FROM people WHERE illness = 'i0'":                                 false,
			} {
				got, err := w.ask(t.Context(), "", sql, mode, loose)
				if err != nil || got.withheld != want || want && strings.HasPrefix(sql, "SELECT (") && len(got.rows) > 0 {
					t.Errorf("%s: %s: withheld %v, %d rows (%v)", mode, sql, got.withheld, len(got.rows), err)
				}
			}
		}
	}
}

// TestPublicPartsAreKept: what was compared counts from then on, also where the judging came to nothing, and for whoever
// opens the store anew; another operator does not share it, and a row that was moved to another is found out.
func TestPublicPartsAreKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		if _, err := OpenQueue(ctx, db, nil); err != nil {
			t.Fatal(err)
		}
		open := func() *comparisons {
			t.Helper()
			c, err := newComparisons(db, make([]byte, 32))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		broken := errors.New("the judging came to nothing")
		one, other := sketch{3: 7}, sketch{3: 7, 9: 1}
		err := open().remember(ctx, "harbour", []string{"person"}, 5, func(asked map[string]*comparison) error {
			asked["person"].add("job-1", 1, one)
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatalf("the judging's own error is lost: %v", err)
		}
		for operator, want := range map[string]string{"harbour": "job-1", "another": ""} {
			err := open().remember(ctx, operator, []string{"person"}, 5, func(asked map[string]*comparison) error {
				if job, found := asked["person"].near(&other); job != want || found != (want != "") {
					t.Errorf("%s: near %q, want %q", operator, job, want)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if _, err := db.ExecContext(ctx, "UPDATE export_public SET operator = 'another'"); err != nil {
			t.Fatal(err)
		}
		if err := open().remember(ctx, "another", []string{"person"}, 5, func(map[string]*comparison) error { return nil }); err == nil {
			t.Error("a part of another operator was taken for its own")
		}
	})
}
