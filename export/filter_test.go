package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
)

func newFilter(t testing.TB) *Filter {
	t.Helper()
	queue, err := OpenQueue(t.Context(), storetest.Open(t, storetest.SQLite(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := New([]byte(strings.Repeat("k", 32)), queue)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// evidence is a row of cells: a name and a number, a bool, a text or nil for each column.
type evidence map[string]any

// twoKeys is a release with a sensitive group, two keys and one conditional sum, and evidence on which it passes.
func twoKeys() (guard.Release, evidence) {
	release := guard.Release{
		Name: "r1", Groups: []guard.Group{{Name: "illness", Type: "VARCHAR", Sensitive: true}}, Keys: []string{"person", "firm"},
		Cells: []guard.Cell{{Kind: guard.Sum, Function: "sum", Type: "BIGINT", Conditional: true, Terms: []guard.Term{{Name: "a.x^1", Coefficient: 1}}}},
	}
	return release, evidence{
		"g0": "flu", "w": false, "e0": 2, "n0": 30, "n1": 30, "v0": 5000, "b0": 100,
		"n0_0": 20, "n0_1": 20, "z0_0": 15, "z0_1": 15, "rr0_0": 5, "rr0_1": 5,
		"t0_0": 600, "u0_0": 400, "s0_0": 5000, "t0_1": 600, "u0_1": 400, "s0_1": 5000,
	}
}

func (f *Filter) admit(t testing.TB, release guard.Release, row evidence, rules policy.Rules, mode policy.Mode) (*Assessment, error) {
	t.Helper()
	a, err := f.Begin("job", &guard.Program{Final: guard.Final{Names: []string{"a"}}}, policy.Decision{Mode: policy.Exact, Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	if mode == policy.Exact {
		return a, a.Admit(t.Context(), release, tableFrom(row))
	}
	return a, a.judgeAlone(release, tableFrom(row))
}

// alone is a mode without a rule, in which cells are held to the checks of their own evidence, and to no history.
const alone = policy.Mode("alone")

func (a *Assessment) judgeAlone(r guard.Release, cells sandbox.Table) error {
	j := a.judging(r, cells)
	j.mode = alone
	out := sandbox.Named{Name: r.Name, Table: a.tableOf(r)}
	err := j.complete()
	if err == nil {
		out.Table.Rows, err = j.every(cells)
	}
	if err != nil {
		return problem.New("export.evidence").Because(err)
	}
	a.released, a.checks = append(a.released, out), append(a.checks, j.check)
	return nil
}

func tableFrom(row evidence) sandbox.Table {
	var table sandbox.Table
	var values []any
	for _, name := range slices.Sorted(maps.Keys(row)) {
		table.Columns = append(table.Columns, sandbox.Column{Name: name})
		switch v := row[name].(type) {
		case int, float64:
			values = append(values, json.Number(fmt.Sprint(v)))
		default:
			values = append(values, v)
		}
	}
	table.Rows = [][]any{values}
	return table
}

func TestChecksAtTheirBoundaries(t *testing.T) {
	f := newFilter(t)
	k := policy.DefaultRules // k = 10
	p := k
	p.DominanceShare = 100 // the p% rule alone
	share := k
	share.DominanceP = 0
	cases := []struct {
		name  string
		rules policy.Rules
		set   evidence
		fails string // "" passes
	}{
		{"as it is", k, evidence{}, ""},
		{"E1, first key", k, evidence{"n0": 9}, "E1"},
		{"E1, first key", k, evidence{"n0": 10}, ""},
		{"E1, second key", k, evidence{"n1": 9}, "E1"},
		{"E1, second key", k, evidence{"n1": 10}, ""},
		{"E1, nobody", k, evidence{"n1": 0}, "E1"},
		{"E2, first key", k, evidence{"n0_0": 9}, "E2"},
		{"E2, first key", k, evidence{"n0_0": 10}, ""},
		{"E2, first key", k, evidence{"n0_0": 11}, ""},
		{"E2, second key", k, evidence{"n0_1": 9}, "E2"},
		{"E2, second key", k, evidence{"n0_1": 10}, ""},
		{"E2, no value", k, evidence{"v0": nil}, "E2"},
		{"E3, p%", p, evidence{"t0_0": 100, "u0_0": 50, "s0_0": 160}, ""},
		{"E3, p%", p, evidence{"t0_0": 100, "u0_0": 50, "s0_0": 159.99}, "E3"},
		{"E3, p%, second key", p, evidence{"t0_1": 100, "u0_1": 50, "s0_1": 159.99}, "E3"},
		{"E3, (2, 90%)", share, evidence{"t0_0": 60, "u0_0": 30, "s0_0": 100}, ""},
		{"E3, (2, 90%)", share, evidence{"t0_0": 60, "u0_0": 30.01, "s0_0": 100}, "E3"},
		{"E3, (2, 90%), second key", share, evidence{"t0_1": 60, "u0_1": 30.01, "s0_1": 100}, "E3"},
		{"E3, no number", k, evidence{"s0_0": nil}, "E3"},
		{"E3, no largest", k, evidence{"t0_1": nil}, "E3"},
		{"E4", k, evidence{"e0": 1}, "E4"},
		{"E4", k, evidence{"e0": 2}, ""},
		{"E5, nobody outside", k, evidence{"z0_0": 0}, ""},
		{"E5, one outside", k, evidence{"z0_0": 1}, "E5"},
		{"E5", k, evidence{"z0_0": 9}, "E5"},
		{"E5", k, evidence{"z0_0": 10}, ""},
		{"E5, second key", k, evidence{"z0_1": 9}, "E5"},
		{"E5, second key", k, evidence{"z0_1": 10}, ""},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.name, c.set), func(t *testing.T) {
			release, row := twoKeys()
			maps.Copy(row, c.set)
			a, err := f.admit(t, release, row, c.rules, alone)
			if err != nil {
				t.Fatal(err, unwrapAll(err))
			}
			rows := a.released[0].Table.Rows
			whole := c.fails == "E1" || c.fails == "E4"
			switch {
			case whole && len(rows) != 0:
				t.Errorf("the group is shown: %v", rows)
			case !whole && len(rows) != 1:
				t.Errorf("the group is not shown")
			case !whole && (rows[0][1] == nil) != (c.fails != ""):
				t.Errorf("the cell is %v", rows[0][1])
			}
			if found := a.checks[0].Withheld; c.fails != "" && found[c.fails] == 0 || c.fails == "" && len(found) > 0 {
				t.Errorf("checks that failed: %v, want %q", found, c.fails)
			}
			if a.withheld != (c.fails != "") {
				t.Errorf("withheld is %v", a.withheld)
			}
		})
	}
}

// Evidence that is not there, NULL or of another kind never lets a value through.
func TestMissingEvidenceReleasesNothing(t *testing.T) {
	f := newFilter(t)
	_, all := twoKeys()
	needed := 0
	for name := range all {
		if name == "g0" || name == "v0" || strings.HasPrefix(name, "rr") {
			continue // a group may be NULL; a value is what it is; the rest is for other kinds of cells
		}
		for what, change := range map[string]func(evidence){
			"missing":    func(e evidence) { delete(e, name) },
			"NULL":       func(e evidence) { e[name] = nil },
			"text":       func(e evidence) { e[name] = "many" },
			"no number":  func(e evidence) { e[name] = json.Number("NaN") },
			"two values": func(e evidence) { e[name] = json.Number("1 2") },
		} {
			release, row := twoKeys()
			change(row)
			a, err := f.admit(t, release, row, policy.DefaultRules, alone)
			if err != nil {
				if problem.Of(err).Code != "export.evidence" {
					t.Errorf("%s %s: %v", name, what, err)
				}
				needed++
				continue
			}
			second := strings.HasPrefix(name, "u") && what == "NULL" // there may be no second contribution
			if rows := a.released[0].Table.Rows; len(rows) == 1 && rows[0][1] != nil && !second && name != "b0" && !(name == "w" && what == "NULL") {
				t.Errorf("%s %s: %v was released", name, what, rows[0])
			}
		}
	}
	if needed < 40 {
		t.Errorf("only %d changes were refused", needed)
	}
	release, row := twoKeys()
	if _, err := f.admit(t, release, row, policy.DefaultRules, policy.Exact); problem.Of(err).Code != "export.evidence" {
		t.Errorf("exact, without what E6 needs: %v", err)
	}
}

func TestQuantileNeedsUnitsOnEitherSide(t *testing.T) {
	f := newFilter(t)
	cases := []struct {
		fraction float64
		single   bool
		rows, rr int
		fails    bool
	}{
		{0.5, true, 21, 1, false}, {0.5, true, 20, 1, true},
		{0.9, true, 112, 1, false}, {0.9, true, 100, 1, true}, {0.1, true, 112, 1, false}, {0.1, true, 100, 1, true},
		{0.5, false, 41, 2, false}, {0.5, false, 40, 2, true}, {0.999, true, 1000, 1, true},
	}
	for _, c := range cases {
		release := guard.Release{Name: "r1", Keys: []string{"person"}, Cells: []guard.Cell{{
			Kind: guard.Quantile, Function: "quantile_cont", Type: "DOUBLE", Fraction: c.fraction, Single: c.single, Terms: []guard.Term{{Name: "a.x^1", Coefficient: 1}},
		}}}
		row := evidence{"w": false, "n0": 5000, "n0_0": 5000, "v0": 12.5, "b0": c.rows, "x0_0": 3, "m0_var0": 2.5, "m0_avg0": 10, "m0_min0": 0, "m0_max0": 20}
		if !c.single {
			row["rr0_0"] = c.rr
		}
		a, err := f.admit(t, release, row, policy.DefaultRules, alone)
		if err != nil {
			t.Fatal(err, unwrapAll(err))
		}
		if withheld := a.released[0].Table.Rows[0][0] == nil; withheld != c.fails {
			t.Errorf("%+v: withheld is %v", c, withheld)
		}
	}
}

func TestNewNeedsAKey(t *testing.T) {
	for _, n := range []int{0, 16, 31} {
		if _, err := New(make([]byte, n), nil); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
	}
}

func TestModesWithoutARule(t *testing.T) {
	f := newFilter(t)
	released := &guard.Program{Releases: []guard.Release{{Name: "r1"}}}
	for _, mode := range []policy.Mode{"", "raw"} {
		if _, err := f.Begin("job", released, policy.Decision{Mode: mode, Rules: policy.DefaultRules}); err == nil {
			t.Errorf("mode %q was begun", mode)
		}
	}
	a, err := f.Begin("job", &guard.Program{}, policy.Decision{Mode: policy.Exact, Rules: policy.DefaultRules})
	if err != nil || !a.review {
		t.Errorf("exact values wait for an officer, whatever policy says: %v", err)
	}
}

func TestTooManyCells(t *testing.T) {
	f := newFilter(t)
	a, err := f.Begin("job", &guard.Program{Final: guard.Final{Names: []string{"a", "b"}, Errors: []int{guard.NoError, guard.NoError}}}, policy.Decision{Mode: policy.Exact, Rules: policy.DefaultRules})
	if err != nil {
		t.Fatal(err)
	}
	table := sandbox.Table{Columns: make([]sandbox.Column, 2), Rows: make([][]any, MaxCells/2+1)}
	for i := range table.Rows {
		table.Rows[i] = []any{nil, nil}
	}
	if err := a.Admit(t.Context(), guard.Release{Cells: make([]guard.Cell, 2)}, table); problem.Of(err).Code != "export.too-many-cells" {
		t.Errorf("admitted: %v", err)
	}
	if _, err := a.Judge(table); problem.Of(err).Code != "export.too-many-cells" {
		t.Errorf("judged: %v", err)
	}
	if _, err := a.Judge(sandbox.Table{Columns: make([]sandbox.Column, 3)}); problem.Of(err).Code != "export.evidence" {
		t.Errorf("another number of columns: %v", err)
	}
}

func TestRound(t *testing.T) {
	for _, c := range []struct {
		value    any
		typeName string
		digits   int
		want     any
	}{
		{json.Number("1234.56789"), "DOUBLE", 6, json.Number("1234.57")},
		{json.Number("1e-9"), "DOUBLE", 3, json.Number("0.000000001")},
		{json.Number("0.10000000001234"), "DOUBLE", 10, json.Number("0.1")},
		{json.Number("123456789012345"), "BIGINT", 3, json.Number("123456789012345")},
		{json.Number("12.345"), "DECIMAL(10,3)", 2, json.Number("12.345")},
		{json.Number("1e400"), "DOUBLE", 10, nil},
		{json.Number("99999.99"), "FLOAT", 3, json.Number("100000")},
		{"1.23456789", "VARCHAR", 3, "1.23456789"},
		{nil, "DOUBLE", 3, nil},
		{true, "BOOLEAN", 3, true},
	} {
		if got := round(c.value, c.typeName, c.digits); got != c.want {
			t.Errorf("%v %s to %d digits: %v, want %v", c.value, c.typeName, c.digits, got, c.want)
		}
	}
}

// What was never made by the filter shows nothing.
func TestOnlyReleasedHasRows(t *testing.T) {
	full := stored{Names: []string{"a"}, Types: []string{"VARCHAR"}, Rows: [][]any{{"secret"}}, Errors: [][]any{{"secret"}}, Noisy: []bool{true}, Withheld: true, Sources: []string{"people"}}
	for name, r := range map[string]Released{
		"zero": {}, "waiting": result("j", string(StateWaiting), full), "refused": result("j", refused, full), "unknown": result("j", "odd", full),
		"empty": result("j", "", full), "denied": Denied("j", problem.New("export.denied"), 0), "failed": Denied("j", fmt.Errorf("secret"), 0),
		"with fields": {names: full.Names, rows: full.Rows, errors: full.Errors, noisy: full.Noisy, types: full.Types},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var shown struct {
			State   string
			Code    string
			Message string
			Rows    [][]any
			Errors  [][]any
			Columns []string
			Sources []string
		}
		if err := json.Unmarshal(text, &shown); err != nil {
			t.Fatal(err)
		}
		if len(shown.Rows)+len(shown.Errors)+len(shown.Columns)+len(shown.Sources) > 0 || strings.Contains(string(text), "secret") {
			t.Errorf("%s shows %s", name, text)
		}
		if shown.State == "" || shown.State == "released" || shown.Code == "" || shown.Message == "" {
			t.Errorf("%s: %s", name, text)
		}
		var out strings.Builder
		if err := r.WriteCSV(&out); problem.Of(err).Code != "export.not-released" || out.Len() > 0 {
			t.Errorf("%s as CSV: %v %q", name, err, out.String())
		}
	}
	if state := (Released{}).State(); state != StateDenied {
		t.Errorf("the zero value is %s", state)
	}
	text, err := json.Marshal(result("j", string(StateReleased), full))
	if err != nil || !strings.Contains(string(text), "secret") {
		t.Errorf("the control: %s %v", text, err)
	}
}

func TestCSV(t *testing.T) {
	r := result("j", string(StateReleased), stored{Names: []string{"a", "平均"}, Rows: [][]any{
		{"=1+1", json.Number("-5")}, {"+1", nil}, {"-x", true}, {"@SUM(A1)", json.Number("1.50")}, {"\tx", "y\"z"}, {"\r=x", "a,b"}, {"plain", "a\nb"}, {"", "x=1"},
	}})
	var out strings.Builder
	if err := r.WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	want := "a,平均\n'=1+1,-5\n'+1,\n'-x,true\n'@SUM(A1),1.50\n'\tx,\"y\"\"z\"\n\"'\r=x\",\"a,b\"\nplain,\"a\nb\"\n,x=1\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
	out.Reset()
	r = result("j", string(StateReleased), stored{Names: []string{"a", "n", "m"}, Noisy: []bool{false, true, true},
		Rows:   [][]any{{"x", json.Number("50"), json.Number("7.5")}, {"y", json.Number("60"), nil}},
		Errors: [][]any{{json.Number("0"), json.Number("6"), nil}, {json.Number("0"), json.Number("6"), nil}},
	})
	if err := r.WriteCSV(&out); err != nil || out.String() != "a,n,m,±n,±m\nx,50,7.5,6,\ny,60,,6,\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if page, _ := r.Page(2, 1); len(page.errors) != 1 || len(page.noisyColumns()) != 2 {
		t.Errorf("a page has other error bounds: %v", page.errors)
	}
}

func TestQueue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		queue, err := OpenQueue(t.Context(), db, nil)
		if err != nil {
			t.Fatal(err)
		}
		f, err := New(make([]byte, 32), queue)
		if err != nil {
			t.Fatal(err)
		}
		offer := func(job string, review bool) {
			t.Helper()
			v := &Verdict{Job: job, Grant: "g", Operator: "harbour", Subject: "anna", SQL: "SELECT 1", Mode: policy.Exact, Review: review, Cells: 3,
				Checks: []Check{{Release: "r1", Cells: 3, Withheld: map[string]int{"E1": 2}}}, Literals: []string{"昌邑区"},
				table: stored{Names: []string{"n"}, Types: []string{"BIGINT"}, Rows: [][]any{{json.Number("12345678901234567890")}}, Withheld: true, Sources: []string{"people"}}}
			r, err := f.Release(t.Context(), v, 7)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]State{true: StateWaiting, false: StateReleased}[review]; r.State() != want {
				t.Errorf("%s: %s, want %s", job, r.State(), want)
			}
		}
		state := func(job string, want State) string {
			t.Helper()
			r, err := queue.Result(t.Context(), job)
			if err != nil || r.State() != want {
				t.Fatalf("%s is %s, want %s (%v)", job, r.State(), want, err)
			}
			text, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		for _, job := range []string{"a", "b", "c"} {
			offer(job, true)
		}
		offer("d", false)
		if text := state("a", StateWaiting); strings.Contains(text, "12345") {
			t.Errorf("what waits is shown: %s", text)
		}
		if list, err := queue.Waiting(t.Context()); err != nil || len(list) != 3 || list[0].Rows != nil || list[0].SQL != "" {
			t.Fatalf("waiting: %+v, %v", list, err)
		}
		officer := policy.Principal{Subject: "olga", Organisation: "review", Roles: []policy.Role{policy.Officer}}
		refusals := []struct {
			name, job, reason, code string
			who                     policy.Principal
		}{
			{"no reason", "a", " \n", "export.reason-missing", officer},
			{"nothing there", "z", "fine", "export.no-such-release", officer},
			{"left already", "d", "fine", "export.already-decided", officer},
			{"no officer", "a", "fine", "export.own-output", policy.Principal{Subject: "olga", Organisation: "review", Roles: []policy.Role{policy.Supervisor}}},
			{"own operator", "a", "fine", "export.own-output", policy.Principal{Subject: "otto", Organisation: "harbour", Roles: []policy.Role{policy.Officer}}},
			{"own question", "a", "fine", "export.own-output", policy.Principal{Subject: "anna", Organisation: "review", Roles: []policy.Role{policy.Officer}}},
		}
		for _, c := range refusals {
			for name, decide := range map[string]func() error{
				"approve": func() error { return queue.Approve(t.Context(), c.job, c.who, c.reason) },
				"refuse":  func() error { return queue.Refuse(t.Context(), c.job, c.who, c.reason) },
			} {
				if err := decide(); problem.Of(err).Code != c.code {
					t.Errorf("%s, %s: %v, want %s", c.name, name, err, c.code)
				}
			}
		}
		state("a", StateWaiting)
		if err := queue.Approve(t.Context(), "a", officer, "large groups"); err != nil {
			t.Fatal(err)
		}
		if text := state("a", StateReleased); !strings.Contains(text, "12345678901234567890") {
			t.Errorf("a number lost digits: %s", text)
		}
		if err := queue.Refuse(t.Context(), "b", officer, "too fine"); err != nil {
			t.Fatal(err)
		}
		if text := state("b", StateDenied); strings.Contains(text, "12345") || !strings.Contains(text, "export.refused") {
			t.Errorf("refused: %s", text)
		}
		for _, job := range []string{"a", "b"} {
			if err := queue.Approve(t.Context(), job, officer, "again"); problem.Of(err).Code != "export.already-decided" {
				t.Errorf("a second decision on %s: %v", job, err)
			}
			if err := queue.Refuse(t.Context(), job, officer, "again"); problem.Of(err).Code != "export.already-decided" {
				t.Errorf("a second decision on %s: %v", job, err)
			}
		}
		shown, err := queue.Show(t.Context(), "a")
		if err != nil || shown.Officer != "olga" || shown.Reason != "large groups" || shown.Decided == nil || shown.Literals[0] != "昌邑区" || shown.Checks[0].Withheld["E1"] != 2 || !shown.Withheld {
			t.Errorf("shown: %+v, %v", shown, err)
		}
		if list, err := queue.Waiting(t.Context()); err != nil || len(list) != 1 || list[0].ID != "c" {
			t.Errorf("waiting: %+v, %v", list, err)
		}
		if _, err := queue.Result(t.Context(), "z"); problem.Of(err).Code != "export.no-such-release" {
			t.Errorf("no such job: %v", err)
		}
		forgets(t, db, queue, officer)
	})
}

