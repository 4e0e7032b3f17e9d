package policy

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/internal/problem"
)

// Limits of a grant's terms.
const (
	longestTermYears = 3 // Chongqing draft, art. 16; Jilin City plan, section 6
	textLimit        = 200
	reasonLimit      = 2000
	datasetLimit     = 100
	columnLimit      = 10_000
	mostJobsPerDay   = 100_000
	mostCellsPerDay  = 1_000_000
	longestTimeStep  = 60 // seconds; a job in between takes up a place
)

// checkGrant refuses a grant whose terms do not stand: every demand of the regulations that its fields can show.
func checkGrant(g Grant, now time.Time) error {
	if g.ID != "" || g.State != "" && g.State != GrantActive {
		return problem.New("policy.grant-not-new")
	}
	for _, text := range []struct{ field, value string }{
		{"operator", g.Operator}, {"scenario", g.Scenario}, {"title", g.Title},
	} {
		if !plain(text.value, textLimit) {
			return problem.New("policy.grant-text", "field", text.field, "limit", strconv.Itoa(textLimit))
		}
	}
	if strings.ContainsAny(g.Scenario, ",;、，；|") {
		return problem.New("policy.grant-scenarios")
	}
	if g.Mode != Exact && g.Mode != Perturbed && g.Mode != Private {
		return problem.New("policy.grant-mode")
	}
	for _, check := range []error{checkDatasets(g.Datasets), checkTerm(g, now), checkRules(g.Rules), checkQuota(g.Quota), checkPrivacy(g.Mode, g.Privacy), checkShare(g.Mode, g.Share), checkTimeStep(g.TimeStep)} {
		if check != nil {
			return check
		}
	}
	return nil
}

func checkDatasets(datasets []GrantedDataset) error {
	if len(datasets) == 0 || len(datasets) > datasetLimit {
		return problem.New("policy.grant-datasets")
	}
	var names []string
	for _, d := range datasets {
		if !plain(d.Name, textLimit) || slices.Contains(names, d.Name) {
			return problem.New("policy.grant-datasets")
		}
		names = append(names, d.Name)
		if len(d.Columns) == 0 || len(d.Columns) > columnLimit {
			return problem.New("policy.grant-columns", "dataset", d.Name)
		}
		columns := map[string]bool{}
		for _, column := range d.Columns {
			if !plain(column, textLimit) || column == "*" || columns[column] {
				return problem.New("policy.grant-columns", "dataset", d.Name)
			}
			columns[column] = true
		}
	}
	return nil
}

func checkTerm(g Grant, now time.Time) error {
	switch {
	case g.From.IsZero() || !g.Until.After(g.From):
		return problem.New("policy.grant-term")
	case !g.Until.After(now):
		return problem.New("policy.grant-term-over")
	case g.Until.After(g.From.AddDate(longestTermYears, 0, 0)):
		return problem.New("policy.grant-term-long", "years", strconv.Itoa(longestTermYears))
	}
	return nil
}

// checkRules refuses what loosens the disclosure model, and what leaves nothing to release.
func checkRules(r Rules) error {
	loose := func(rule string, limit float64) error {
		return problem.New("policy.grant-rules", "rule", rule, "limit", strconv.FormatFloat(limit, 'f', -1, 64))
	}
	switch {
	case r.K < DefaultRules.K || r.K > math.MaxInt32:
		return loose("k", float64(DefaultRules.K))
	case !(r.DominanceP >= DefaultRules.DominanceP && r.DominanceP <= 100):
		return loose("dominance_p", DefaultRules.DominanceP)
	case !(r.DominanceShare > 0 && r.DominanceShare <= DefaultRules.DominanceShare):
		return loose("dominance_share", DefaultRules.DominanceShare)
	case r.Digits < 1 || r.Digits > DefaultRules.Digits:
		return loose("digits", float64(DefaultRules.Digits))
	}
	return nil
}

func checkQuota(q Quota) error {
	if q.JobsPerDay < 1 || q.JobsPerDay > mostJobsPerDay {
		return problem.New("policy.grant-quota", "field", "jobs_per_day", "limit", strconv.Itoa(mostJobsPerDay))
	}
	if q.CellsPerDay < 1 || q.CellsPerDay > mostCellsPerDay {
		return problem.New("policy.grant-quota", "field", "cells_per_day", "limit", strconv.Itoa(mostCellsPerDay))
	}
	return nil
}

func checkTimeStep(seconds int) error {
	if seconds < 0 || seconds > longestTimeStep {
		return problem.New("policy.grant-time-step", "limit", strconv.Itoa(longestTimeStep))
	}
	return nil
}

// plain reports whether a text is there, is text, and is short enough to be shown in one line.
func plain(text string, limit int) bool {
	return text != "" && text == strings.TrimSpace(text) && utf8.ValidString(text) &&
		utf8.RuneCountInString(text) <= limit && !strings.ContainsFunc(text, unicode.IsControl)
}
