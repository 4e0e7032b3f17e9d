package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"weir/internal/problem"
)

type explainCommand struct {
	queryText `embed:""`
	Format    string `enum:"table,json" default:"table" help:"How it is printed: table or json."`
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
	if e.Format == "json" {
		return writeJSON(t.out, text)
	}
	var x explanation
	if err := json.Unmarshal(text, &x); err != nil {
		return problem.New("cli.strange-answer").Because(err)
	}
	return x.print(t)
}

// explanation is a plan with the type of every relation in it.
type explanation struct {
	Mode     string   `json:"mode"`
	Releases int      `json:"releases"`
	Plan     operator `json:"plan"`
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
	tree := table{head: []string{t.text("Step"), t.text("Type"), t.text("Columns")}}
	x.Plan.grow(&tree, "")
	if err := tree.write(t.out); err != nil {
		return err
	}
	t.say("Guarded aggregations: %d. Mode: %s.", x.Releases, x.Mode)
	return nil
}

func (o *operator) grow(tree *table, indent string) {
	kind := o.Type
	if len(o.Units) > 0 {
		kind += "(" + strings.Join(o.Units, ", ") + ")"
	}
	tree.add(indent+o.Operator, kind, strings.Join(o.Columns, ", "))
	for i := range o.Children {
		o.Children[i].grow(tree, indent+"  ")
	}
}
