package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"weir/gateway"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
)

// attack is a story of queries under one grant, and what must come of it.
type attack struct {
	ID     string   `json:"id"`
	Class  string   `json:"class"`
	Steps  []string `json:"steps"`
	SQL    string   `json:"sql"`
	Must   string   `json:"must"`
	Secret *float64 `json:"secret"`
	Guess  string   `json:"guess"`
	Note   string   `json:"note"`
}

// answer is what the analyst sees of a step.
type answer struct {
	State    string   `json:"state"`
	Code     string   `json:"code"`
	Message  string   `json:"message"`
	Columns  []string `json:"columns"`
	Rows     [][]any  `json:"rows"`
	Withheld bool     `json:"withheld"`
	Errors   [][]any  `json:"errors"`
	text     string
}

// knownOpen are attacks that still succeed in exact mode, where an officer sees them first. When one of them is
// closed the test fails until it is taken off this list.
var knownOpen = map[string]string{}

func readAttacks(t *testing.T, path string) []attack {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []attack
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var a attack
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&a); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if a.SQL != "" {
			a.Steps = []string{a.SQL}
		}
		list = append(list, a)
	}
	if len(list) == 0 {
		t.Fatalf("%s is empty", path)
	}
	return list
}

// dataFolder makes a folder of a committed manifest and its file.
func dataFolder(t testing.TB, name string, content []byte) (manifest string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("testdata", "attacks", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	manifest = filepath.Join(dir, name+".yaml")
	for path, content := range map[string][]byte{manifest: text, filepath.Join(dir, name+".csv"): content} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return manifest
}

// town is generated: 900 people, whose bakers are all young but one, and a street in which all have the same.
func town() []byte {
	r := rand.New(rand.NewPCG(3, 5))
	text := "pid,age,sex,job,street,illness,pay,notes\n"
	for i := range 900 {
		age, job := 20+r.IntN(60), []string{"baker", "miller", "smith", "clerk"}[r.IntN(4)]
		street, illness := []string{"elm", "oak", "ash", "fir", "yew"}[r.IntN(5)], []string{"flu", "none", "gout"}[r.IntN(3)]
		if i == 0 {
			age, job, street, illness = 97, "baker", "fir", "flu"
		}
		if street == "ash" {
			illness = "flu"
		}
		text += fmt.Sprintf("P%04d,%d,%s,%s,%s,%s,%d,note %d\n", i, age, []string{"F", "M"}[i%2], job, street, illness, 1000+r.IntN(4000), i)
	}
	return []byte(text)
}

// shared is the folder beside the project that may hold real microdata and a list of attacks on it.
const shared = "../../shared"

func TestAttacksOnTown(t *testing.T) {
	manifest := dataFolder(t, "town", town())
	values := []string{"baker", "miller", "smith", "clerk"}
	attackData(t, "town", manifest, "testdata/attacks/town.jsonl", values)
	askUseful(t, manifest, "town", "testdata/attacks/town-useful.jsonl", 7)
}

func TestAttacksOnAdult(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(shared, "data", "adult.csv"))
	if err != nil {
		t.Skipf("no microdata beside the project (%v): TestAttacksOnTown covers the same code on generated data", err)
	}
	manifest := dataFolder(t, "adult", content)
	values := []string{"Adm-clerical", "Exec-managerial", "Handlers-cleaners", "Craft-repair"}
	attackData(t, "adult", manifest, filepath.Join(shared, "attacks", "adult.jsonl"), values)
	askUseful(t, manifest, "adult", filepath.Join(shared, "attacks", "adult-useful.jsonl"), 25)
}

