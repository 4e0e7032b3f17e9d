// Package guard decides what of a query may leave, and rewrites the query so that nothing else can.
//
// It takes the engine's own bound plan, computes the type of every relation in it operator by operator
// (Open, Protected or Released), and renders SQL of its own from the typed plan: one query for each guarded
// aggregation, which yields cells together with the evidence for them, and one for what is done with the cells
// that the export filter let through. A plan whose last relation is not Open or Released is refused, and so is
// every operator, function, type or option that no rule here names.
//
// It must never pass on text of the analyst's to the process that holds data, never resolve a name by itself,
// and never let a value of a protected row into a query's last step.
package guard

import (
	"errors"
	"slices"

	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Program is a checked query: what to run, in this order, and what comes out.
type Program struct {
	Releases []Release // guarded aggregations, in order; each may read the released tables of those before it
	Final    Final
	Tree     *Typed   // the typed plan, for the analyst's explanation
	Literals []string // constants in the analyst's text, for the officer
	Sources  []string // the data sets that it reads
	// Constants must hold before anything is run; see constants.go.
	Constants Constants
}

// Final is the last step: post-processing over released tables and open data.
type Final struct {
	SQL   string
	Reads []string // released tables
	Data  []string // open data sets
	Names []string // the columns' names as shown to people
	// Errors says for each column where its error bound stands among the query's columns, or NoError or UnknownError.
	Errors []int
}

// checker holds the state of one check. It is used once.
type checker struct {
	sql      string
	schema   map[string]policy.Dataset
	rules    policy.Rules
	mode     policy.Mode
	ctes     map[uint64]*relation
	outer    []*relation // what the correlated subqueries around refer to, the innermost last
	aliases  int
	blocks   int
	measures int                // measures that were met, each with a name of its own
	made     map[string]float64 // how many rows the query makes by itself, by the call that does
	program  Program
	trace    []*Typed
	literals map[string]bool
	plan     *node
	work     *work // see work.go

	// For the public parts of releases; see public.go.
	atoms     []secretAtom        // conditions on secrets that were met so far
	audits    [][]audited         // of each release
	assumed   *assumption         // what is assumed, when the plan is typed again
	asked     []string            // and how they are written, each time, without assumptions
	met       int                 // how many that were so far
	unchanged map[*node]unchanged // what no assumption changes

	results  map[*node]*relation // of the noised modes: what each operator was typed as
	cteNodes map[uint64]*node    // and where common table expressions are defined
}

func newChecker(sql string, schema []policy.Dataset, rules policy.Rules, mode policy.Mode) *checker {
	c := &checker{sql: sql, schema: map[string]policy.Dataset{}, rules: rules, mode: mode, ctes: map[uint64]*relation{}, literals: map[string]bool{}}
	c.made, c.unchanged, c.work = map[string]float64{}, map[*node]unchanged{}, &work{}
	c.results, c.cteNodes = map[*node]*relation{}, map[uint64]*node{}
	for _, d := range schema {
		c.schema[d.Name] = d
	}
	return c
}

// Check types the plan that the engine bound the text to, and renders the program. The error is a problem with a
// code and a place in the text.
func Check(sql string, bound sandbox.Bound, schema []policy.Dataset, rules policy.Rules, mode policy.Mode) (*Program, error) {
	c := newChecker(sql, schema, rules, mode)
	program, err := c.check(bound, schema)
	var p *problem.Problem
	if errors.As(err, &p) && p.Status() < 500 {
		return nil, c.placed(p)
	}
	return program, err
}

func (c *checker) check(bound sandbox.Bound, schema []policy.Dataset) (*Program, error) {
	last, names, err := c.typed(bound, schema)
	if err != nil {
		return nil, err
	}
	if !c.noised() {
		if err := c.publicParts(c.plan, schema); err != nil {
			return nil, err
		}
	}
	return c.finish(last, names)
}

// typed types the last relation of a plan.
func (c *checker) typed(bound sandbox.Bound, schema []policy.Dataset) (last *relation, names []string, err error) {
	for _, d := range schema {
		if !d.Open && len(d.Units) == 0 {
			return nil, nil, problem.New("guard.unlabelled", "dataset", d.Name)
		}
	}
	if c.rules.K < 1 {
		return nil, nil, problem.New("internal").Because(errors.New("rules without a threshold"))
	}
	plan, err := decodePlan(bound.Plan)
	if err != nil {
		return nil, nil, problem.New("guard.unknown-plan", "what", "engine version").Because(err)
	}
	c.plan = plan
	columns := map[string]bool{}
	for _, d := range schema {
		for _, column := range d.Columns {
			columns[column.Name] = true
		}
	}
	if names, err = columnNames(c.sql, bound.Names, columns); err != nil {
		return nil, nil, err
	}
	last, err = c.relation(plan)
	return last, names, err
}

// finish is the one place where a relation becomes something that leaves.
func (c *checker) finish(last *relation, names []string) (*Program, error) {
	if last.kind == protected {
		return nil, c.rawRows(last)
	}
	if len(names) != len(last.cols) {
		return nil, problem.New("guard.unknown-plan", "what", "column names")
	}
	for _, v := range last.cols {
		if v.typ.use() < afterwardsType {
			return nil, problem.New("guard.unknown-type", "type", v.typ.ID)
		}
	}
	sql := last.selectSQL(nil)
	if len(sql) > maxSQL {
		return nil, problem.New("guard.too-complex")
	}
	p := c.program
	p.Final = Final{SQL: sql, Reads: sorted(last.reads), Data: sorted(last.data), Names: names, Errors: last.errors()}
	p.Literals = sorted(c.literals)
	p.Sources = distinct(p.Sources)
	if n := len(c.trace); n > 0 {
		p.Tree = c.trace[n-1]
	}
	return &p, nil
}

// rawRows says which of the ways to ask for rows this was.
func (c *checker) rawRows(last *relation) error {
	for _, v := range last.cols {
		switch {
		case v.sort != identifierValue && v.sort != keyValue || !c.written(v.name): // one that came along with a * was not asked for
		case c.written("GROUP"):
			return c.deny(nil, "guard.identifier-group", "column", v.name)
		default:
			return c.deny(nil, "guard.identifier-output", "column", v.name)
		}
	}
	return c.deny(nil, "guard.raw-rows")
}

func (c *checker) alias() string {
	c.aliases++
	return "t" + itoa(c.aliases)
}

func (c *checker) literal(text string) {
	if len(text) > 0 && len(c.literals) < 1000 {
		c.literals[text] = true
	}
}

func sorted(set map[string]bool) []string {
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// distinct gives each name once, in order.
func distinct(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
