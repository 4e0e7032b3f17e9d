package sandbox

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"

	"weir/internal/problem"
)

var called = regexp.MustCompile(`([A-Za-z_0-9]+)\(`)

// What is recommended in place of another database's function is one that the engine has: a hint that leads to the next
// refusal is worse than none.
func TestWhatIsRecommendedExists(t *testing.T) {
	s := plan(t, DefaultLimits)
	words := map[string]bool{}
	for _, instead := range slices.Concat(slices.Collect(maps.Values(dialect.Functions)), slices.Collect(maps.Values(dialect.Columns)), usualFunctions) {
		for _, found := range called.FindAllStringSubmatch(instead+"(", -1) {
			words[found[1]] = true
		}
	}
	for _, syntax := range []string{"CAST", "TRY_CAST", "DECIMAL", "END", "n", "date", "DATE", "x", "b", "type", "RECURSIVE", "condition"} {
		delete(words, syntax)
	}
	if len(words) < 30 {
		t.Fatalf("only %d words", len(words))
	}
	for _, word := range slices.Sorted(maps.Keys(words)) {
		if _, err := s.Bind(t.Context(), fmt.Sprintf("SELECT %s()", word)); err != nil && problem.Of(err).Code == "sql.unknown-function" {
			t.Errorf("%s is recommended and does not exist", word)
		}
	}
}
