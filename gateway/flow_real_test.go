package gateway_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/audit"
	accounts "weir/export/account"
	"weir/gateway"
	"weir/policy"
	"weir/sandbox"
)

var update = flag.Bool("update", false, "write the lists of what stands on the log")

// workerDir is where the worker is built when a test asks for it.
var workerDir string

func TestMain(m *testing.M) {
	var err error
	if workerDir, err = os.MkdirTemp("", "weir-worker-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(workerDir)
	os.Exit(code)
}

var buildWorker = sync.OnceValues(func() (string, error) {
	if worker := os.Getenv("WEIR_WORKER"); worker != "" {
		return worker, nil
	}
	worker := filepath.Join(workerDir, "weir-worker")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static -Wl,--no-warnings"`, "-o", worker, "weir/cmd/weir-worker")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weir-worker: %w\n%s", err, out)
	}
	return worker, nil
})

// realWorker is the program itself.
func realWorker(t testing.TB) string {
	t.Helper()
	worker, err := buildWorker()
	if err != nil {
		t.Fatal(err)
	}
	return worker
}

// cityData are the data sets of these tests, as they are catalogued: persons, what they bought, and where, which
// everybody may know.
var cityData = []policy.Dataset{
	{
		Name: "residents", Title: policy.Plain("居民"), Provider: "Bureau of tests", Version: 1,
		Units: []policy.Unit{{Domain: "person", Key: "id", Unique: true}},
		Columns: []policy.Column{
			{Name: "id", Type: "VARCHAR", Class: policy.Identifier},
			{Name: "district", Type: "VARCHAR", Class: policy.Quasi},
			{Name: "sex", Type: "VARCHAR", Class: policy.Quasi},
			{Name: "income", Type: "INTEGER", Class: policy.Measure, Bound: &policy.Bounds{Min: new(0.0), Max: new(1e6)}},
		},
	},
	{
		Name: "sales", Title: policy.Plain("交易"), Provider: "Bureau of tests", Version: 1,
		Units:   []policy.Unit{{Domain: "person", Key: "buyer"}},
		Columns: []policy.Column{{Name: "buyer", Type: "VARCHAR", Class: policy.Identifier}, {Name: "price", Type: "INTEGER", Class: policy.Measure}},
	},
	{
		Name: "districts", Title: policy.Plain("区"), Provider: "Bureau of tests", Version: 1, Open: true,
		Columns: []policy.Column{{Name: "name", Type: "VARCHAR", Class: policy.OpenClass}, {Name: "title", Type: "VARCHAR", Class: policy.OpenClass}},
	},
}

// cityRows gives a data set's rows, the same every time.
func cityRows(name string) string {
	var out strings.Builder
	switch name {
	case "residents":
		out.WriteString("id,district,sex,income\n")
		for i := range 200 {
			district := i % 4
			if i < 5 {
				district = 9 // a district of five persons, which must never be seen
			}
			fmt.Fprintf(&out, "P%04d,d%d,%s,%d\n", i, district, []string{"m", "f"}[i/4%2], 3000+17*i)
		}
	case "sales":
		out.WriteString("buyer,price\n")
		for i := range 300 {
			fmt.Fprintf(&out, "P%04d,%d\n", i%200, 500_000+1000*i)
		}
	case "districts":
		out.WriteString("name,title\nd0,North\nd1,South\nd2,East\nd3,West\nd9,Island\n")
	}
	return out.String()
}

// cityLimits are those of the city's workers.
var cityLimits = func() sandbox.Limits {
	limits := sandbox.DefaultLimits
	limits.Threads = 1
	return limits
}()

// city is a theatre whose parts are the real ones, with the data sets in a real vault.
type city struct {
	*theatre
	engine *policy.Engine
	log    *audit.Log
	parts  gateway.FlowParts
	vault  *sandbox.Vault
	data   []policy.Dataset
}