// What is forgotten is as if it had never been, but for how many cells an operator got.
func forgets(t *testing.T, db *bun.DB, queue *Queue, officer policy.Principal) {
	t.Helper()
	earlier := func() [2]int {
		shown, err := queue.Show(t.Context(), "d")
		if err != nil {
			t.Fatal(err)
		}
		return [2]int{shown.EarlierResults, shown.EarlierCells}
	}
	before := earlier()
	if err := errors.Join(queue.Forget(t.Context(), nil), queue.Forget(t.Context(), []string{"a", "b", "c", "z"})); err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"a", "b", "c"} {
		_, err := queue.Result(t.Context(), job)
		_, err2 := queue.Show(t.Context(), job)
		for _, err := range []error{err, err2, queue.Approve(t.Context(), job, officer, "late")} {
			if problem.Of(err).Code != "export.no-such-release" {
				t.Errorf("%s is remembered: %v", job, err)
			}
		}
	}
	if list, err := queue.Waiting(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("waiting: %+v, %v", list, err)
	}
	if after := earlier(); after != before || before[0] != 3 || before[1] == 0 {
		t.Errorf("earlier results and cells were %v and are %v", before, after)
	}
	var rows []map[string]any
	if err := db.NewRaw("SELECT * FROM export_releases WHERE id <> 'd'").Scan(t.Context(), &rows); err != nil || len(rows) != 3 {
		t.Fatal(rows, err)
	}
	for _, word := range []string{"anna", "olga", "昌邑区", "large groups", "12345", "SELECT"} {
		if strings.Contains(fmt.Sprint(rows), word) {
			t.Errorf("%s is left of what was forgotten: %v", word, rows)
		}
	}
}
