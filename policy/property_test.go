package policy

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weir/internal/store/storetest"
)

// TestNothingLoosens draws any obligations and any grant's rules: whatever is decided is at least as strict as the
// model, the grant and the policy, each for itself, and the cells left are no more than the grant has.
func TestNothingLoosens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := func(name string) Rules {
			return Rules{
				K:              rapid.IntRange(-5, 1000).Draw(t, name+" k"),
				DominanceP:     rapid.Float64Range(-10, 200).Draw(t, name+" p"),
				DominanceShare: rapid.Float64Range(-10, 200).Draw(t, name+" share"),
				Digits:         rapid.IntRange(-2, 20).Draw(t, name+" digits"),
			}
		}
		g := terms()
		g.Mode = rapid.SampledFrom([]Mode{Exact, Perturbed, Private}).Draw(t, "mode")
		g.Rules = rules("grant's")
		policys := rules("policy's")
		used := usage{Cells: rapid.IntRange(0, 200).Draw(t, "used")}
		cells := rapid.IntRange(-5, 500).Draw(t, "cells")
		review := rapid.Bool().Draw(t, "review")
		d, err := decide(g, used, decoded(t, facts{
			"mode": g.Mode, "review": review, "cells": cells, "k": policys.K, "digits": policys.Digits,
			"dominance_p": policys.DominanceP, "dominance_share": policys.DominanceShare,
		}))
		if err != nil {
			return
		}
		for _, r := range []Rules{DefaultRules, g.Rules, policys} {
			if d.Rules.K < r.K || d.Rules.Digits > r.Digits || d.Rules.DominanceP < r.DominanceP || d.Rules.DominanceShare > r.DominanceShare {
				t.Fatalf("%+v is looser than %+v", d.Rules, r)
			}
		}
		if d.CellsLeft < 1 || d.CellsLeft > g.Quota.CellsPerDay-used.Cells || d.CellsLeft > cells {
			t.Fatalf("%d cells left", d.CellsLeft)
		}
		if !d.Review && (review || g.Mode == Exact) {
			t.Fatal("nobody reviews")
		}
	})
}

// decoded gives a value the types that the rules' answers have.
func decoded(t interface{ Fatal(...any) }, value facts) facts {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	document := facts{}
	for name, part := range parts(t, text) {
		document[name] = part
	}
	return document
}

func parts(t interface{ Fatal(...any) }, text []byte) map[string]any {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for name, part := range raw {
		var number json.Number
		if part[0] != '"' && json.Unmarshal(part, &number) == nil {
			all[name] = number
			continue
		}
		var value any
		if err := json.Unmarshal(part, &value); err != nil {
			t.Fatal(err)
		}
		all[name] = value
	}
	return all
}

// complete says, without the rules' help, whether facts hold everything that an allowed query must have.
func complete(f facts) bool {
	text := func(path ...string) string { s, _ := valueAt(map[string]any(f), path).(string); return s }
	number := func(path ...string) float64 {
		if n, ok := valueAt(map[string]any(f), path).(float64); ok {
			return n
		}
		return math.NaN() // no comparison with it holds
	}
	roles, _ := valueAt(map[string]any(f), []string{"person", "roles"}).([]any)
	if !slices.Contains(roles, any("analyst")) {
		return false
	}
	for _, role := range roles {
		if role != "analyst" && role != "operator" {
			return false
		}
	}
	if capacities, _ := valueAt(map[string]any(f), []string{"person", "capacities"}).([]any); !slices.Contains(capacities, any("operator")) {
		return false
	}
	datasets, _ := valueAt(map[string]any(f), []string{"grant", "datasets"}).([]any)
	for _, name := range []string{"k", "dominance_p", "dominance_share", "digits"} {
		if math.IsNaN(number("floor", name)) || math.IsNaN(number("grant", "rules", name)) {
			return false
		}
	}
	mode := text("grant", "mode")
	return text("person", "subject") != "" && text("person", "organisation") != "" &&
		text("person", "organisation") == text("grant", "operator") && text("grant", "id") != "" &&
		text("grant", "scenario") != "" && len(datasets) > 0 && text("grant", "state") == "active" &&
		slices.Contains([]Mode{Exact, Perturbed, Private}, Mode(mode)) &&
		number("now") >= number("grant", "from") && number("now") < number("grant", "until") &&
		number("used", "jobs") < number("grant", "quota", "jobs_per_day") &&
		number("used", "cells") < number("grant", "quota", "cells_per_day")
}

// FuzzQuery gives the rules any JSON for facts. What they allow must be complete.
func FuzzQuery(f *testing.F) {
	for _, q := range queryExamples(f).questions {
		text, err := json.Marshal(q.facts)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	e := engine(f, storetest.Open(f, storetest.SQLite(f)), &clock{noon})
	f.Fuzz(func(t *testing.T, text []byte) {
		var input facts
		if json.Unmarshal(text, &input) != nil {
			return
		}
		a, err := ask(t.Context(), e.query, input)
		if err == nil && a.allow && !complete(input) {
			t.Errorf("allowed: %s", text)
		}
	})
}

// TestCompleteIsNoRubberStamp holds the fuzz test's own judgement against the cases.
func TestCompleteIsNoRubberStamp(t *testing.T) {
	allowed, denied := 0, 0
	for _, q := range queryExamples(t).questions {
		if q.want == "allow" {
			allowed++
			if !complete(q.facts) {
				t.Errorf("%s is complete", q.name)
			}
		} else if !complete(q.facts) {
			denied++
		}
	}
	if allowed < 5 || denied < 15 {
		t.Errorf("%d allowed, %d seen to be incomplete", allowed, denied)
	}
}