func newCity(t testing.TB) *city {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	worker := realWorker(t)
	c := &city{theatre: newTheatre(t)}
	var err error
	c.engine, err = policy.New(ctx, c.db, policy.Options{})
	must(err)
	key, err := audit.LoadKey(t.TempDir(), "weir.test/audit")
	must(err)
	c.log, err = audit.Open(ctx, c.db, audit.Options{Origin: "weir.test/audit", Key: key})
	must(err)
	t.Cleanup(func() { c.log.Close() })
	vault, err := sandbox.OpenVault(ctx, filepath.Join(t.TempDir(), "vault"), c.db, worker, sandbox.MemoryMaster())
	must(err)
	for _, d := range cityData {
		taken, err := vault.Import(ctx, cityManifest(t, d))
		must(err)
		c.data = append(c.data, taken)
	}
	tables, err := sandbox.OpenWorkspaces(ctx, filepath.Join(t.TempDir(), "workspaces"), vault)
	must(err)
	c.vault = vault
	book, err := accounts.Open(ctx, c.db)
	must(err)
	budget, err := gateway.OpenBudget(ctx, book, c.log, c.queue.Noised, time.Now)
	must(err)
	c.parts = gateway.FlowParts{
		Policy: c.engine, Catalogue: vault, Filter: c.filter, Log: c.log, Budgets: budget, Clock: fixedClock,
		Planners: gateway.RealPlanners{Planner: sandbox.NewPlanner(worker, cityLimits)},
		Workers:  gateway.RealWorkers{Workers: sandbox.NewWorkers(worker, vault, cityLimits), Tables: tables},
		Tables:   gateway.KeptTables{Workspaces: tables},
	}
	return c
}

