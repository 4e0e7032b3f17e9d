package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"weir/gateway/api/client"
)

type explainCommand struct {
	queryText `embed:""`
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
	plan, err := answer[client.Explanation](person.Explain(ctx, query))
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
	text, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintln(t.out, lines(string(text)))
	return nil
}
