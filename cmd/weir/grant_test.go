package main

import (
	"path/filepath"
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
	for _, c := range []struct{ name, text, code string }{
		{"as it should be", good, ""},
		{"a field mistyped", good + "rule: {k: 20}\n", "cli.bad-grant"},
		{"a quota mistyped", good + "rules: {kk: 20}\n", "cli.bad-grant"},
		{"a date that is none", good[:len(good)-26] + "until: tomorrow\n", "cli.bad-grant"},
		{"no YAML", "a: b: c", "cli.bad-grant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "grant.yaml")
			write(t, path, c.text)
			got, err := readGrant(path)
			if c.code != "" {
				if err == nil || problem.Of(err).Code != c.code {
					t.Fatalf("got %v, want %s", err, c.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
