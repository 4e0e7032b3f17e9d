package export

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"weir/export/guard"
	"weir/policy"
)

// shows reports whether so many units of a set reach the threshold.
func shows(t *testing.T, f *Filter, mode policy.Mode, public string, units int, set ...int) bool {
	t.Helper()
	a := &Assessment{filter: f, mode: mode, rules: policy.DefaultRules}
	j := &judging{Assessment: a, release: guard.Release{Public: public, Keys: []string{"person"}}, index: map[string]int{}}
	var names []string
	for i, fingerprint := range set {
		names = append(names, strconv.Itoa(i))
		j.index[names[i]] = i
		j.current = append(j.current, json.Number(strconv.Itoa(fingerprint)))
	}
	enough, err := j.enough(float64(units), 0, names...)
	if err != nil {
		t.Fatal(err)
	}
	return enough
}

// TestTheThresholdIsDrawn: where something in the question is secret, each unit from k to twice k makes
// it likelier that the figure is shown, by the same step; elsewhere, and in exact mode, k is k.
func TestTheThresholdIsDrawn(t *testing.T) {
	f := newFilter(t)
	const sets = 3000
	for units := 8; units <= 22; units++ {
		shown := 0
		for set := range sets {
			drawn := shows(t, f, policy.Perturbed, "SELECT 1", units, set)
			if drawn != shows(t, f, policy.Perturbed, "SELECT 1", units, set) {
				t.Fatal("the same set is shown once and not the other time")
			}
			shown += bit(drawn)
			for _, open := range []bool{shows(t, f, policy.Perturbed, "", units, set), shows(t, f, policy.Exact, "SELECT 1", units, set)} {
				if open != (units >= 10) {
					t.Fatalf("%d units are shown: %v", units, open)
				}
			}
		}
		want := math.Max(0, math.Min(1, float64(units-9)/11))
		if got := float64(shown) / sets; math.Abs(got-want) > 5*math.Sqrt(want*(1-want)/sets) {
			t.Errorf("%d units are shown in %.3f of the sets, want %.3f", units, got, want)
		}
	}
}

// TestThresholdWithoutAName: what should say which units they are is missing, so nothing is shown.
func TestThresholdWithoutAName(t *testing.T) {
	a := &Assessment{filter: newFilter(t), mode: policy.Perturbed, rules: policy.DefaultRules}
	j := &judging{Assessment: a, release: guard.Release{Public: "SELECT 1", Keys: []string{"person"}}, index: map[string]int{"gx0": 0}, current: []any{nil}}
	for _, set := range [][]string{{"gx0"}, {"x0_0"}} {
		if enough, err := j.enough(12, 0, set...); err == nil || enough {
			t.Errorf("%v: %v, %v", set, enough, err)
		}
	}
	if enough, err := j.enough(20, 0, "gx0"); err != nil || !enough {
		t.Errorf("20 units need no draw: %v, %v", enough, err)
	}
}

// TestASecretConditionLeavesSomebodyOut: a condition on something sensitive that holds for the whole group is withheld
// as one that leaves nine out is; else that it is shown would say that it holds for all.
func TestASecretConditionLeavesSomebodyOut(t *testing.T) {
	f := newFilter(t)
	for _, c := range []struct {
		secret  bool
		outside int
		fails   string
	}{{false, 0, ""}, {false, 9, "E5"}, {false, 10, ""}, {true, 0, "E4"}, {true, 9, "E5"}, {true, 10, ""}} {
		for _, mode := range []policy.Mode{policy.Perturbed, policy.Exact} {
			release, row := twoKeys()
			release.Cells[0].Secret = c.secret
			row["z0_0"] = c.outside
			a, err := f.Begin("job", &guard.Program{}, policy.Decision{Mode: mode, Rules: policy.DefaultRules})
			if err != nil {
				t.Fatal(err)
			}
			j := a.judging(release, tableFrom(row))
			j.current = tableFrom(row).Rows[0]
			if failed, err := j.failedCheck(0, release.Cells[0]); err != nil || failed != c.fails {
				t.Errorf("%s, secret %v, %d outside: %q, %v; want %q", mode, c.secret, c.outside, failed, err, c.fails)
			}
		}
	}
}
