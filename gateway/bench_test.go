package gateway_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/export/guard"
	"weir/internal/store"
	"weir/policy"
	"weir/sandbox"
)

// benchSizes are the rows of the data sets of BenchmarkGuard. WEIR_BENCH_ROWS makes those smaller that are larger.
func benchSizes(b *testing.B) []int {
	sizes := []int{1_000_000, 20_000_000}
	if text := os.Getenv("WEIR_BENCH_ROWS"); text != "" {
		most, err := strconv.Atoi(text)
		if err != nil || most < 1000 {
			b.Fatalf("WEIR_BENCH_ROWS=%s is not a number of rows, at least 1000", text)
		}
		for i := range sizes {
			sizes[i] = min(sizes[i], most)
		}
	}
	return slices.Compact(sizes)
}

// benchLimits let the peer finish: count(DISTINCT) of 20 million rows in 20 000 groups needs more than a job of the
// platform may use. The guarded query, the plain one and the peer run under the same.
var benchLimits = sandbox.Limits{Memory: 10 << 30, CPU: time.Hour, Wall: time.Hour, Rows: 200_000, Bytes: 64 << 20, Threads: 2}

// The median of so many turns counts; where a turn is slow, of fewer.
const (
	repetitions = 5
	fewest      = 3
	longest     = time.Minute
)

// BenchmarkGuard shows what the guard costs: the same aggregation guarded, plain, and with count(DISTINCT unit)
// beside it, which is how others prove that a cell is large enough. All three run in one session over one attached
// data set, in turns, and bring their result through the same pipe. "engine-ratio" is guarded against plain without
// the way of the result: how much longer the engine itself takes.
func BenchmarkGuard(b *testing.B) {
	fmt.Printf("cores: %d\n", runtime.NumCPU())
	vault := benchVault(b)
	for _, rows := range benchSizes(b) {
		for _, each := range []int{1, 10} {
			name := fmt.Sprintf("rows=%s/rows-a-unit=%d", short(rows), each)
			b.Run(name+"/import", func(b *testing.B) {
				_, took := benchData(b, vault, rows, each)
				b.ReportMetric(float64(rows)/took.Seconds(), "rows/s")
				b.ReportMetric(0, "ns/op")
			})
			for _, mode := range []policy.Mode{policy.Perturbed, policy.Exact} {
				for _, groups := range []string{"few", "many"} {
					by := groups
					if mode == policy.Exact && groups == "many" {
						groups, by = "1000", "many % 1000" // no officer reviews 20 000 groups, and the filter refuses them
					}
					for _, aggregate := range []string{"count(*)", "sum(amount)"} {
						b.Run(fmt.Sprintf("%s/%s/groups=%s/%s", name, mode, groups, aggregate), func(b *testing.B) {
							data, _ := benchData(b, vault, rows, each)
							benchGuard(b, vault, []policy.Dataset{data}, mode, benchQuery{by, aggregate, "{rows} AS r", "r.__unit_0"})
						})
					}
				}
			}
			benchJoins(b, vault, name, rows, each)
		}
	}
}

// benchQuery is what is asked. In from, {rows} is the first data set and {other} the second; units are what is counted as
// distinct by the peer.
type benchQuery struct{ group, aggregate, from, units string }

// over writes the query over data sets that are named as the function says, with further columns.
func (q benchQuery) over(data []policy.Dataset, named func(policy.Dataset) string, further ...string) string {
	from := strings.ReplaceAll(q.from, "{rows}", named(data[0]))
	if len(data) > 1 {
		from = strings.ReplaceAll(from, "{other}", named(data[1]))
	}
	return fmt.Sprintf("SELECT %s FROM %s GROUP BY %s", strings.Join(append([]string{q.group, q.aggregate}, further...), ", "), from, q.group)
}

// benchJoins are the shapes in which a figure reads more than one table, or guards more than one unit.
func benchJoins(b *testing.B, vault *sandbox.Vault, name string, rows, each int) {
	for _, shape := range []struct {
		name, kind, from, units string
		groups                  []string
	}{
		{"open-dimension", "places", "{rows} AS r JOIN {other} AS o ON r.many = o.place", "r.__unit_0", []string{"o.few", "o.many"}},
		{"unit-key", "people", "{rows} AS r JOIN {other} AS o ON r.id = o.id", "r.__unit_0", []string{"o.few", "o.many"}},
		{"two-keys", "sales", "{rows} AS r", "r.__unit_0), count(DISTINCT r.__unit_1", []string{"r.few", "r.many"}},
	} {
		for _, group := range shape.groups {
			for _, aggregate := range []string{"count(*)", "sum(r.amount)"} {
				b.Run(fmt.Sprintf("%s/%s/groups=%s/%s", name, shape.name, group[2:], aggregate), func(b *testing.B) {
					var data []policy.Dataset
					if shape.kind == "sales" {
						data = []policy.Dataset{benchOther(b, vault, shape.kind, rows, each)}
					} else {
						facts, _ := benchData(b, vault, rows, each)
						data = []policy.Dataset{facts, benchOther(b, vault, shape.kind, rows, each)}
					}
					benchGuard(b, vault, data, policy.Perturbed, benchQuery{group, aggregate, shape.from, shape.units})
				})
			}
		}
	}
}

