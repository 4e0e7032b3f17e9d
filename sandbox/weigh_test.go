package sandbox

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// What one unit has at most is found for each key, over all of its rows, and anew for each version.
func TestIntakeWeighsUnits(t *testing.T) {
	v := vault(t)
	dir := t.TempDir()
	manifest := `
name: sales
title: sales
provider: tests
file: sales.csv
units: [{domain: person, key: buyer}, {domain: person, key: seller}]
columns:
  - {name: buyer, type: VARCHAR, class: identifier}
  - {name: seller, type: VARCHAR, class: identifier}
  - {name: rooms, type: INTEGER, class: quasi}
  - {name: n, type: INTEGER, class: measure}
  - {name: price, type: "DECIMAL(10,2)", class: measure}
  - {name: area, type: DOUBLE, class: measure}
`
	if err := os.WriteFile(filepath.Join(dir, "sales.yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	type unit struct {
		unique   bool
		most     int64
		n, price float64
	}
	header := "buyer,seller,rooms,n,price,area\n"
	for _, c := range []struct {
		name, content string
		want          [2]unit
		full          bool // n is there and not zero in any row
	}{
		{"buyers have several", header + "a,x,9,1,10.25,1\n A ,y,9,-4,,2\na,z,9,2,-0.50,3\nb,w,9,6,20,4\n", [2]unit{{false, 3, 7, 20}, {true, 1, 6, 20}}, true},
		{"sellers have several too", header + "a,x,9,1,10.25,1\na,x,9,-4,,2\na,z,9,2,-0.50,3\nb,z,9,6,20,4\n", [2]unit{{false, 3, 7, 20}, {false, 2, 8, 20.5}}, true},
		{"all have one", header + "a,x,9,1,10.25,1\nb,y,9,-4,,2\n", [2]unit{{true, 1, 4, 10.25}, {true, 1, 4, 10.25}}, true},
		{"one has nothing", header + "a,x,9,1,10.25,1\nb,y,9,0,,2\n", [2]unit{{true, 1, 1, 10.25}, {true, 1, 1, 10.25}}, false},
		{"no value at all", header + "a,x,9,,,1\na,y,9,,,2\n", [2]unit{{false, 2, 0, 0}, {true, 1, 0, 0}}, false},
	} {
		if err := os.WriteFile(filepath.Join(dir, "sales.csv"), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		taken, err := v.Intake(t.Context(), filepath.Join(dir, "sales.yaml"))
		if err != nil {
			t.Fatal(cause(err))
		}
		if len(taken.Weaker) > 0 {
			approve(t, v, taken.Dataset)
		}
		again, err := v.Dataset(t.Context(), "sales")
		if err != nil {
			t.Fatal(err)
		}
		for _, col := range again.Columns {
			if want := c.full && col.Name == "n"; col.Full != want {
				t.Errorf("%s: column %s is full: %v", c.name, col.Name, col.Full)
			}
		}
		for i, u := range again.Units {
			want := c.want[i]
			if u.Unique != want.unique || u.Most != want.most || taken.Dataset.Units[i].Most != u.Most {
				t.Errorf("%s, key %d: %+v, want %+v", c.name, i, u, want)
			}
			if len(u.Totals) != 2 { // of the measures whose sums are exact
				t.Errorf("%s, key %d: totals %v", c.name, i, u.Totals)
			}
			for name, total := range map[string]float64{"n": want.n, "price": want.price} {
				if found := u.Totals[name]; found < total || math.Abs(found-total) > 1e-6*total {
					t.Errorf("%s, key %d: a unit has %v of %s at most, want %v and no less", c.name, i, found, name, total)
				}
			}
		}
	}
}
