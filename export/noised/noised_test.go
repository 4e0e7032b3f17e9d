package noised

import (
	"testing"

	"weir/export/guard"
)

// Of groups that secret values make, those alone may be shown that have a unit left after the cut: a unit is cut to as
// many groups as its δ was charged for, and a group that it was cut out of could pass the threshold by its noise.
func TestGroupsThatTheCutHasEmptied(t *testing.T) {
	q := &Question{release: guard.Release{Groups: make([]guard.Group, 1)}, of: &guard.Noised{Units: 0}}
	exact := map[string][]int64{key(group{"a"}): {3}, key(group{"b"}): {0}, key(group{"c"}): {1}}
	got, err := q.candidates(0, exact)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0][0] != "a" || got[1][0] != "c" {
		t.Errorf("groups that may be shown: %v; want a and c", got)
	}
}
