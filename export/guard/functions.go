package guard

import (
	_ "embed" // the verdicts

	"github.com/goccy/go-yaml"
)

// verdict is where a function may stand.
type verdict int

const (
	denied     verdict = iota
	afterwards         // over open and released relations only
	everywhere
)

// aggregateUse is what an aggregate may be used for. Each use includes the ones below it.
type aggregateUse int

const (
	aggregateDenied  aggregateUse = iota
	afterAggregate                // over open and released relations
	unitAggregate                 // besides inside one unit's own rows
	releaseAggregate              // besides as a released cell, through the guard
)

//go:embed functions.yaml
var functionsYAML []byte

var (
	scalars    = map[string]verdict{}
	total      = map[string]bool{}
	aggregates = map[string]aggregateUse{}
	tables     = map[string]bool{}

	// nullary functions are written without parentheses.
	nullary = map[string]bool{"current_date": true}
	// constantPattern functions take a pattern that must be the analyst's own constant.
	constantPattern = map[string]bool{
		"~~": true, "!~~": true, "~~*": true, "!~~*": true, "regexp_matches": true, "regexp_full_match": true,
		"regexp_extract": true, "like_escape": true, "not_like_escape": true, "ilike_escape": true,
		"not_ilike_escape": true, "strftime": true,
	}
)

var _ = loadFunctions()

func loadFunctions() bool {
	var lists struct {
		Total      []string            `yaml:"total"`
		Partial    []string            `yaml:"partial"`
		Afterwards []string            `yaml:"afterwards"`
		Aggregates map[string][]string `yaml:"aggregates"`
		Tables     []string            `yaml:"tables"`
	}
	if err := yaml.UnmarshalWithOptions(functionsYAML, &lists, yaml.Strict()); err != nil {
		panic("functions.yaml: " + err.Error())
	}
	add := func(names []string, v verdict) {
		for _, name := range names {
			if _, twice := scalars[name]; twice {
				panic("functions.yaml names a function twice: " + name)
			}
			scalars[name] = v
		}
	}
	add(lists.Total, everywhere)
	add(lists.Partial, everywhere)
	add(lists.Afterwards, afterwards)
	for _, name := range lists.Total {
		total[name] = true
	}
	uses := map[string]aggregateUse{"release": releaseAggregate, "unit": unitAggregate, "after": afterAggregate}
	for use, names := range lists.Aggregates {
		if uses[use] == aggregateDenied {
			panic("functions.yaml: unknown use of an aggregate: " + use)
		}
		for _, name := range names {
			aggregates[name] = uses[use]
		}
	}
	for _, name := range lists.Tables {
		tables[name] = true
	}
	return true
}

func functionVerdict(name string) verdict       { return scalars[name] }
func aggregateVerdict(name string) aggregateUse { return aggregates[name] }
