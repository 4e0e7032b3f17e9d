package guard

import (
	"weir/policy"
	"weir/sandbox"
)

// The bounds of a check's work.
const (
	MaxWork     = maxWork
	MaxRelation = maxRelation
)

// Work is Check with how many steps it took and how much SQL it wrote on the way.
func Work(sql string, bound sandbox.Bound, schema []policy.Dataset, rules policy.Rules, mode policy.Mode) (steps, bytes int, err error) {
	c := newChecker(sql, schema, rules, mode)
	_, err = c.check(bound, schema)
	return c.work.steps, c.work.bytes, err
}
