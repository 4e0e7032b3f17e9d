package gateway

import (
	"context"
	_ "embed" // the flow's messages
	"fmt"
	"reflect"
	"slices"

	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

//go:embed problems_flow.yaml
var flowMessages []byte

var _ = problem.Register(flowMessages)

// NewFlow makes the flow. It refuses parts that are missing.
func NewFlow(parts FlowParts) (*Flow, error) {
	v := reflect.ValueOf(parts)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			return nil, fmt.Errorf("flow without %s", v.Type().Field(i).Name)
		}
	}
	return &Flow{parts}, nil
}

// RealPlanners are the sandbox's planner processes.
type RealPlanners struct{ *sandbox.Planner }

// Start starts a planner process.
func (p RealPlanners) Start(ctx context.Context, schema []policy.Dataset) (Planning, error) {
	planning, err := p.Planner.Start(ctx, schema)
	if err != nil {
		return nil, err
	}
	return planning, nil
}

// RealWorkers are the sandbox's worker processes.
type RealWorkers struct {
	*sandbox.Workers
	Tables *sandbox.Workspaces
}

// Start starts a worker process.
func (w RealWorkers) Start(ctx context.Context, job string, data []policy.Dataset) (Session, error) {
	vault, kept, err := w.shown(ctx, data)
	if err != nil {
		return nil, err
	}
	session, err := w.Workers.Start(ctx, job, vault, kept...)
	if err != nil {
		return nil, err
	}
	return session, nil
}

// only gives the data sets of the given names: a worker sees what its query reads and nothing else.
func only(schema []policy.Dataset, names []string) []policy.Dataset {
	var out []policy.Dataset
	for _, d := range schema {
		if slices.Contains(names, d.Name) {
			out = append(out, d)
		}
	}
	return out
}

// openOnly gives those of them that are declared open. A protected one among the names cannot be there; if it
// were, its query would fail for want of the data.
func openOnly(schema []policy.Dataset, names []string) []policy.Dataset {
	return slices.DeleteFunc(only(schema, names), func(d policy.Dataset) bool { return !d.Open })
}

func dataOf(releases []guard.Release) []string {
	var names []string
	for _, r := range releases {
		names = append(names, r.Data...)
	}
	return names
}
