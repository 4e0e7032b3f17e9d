package city

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"weir/deploy"
)

func demoFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := deploy.Demo.ReadFile("demo/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parameters(t testing.TB, scale float64) Parameters {
	t.Helper()
	p, err := Parse(demoFile(t, "city.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p.Scale = scale
	return p
}

// data is a data set as it was written.
type data struct {
	Manifest
	rows [][]string
}

func (d data) index(t testing.TB, column string) int {
	t.Helper()
	i := slices.IndexFunc(d.Columns, func(c Column) bool { return c.Name == column })
	if i < 0 {
		t.Fatalf("%s has no column %s", d.Name, column)
	}
	return i
}

// column gives the values of one column.
func (d data) column(t testing.TB, name string) []string {
	t.Helper()
	i := d.index(t, name)
	values := make([]string, len(d.rows))
	for r, row := range d.rows {
		values[r] = row[i]
	}
	return values
}

// average gives the mean of a number column for each value of another column.
func (d data) average(t testing.TB, of, by string) map[string]float64 {
	t.Helper()
	sums, counts := map[string]float64{}, map[string]float64{}
	keys := d.column(t, by)
	for i, text := range d.column(t, of) {
		if text == "" {
			continue
		}
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		sums[keys[i]] += x
		counts[keys[i]]++
	}
	for k := range sums {
		sums[k] /= counts[k]
	}
	return sums
}

func read(t testing.TB, dir, name string) data {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join(dir, m.File))
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(body) {
		t.Errorf("%s is not UTF-8", m.File)
	}
	all, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range m.Columns {
		if all[0][i] != c.Name {
			t.Fatalf("%s: column %d is %s in the file and %s in the manifest", name, i, all[0][i], c.Name)
		}
	}
	return data{m, all[1:]}
}

func generate(t testing.TB, p Parameters) map[string]data {
	t.Helper()
	dir := t.TempDir()
	summary, err := Generate(context.Background(), dir, p)
	if err != nil {
		t.Fatal(err)
	}
	sets, rows := map[string]data{}, 0
	for i, w := range summary.Datasets {
		if w.Name != Datasets[i] {
			t.Errorf("data set %d is %s, want %s", i, w.Name, Datasets[i])
		}
		sets[w.Name] = read(t, dir, w.Name)
		if w.Rows != len(sets[w.Name].rows) {
			t.Errorf("%s: %d rows in the summary, %d in the file", w.Name, w.Rows, len(sets[w.Name].rows))
		}
		rows += w.Rows
	}
	if len(sets) != len(Datasets) || rows != summary.Rows {
		t.Errorf("summary has %d data sets and %d rows, want %d and %d", len(sets), summary.Rows, len(Datasets), rows)
	}
	return sets
}

const small = 0.06

func TestSameSeedSameBytes(t *testing.T) {
	hashes := func(p Parameters) map[string][32]byte {
		dir := t.TempDir()
		if _, err := Generate(context.Background(), dir, p); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 2*len(Datasets) {
			t.Fatalf("%d files, %v", len(files), err)
		}
		sums := map[string][32]byte{}
		for _, f := range files {
			body, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sums[filepath.Base(f)] = sha256.Sum256(body)
		}
		return sums
	}
	p := parameters(t, small)
	first, again := hashes(p), hashes(p)
	p.Seed++
	other := hashes(p)
	for name, sum := range first {
		if again[name] != sum {
			t.Errorf("%s differs between two runs", name)
		}
		if strings.HasSuffix(name, ".csv") && other[name] == sum {
			t.Errorf("%s is the same with another seed", name)
		}
		if strings.HasSuffix(name, ".yaml") && other[name] != sum {
			t.Errorf("%s depends on the seed", name)
		}
	}
}

var decimalType = regexp.MustCompile(`^DECIMAL\((\d+),(\d+)\)$`)

// fits reports whether a text is a value of an engine type.
func fits(text, kind string) bool {
	switch kind {
	case "VARCHAR":
		return text == strings.TrimSpace(text)
	case "BIGINT":
		_, err := strconv.ParseInt(text, 10, 64)
		return err == nil
	case "INTEGER":
		_, err := strconv.ParseInt(text, 10, 32)
		return err == nil
	case "DATE":
		_, err := time.Parse(time.DateOnly, text)
		return err == nil
	case "BOOLEAN":
		return text == "true" || text == "false"
	}
	m := decimalType.FindStringSubmatch(kind)
	if m == nil {
		return false
	}
	width, _ := strconv.Atoi(m[1])
	scale, _ := strconv.Atoi(m[2])
	whole, part, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && len(part) == scale && len(whole)+scale <= width
}

func TestManifestsDescribeTheFiles(t *testing.T) {
	classes := []string{"identifier", "quasi", "sensitive", "text", "measure", "open"}
	maybeNull := []string{"phone", "remarks", "years_married"}
	bilingual := regexp.MustCompile(`^\p{Han}.* / [A-Za-z].*$`)
	for name, d := range generate(t, parameters(t, small)) {
		if d.Name != name || !bilingual.MatchString(d.Title) || d.Provider == "" || d.Open == (len(d.Units) > 0) {
			t.Errorf("%s: name, title, provider and either units or open must be given: %+v", name, d.Manifest)
		}
		for i, c := range d.Columns {
			if !slices.Contains(classes, c.Class) || !bilingual.MatchString(c.Title) || d.Open != (c.Class == "open") {
				t.Errorf("%s.%s: class %q, title %q", name, c.Name, c.Class, c.Title)
			}
			if c.Class == "measure" && c.Measure == nil {
				t.Errorf("%s.%s: a measure without bounds", name, c.Name)
			}
			for r, row := range d.rows {
				if row[i] == "" && slices.Contains(maybeNull, c.Name) {
					continue
				}
				if row[i] == "" || !fits(row[i], c.Type) {
					t.Fatalf("%s.%s row %d: %q is no %s", name, c.Name, r+1, row[i], c.Type)
				}
				if c.Measure != nil {
					if x, err := strconv.ParseFloat(row[i], 64); err != nil || x < c.Measure.Min || x > c.Measure.Max {
						t.Fatalf("%s.%s row %d: %s lies outside the bounds", name, c.Name, r+1, row[i])
					}
				}
			}
		}
		for _, u := range d.Units {
			if c := d.Columns[d.index(t, u.Key)]; c.Class != "identifier" || !slices.Contains([]string{"person", "firm"}, u.Domain) {
				t.Errorf("%s: unit %+v over a column of class %s", name, u, c.Class)
			}
		}
	}
}

func TestKeysJoin(t *testing.T) {
	sets := generate(t, parameters(t, small))
	set := func(name, column string) map[string]int {
		values := map[string]int{}
		for _, v := range sets[name].column(t, column) {
			values[v]++
		}
		return values
	}
	for _, key := range [][2]string{
		{"residents", "resident_id"}, {"residents", "id_card"}, {"property_sales", "sale_id"}, {"mortgages", "loan_id"},
		{"mortgages", "sale_id"}, {"marriages", "registration_id"}, {"domestic_workers", "worker_id"}, {"districts", "district"},
	} {
		if values := set(key[0], key[1]); len(values) != len(sets[key[0]].rows) {
			t.Errorf("%s.%s: %d values in %d rows", key[0], key[1], len(values), len(sets[key[0]].rows))
		}
	}
	for _, ref := range [][4]string{
		{"property_sales", "buyer_id", "residents", "resident_id"}, {"property_sales", "seller_id", "residents", "resident_id"},
		{"mortgages", "borrower_id", "property_sales", "buyer_id"}, {"mortgages", "sale_id", "property_sales", "sale_id"},
		{"marriages", "spouse_a", "residents", "resident_id"}, {"marriages", "spouse_b", "residents", "resident_id"},
		{"domestic_workers", "worker_id", "residents", "resident_id"}, {"residents", "district", "districts", "district"},
		{"property_sales", "district", "districts", "district"}, {"domestic_workers", "district", "districts", "district"},
	} {
		known := set(ref[2], ref[3])
		for v := range set(ref[0], ref[1]) {
			if known[v] == 0 {
				t.Fatalf("%s.%s has %s, which %s.%s lacks", ref[0], ref[1], v, ref[2], ref[3])
			}
		}
	}
	sales := sets["property_sales"]
	buyers, sellers := sales.column(t, "buyer_id"), sales.column(t, "seller_id")
	for i := range buyers {
		if buyers[i] == sellers[i] {
			t.Fatalf("sale %d: somebody buys from themselves", i)
		}
	}
	if n := len(set("domestic_workers", "agency_id")); n < 100 || n != len(set("domestic_workers", "agency_name")) {
		t.Errorf("%d agencies with %d names", n, len(set("domestic_workers", "agency_name")))
	}
}

func TestNumbersBelongToNobody(t *testing.T) {
	if got := checkDigit("11010519491231002"); got != 10 { // the example of GB 11643-1999, which ends in X
		t.Fatalf("check digit of the standard's example is %d, want 10", got)
	}
	residents := generate(t, parameters(t, small))["residents"]
	births, sexes, phones := residents.column(t, "birth_date"), residents.column(t, "sex"), residents.column(t, "phone")
	for i, card := range residents.column(t, "id_card") {
		if len(card) != 18 || card[:2] != "99" || card[6:14] != strings.ReplaceAll(births[i], "-", "") || (card[16]%2 == 1) != (sexes[i] == "男") {
			t.Fatalf("identity number %s does not have its form (born %s, %s)", card, births[i], sexes[i])
		}
		if card[17] == "0123456789X"[checkDigit(card[:17])] {
			t.Fatalf("identity number %s has a right check digit", card)
		}
		if phones[i] != "" && (len(phones[i]) != 11 || phones[i][:3] != "129") {
			t.Fatalf("telephone number %s could be somebody's", phones[i])
		}
	}
}

func TestGenerateStopsAndSaysSo(t *testing.T) {
	p := parameters(t, small)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Generate(ctx, t.TempDir(), p); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Generate(context.Background(), filepath.Join(t.TempDir(), "missing"), p); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	for _, name := range Datasets {
		for _, suffix := range []string{".csv", ".yaml"} {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, name+suffix), 0o700); err != nil { // cannot be written as a file
				t.Fatal(err)
			}
			if _, err := Generate(context.Background(), dir, p); err == nil {
				t.Errorf("no error although %s%s cannot be written", name, suffix)
			}
		}
	}
	p.Stories.RareOccupation.Residents = 1_000_000
	if _, err := Generate(context.Background(), t.TempDir(), p); err == nil {
		t.Error("no error for a rare occupation of a million people")
	}
}

func BenchmarkGenerate(b *testing.B) {
	p := parameters(b, 1)
	for b.Loop() {
		summary, err := Generate(context.Background(), b.TempDir(), p)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(summary.Rows), "rows")
	}
}
