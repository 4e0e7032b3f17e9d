package guard

import (
	_ "embed" // the verdicts
	"strings"

	"github.com/goccy/go-yaml"
)

// The words of the engine's plans, with a verdict on each. A rule handles the words that are "typed"; one that is not,
// or that is unknown, is refused by name before any rule looks at it.

//go:embed plan.yaml
var planYAML []byte

// wordList is one enumeration of the engine: the words that rules are made for, and the others by the reason for
// which they are refused.
type wordList struct {
	Typed  []string            `yaml:"typed"`
	Denied map[string][]string `yaml:"denied"`
}

type typeList struct {
	Everywhere []string            `yaml:"everywhere"`
	Afterwards []string            `yaml:"afterwards"`
	Inside     []string            `yaml:"inside"`
	Denied     map[string][]string `yaml:"denied"`
}

// wordLists is plan.yaml.
type wordLists struct {
	Operators        wordList `yaml:"operators"`
	Expressions      wordList `yaml:"expressions"`
	Kinds            wordList `yaml:"kinds"`
	Joins            wordList `yaml:"joins"`
	Types            typeList `yaml:"types"`
	TypeInfos        wordList `yaml:"typeInfos"`
	Distincts        wordList `yaml:"distincts"`
	Directions       wordList `yaml:"directions"`
	NullOrders       wordList `yaml:"nullOrders"`
	Frames           wordList `yaml:"frames"`
	Exclusions       wordList `yaml:"exclusions"`
	Aggregations     wordList `yaml:"aggregations"`
	Limits           wordList `yaml:"limits"`
	Materializations wordList `yaml:"materializations"`
	ColumnReads      wordList `yaml:"columnReads"`
	ScanFilters      wordList `yaml:"scanFilters"`
	Samples          wordList `yaml:"samples"`
	Statements       wordList `yaml:"statements"`
}

// typeUse is where values of a type may stand. Each use includes the ones below it.
type typeUse int

const (
	typeDenied     typeUse = iota
	insideType             // over open and released relations, but not in a result
	afterwardsType         // over open and released relations
	everywhereType
)

// words are the typed words of each enumeration.
var words struct {
	operators, expressions, kinds, joins, typeInfos, distincts, directions, nullOrders, frames, exclusions map[string]bool
	aggregations, limits, materializations, columnReads                                                    map[string]bool

	types map[string]typeUse
}

var _ = loadWords()

func loadWords() bool {
	var lists wordLists
	if err := yaml.UnmarshalWithOptions(planYAML, &lists, yaml.Strict()); err != nil {
		panic("plan.yaml: " + err.Error())
	}
	for _, of := range []struct {
		words *map[string]bool
		list  wordList
	}{
		{&words.operators, lists.Operators}, {&words.expressions, lists.Expressions}, {&words.kinds, lists.Kinds}, {&words.joins, lists.Joins},
		{&words.typeInfos, lists.TypeInfos}, {&words.distincts, lists.Distincts}, {&words.directions, lists.Directions},
		{&words.nullOrders, lists.NullOrders}, {&words.frames, lists.Frames}, {&words.exclusions, lists.Exclusions},
		{&words.aggregations, lists.Aggregations}, {&words.limits, lists.Limits}, {&words.materializations, lists.Materializations},
		{&words.columnReads, lists.ColumnReads},
	} {
		*of.words = map[string]bool{}
		verdicts(*of.words, of.list.Denied, map[bool][][]string{true: {of.list.Typed}})
	}
	words.types = map[string]typeUse{}
	verdicts(words.types, lists.Types.Denied, map[typeUse][][]string{
		everywhereType: {lists.Types.Everywhere}, afterwardsType: {lists.Types.Afterwards}, insideType: {lists.Types.Inside},
	})
	return true
}

// wordsOfNode refuses an operator that holds a word without a rule. The empty word is a field that the operator
// does not have.
func (c *checker) wordsOfNode(n *node) error {
	unknown := func(typed map[string]bool, word string) bool { return word != "" && !typed[word] }
	switch {
	case !words.operators[n.Type], unknown(words.distincts, n.Distinct), unknown(words.materializations, n.Materialize):
		return c.deny(nil, "guard.operator", "operator", operatorName(n))
	case unknown(words.joins, n.JoinType):
		return c.deny(nil, "guard.join", "kind", strings.ToLower(n.JoinType))
	}
	for _, column := range n.Columns {
		if !words.columnReads[column.IndexType] {
			return c.deny(nil, "guard.unknown-plan", "what", "scan of a part of a column")
		}
	}
	return nil
}

// wordsOfExpr refuses an expression that holds a word without a rule.
func (c *checker) wordsOfExpr(e *expr) error {
	word := ""
	switch {
	case !words.expressions[e.Class]:
		word = e.Class
	case !words.kinds[e.Type]:
		word = e.Type
	case e.Class == "BOUND_WINDOW" && (!words.frames[e.Start] || !words.frames[e.End] || !words.exclusions[e.Exclude]):
		word = "window frame"
	case e.Class == "BOUND_AGGREGATE" && !words.aggregations[e.AggregateType]:
		word = e.AggregateType
	default:
		return nil
	}
	return c.deny(e, "guard.unknown-expression", "what", strings.ToLower(strings.TrimPrefix(word, "BOUND_")))
}
