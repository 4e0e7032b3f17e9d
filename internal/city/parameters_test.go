package city

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParametersAreStrict(t *testing.T) {
	good := string(demoFile(t, "city.yaml"))
	if _, err := Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, new string }{
		{"unknown field", "city: 澄堰市", "city: 澄堰市\nmayor: 某人"},
		{"unknown field inside", "per_year: 5000", "per_year: 5000\n  per_month: 1"},
		{"no name", "city: 澄堰市", "city: ''"},
		{"no scale", "scale: 1 ", "scale: 0 "},
		{"too many residents", "scale: 1 ", "scale: 1000 "},
		{"too few residents", "scale: 1 ", "scale: 0.001 "},
		{"negative seed", "seed: 20261121", "seed: -1"},
		{"not a date", `as_of: "2026-06-30"`, `as_of: "2026-06-31"`},
		{"a year without growth", "-0.012, 0.004]", "-0.012]"},
		{"share above one", "mortgage_share: 0.62", "mortgage_share: 1.01"},
		{"share not a number", "mortgage_share: 0.62", "mortgage_share: .nan"},
		{"too many workers", "workers: 6000", "workers: 9001"},
		{"too many agencies", "agencies: 260", "agencies: 401"},
		{"two districts of one name", "name: 堰北区", "name: 堰南区"},
		{"two districts of one code", `code: "02"`, `code: "01"`},
		{"a code of one digit", `code: "02"`, `code: "2"`},
		{"a code of letters", `code: "02"`, `code: "ab"`},
		{"a street without weight", "槐树巷: 1", "槐树巷: 0"},
		{"a street twice", "槐树巷: 1", "槐树巷: 1, 槐树巷: 2"},
		{"a street by number", "槐树巷: 1", "7: 1"},
		{"a story in no district", "dominant_seller: {district: 湖畔新区", "dominant_seller: {district: 湖畔"},
		{"a rare occupation in no district", "district: 东屿区, residents", "district: 东屿, residents"},
		{"the quiet street elsewhere", "street: 槐树巷", "street: 钟楼巷"},
		{"two stories in one district", "dominant_seller: {district: 湖畔新区", "dominant_seller: {district: 堰南区"},
	} {
		if !strings.Contains(good, c.old) {
			t.Fatalf("%s: %q is not in the parameters", c.name, c.old)
		}
		if _, err := Parse([]byte(strings.Replace(good, c.old, c.new, 1))); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "city.yaml")
	if _, err := Load(file); err == nil {
		t.Error("no error for a missing file")
	}
	if err := os.WriteFile(file, demoFile(t, "city.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(file)
	if err != nil || p.AsOf.String() != "2026-06-30" || p.Districts[1].Streets[5] != (Weight{"槐树巷", 1}) {
		t.Errorf("loaded %+v, %v", p, err)
	}
}
