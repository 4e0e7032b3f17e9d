package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/policy"
)

// visits makes a data set of 400 patients: each has up to four visits that cost up to 10, but patient 0 has 50 that cost 1000, and
// patients 1 to 7 have 6 that cost -30. The unit line and the column line of the manifest are given.
func visits(t *testing.T, v *Vault, unit, cost string) policy.Dataset {
	t.Helper()
	dir := t.TempDir()
	manifest := fmt.Sprintf("name: visits\nfile: visits.csv\nunits: [{domain: person, key: id%s}]\ncolumns:\n"+
		"  - {name: id, type: text, class: identifier}\n  - {name: cost, type: %s}\n  - {name: hours, type: DOUBLE, class: measure}\n", unit, cost)
	var rows strings.Builder
	rows.WriteString("id,cost,hours\n")
	for i := range 400 {
		visits, cost := i%4+1, fmt.Sprintf("%d.25", i%10)
		switch {
		case i == 0:
			visits, cost = 50, "1000"
		case i < 8:
			visits, cost = 6, "-30"
		}
		for n := range visits {
			if n == 3 {
				cost = "" // a gap counts for nothing
			}
			fmt.Fprintf(&rows, "p%d,%s,0.1\n", i, cost)
		}
	}
	for name, text := range map[string]string{"visits.yaml": manifest, "visits.csv": rows.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Import(t.Context(), filepath.Join(dir, "visits.yaml")); err != nil {
		t.Fatal(cause(err))
	}
	stored, err := v.Dataset(t.Context(), "visits")
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// Every unit is held to its caps, stated or proposed, and how many are beyond is known to a per cent.
func TestCaps(t *testing.T) {
	const money = `"DECIMAL(10,2)", class: measure`
	for _, c := range []struct {
		name, unit, cost string
		rows, costs      policy.Cap
	}{
		{"proposed", "", money, policy.Cap{Most: 8, Beyond: 1, Proposed: true}, policy.Cap{Most: 128, Beyond: 1, Proposed: true}},
		{"stated", ", rows: 2", money + ", cap: 20", policy.Cap{Most: 2, Beyond: 51}, policy.Cap{Most: 20, Beyond: 17}},
		{"more than anybody has", ", rows: 50", money + ", cap: 1e6", policy.Cap{Most: 50}, policy.Cap{Most: 1e6}},
		{"only size is protected", ", protect: size", money, policy.Cap{Most: 8, Beyond: 1, Proposed: true}, policy.Cap{Most: 128, Beyond: 1, Proposed: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := vault(t)
			d := visits(t, v, c.unit, c.cost)
			unit := d.Units[0]
			costs, _ := unit.CapOf("cost")
			if diff := cmp.Diff([]policy.Cap{c.rows, c.costs}, []policy.Cap{unit.RowCap, costs}); diff != "" || !d.Capped() {
				t.Fatal(diff)
			}
			mustHoldCap(t, v, d, "", "1")
			mustHoldCap(t, v, d, "cost", "abs(coalesce(cost, 0))")
			mustHoldCap(t, v, d, "hours", "hours")
		})
	}
}

// mustHoldCap looks at the weights of a figure in the vault: any of a unit's rows add up to the cap at most, those of units
// beyond it to nearly that, and those of others are whole.
func mustHoldCap(t *testing.T, v *Vault, d policy.Dataset, measure, size string) {
	t.Helper()
	held, known := d.Units[0].CapOf(measure)
	s, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	if err != nil {
		t.Fatal(cause(err))
	}
	defer s.Close()
	ask := func(sql string) string {
		got, err := s.Query(t.Context(), Query{SQL: sql})
		if err != nil {
			t.Fatal(cause(err))
		}
		return fmt.Sprint(got.Rows[0][0])
	}
	column := policy.WeightColumn(0, measure)
	columns := ask(fmt.Sprintf("SELECT count(*) FROM duckdb_columns() WHERE column_name = '%s'", column))
	if want := fmt.Sprint(map[bool]int{true: 1}[d.Units[0].Weighted(measure)]); !known || columns != want {
		t.Fatalf("%q: %v, cap %+v, %s columns of weights and not %s", measure, known, held, columns, want)
	}
	if !d.Units[0].Weighted(measure) {
		return
	}
	wrong := ask(fmt.Sprintf(`SELECT count(*) FROM (SELECT sum(%[1]s) AS whole, sum(%[1]s * "%[2]s") AS held,
		min("%[2]s") AS least, max("%[2]s") AS most FROM "ds_visits"."main"."data" GROUP BY "__unit_0")
		WHERE held > %[3]v OR least < most OR (whole <= %[3]v) <> (least = 1) OR (whole > %[3]v AND held < 0.999 * %[3]v)`, size, column, held.Most))
	if wrong != "0" {
		t.Errorf("%q: %s units are not held to %v", measure, wrong, held.Most)
	}
}

// A version from before there were caps opens, and says that it has none.
func TestVersionBeforeCaps(t *testing.T) {
	v := vault(t)
	visits(t, v, "", `"DECIMAL(10,2)", class: open`)
	if _, err := v.db.NewRaw(`UPDATE sandbox_versions SET manifest = '{"name":"visits","units":[{"domain":"person","key":"id","unique":false}],"columns":[{"name":"id","type":"VARCHAR","class":"identifier"}]}'`).
		Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, err := v.Dataset(t.Context(), "visits")
	if err != nil {
		t.Fatal(err)
	}
	if d.Capped() || d.Units[0].Weighted("") {
		t.Errorf("%+v", d.Units)
	}
	s, err := NewWorkers(worker, v, DefaultLimits).Start(t.Context(), "job", []policy.Dataset{d})
	if err != nil {
		t.Fatal(cause(err))
	}
	defer s.Close()
	if _, err := s.Query(t.Context(), Query{SQL: `SELECT count(*) FROM "ds_visits"."main"."data"`}); err != nil {
		t.Fatal(cause(err))
	}
}

// A cap that was proposed holds for later versions, however much their units have: or the noise of every answer would
// follow what one unit has. One that the manifest states wins.
func TestProposedCapsHold(t *testing.T) {
	const money = `"DECIMAL(10,2)", class: measure`
	v := vault(t)
	first := visits(t, v, "", money)
	if first.Units[0].RowCap.Most != 8 || !first.Units[0].RowCap.Proposed {
		t.Fatalf("the first version is held to %+v", first.Units[0].RowCap)
	}
	rows := "id,cost,hours\n" + strings.Repeat("p1,900,0.1\n", 40) + strings.Repeat("p2,900,0.1\n", 40)
	again := func(unit, cost string) policy.Unit {
		t.Helper()
		dir := t.TempDir()
		manifest := fmt.Sprintf("name: visits\nfile: visits.csv\nunits: [{domain: person, key: id%s}]\ncolumns:\n"+
			"  - {name: id, type: text, class: identifier}\n  - {name: cost, type: %s}\n  - {name: hours, type: DOUBLE, class: measure}\n", unit, cost)
		for name, text := range map[string]string{"visits.yaml": manifest, "visits.csv": rows} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		taken, err := v.Import(t.Context(), filepath.Join(dir, "visits.yaml"))
		if err != nil {
			t.Fatal(cause(err))
		}
		return taken.Units[0]
	}
	for _, u := range []policy.Unit{again("", money), again("", money)} {
		cost, _ := u.CapOf("cost")
		if want := (policy.Cap{Most: 8, Beyond: 100, Proposed: true}); u.RowCap != want {
			t.Errorf("rows are held to %+v, want %+v", u.RowCap, want)
		}
		if want := (policy.Cap{Most: 128, Beyond: 100, Proposed: true}); cost != want {
			t.Errorf("costs are held to %+v, want %+v", cost, want)
		}
	}
	if u := again(", rows: 50", money+", cap: 1e6"); u.RowCap.Most != 50 || u.RowCap.Proposed || u.Caps["cost"].Most != 1e6 {
		t.Errorf("a stated cap gives %+v and %+v", u.RowCap, u.Caps["cost"])
	}
}
