package export

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// The order in which a worker brings its rows decides nothing: not the order of what is shown, and not what is
// withheld where not all can be shown. The engine's order follows from single people's rows.
func TestOrderOfRows(t *testing.T) {
	release := guard.Release{
		Name: "r1", Keys: []string{"person"}, Overlap: true,
		Groups: []guard.Group{{Name: "place", Type: "VARCHAR"}, {Name: "rooms", Type: "INTEGER"}, {Name: "owned", Type: "BOOLEAN"}},
		Cells:  []guard.Cell{{Kind: guard.CountRows, Function: "count", Type: "BIGINT", Single: true, Prints: []int{0}}},
		Prints: []guard.Print{{Once: []bool{true}}},
	}
	b := blocks{"a": 20, "b": 20, "c": 4, "d": 4, "e": 30, "f": 9}
	cells := sandbox.Table{}
	for _, name := range []string{"g0", "g1", "g2", "w", "n0", "v0", "b0", "n0_0", "F0_0", guard.Fits} {
		cells.Columns = append(cells.Columns, sandbox.Column{Name: name})
	}
	group := func(place, rooms, owned any, set string) {
		text, units := b.print(set)
		n := json.Number(strconv.Itoa(units))
		cells.Rows = append(cells.Rows, []any{place, rooms, owned, false, n, n, n, n, text, true})
	}
	group("北", json.Number("9"), true, "ac") // of these two one is withheld: they differ in four and four
	group("北", json.Number("10"), true, "ad")
	group("北", json.Number("10"), false, "acd")
	group("a", nil, true, "f") // too few
	group("a", json.Number("-2"), nil, "b")
	group(nil, json.Number("3"), true, "be")
	group("", json.Number("3"), true, "e")
	random := rand.New(rand.NewPCG(3, 4))
	var first *Assessment
	for range 12 {
		random.Shuffle(len(cells.Rows), func(i, j int) { cells.Rows[i], cells.Rows[j] = cells.Rows[j], cells.Rows[i] })
		a, err := newFilter(t).Begin("job", &guard.Program{}, policy.Decision{Mode: policy.Exact, Rules: policy.DefaultRules})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Admit(t.Context(), release, cells); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = a
			var places []any
			for _, row := range a.released[0].Table.Rows {
				places = append(places, row[0])
			}
			if len(places) < 4 || places[0] != "" || places[1] != "a" || places[len(places)-1] != nil || !slices.Contains(places, any("北")) {
				t.Errorf("ordered %v", places)
			}
			if a.checks[0].Withheld["E7"]+a.checks[0].Withheld["E6"] == 0 {
				t.Error("nothing was withheld for what the cells say together")
			}
		}
		if !reflect.DeepEqual(a.released, first.released) || !reflect.DeepEqual(a.checks, first.checks) {
			t.Fatalf("another order, another answer: %v, %v", a.released[0].Table.Rows, first.released[0].Table.Rows)
		}
	}
}
