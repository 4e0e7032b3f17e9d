package guard

// A plan is typed again under each assumption of public.go, and most of it comes out as before: whatever reads and
// joins without asking about a secret. That is typed once.

// unchanged is a relation that no assumption changes, with what its typing counted up to.
type unchanged struct {
	relation                  *relation
	aliases, blocks, measures int
}

// keep notes the relation of an operator that met no secret, if those beneath it are noted as well. Other operators
// than these may refer to what stands elsewhere in the plan, or release.
func (c *checker) keep(n *node, r *relation) {
	switch n.Type {
	case "LOGICAL_GET", "LOGICAL_COMPARISON_JOIN", "LOGICAL_CROSS_PRODUCT", "LOGICAL_ANY_JOIN":
	default:
		return
	}
	for _, child := range n.Children {
		if _, ok := c.unchanged[child]; !ok {
			return
		}
	}
	c.unchanged[n] = unchanged{r, c.aliases, c.blocks, c.measures}
}

// again gives what was noted, where a plan is typed again. Operators take copies of the relations that they change.
func (c *checker) again(n *node) (*relation, bool) {
	s, ok := c.unchanged[n]
	if ok = ok && c.assumed != nil; ok {
		c.aliases, c.blocks, c.measures = s.aliases, s.blocks, s.measures
	}
	return s.relation, ok
}
