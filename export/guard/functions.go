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

// functionLists is functions.yaml. What is denied stands there by its reason.
type functionLists struct {
	Scalars struct {
		Total      []string            `yaml:"total"`
		Partial    []string            `yaml:"partial"`
		Afterwards []string            `yaml:"afterwards"`
		Denied     map[string][]string `yaml:"denied"`
	} `yaml:"scalars"`
	Aggregates struct {
		Release []string            `yaml:"release"`
		Unit    []string            `yaml:"unit"`
		After   []string            `yaml:"after"`
		Denied  map[string][]string `yaml:"denied"`
	} `yaml:"aggregates"`
	Windows struct {
		After []string `yaml:"after"`
	} `yaml:"windows"`
	Tables struct {
		Allowed []string            `yaml:"allowed"`
		Denied  map[string][]string `yaml:"denied"`
		Macros  []string            `yaml:"macros"`
	} `yaml:"tables"`
	Macros  []string `yaml:"macros"`
	Pragmas []string `yaml:"pragmas"`
}

var (
	scalars    = map[string]verdict{}
	total      = map[string]bool{}
	aggregates = map[string]aggregateUse{}
	windows    = map[string]bool{}
	tables     = map[string]bool{}

	// nullary functions are written without parentheses.
	nullary = map[string]bool{"current_date": true}
	// constantPattern functions take a pattern that must be the analyst's own constant.
	constantPattern = map[string]bool{
		"~~": true, "!~~": true, "~~*": true, "!~~*": true, "~~~": true, "regexp_matches": true, "regexp_full_match": true,
		"regexp_extract": true, "like_escape": true, "not_like_escape": true, "ilike_escape": true,
		"not_ilike_escape": true, "strftime": true, "string_split": true, "str_split": true, "split": true, "string_to_array": true, "translate": true,
	}
)

var _ = loadFunctions()

func loadFunctions() bool {
	var lists functionLists
	if err := yaml.UnmarshalWithOptions(functionsYAML, &lists, yaml.Strict()); err != nil {
		panic("functions.yaml: " + err.Error())
	}
	verdicts(scalars, lists.Scalars.Denied, map[verdict][][]string{
		everywhere: {lists.Scalars.Total, lists.Scalars.Partial}, afterwards: {lists.Scalars.Afterwards},
	})
	verdicts(aggregates, lists.Aggregates.Denied, map[aggregateUse][][]string{
		releaseAggregate: {lists.Aggregates.Release}, unitAggregate: {lists.Aggregates.Unit}, afterAggregate: {lists.Aggregates.After},
	})
	verdicts(tables, lists.Tables.Denied, map[bool][][]string{true: {lists.Tables.Allowed}})
	verdicts(windows, nil, map[bool][][]string{true: {lists.Windows.After}})
	for _, name := range lists.Scalars.Total {
		total[name] = true
	}
	return true
}

// verdicts files names under their verdict; those that are denied get none. A name with two verdicts is a mistake.
func verdicts[V comparable](into map[string]V, reasons map[string][]string, lists map[V][][]string) {
	seen := map[string]bool{}
	file := func(names []string, v V, allowed bool) {
		for _, name := range names {
			if seen[name] {
				panic("two verdicts on " + name)
			}
			if seen[name] = true; allowed {
				into[name] = v
			}
		}
	}
	for v, parts := range lists {
		for _, names := range parts {
			file(names, v, true)
		}
	}
	for _, names := range reasons {
		var none V
		file(names, none, false)
	}
}

func functionVerdict(name string) verdict       { return scalars[name] }
func aggregateVerdict(name string) aggregateUse { return aggregates[name] }