func attackData(t *testing.T, name, manifest, list string, values []string) {
	attacks := readAttacks(t, list)
	for _, mode := range []policy.Mode{policy.Exact, policy.Perturbed, policy.Private} {
		lab, err := gateway.OpenLab(t.Context(), realWorker(t), []string{manifest}, mode)
		if err != nil {
			t.Fatal(err)
		}
		lab.Trouble = func(job string, cause error) { t.Logf("%s: %v", job, cause) }
		for _, a := range attacks {
			t.Run(fmt.Sprintf("%s/%s", mode, a.ID), func(t *testing.T) {
				var answers []answer
				for _, sql := range a.Steps {
					answers = append(answers, askLab(t, lab, a.ID, sql))
				}
				why := succeeds(a, answers, mode, values)
				reason, open := knownOpen[name+"/"+a.ID]
				switch {
				case mode == policy.Exact && open && why == "":
					t.Errorf("no longer open, so take it off the list: %s", reason)
				case mode == policy.Exact && open:
					t.Logf("known open: %s: %s", reason, why)
				case why != "":
					t.Errorf("%s: %s\n%v", a.Class, why, answers)
				}
			})
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	}
}

func askLab(t *testing.T, lab *gateway.Lab, story, sql string) answer {
	t.Helper()
	released, err := lab.Ask(t.Context(), story, sql)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(released)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{text: string(text)}
	d := json.NewDecoder(strings.NewReader(a.text))
	d.UseNumber()
	if err := d.Decode(&a); err != nil {
		t.Fatal(err)
	}
	if a.State == "failed" {
		t.Errorf("failed, where it should be answered or denied: %s", a.text)
	}
	return a
}

// noisy reports whether every number of an answer has an error bound that is not zero, or is one of a group's values.
func (a answer) noisy() bool {
	if len(a.Rows) == 0 || a.Withheld {
		return true
	}
	for n := range a.Rows {
		for _, bound := range a.Errors[n] {
			if b, ok := bound.(json.Number); !ok || b.String() != "0" {
				return true
			}
		}
	}
	return false
}

// succeeds says what the attacker got; nothing, if the attack failed as it must.
func succeeds(a attack, answers []answer, mode policy.Mode, values []string) string {
	denied, withheld := false, false
	for _, ans := range answers {
		denied = denied || ans.State == "denied"
		withheld = withheld || ans.State == "released" && (ans.Withheld || len(ans.Rows) == 0)
		for _, v := range values {
			if strings.Contains(ans.Message, v) && !strings.Contains(strings.Join(a.Steps, " "), v) {
				return "the message holds " + v
			}
		}
	}
	// In the noised modes a figure with noise of its own, which was charged, is as good as a refusal: what is shown
	// without noise there are groups alone, and those only where a noisy number of units passed the threshold.
	noised := mode != policy.Exact
	switch a.Must {
	case "deny":
		for _, ans := range answers {
			denied = denied || noised && ans.State == "released" && ans.noisy()
		}
		if !denied {
			return "it was not denied"
		}
	case "deny_or_withhold":
		if !denied && !withheld && !noised {
			return "it was answered"
		}
	case "no_guess":
		if mode == policy.Exact && !denied && !withheld {
			return "every cell was there, and they are exact"
		}
	case "no_value_in_error":
	default:
		return "unknown demand " + a.Must
	}
	return ""
}

// askUseful asks ordinary questions: each is answered in both modes, and in exact mode, where nothing was withheld,
// as the engine itself answers it.
func askUseful(t *testing.T, manifest, table, list string, least int) {
	t.Helper()
	questions := readAttacks(t, list)
	engine := plainEngine(t, manifest, table)
	for _, mode := range []policy.Mode{policy.Exact, policy.Perturbed} {
		lab, err := gateway.OpenLab(t.Context(), realWorker(t), []string{manifest}, mode)
		if err != nil {
			t.Fatal(err)
		}
		lab.Trouble = func(job string, cause error) { t.Logf("%s: %v", job, cause) }
		answered, compared := 0, 0
		for _, q := range questions {
			t.Run(fmt.Sprintf("useful/%s/%s", mode, q.ID), func(t *testing.T) {
				a := askLab(t, lab, q.ID, q.Steps[0])
				if a.State != "released" || len(a.Rows) == 0 {
					t.Logf("not answered: %s", a.text)
					return
				}
				answered++
				if mode == policy.Exact && !a.Withheld {
					compared += compareRows(t, a.Rows, engine(t, q.Steps[0]))
				}
			})
		}
		t.Logf("%s: %d of %d questions answered, %d cells compared with the engine", mode, answered, len(questions), compared)
		if answered < least {
			t.Errorf("%s: only %d of %d useful questions are answered", mode, answered, len(questions))
		}
		if mode == policy.Exact && compared == 0 {
			t.Error("no answer was compared with the engine's")
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	}
}

// plainEngine answers the same texts on the same data with no guard.
func plainEngine(t testing.TB, manifest, table string) func(testing.TB, string) [][]any {
	t.Helper()
	vault, err := sandbox.OpenVault(t.Context(), t.TempDir(), storetest.Open(t, storetest.SQLite(t)), realWorker(t), sandbox.MemoryMaster())
	if err != nil {
		t.Fatal(err)
	}
	d, err := vault.Import(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	limits := sandbox.DefaultLimits
	limits.Wall, limits.CPU = 10*limits.Wall, 10*limits.CPU
	session, err := sandbox.NewWorkers(realWorker(t), vault, limits).Start(t.Context(), "plain", []policy.Dataset{d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return func(t testing.TB, sql string) [][]any {
		t.Helper()
		with := fmt.Sprintf(`WITH %s AS (SELECT * EXCLUDE (__unit_0, __short_0) FROM "ds_%s"."main"."data")`, table, table)
		if rest, ok := strings.CutPrefix(sql, "WITH "); ok {
			sql = ", " + rest
		}
		answer, err := session.Query(t.Context(), sandbox.Query{SQL: with + " " + sql})
		if err != nil {
			t.Fatalf("the engine itself: %v", err)
		}
		return answer.Rows
	}
}

// compareRows matches rows by what in them is no number, and then by their numbers.
func compareRows(t *testing.T, got, want [][]any) int {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d rows, the engine has %d", len(got), len(want))
	}
	cells := 0
	for _, row := range got {
		found := slices.ContainsFunc(want, func(peer []any) bool {
			for i := range row {
				if !sameCell(row[i], peer[i]) {
					return false
				}
			}
			return true
		})
		if cells += len(row); !found {
			t.Errorf("%v is not in the engine's answer", row)
		}
	}
	return cells
}

func sameCell(a, b any) bool {
	n, okA := a.(json.Number)
	m, okB := b.(json.Number)
	if !okA || !okB {
		return fmt.Sprint(a) == fmt.Sprint(b)
	}
	x, errX := n.Float64()
	y, errY := m.Float64()
	return errX == nil && errY == nil && math.Abs(x-y) <= 1e-8*math.Max(1, math.Abs(y))
}
