package export

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/export/guard"
	"weir/internal/store"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
	"weir/sandbox/seal"
)

// record is a row as the tests know it: nil, a string or a number in each column. All numbers of the world are
// multiples of a quarter, so that sums of them are exact.
type record map[string]any

// world is generated data, taken into a vault, and the same rows in memory, so that what is released can be held
// against what the rows say.
type world struct {
	filter   *Filter
	queue    *Queue
	schema   []policy.Dataset
	rows     map[string][]record
	planning *sandbox.Planning
	session  *sandbox.Session
	asked    int
	quick    int     // aggregations that bounds settled
	rest     int     // those in which they left some groups open
	slow     bool    // bring all evidence always
	spent    float64 // ρ, by questions of the noised modes
}

// released is what came of a question.
type releasedTable struct {
	names    []string
	rows     [][]any
	errors   [][]any
	withheld bool
	checks   []Check
	program  *guard.Program
}

// failed sums up over the guarded aggregations how many cells failed one of the checks.
func (r releasedTable) failed(checks ...string) int {
	n := 0
	for _, c := range r.checks {
		for _, name := range checks {
			n += c.Withheld[name]
		}
	}
	return n
}

// seed makes the world and the hashes of its units, so that a test that failed can be repeated: go test ./export -seed N.
var seed = flag.Uint64("seed", 7, "seed of the generated world and of its units' hashes")

// ground is what all worlds of a run stand on: data, a vault and two processes that only read. It is made once.
type ground struct {
	dir      string
	schema   []policy.Dataset
	rows     map[string][]record
	vault    *sandbox.Vault
	planning *sandbox.Planning
	session  *sandbox.Session
}

var theGround *ground

// newWorld gives the world with a filter and a history of its own.
func newWorld(t testing.TB) *world {
	t.Helper()
	t.Logf("the world of seed %d; -seed gives it again", *seed)
	if theGround == nil {
		theGround = newGround(t)
	}
	theGround.start(t)
	w := &world{rows: theGround.rows, schema: slices.Clone(theGround.schema), planning: theGround.planning, session: theGround.session}
	var err error
	if w.queue, err = OpenQueue(t.Context(), storetest.Open(t, storetest.SQLite(t)), nil); err != nil {
		t.Fatal(err)
	}
	if w.filter, err = New([]byte(strings.Repeat("k", 32)), w.queue); err != nil {
		t.Fatal(err)
	}
	return w
}

// keyOf makes a key of the seed.
func keyOf(purpose string) seal.Key { return sha256.Sum256(fmt.Appendf(nil, "%s %d", purpose, *seed)) }