func benchGuard(b *testing.B, vault *sandbox.Vault, data []policy.Dataset, mode policy.Mode, q benchQuery) {
	program := benchProgram(b, data, mode, q.over(data, func(d policy.Dataset) string { return d.Name }))
	stored := func(d policy.Dataset) string { return fmt.Sprintf(`"ds_%s"."main"."data"`, d.Name) }
	plain := q.over(data, stored)
	asked := program.Releases[0].SQL
	if quick := program.Releases[0].Quick; quick != "" { // its bounds settle every cell of these data
		asked = quick
	}
	texts := []string{
		asked,
		plain,
		q.over(data, stored, "count(DISTINCT "+q.units+")"),
		"SELECT bit_xor(hash(t)) FROM (" + asked + ") AS t",
		"SELECT bit_xor(hash(t)) FROM (" + plain + ") AS t",
	}
	session, err := sandbox.NewWorkers(realWorker(b), vault, benchLimits).Start(b.Context(), "bench", data)
	if err != nil {
		b.Fatal(err)
	}
	defer session.Close()
	took := make([][]time.Duration, len(texts))
	turn := func(keep bool) {
		for i, text := range texts {
			begin := time.Now()
			if _, err := session.Query(b.Context(), sandbox.Query{SQL: text}); err != nil {
				b.Fatalf("%s: %v", text, err)
			}
			if keep {
				took[i] = append(took[i], time.Since(begin))
			}
		}
	}
	started := time.Now()
	turn(false) // the files are in memory from here on
	for b.Loop() {
		turn(true)
	}
	for len(took[0]) < fewest || len(took[0]) < repetitions && time.Since(started) < longest {
		turn(true)
	}
	guarded, bare, distinct := quantile(took[0], 0.5), quantile(took[1], 0.5), quantile(took[2], 0.5)
	b.ReportMetric(ms(guarded), "guarded-ms")
	b.ReportMetric(ms(bare), "plain-ms")
	b.ReportMetric(ms(distinct), "distinct-ms")
	b.ReportMetric(float64(guarded)/float64(bare), "guarded/plain")
	b.ReportMetric(float64(distinct)/float64(bare), "distinct/plain")
	b.ReportMetric(float64(quantile(took[3], 0.5))/float64(quantile(took[4], 0.5)), "engine-ratio")
	b.ReportMetric(0, "ns/op") // of a turn, which says nothing
}

// benchProgram has a real planner read the text and the guard check it.
func benchProgram(b *testing.B, schema []policy.Dataset, mode policy.Mode, sql string) *guard.Program {
	b.Helper()
	planning, err := sandbox.NewPlanner(realWorker(b), sandbox.DefaultLimits).Start(b.Context(), schema)
	if err != nil {
		b.Fatal(err)
	}
	defer planning.Close()
	bound, err := planning.Bind(b.Context(), sql)
	if err != nil {
		b.Fatal(err)
	}
	program, err := guard.Check(sql, bound, schema, policy.DefaultRules, mode)
	if err != nil {
		b.Fatal(err)
	}
	if len(program.Releases) != 1 {
		b.Fatalf("%d guarded aggregations", len(program.Releases))
	}
	return program
}

func benchVault(b *testing.B) *sandbox.Vault {
	b.Helper()
	db, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "weir.sqlite"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	vault, err := sandbox.OpenVault(b.Context(), filepath.Join(b.TempDir(), "vault"), db, realWorker(b), sandbox.MemoryMaster())
	if err != nil {
		b.Fatal(err)
	}
	benchImports.Lock()
	defer benchImports.Unlock()
	clear(benchImports.done) // they were in another vault
	return vault
}

// benchImport is a data set that was taken in, and how long that took.
type benchImport struct {
	data policy.Dataset
	took time.Duration
}

