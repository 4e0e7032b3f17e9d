package gateway_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/goccy/go-yaml"

	"weir/gateway"
	"weir/policy"
)

// TestTablesOfAWorkspace tells the stories of testdata/tables.yaml in each mode whose figures do not need luck.
func TestTablesOfAWorkspace(t *testing.T) {
	var stories []struct {
		Name  string
		Steps []struct {
			SQL, State, Code string
			Rows             *int
			Line, Column     int
		}
	}
	text, err := os.ReadFile("testdata/tables.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(text, &stories, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []policy.Mode{policy.Perturbed, policy.Exact} {
		lab, err := gateway.OpenLab(t.Context(), realWorker(t), []string{dataFolder(t, "town", town())}, mode)
		if err != nil {
			t.Fatal(err)
		}
		lab.Trouble = func(job string, cause error) { t.Logf("%s: %v", job, cause) }
		for _, story := range stories {
			t.Run(string(mode)+"/"+story.Name, func(t *testing.T) {
				for _, step := range story.Steps {
					released, err := lab.Ask(t.Context(), story.Name, step.SQL)
					if err != nil {
						t.Fatal(err)
					}
					encoded, err := json.Marshal(released)
					if err != nil {
						t.Fatal(err)
					}
					var got struct {
						State, Code  string
						Rows         [][]any
						Line, Column int
						Errors       [][]any
					}
					if err := json.Unmarshal(encoded, &got); err != nil {
						t.Fatal(err)
					}
					if mode == policy.Perturbed && got.State == "released" && len(got.Errors) > 0 {
						continue // a figure with noise of its own, which was charged, is as good as a refusal
					}
					if got.State != step.State || step.Code != "" && got.Code != step.Code || step.Rows != nil && len(got.Rows) != *step.Rows ||
						step.Line > 0 && (got.Line != step.Line || got.Column != step.Column) {
						t.Errorf("%s\ngot %s", step.SQL, encoded)
					}
				}
			})
		}
		t.Run(string(mode)+"/another's table", func(t *testing.T) {
			askLab(t, lab, "owner", "CREATE TABLE mine AS SELECT pid, age FROM town")
			if got := askLab(t, lab, "owner", "SELECT count(*) FROM mine"); got.State != "released" {
				t.Errorf("its own: %+v", got)
			}
			if got := askLab(t, lab, "stranger", "SELECT count(*) FROM mine"); got.State != "denied" {
				t.Errorf("another's: %+v", got)
			}
		})
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	}
}
