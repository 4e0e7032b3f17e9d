package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/gateway"
	"weir/internal/problem"
	"weir/policy"
)

// noExample are the messages that a query can meet and that have no example, with the reason.
var noExample = map[string]string{
	"guard.unlabelled":         "a data set without units is refused at intake",
	"guard.unknown-plan":       "only a plan that the pinned engine does not write",
	"guard.unknown-expression": "only an expression that the pinned engine does not write",
	"guard.table-released":     "only of a table that is to be kept; testdata/tables.yaml",
	"guard.table-measure":      "only of a table that is to be kept; testdata/tables.yaml",
	"guard.table-secret":       "only of a table that is to be kept; testdata/tables.yaml",
	"guard.table-columns":      "only of a table that is to be kept; testdata/tables.yaml",
	"guard.too-complex":        "too long to be read",
	"sql.not-text":             "it could not be shown",
	"sql.too-large":            "too long to be read",
	"sql.other":                "only what none of the other messages is for",
	"export.denied":            "of a result that nothing was put into",
	"export.not-released":      "not of a query but of asking for its table",
	"export.waiting":           "of the mode of a grant and not of the query",
	"export.refused":           "an officer decides",
	"export.evidence":          "only where a worker answers wrongly",
	"export.no-such-release":   "not of a query",
	"export.account-behind":    "only while the platform starts",
	"export.account-limit":     "not of a query",
	"export.account-spent":     "only of what was asked before; TestTheRealFlow",
	"export.account-yearly":    "not of a query",
	"export.answer-unreadable": "only of answers that were kept under another key",
	"export.share-spent":       "only of what was asked before; TestTheRealFlow",
	"export.too-much-to-audit": "only of large groups in exact mode",
	"export.already-decided":   "not of a query",
	"export.reason-missing":    "not of a query",
	"export.own-output":        "not of a query",
}

// Every message that the text of a query brings about has an example on its page, and what the page tells people to
// write instead is released.
func TestExamplesOfMessages(t *testing.T) {
	lab, err := gateway.OpenLab(t.Context(), realWorker(t), exampleData(t, "adult", "sales", "visits", "places"), policy.Perturbed)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	exact, err := gateway.OpenLab(t.Context(), realWorker(t), exampleData(t, "adult", "sales", "visits", "places"), policy.Exact)
	if err != nil {
		t.Fatal(err)
	}
	defer exact.Close()
	lab.Trouble = func(job string, cause error) { t.Logf("%s: %v", job, cause) }
	codes, entries := problem.Codes()
	for _, code := range codes {
		room, _, _ := strings.Cut(code, ".")
		e := entries[code]
		if (e.Example == "") != (e.Instead == "") {
			t.Errorf("%s: an example and what to write instead belong together", code)
		}
		if e.Example == "" {
			if why := noExample[code]; why == "" && (room == "guard" || room == "sql" || room == "export") {
				t.Errorf("%s has no example, and there is no reason why", code)
			}
			continue
		}
		if noExample[code] != "" {
			t.Errorf("%s has an example, so take it off the list", code)
		}
		t.Run(code, func(t *testing.T) {
			lab := lab
			if e.Mode != string(policy.Perturbed) && e.Mode != string(policy.Private) && room != "export" || e.Mode == string(policy.Exact) {
				lab = exact
			}
			if room == "export" { // the others are tried beside the guard's cases, where no process with data is needed
				if got := askLab(t, lab, code, e.Example); got.Code != code {
					t.Errorf("%s\ngets %s", e.Example, got.text)
				}
			}
			if got := askLab(t, lab, code, e.Instead); got.State != "released" || len(got.Rows) == 0 {
				t.Errorf("%s\nis not answered: %s", e.Instead, got.text)
			}
		})
	}
	for code := range noExample {
		if entries[code].Status == 0 {
			t.Errorf("there is no message %s", code)
		}
	}
}

// exampleData makes the data sets of the examples, as the guard's cases declare them, with people in them.
func exampleData(t *testing.T, names ...string) (manifests []string) {
	t.Helper()
	text, err := os.ReadFile("../export/guard/testdata/schema.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var schema []struct {
		policy.Dataset `yaml:",inline"`

		File   string `yaml:"file"`
		Unique bool   `yaml:"unique,omitempty"` // of a vault's data it is found at intake
	}
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range schema {
		if !slices.Contains(names, d.Name) {
			continue
		}
		var columns []map[string]any
		for _, c := range d.Columns {
			column := map[string]any{"name": c.Name, "type": c.Type, "class": c.Class}
			if c.Bound != nil {
				column["measure"] = map[string]any{"min": c.Bound.Min, "max": c.Bound.Max}
			}
			columns = append(columns, column)
		}
		var units []map[string]any
		for _, u := range d.Units {
			units = append(units, map[string]any{"domain": u.Domain, "key": u.Key})
		}
		manifestOf := map[string]any{"name": d.Name, "title": d.Name, "provider": "tests", "file": d.Name + ".csv", "columns": columns}
		if manifestOf["units"] = units; d.Open {
			delete(manifestOf, "units")
			manifestOf["open"] = true
		}
		declared, err := yaml.Marshal(manifestOf)
		if err != nil {
			t.Fatal(err)
		}
		manifest := filepath.Join(dir, d.Name+".yaml")
		for path, content := range map[string][]byte{manifest: declared, filepath.Join(dir, d.Name+".csv"): exampleRows(d.Dataset, d.Unique)} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		manifests = append(manifests, manifest)
	}
	return manifests
}

// exampleRows makes up 2 000 rows: numbers of some size, a few dates, and few enough words that groups have people.
// Open data have a row for each word.
func exampleRows(d policy.Dataset, unique bool) []byte {
	r := rand.New(rand.NewPCG(2, 3))
	words := map[string][]string{"sex": {"F", "M"}, "occupation": {"clerk", "smith", "nurse"}, "diagnosis": {"flu", "none"}}
	rows := 2000
	if d.Open {
		rows = 4
	}
	var text strings.Builder
	for i, c := range d.Columns {
		text.WriteString(map[bool]string{true: ",", false: ""}[i > 0] + c.Name)
	}
	for n := range rows {
		someone := r.IntN(1000)
		for i, c := range d.Columns {
			text.WriteString(map[bool]string{true: ",", false: "\n"}[i > 0])
			isKey := slices.ContainsFunc(d.Units, func(u policy.Unit) bool { return u.Key == c.Name })
			among := words[c.Name]
			switch {
			case isKey && unique || c.Class == policy.Identifier && !isKey:
				fmt.Fprintf(&text, "%d", n)
			case isKey:
				fmt.Fprintf(&text, "%d", someone)
				someone = (someone + r.IntN(2)) % 1000 // a second unit of the row is as often the same one
			case d.Open && i == 0:
				fmt.Fprintf(&text, "%c", 'a'+rune(n))
			case c.Type == "DATE":
				fmt.Fprintf(&text, "2020-05-0%d", 1+r.IntN(9))
			case c.Type != "VARCHAR":
				fmt.Fprintf(&text, "%d", 20+r.IntN(60))
			case among != nil:
				text.WriteString(among[r.IntN(len(among))])
			default:
				fmt.Fprintf(&text, "%c", 'a'+rune(r.IntN(4)))
			}
		}
	}
	return []byte(text.String())
}