var benchImports = struct {
	sync.Mutex
	done map[string]benchImport
}{done: map[string]benchImport{}}

// benchData writes a data set as CSV and takes it into the vault, once: rows in 50 and in 20 000 groups, with the
// given number of rows a unit, which are scattered over the groups and the file.
func benchData(b *testing.B, vault *sandbox.Vault, rows, each int) (policy.Dataset, time.Duration) {
	b.Helper()
	benchImports.Lock()
	defer benchImports.Unlock()
	taken := benchTake(b, vault, fmt.Sprintf("rows_%d_%d", rows, each), "units: [{domain: person, key: id}]",
		[]string{"id VARCHAR identifier", "few INTEGER quasi", "many INTEGER quasi", "amount INTEGER measure"},
		func(w *bufio.Writer) { benchRows(w, rows, each, false) })
	if taken.data.Units[0].Unique != (each == 1) {
		b.Fatalf("units are unique: %v", taken.data.Units[0].Unique)
	}
	return taken.data, taken.took
}

// benchOther is what the rows are joined to: 20 000 places, which are open, or all the people with one row each; or rows
// of sales, which have a seller beside the buyer, with ten times as many rows.
func benchOther(b *testing.B, vault *sandbox.Vault, kind string, rows, each int) policy.Dataset {
	b.Helper()
	benchImports.Lock()
	defer benchImports.Unlock()
	switch kind {
	case "places":
		return benchTake(b, vault, "places", "open: true", []string{"place INTEGER open", "few INTEGER open", "many INTEGER open"}, func(w *bufio.Writer) {
			for i := range 20_000 {
				fmt.Fprintf(w, "%d,%d,%d\n", i, i%50, i/2)
			}
		}).data
	case "people":
		return benchTake(b, vault, fmt.Sprintf("people_%d", rows/each), "units: [{domain: person, key: id}]",
			[]string{"id VARCHAR identifier", "few INTEGER quasi", "many INTEGER quasi", "amount INTEGER measure"},
			func(w *bufio.Writer) { benchRows(w, rows/each, 1, false) }).data
	}
	return benchTake(b, vault, fmt.Sprintf("sales_%d_%d", rows, each), "units: [{domain: person, key: id}, {domain: firm, key: seller}]",
		[]string{"id VARCHAR identifier", "few INTEGER quasi", "many INTEGER quasi", "amount INTEGER measure", "seller VARCHAR identifier"},
		func(w *bufio.Writer) { benchRows(w, rows, each, true) }).data
}

// benchTake takes a data set into the vault, once. Columns are a name, a type and a class.
func benchTake(b *testing.B, vault *sandbox.Vault, name, units string, columns []string, fill func(*bufio.Writer)) benchImport {
	b.Helper()
	if known, ok := benchImports.done[name]; ok {
		return known
	}
	dir, err := os.MkdirTemp(workerDir, "bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	manifest := fmt.Sprintf("name: %s\ntitle: bench\nprovider: bench\nfile: rows.csv\n%s\ncolumns:\n", name, units)
	var header []string
	for _, c := range columns {
		word := strings.Fields(c)
		header = append(header, word[0])
		manifest += fmt.Sprintf("  - {name: %s, type: %s, class: %s}\n", word[0], word[1], word[2])
	}
	f, err := os.Create(filepath.Join(dir, "rows.csv"))
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	w.WriteString(strings.Join(header, ",") + "\n")
	fill(w)
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "rows.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	data, err := vault.Import(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	benchImports.done[name] = benchImport{data, time.Since(begin)}
	return benchImports.done[name]
}

func benchRows(w *bufio.Writer, rows, each int, sold bool) {
	dice := rand.New(rand.NewPCG(1, 2))
	line := make([]byte, 0, 64)
	for i := range rows {
		many := dice.IntN(20_000)
		line = append(line[:0], 'U')
		line = strconv.AppendInt(line, int64(i%(rows/each)), 10)
		for _, n := range []int{many % 50, many, 100 + dice.IntN(10_000)} {
			line = append(line, ',')
			line = strconv.AppendInt(line, int64(n), 10)
		}
		if sold {
			line = strconv.AppendInt(append(line, ",F"...), int64(i%(rows/(10*each))), 10)
		}
		w.Write(append(line, '\n'))
	}
}

func short(rows int) string {
	if rows%1_000_000 == 0 {
		return strconv.Itoa(rows/1_000_000) + "M"
	}
	return strconv.Itoa(rows)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile of durations; 0.5 is the median.
func quantile(list []time.Duration, q float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
