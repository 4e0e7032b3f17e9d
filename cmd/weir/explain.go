package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

type explainCommand struct {
	queryText `embed:""`
	printing  `embed:""`
}

// Run shows the typed plan of a query. A query that the guard refuses ends as `weir query` would.
func (e *explainCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	query, err := e.read(t)
	if err != nil {
		return err
	}
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	text, err := answer[json.RawMessage](person.Explain(ctx, query))
	var refused *refusal
	if errors.As(err, &refused) {
		refused.sql = query.SQL
		t.complain(refused)
		if refused.denies() {
			return status(exitDenied)
		}
		return status(exitFailed)
	}
	if err != nil {
		return err
	}
	var x explanation
	if err := json.Unmarshal(text, &x); err != nil {
		return problem.New("cli.strange-answer").Because(err)
	}
	return e.run(t, func() error {
		switch e.Format {
		case "json":
			return writeJSON(t.out, text)
		case "csv":
			tree := x.tree(t)
			return tree.writeCSV(t.out)
		}
		return x.print(t)
	})
}

// explanation is a plan with the type of every relation in it.
type explanation struct {
	Mode     string       `json:"mode"`
	Releases int          `json:"releases"`
	Plan     operator     `json:"plan"`
	Left     *client.Left `json:"left"`
}

type operator struct {
	Operator string     `json:"operator"`
	Type     string     `json:"type"`
	Units    []string   `json:"units"`
	Columns  []string   `json:"columns"`
	Children []operator `json:"children"`
}

// print shows the plan as a tree, the last step first, as a database does.
func (x *explanation) print(t *terminal) error {
	tree := x.tree(t)
	if err := tree.write(t.out); err != nil {
		return err
	}
	t.say("Guarded aggregations: %d. Mode: %s.", x.Releases, word(t, x.Mode))
	if l := x.Left; l != nil {
		t.say("Left of today: %d jobs, %d cells", l.Jobs, l.Cells)
		for _, name := range slices.Sorted(maps.Keys(valueOf(l.Privacy))) {
			t.say("Left of the privacy budget on %s: epsilon %s", name, left(l, name))
		}
	}
	return nil
}

func valueOf(m *map[string]float64) map[string]float64 {
	if m == nil {
		return nil
	}
	return *m
}

func (x *explanation) tree(t *terminal) table {
	tree := table{head: []string{t.text("Step"), t.text("Type"), t.text("Columns")}}
	x.Plan.grow(t, &tree, "")
	return tree
}

// valueUses is what may be done with a value, as a plan says it.
var valueUses = []string{"constant", "open", "measure", "value", "text", "identifier", "unit key"}

func (o *operator) grow(t *terminal, tree *table, indent string) {
	kind := word(t, o.Type)
	if len(o.Units) > 0 {
		kind += "(" + strings.Join(o.Units, ", ") + ")"
	}
	columns := make([]string, len(o.Columns))
	for i, c := range o.Columns { // a name, a space, and what may be done with it
		columns[i] = c
		for _, use := range valueUses {
			if name, is := strings.CutSuffix(c, " "+use); is {
				columns[i] = name + " " + word(t, use)
				break
			}
		}
	}
	tree.add(indent+word(t, o.Operator), kind, strings.Join(columns, ", "))
	for i := range o.Children {
		o.Children[i].grow(t, tree, indent+"  ")
	}
}
