package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	"export.already-decided":   "not of a query",
	"export.reason-missing":    "not of a query",
	"export.own-output":        "not of a query",
	"export.private-not-there": "of the mode of a grant and not of the query",
}

// Every message that the text of a query brings about has an example on its page, and what the page tells people to
// write instead is released.
func TestExamplesOfMessages(t *testing.T) {
	lab, err := gateway.OpenLab(t.Context(), realWorker(t), []string{exampleAdult(t)}, policy.Perturbed)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
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

// exampleAdult makes the data set of the examples, as the guard's cases declare it, with people in it.
func exampleAdult(t *testing.T) (manifest string) {
	t.Helper()
	text, err := os.ReadFile("../export/guard/testdata/schema.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var schema []map[string]any
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	adult := schema[0]
	delete(adult, "unique") // of a vault's data it is found at intake
	adult["title"], adult["provider"], adult["file"] = "People of the examples", "tests", "adult.csv"
	declared, err := yaml.Marshal(adult)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	manifest = filepath.Join(dir, "adult.yaml")
	for path, content := range map[string][]byte{manifest: declared, filepath.Join(dir, "adult.csv"): examplePeople()} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return manifest
}

func examplePeople() []byte {
	r := rand.New(rand.NewPCG(2, 3))
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	text := "pid,phone,age,born,sex,occupation,education,zip,class,race,diagnosis,debt,hours_per_week,income,remarks,region\n"
	for i := range 2000 {
		age := 20 + r.IntN(60)
		text += fmt.Sprintf("P%d,139%d,%d,%d-05-0%d,%s,%s,%s,%d,%s,%s,%s,%d,%d,%d,remark %d,%s\n", i, i, age, 2020-age, 1+r.IntN(9), one("F", "M"),
			one("clerk", "smith", "nurse"), one("school", "college"), 1000+r.IntN(5), one("upper", "lower"), one("a", "b", "c"), one("flu", "none"),
			r.IntN(90000), 10+r.IntN(50), 1000+r.IntN(9000), i, one("north", "south"))
	}
	return []byte(text)
}