// cityManifest writes a data set and what its provider says about it. JSON is YAML.
func cityManifest(t testing.TB, d policy.Dataset) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, d.Name+".yaml")
	var units, columns []map[string]any
	for _, u := range d.Units {
		units = append(units, map[string]any{"domain": u.Domain, "key": u.Key})
	}
	for _, c := range d.Columns {
		column := map[string]any{"name": c.Name, "type": c.Type, "class": c.Class}
		if c.Bound != nil {
			column["measure"] = c.Bound
		}
		columns = append(columns, column)
	}
	manifest := map[string]any{"name": d.Name, "title": d.Title, "provider": d.Provider, "file": d.Name + ".csv", "columns": columns}
	if d.Open {
		manifest["open"] = true
	} else {
		manifest["units"] = units
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{path: string(text), filepath.Join(dir, d.Name+".csv"): cityRows(d.Name)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// grant makes a grant of the real engine.
func (c *city) grant(t testing.TB, g policy.Grant) string {
	t.Helper()
	g.ID, g.State = "", ""
	authority := policy.Principal{Subject: "wei", Organisation: "bureau", Roles: []policy.Role{policy.Authority}}
	members := []policy.Member{{Organisation: "bureau", Roles: authority.Roles}, {Organisation: g.Operator, Roles: []policy.Role{policy.Analyst}}}
	if err := c.engine.BringOver(t.Context(), members); err != nil {
		t.Fatal(err)
	}
	made, err := c.engine.CreateGrant(t.Context(), authority, g)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (c *city) stage() *stage { return newStage(c.parts, c.queue, c.hook) }

// flowQueries are the queries of these tests. What an analyst writes for people stands in them as words that begin with "mark".
var flowQueries = map[string]string{
	"finish in the planner": "-- markcomment\nSELECT district AS markalias, count(*) AS markcount, sum(income) /* markcomment */\nFROM residents AS marktable WHERE sex <> 'markliteral' GROUP BY district ORDER BY district",
	"finish over open data": "WITH markcte AS (SELECT district AS markinner, count(*) AS n FROM residents WHERE sex <> 'markliteral' GROUP BY district)\n" +
		"SELECT title AS markalias, n FROM markcte JOIN districts AS marktable ON name = markinner ORDER BY title",
	"two aggregations": "SELECT a.district, a.n, b.s FROM (SELECT district, count(*) AS n FROM residents GROUP BY district) AS a\n" +
		"JOIN (SELECT district, sum(income) AS s FROM residents WHERE sex = 'f' GROUP BY district) AS b ON a.district = b.district ORDER BY 1",
	"rows of persons": "SELECT district, income AS markalias FROM residents WHERE sex <> 'markliteral' -- markcomment",
}

// TestTheRealFlow runs queries through the real parts, and shows what the log, the queue and the day's account hold.
func TestTheRealFlow(t *testing.T) {
	c := newCity(t)
	g := grantOf(policy.Perturbed)
	g.Quota = policy.Quota{JobsPerDay: 2, CellsPerDay: 12}
	grant := c.grant(t, g)
	for _, q := range []struct {
		name, state, code, log string
	}{
		{"finish in the planner", "released", "", "intent outcome:released"}, // 8 cells
		{"finish over open data", "released", "", "intent outcome:released"}, // 4 cells: exactly what is left
		{"rows of persons", "denied", "policy.quota-jobs", "refused:policy.quota-jobs"},
	} {
		s := c.stage()
		req := c.request(recording{SQL: flowQueries[q.name]})
		req.Grant = grant
		released, err := s.run(t.Context(), analyst, req)
		if got := flowCode(err); got != q.code || string(released.State()) != q.state {
			t.Fatalf("%s: %s %v, want %s %s", q.name, released.State(), err, q.state, q.code)
		}
		check(t, c.theatre, s, req, released, err)
		if s.onLog() != q.log {
			t.Errorf("%s: on the log: %s, want %s", q.name, s.onLog(), q.log)
		}
		if strings.Contains(encode(t, released), "d9") || strings.Contains(encode(t, released), "Island") {
			t.Errorf("%s: a district of five persons: %s", q.name, encode(t, released))
		}
		erasable(t, c.log, req)
	}
	g.Quota = policy.Quota{JobsPerDay: 10, CellsPerDay: 7}
	s, req := c.stage(), c.request(recording{SQL: flowQueries["finish in the planner"]})
	req.Grant = c.grant(t, g)
	released, err := s.run(t.Context(), analyst, req)
	if flowCode(err) != "policy.quota-cells" || s.onLog() != "intent outcome:failed:policy.quota-cells" {
		t.Errorf("eight cells for a quota of seven: %v, on the log: %s", err, s.onLog())
	}
	check(t, c.theatre, s, req, released, err)

	g = grantOf(policy.Private)
	for _, want := range []struct {
		share     float64
		sql       string
		code, log string
	}{
		{0, flowQueries["finish over open data"], "", "intent outcome:released"},
		{0.001, flowQueries["finish over open data"], "", "intent outcome:released"}, // a kept answer costs nothing
		{0.001, "SELECT sex, count(*) FROM residents GROUP BY 1", "export.share-spent", "intent outcome:failed:export.share-spent"},
	} {
		g.Share = want.share
		s, req := c.stage(), c.request(recording{SQL: want.sql})
		req.Grant = c.grant(t, g)
		released, err := s.run(t.Context(), analyst, req)
		check(t, c.theatre, s, req, released, err)
		if flowCode(err) != want.code || s.onLog() != want.log {
			t.Errorf("in private mode: %v, want %q; on the log: %s", err, want.code, s.onLog())
		}
	}
}

// erasable shows that what the analyst wrote is in the erasable part of the log, and not in the tree.
func erasable(t *testing.T, log *audit.Log, req gateway.Request) {
	t.Helper()
	records, err := log.Search(t.Context(), audit.Filter{Job: req.Job})
	if err != nil || len(records) == 0 {
		t.Fatal("nothing on the log", err)
	}
	if string(records[0].Payload) != req.SQL {
		t.Errorf("the payload is %q", records[0].Payload)
	}
	for _, r := range records {
		receipt, err := log.Inclusion(t.Context(), r.Index)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(receipt.Leaf), "mark") {
			t.Errorf("the analyst's words are in the tree: %s", receipt.Leaf)
		}
	}
}

// TestFlowFaultsOfTheRealParts is TestFlowFaults over the real parts, for the query that goes through most of them.
// What stands on the log must be the same, call by call.
func TestFlowFaultsOfTheRealParts(t *testing.T) {
	c := newCity(t)
	c.parts.Budgets = playedBudgets{} // the same question is charged a hundred times
	grant := c.grant(t, grantOf(policy.Perturbed))
	const query = "finish over open data"
	r := recording{SQL: flowQueries[query]}
	compareGolden(t, query, everyFault(t, c.theatre, func() (*stage, gateway.Request) {
		req := c.request(r)
		req.Grant = grant
		c.forget()
		return c.stage(), req
	}))
	report, err := c.log.Verify(t.Context(), nil)
	if err != nil || !report.OK() {
		t.Errorf("the log after all this: %v %v", report, err)
	}
}
