package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// queryFacts are what the rules learn about one person, one grant and its day.
func queryFacts(now time.Time, person facts, grant Grant, used usage) facts {
	datasets := make([]any, len(grant.Datasets))
	for i, d := range grant.Datasets {
		datasets[i] = facts{"name": d.Name, "columns": list(d.Columns)}
	}
	return facts{
		"now":    now.Unix(),
		"person": person,
		"grant": facts{
			"id": grant.ID, "operator": grant.Operator, "scenario": grant.Scenario, "datasets": datasets,
			"mode": string(grant.Mode), "state": string(grant.State),
			"from": grant.From.Unix(), "until": grant.Until.Unix(),
			"rules": ruleFacts(grant.Rules),
			"quota": facts{"jobs_per_day": grant.Quota.JobsPerDay, "cells_per_day": grant.Quota.CellsPerDay},
		},
		"used":  facts{"jobs": used.Jobs, "cells": used.Cells},
		"floor": ruleFacts(DefaultRules),
	}
}

func ruleFacts(r Rules) facts {
	return facts{"k": r.K, "dominance_p": r.DominanceP, "dominance_share": r.DominanceShare, "digits": r.Digits}
}

func list[T ~string](items []T) []any {
	all := make([]any, len(items))
	for i, item := range items {
		all[i] = string(item)
	}
	return all
}

// obligationNames are the obligations that the platform knows how to meet: all of them must be given, no other may.
var obligationNames = []string{"mode", "review", "k", "dominance_p", "dominance_share", "digits", "cells"}

// decide turns an allowed query into a decision. The policy's obligations are merged with the model's and the
// grant's rules so that the strictest of each holds; the mode must be the grant's, since no mode is stricter than
// another in every respect. An obligation that is unknown, missing or of the wrong type denies.
func decide(grant Grant, used usage, given map[string]any) (Decision, error) {
	for name := range given {
		if !slices.Contains(obligationNames, name) {
			return Decision{}, undecided(fmt.Errorf("unknown obligation %q", name))
		}
	}
	o := obligations{given: given}
	d := Decision{
		Grant:     grant,
		Mode:      Mode(o.text("mode")),
		Review:    o.flag("review") || grant.Mode == Exact,
		CellsLeft: min(o.whole("cells"), grant.Quota.CellsPerDay-used.Cells),
		Rules: strictest(DefaultRules, strictest(grant.Rules, Rules{
			K: o.whole("k"), DominanceP: o.number("dominance_p"),
			DominanceShare: o.number("dominance_share"), Digits: o.whole("digits"),
		})),
	}
	switch {
	case o.err != nil:
		return Decision{}, undecided(o.err)
	case d.Mode != grant.Mode:
		return Decision{}, undecided(fmt.Errorf("the policy changes the mode of grant %s", grant.ID))
	case d.CellsLeft < 1:
		return Decision{}, denied("policy.quota-cells")
	case d.Rules.Digits < 1 || d.Rules.DominanceShare <= 0:
		return Decision{}, undecided(fmt.Errorf("the rules of grant %s leave nothing to release", grant.ID))
	}
	return d, nil
}

// strictest takes from each rule whichever withholds more.
func strictest(a, b Rules) Rules {
	return Rules{
		K:              max(a.K, b.K),
		DominanceP:     max(a.DominanceP, b.DominanceP),
		DominanceShare: min(a.DominanceShare, b.DominanceShare),
		Digits:         min(a.Digits, b.Digits),
	}
}

// obligations reads typed values out of the policy's document and remembers the first that is not as it should be.
type obligations struct {
	given map[string]any
	err   error
}

func (o *obligations) miss(name string) {
	if o.err == nil {
		o.err = fmt.Errorf("obligation %q is missing or not of its type", name)
	}
}

func (o *obligations) text(name string) string {
	value, ok := o.given[name].(string)
	if !ok {
		o.miss(name)
	}
	return value
}

func (o *obligations) flag(name string) bool {
	value, ok := o.given[name].(bool)
	if !ok {
		o.miss(name)
	}
	return value
}

func (o *obligations) number(name string) float64 {
	literal, _ := o.given[name].(json.Number)
	value, err := literal.Float64()
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		o.miss(name)
	}
	return value
}

func (o *obligations) whole(name string) int {
	value := o.number(name)
	if value != math.Trunc(value) || math.Abs(value) > math.MaxInt32 {
		o.miss(name)
		return 0
	}
	return int(value)
}