// newGround takes the generated data into a vault. The units' hashes follow from the seed like the data: in which part
// of a fingerprint a unit falls would else be another in every run.
func newGround(t testing.TB) *ground {
	t.Helper()
	ctx := context.Background() // longer than this test
	dir, err := os.MkdirTemp("", "weir-world-")
	if err != nil {
		t.Fatal(err)
	}
	g := &ground{dir: dir, rows: inhabitants(rand.New(rand.NewPCG(*seed, 11)))}
	g.rows["odd"] = odd(rand.New(rand.NewPCG(*seed, 12)))
	db, err := store.Open(ctx, filepath.Join(dir, "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.HasKeys(ctx, db); err != nil { // makes the table
		t.Fatal(err)
	}
	master, units := seal.Masters{keyOf("master")}, keyOf("units")
	wrapped, err := master.Wrap(ctx, units[:], "unit")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.NewRaw("INSERT INTO sandbox_keys (purpose, master, wrapped, made_at) VALUES ('unit', ?, ?, ?)", master.KeyID(), wrapped, time.Unix(0, 0).UTC()).Exec(ctx); err != nil {
		t.Fatal(err)
	}
	if g.vault, err = sandbox.OpenVault(ctx, filepath.Join(dir, "vault"), db, worker, master); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"people", "events", "sales", "trips", "odd"} {
		manifest, err := os.ReadFile(filepath.Join("testdata", "world", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(path, manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		(&world{rows: g.rows}).write(t, filepath.Join(dir, name+".csv"), name)
		d, err := g.vault.Import(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		g.schema = append(g.schema, d)
	}
	return g
}

// start starts the processes, and again where a test ended one.
func (g *ground) start(t testing.TB) {
	t.Helper()
	if g.session != nil {
		_, errWorker := g.session.Query(t.Context(), sandbox.Query{SQL: "SELECT 1 AS c0"})
		if _, errPlanner := g.planning.Bind(t.Context(), "SELECT 1"); errWorker == nil && errPlanner == nil {
			return
		}
		g.stop()
	}
	limits := sandbox.DefaultLimits
	limits.Wall, limits.CPU = limits.Wall*500, limits.CPU*500 // one process answers all tests
	var err error
	if g.planning, err = sandbox.NewPlanner(worker, limits).Start(context.Background(), g.schema); err != nil {
		t.Fatal(err)
	}
	if g.session, err = sandbox.NewWorkers(worker, g.vault, limits).Start(context.Background(), "world", g.schema); err != nil {
		t.Fatal(err)
	}
}

func (g *ground) stop() {
	if g.session != nil {
		g.planning.Close()
		g.session.Close()
	}
}

var columnsOfWorld = map[string][]string{
	"people": {"pid", "phone", "sex", "city", "ward", "illness", "age", "pay", "hours", "flag", "gain"},
	"events": {"patient", "room", "kind", "cost"},
	"sales":  {"buyer", "seller", "district", "price"},
	"trips":  {"rider", "line", "purpose", "stops", "fare", "delay"},
	"odd":    {"oid", "ward", "born", "diag", "ill", "pay", "debt", "fee", "hours", "rate", "profit"},
}

func (w *world) write(t testing.TB, path, name string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := csv.NewWriter(file)
	lines := [][]string{columnsOfWorld[name]}
	for _, row := range w.rows[name] {
		var line []string
		for _, column := range columnsOfWorld[name] {
			switch v := row[column].(type) {
			case string:
				line = append(line, v)
			case float64:
				line = append(line, strconv.FormatFloat(v, 'f', -1, 64))
			default:
				line = append(line, "")
			}
		}
		lines = append(lines, line)
	}
	if err := out.WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// inhabitants makes people of skewed towns, with a few very rich ones, missing values, and events and sales that
// some have many of and most have few of.
func inhabitants(r *rand.Rand) map[string][]record {
	rows := map[string][]record{}
	skewed := func(prefix string, n int) string {
		return prefix + strconv.Itoa(int(float64(n)*r.Float64()*r.Float64()))
	}
	maybe := func(share float64, v any) any {
		if r.Float64() < share {
			return nil
		}
		return v
	}
	for i := range 500 {
		p := record{
			"pid": fmt.Sprintf("P%04d", i), "phone": maybe(0.6, fmt.Sprintf("139%05d", i)),
			"sex": []string{"F", "M"}[r.IntN(2)], "city": skewed("c", 9), "ward": skewed("w", 25),
			"age": float64(18 + r.IntN(60)), "hours": float64(r.IntN(60)), "pay": maybe(0.05, float64(1000+r.IntN(9000))),
		}
		switch p["illness"] = skewed("i", 4); {
		case p["city"] == "c3":
			p["illness"] = "i0" // a town in which everybody has the same
		case r.Float64() < 0.02:
			p["illness"] = nil
		}
		if r.Float64() < 0.02 {
			p["pay"] = float64(5_000_000 + r.IntN(5_000_000))
		}
		p["flag"], p["gain"] = float64(i%2), 0.0
		switch {
		case p["city"] == "c1", p["city"] == "c2" && i%17 > 0:
			p["flag"] = 1.0 // towns in which everybody has it, and all but few
		case p["city"] == "c4":
			p["flag"] = 0.0
		}
		if i%25 == 0 {
			p["gain"] = float64(100 + i)
		}
		rows["people"] = append(rows["people"], p)
		visits := r.IntN(5)
		if r.Float64() < 0.02 {
			visits = 150
		}
		for range visits {
			rows["events"] = append(rows["events"], record{
				"patient": p["pid"], "room": skewed("r", 15), "kind": skewed("k", 3), "cost": maybe(0.1, float64(r.IntN(4000))/4),
			})
		}
	}
	for range 700 {
		buyer, seller := r.IntN(500), r.IntN(40)
		if r.IntN(3) > 0 {
			seller = r.IntN(500)
		}
		rows["sales"] = append(rows["sales"], record{
			"buyer": fmt.Sprintf("P%04d", buyer), "seller": fmt.Sprintf("P%04d", seller), "district": skewed("d", 12),
			"price": maybe(0.03, float64(100_000+r.IntN(900_000))),
		})
	}
	for i := range 6000 { // so many that bounds on what one rider has settle some groups, and not others
		rows["trips"] = append(rows["trips"], record{
			"rider": fmt.Sprintf("P%04d", (i+r.IntN(3))%500), "line": skewed("l", 6), "purpose": skewed("p", 3),
			"stops": float64(1 + r.IntN(20)), "fare": maybe(0.05, float64(r.IntN(40))/4), "delay": maybe(0.3, float64(r.IntN(9)-4)),
		})
	}
	return rows
}

var loose = func() policy.Rules { r := policy.DefaultRules; r.Digits = 15; return r }()

// ask runs a query the way the flow does, up to the released table, as an operator of its own unless one is named.
func (w *world) ask(ctx context.Context, operator, sql string, mode policy.Mode, rules policy.Rules) (releasedTable, error) {
	w.asked++
	job := fmt.Sprintf("job-%d", w.asked)
	if operator == "" {
		operator = job
	}
	bound, err := w.planning.Bind(ctx, sql)
	if err != nil {
		return releasedTable{}, err
	}
	program, err := guard.Check(sql, bound, w.schema, rules, mode)
	if err != nil {
		return releasedTable{}, err
	}
	if err := program.Constants.Hold(ctx, w.planning); err != nil {
		return releasedTable{}, err
	}
	assessment, err := w.filter.Begin(job, program, policy.Decision{Grant: policy.Grant{Operator: operator}, Mode: mode, Rules: rules})
	if err != nil {
		return releasedTable{}, err
	}
	for _, r := range program.Releases {
		if r.Noised != nil {
			if err := w.answer(ctx, assessment, r); err != nil {
				return releasedTable{}, fmt.Errorf("%w: %v", err, unwrapAll(err))
			}
			continue
		}
		cells, err := w.evidence(ctx, assessment, r)
		if err != nil {
			return releasedTable{}, err
		}
		if err := assessment.Admit(ctx, r, cells); err != nil {
			return releasedTable{}, fmt.Errorf("%w: %v", err, unwrapAll(err))
		}
	}
	table, err := w.planning.Finish(ctx, sandbox.Query{SQL: program.Final.SQL, Tables: assessment.Tables(program.Final.Reads)})
	if err != nil {
		return releasedTable{}, fmt.Errorf("%w: %v\n%s", err, unwrapAll(err), program.Final.SQL)
	}
	verdict, err := assessment.Judge(table)
	if err != nil {
		return releasedTable{}, err
	}
	return releasedTable{verdict.table.Names, verdict.table.Rows, verdict.table.Errors, verdict.table.Withheld, verdict.Checks, program}, nil
}

// answer has figures of a noised mode brought and answered, as the flow does, and notes what they cost.
func (w *world) answer(ctx context.Context, a *Assessment, r guard.Release) error {
	q, err := a.Ask(r, w.schema)
	if err != nil {
		return err
	}
	tables := a.Tables(r.Reads)
	if r.Noised.Proofs != "" {
		proofs, err := w.session.Query(ctx, sandbox.Query{SQL: r.Noised.Proofs, Tables: tables})
		if err != nil {
			return err
		}
		if err := q.Proven(proofs); err != nil {
			return err
		}
	}
	if r.Noised.Sizes != "" {
		sizes, err := w.session.Query(ctx, sandbox.Query{SQL: r.Noised.Sizes, Tables: tables})
		if err != nil {
			return fmt.Errorf("%w: %v\n%s", err, unwrapAll(err), r.Noised.Sizes)
		}
		if err := q.Public(sizes); err != nil {
			return err
		}
	}
	price, err := q.Price(ctx)
	if err != nil {
		return err
	}
	w.spent += price.Rho
	missing, quantiles := q.Missing()
	var truth sandbox.Table
	if missing {
		if truth, err = w.session.Query(ctx, sandbox.Query{SQL: r.SQL, Tables: tables}); err != nil {
			return fmt.Errorf("%w: %v\n%s", err, unwrapAll(err), r.SQL)
		}
	}
	parts := map[int]sandbox.Table{}
	for _, i := range quantiles {
		if parts[i], err = w.session.Query(ctx, sandbox.Query{SQL: r.Noised.Cells[i].Bins, Tables: tables}); err != nil {
			return fmt.Errorf("%w: %v\n%s", err, unwrapAll(err), r.Noised.Cells[i].Bins)
		}
	}
	if err := q.Answer(ctx, truth, parts); err != nil {
		return err
	}
	return a.Answered(r, q)
}

// evidence asks for the bounds first, as the flow does, and for everything where they leave a cell open.
func (w *world) evidence(ctx context.Context, a *Assessment, r guard.Release) (sandbox.Table, error) {
	if r.Public != "" {
		units, err := w.session.Query(ctx, sandbox.Query{SQL: r.Public, Tables: a.Tables(r.Reads)})
		if err != nil {
			return units, fmt.Errorf("%w: %v\n%s", err, unwrapAll(err), r.Public)
		}
		if err := a.Compare(r, units); err != nil {
			return units, err
		}
	}
	query := func(q sandbox.Query) (sandbox.Table, error) {
		q.Tables = append(q.Tables, a.Tables(r.Reads)...)
		cells, err := w.session.Query(ctx, q)
		if err != nil {
			err = fmt.Errorf("%w: %v\n%s", err, unwrapAll(err), q.SQL)
		}
		return cells, err
	}
	if r.Quick == "" || w.slow {
		return query(sandbox.Query{SQL: r.SQL})
	}
	quick, err := query(sandbox.Query{SQL: r.Quick})
	if err != nil {
		return quick, err
	}
	settled := a.Settle(r, quick)
	rest, open := settled.Open()
	if !open {
		w.quick++
		return settled.With(sandbox.Table{})
	}
	exact, err := query(rest)
	if err != nil {
		return exact, err
	}
	w.rest += bit(rest.SQL == r.Rest)
	return settled.With(exact)
}

func unwrapAll(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

// plain runs the same text on the same data with no guard at all: what the engine itself answers.
func (w *world) plain(ctx context.Context, sql string) (sandbox.Table, error) {
	var names []string
	for _, d := range w.schema {
		names = append(names, fmt.Sprintf(`%s AS (SELECT %s FROM "ds_%s"."main"."data")`, d.Name, strings.Join(columnsOfWorld[d.Name], ", "), d.Name))
	}
	with := "WITH " + strings.Join(names, ", ")
	if rest, ok := strings.CutPrefix(sql, "WITH "); ok {
		return w.session.Query(ctx, sandbox.Query{SQL: with + ", " + rest})
	}
	return w.session.Query(ctx, sandbox.Query{SQL: with + " " + sql})
}
