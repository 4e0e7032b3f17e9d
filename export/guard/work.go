package guard

import "weir/internal/problem"

// A check runs in the platform's own process, so its time and memory must be bounded by the query's length. Every
// expression and every operator that is typed is paid for by the SQL that it holds: common table expressions and
// projections repeat what they are made of, so a short text can stand for a very long one.

const (
	// maxWork bounds the SQL that one check writes on the way, in bytes.
	maxWork = 1 << 28
	// maxRelation bounds the SQL of one operator's result. What is read twice is written twice, so it is looked at
	// after every operator.
	maxRelation = 8 * maxSQL
	// costOfStep is what looking at an expression or an operator costs besides.
	costOfStep = 64
	// costOfFact is what a fact about a relation costs that is carried from operator to operator.
	costOfFact = 256
)

// work is what a check has done so far.
type work struct{ steps, bytes int }

// spend pays for one step of a check, and for the typing of a plan again (public.go) from the same purse.
func (c *checker) spend(bytes int) error {
	c.work.steps++
	if c.work.bytes += bytes + costOfStep; c.work.bytes > maxWork {
		return problem.New("guard.too-complex")
	}
	return nil
}

// bytes is how much SQL a value holds.
func (v value) bytes() int {
	n := len(v.sql) + len(v.ofSide) + len(v.margin.sql) + costOfFact*(len(v.parts)+len(v.sides))
	if v.cond != nil {
		n += len(v.cond.when) + len(v.cond.then.sql)
	}
	return n
}

// bytes is how much SQL a relation holds.
func (r *relation) bytes() int {
	n := len(r.from) + len(r.tail) + costOfFact*(len(r.with)+len(r.ties)+len(r.limits)+len(r.crossings)+len(r.atoms))
	for _, list := range [][]string{r.where, r.proofs} {
		for _, sql := range list {
			n += len(sql)
		}
	}
	for _, v := range r.cols {
		n += v.bytes()
	}
	return n
}

// typedRelation pays for an operator's result.
func (c *checker) typedRelation(r *relation) error {
	n := r.bytes()
	if n > maxRelation {
		return problem.New("guard.too-complex")
	}
	return c.spend(n)
}
