package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

func TestGrantIsReadFromItsFile(t *testing.T) {
	const good = `# 住房
operator: op-housing
scenario: housing
title: 住房需求分析
datasets:
  - {name: residents, columns: [district, age]}
mode: perturbed
quota: {jobs_per_day: 100, cells_per_day: 10000}
until: 2027-06-30T00:00:00+08:00
`
	want := client.NewGrant{
		Operator: "op-housing", Scenario: "housing", Title: "住房需求分析", Mode: "perturbed",
		Datasets: []client.GrantedDataset{{Name: "residents", Columns: []string{"district", "age"}}},
		Quota:    client.Quota{JobsPerDay: 100, CellsPerDay: 10000},
		Until:    time.Date(2027, 6, 29, 16, 0, 0, 0, time.UTC),
	}
	const until = "until: 2027-06-30T00:00:00+08:00\n"
	term := strings.TrimSuffix(good, until)
	for _, c := range []struct{ name, text, code, says string }{
		{"as it should be", good, "", ""},
		{"the last day", term + "until: 2027-06-29\n", "", ""},
		{"a field mistyped", good + "rule: {k: 20}\n", "cli.bad-grant", "rule is no field of a grant (did you mean rules?)"},
		{"a rule mistyped", good + "rules: {kk: 20}\n", "cli.bad-grant", "rules.kk is no field of a grant (did you mean k?)"},
		{"several faults", term + "untill: 2027-06-30\nrules: {digit: 3}\n", "cli.bad-grant", "rules.digit is no field of a grant (did you mean digits?); untill is no field of a grant (did you mean until?)"},
		{"a field in a list", strings.Replace(good, "columns:", "collumns:", 1), "cli.bad-grant", "datasets (1).collumns is no field of a grant (did you mean columns?)"},
		{"a date that is none", term + "until: tomorrow\n", "cli.bad-grant", "until must be a day, such as 2027-06-30"},
		{"a day that there is not", term + "until: 2027-06-31\n", "cli.bad-grant", "until must be a day"},
		{"a type", strings.Replace(good, "jobs_per_day: 100", "jobs_per_day: many", 1), "cli.bad-grant", "quota.jobs_per_day cannot be a string"},
		{"no YAML", "a: b: c", "cli.bad-grant", "it is not YAML"},
		{"a list", "- a\n", "cli.bad-grant", "it holds no fields"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "grant.yaml")
			write(t, path, c.text)
			got, err := readGrant(path)
			if c.code != "" {
				if err == nil || problem.Of(err).Code != c.code {
					t.Fatalf("got %v, want %s", err, c.code)
				}
				if text := problem.Of(err).In(problem.English).Detail; !strings.Contains(text, c.says) {
					t.Errorf("said %q, not %q", text, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "the last day" { // to its end, in the zone of whoever writes it
				want := want
				want.Until = time.Date(2027, 6, 30, 0, 0, 0, 0, time.Local)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
