package hunt

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/policy"
)

// family is data sets that belong together, as their manifests declare them. Another folder in testdata/families is
// another family.
type family struct {
	name      string
	manifests map[string][]byte
	tables    []policy.Dataset
}

// rows are those of each table, as the fields of a CSV file; an empty one is NULL.
type rows map[string][][]string

func families(t testing.TB) (list []family) {
	t.Helper()
	folders, err := filepath.Glob("testdata/families/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		f := family{name: filepath.Base(folder), manifests: map[string][]byte{}}
		files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatal(folder, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var m struct {
				policy.Dataset `yaml:",inline"`
				File           string `yaml:"file"`
			}
			if err := yaml.Unmarshal(text, &m); err != nil {
				t.Fatal(file, err)
			}
			f.manifests[m.Name] = text
			f.tables = append(f.tables, m.Dataset)
		}
		list = append(list, f)
	}
	return list
}

// units are how many units of each domain a generated world has.
const units = 40

func unitName(domain string, i int) string { return fmt.Sprintf("%c%02d", domain[0]-'a'+'A', i) }

// generate makes rows for every table.
func (f family) generate(r *rand.Rand) rows {
	data := rows{}
	for _, d := range f.tables {
		switch {
		case d.Open:
			for range 10 {
				data[d.Name] = append(data[d.Name], row(r, d, nil))
			}
		case len(d.Units) == 1:
			for i := range units {
				data[d.Name] = append(data[d.Name], rowsOf(r, d, 0, unitName(d.Units[0].Domain, i))...)
			}
		default:
			for range 2 * units {
				data[d.Name] = append(data[d.Name], row(r, d, nil))
			}
		}
	}
	return data
}

// rowsOf makes the rows of one unit under a key. Where it is secret who is in the data, many have none, and some have
// more than a unit counts for.
func rowsOf(r *rand.Rand, d policy.Dataset, key int, unit string) (list [][]string) {
	most := int(max(1, d.Units[key].Rows))
	n := most
	switch {
	case most > 1 && r.IntN(8) == 0:
		n = most + r.IntN(2*most)
	case most > 1:
		n = r.IntN(most + 1)
	case !d.PublicMembership():
		n = r.IntN(2)
	}
	for range n {
		list = append(list, row(r, d, map[int]string{key: unit}))
	}
	return list
}

// row makes one row, whose keys name the given units or others.
func row(r *rand.Rand, d policy.Dataset, names map[int]string) []string {
	var fields []string
	for _, c := range d.Columns {
		key := slices.IndexFunc(d.Units, func(u policy.Unit) bool { return u.Key == c.Name })
		switch name, known := names[key]; {
		case key >= 0 && known:
			fields = append(fields, name)
		case key >= 0:
			fields = append(fields, unitName(d.Units[key].Domain, skewed(r, units)))
		default:
			fields = append(fields, field(r, c))
		}
	}
	return fields
}

// skewed is a number below n, and a small one more often.
func skewed(r *rand.Rand, n int) int { return int(float64(n) * r.Float64() * r.Float64()) }

// field makes a value of a column. Extremes are frequent, and so is NULL; some values are beyond the declared range.
func field(r *rand.Rand, c policy.Column) string {
	if r.IntN(20) == 0 && !c.Public {
		return ""
	}
	if len(c.Values) > 0 {
		return c.Values[r.IntN(len(c.Values))]
	}
	switch {
	case c.Type == "BOOLEAN":
		return strconv.FormatBool(r.IntN(2) == 0)
	case c.Type == "DATE":
		return fmt.Sprintf("20%02d-%02d-%02d", 10+r.IntN(6), 1+r.IntN(12), 1+r.IntN(28))
	case c.Bound != nil && c.Bound.Min != nil && c.Bound.Max != nil:
		least, most := *c.Bound.Min, *c.Bound.Max
		x := least + (most-least)*r.Float64()*r.Float64()
		switch r.IntN(8) {
		case 0:
			x = least
		case 1:
			x = most
		}
		if c.Type != "DOUBLE" {
			x = math.Round(x)
		}
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprintf("%c%d", c.Name[0], skewed(r, 6))
}
