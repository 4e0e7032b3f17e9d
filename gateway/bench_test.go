package gateway_test

import (
	"bufio"
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
					if mode == policy.Exact && groups == "many" {
						continue // no officer reviews 20 000 groups, and the filter refuses them
					}
					for _, aggregate := range []string{"count(*)", "sum(amount)"} {
						b.Run(fmt.Sprintf("%s/%s/groups=%s/%s", name, mode, groups, aggregate), func(b *testing.B) {
							data, _ := benchData(b, vault, rows, each)
							benchGuard(b, vault, data, mode, groups, aggregate)
						})
					}
				}
			}
		}
	}
}

func benchGuard(b *testing.B, vault *sandbox.Vault, data policy.Dataset, mode policy.Mode, group, aggregate string) {
	sql := fmt.Sprintf("SELECT %s, %s FROM %s GROUP BY %s", group, aggregate, data.Name, group)
	program := benchProgram(b, data, mode, sql)
	from := fmt.Sprintf(`FROM "ds_%s"."main"."data" GROUP BY %s`, data.Name, group)
	plain := fmt.Sprintf("SELECT %s, %s %s", group, aggregate, from)
	asked := program.Releases[0].SQL
	if quick := program.Releases[0].Quick; quick != "" { // its bounds settle every cell of these data
		asked = quick
	}
	texts := []string{
		asked,
		plain,
		fmt.Sprintf("SELECT %s, %s, count(DISTINCT __unit_0) %s", group, aggregate, from),
		"SELECT bit_xor(hash(t)) FROM (" + asked + ") AS t",
		"SELECT bit_xor(hash(t)) FROM (" + plain + ") AS t",
	}
	session, err := sandbox.NewWorkers(realWorker(b), vault, benchLimits).Start(b.Context(), "bench", []policy.Dataset{data})
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
func benchProgram(b *testing.B, data policy.Dataset, mode policy.Mode, sql string) *guard.Program {
	b.Helper()
	schema := []policy.Dataset{data}
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
	name := fmt.Sprintf("rows_%d_%d", rows, each)
	if known, ok := benchImports.done[name]; ok {
		return known.data, known.took
	}
	dir, err := os.MkdirTemp(workerDir, "bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := benchCSV(filepath.Join(dir, "rows.csv"), rows, each); err != nil {
		b.Fatal(err)
	}
	manifest := strings.Join([]string{
		"name: " + name, "title: bench", "provider: bench", "file: rows.csv", "units: [{domain: person, key: id}]", "columns:",
		"  - {name: id, type: VARCHAR, class: identifier}",
		"  - {name: few, type: INTEGER, class: quasi}",
		"  - {name: many, type: INTEGER, class: quasi}",
		"  - {name: amount, type: INTEGER, class: measure}",
	}, "\n")
	path := filepath.Join(dir, "rows.yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	data, err := vault.Import(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(begin)
	if data.Units[0].Unique != (each == 1) {
		b.Fatalf("units are unique: %v", data.Units[0].Unique)
	}
	benchImports.done[name] = benchImport{data, took}
	return data, took
}

func benchCSV(path string, rows, each int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	dice := rand.New(rand.NewPCG(1, 2))
	w.WriteString("id,few,many,amount\n")
	line := make([]byte, 0, 64)
	for i := range rows {
		many := dice.IntN(20_000)
		line = append(line[:0], 'U')
		line = strconv.AppendInt(line, int64(i%(rows/each)), 10)
		for _, n := range []int{many % 50, many, 100 + dice.IntN(10_000)} {
			line = append(line, ',')
			line = strconv.AppendInt(line, int64(n), 10)
		}
		w.Write(append(line, '\n'))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
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
