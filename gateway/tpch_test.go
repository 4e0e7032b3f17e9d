package gateway_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/gateway"
	"weir/policy"
)

// tpchVerdict is what becomes of one query of TPC-H, in both modes.
type tpchVerdict struct {
	Query     string `yaml:"query"`
	Asks      string `yaml:"asks"`
	Exact     string `yaml:"exact"`     // answered, answered in part, withheld, or the code of the refusal
	Perturbed string `yaml:"perturbed"` //
	Reason    string `yaml:"reason"`    // why not all of it was answered
	Instead   string `yaml:"instead"`   // the query that asks what can be answered
}

func readVerdicts(t testing.TB) []tpchVerdict {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "tpch", "verdicts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var list []tpchVerdict
	if err := yaml.UnmarshalWithOptions(content, &list, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return list
}

// verdictOf says in a word what an analyst got.
func verdictOf(a answer) string {
	switch {
	case a.State == "denied":
		return a.Code
	case a.State != "released":
		return a.State
	case len(a.Rows) == 0 && a.Withheld:
		return "withheld"
	case a.Withheld:
		return "answered in part"
	}
	return "answered"
}

// TestTPCH asks the queries of TPC-H of generated data, with the customer as the unit: each gets its verdict.
func TestTPCH(t *testing.T) {
	manifests := tpchFolder(t)
	verdicts := readVerdicts(t)
	for _, mode := range []policy.Mode{policy.Exact, policy.Perturbed} {
		lab, err := gateway.OpenLab(t.Context(), realWorker(t), manifests, mode)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(string(mode), func(t *testing.T) {
			lab.Trouble = func(job string, cause error) { t.Logf("%s: %v", job, cause) }
			for _, v := range verdicts {
				t.Run(v.Query, func(t *testing.T) {
					sql, err := os.ReadFile(filepath.Join("testdata", "tpch", v.Query+".sql"))
					if err != nil {
						t.Fatal(err)
					}
					a, want := askLab(t, lab, v.Query, string(sql)), v.Exact
					if mode == policy.Perturbed {
						want = v.Perturbed
					}
					// Which groups pass the noisy threshold is drawn, so in perturbed mode how many do is no verdict.
					some := map[string]bool{"withheld": true, "answered in part": true}
					if got := verdictOf(a); got != want && !(mode == policy.Perturbed && some[got] && some[want]) {
						t.Errorf("%s, want %s: %.600s", got, want, a.text)
					}
					if want == "answered" && len(a.Rows) == 0 {
						t.Errorf("nobody learns anything from an answer without rows: %.600s", a.text)
					}
				})
			}
			if err := lab.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTPCHPage holds the page for analysts to the verdicts, and these to the files. With -update it writes the page.
func TestTPCHPage(t *testing.T) {
	page, verdicts := filepath.Join("..", "docs", "tpch.md"), readVerdicts(t)
	files, err := filepath.Glob(filepath.Join("testdata", "tpch", "*.sql"))
	if err != nil || len(files) != len(verdicts) {
		t.Errorf("%d queries and %d verdicts: %v", len(files), len(verdicts), err)
	}
	text := tpchPage(t, verdicts)
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || string(have) != text {
		t.Errorf("%s is not what the verdicts say: run go test ./gateway -run TPCHPage -update (%v)", page, err)
	}
}

// tpchPage writes the page.
func tpchPage(t *testing.T, verdicts []tpchVerdict) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# TPC-H under the guard

The 22 queries of [TPC-H](https://www.tpc.org/tpch/), asked of generated data of the same shape at a scale of 0.01, each in a grant of its own. The protected unit is
the customer. When the data came in, the key of the customer was spread to orders and lines (` + "`o_custkey`, `l_custkey`" + `); parts, suppliers, stock, nations and regions are
open. Names, addresses and telephones are identifiers; the country code of a telephone is a column of its own (` + "`c_cntrycode`" + `), since Q22 asks for it.

The queries are as specified, but that a join or a subquery of orders and lines also equates their customer: without that, a row would be the row of two
customers as far as anybody knows. They stand in [gateway/testdata/tpch](../gateway/testdata/tpch); a test asks each of them and holds this page to what it got.

*Answered in part* means that cells with too few customers behind them were withheld, and *withheld* that all were: how many there are depends on the data, and
there are more customers in a group of larger data.

| query | asks for | exact | perturbed | why |
|---|---|---|---|---|
`)
	counts := map[string]int{}
	for _, v := range verdicts {
		if !strings.Contains(v.Query, "-") {
			counts[v.Exact]++
		}
		why := v.Reason
		if v.Instead != "" {
			if !slices.ContainsFunc(verdicts, func(other tpchVerdict) bool { return other.Query == v.Instead }) {
				t.Errorf("%s: no query %s", v.Query, v.Instead)
			}
			why += " Ask " + tpchLink(v.Instead) + " instead."
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", tpchLink(v.Query), v.Asks, tpchWord(v.Exact), tpchWord(v.Perturbed), why)
	}
	fmt.Fprintf(&b, "\nOf the 22, %d are answered, %d in part, %d are withheld, and the others are denied by name.\n",
		counts["answered"], counts["answered in part"], counts["withheld"])
	return b.String()
}

func tpchLink(query string) string {
	return fmt.Sprintf("[%s](../gateway/testdata/tpch/%s.sql)", strings.ToUpper(query[:1])+query[1:], query)
}

func tpchWord(verdict string) string {
	if strings.HasPrefix(verdict, "guard.") {
		return fmt.Sprintf("denied: [%s](errors/%s.md)", verdict, verdict)
	}
	return verdict
}
