package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"weir/audit"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// clear deletes what the jobs of a grant have left behind. What it will delete is on the log before, and what came of it
// after: a platform that dies in between leaves an announcement, and the next sweep goes on. Names of tables are an
// analyst's words, so they can be erased. Nobody in particular is the platform itself.
func (a *Acts) clear(ctx context.Context, who policy.Principal, id string) error {
	tables, err := a.Tables.List(ctx, sandbox.OfGrant(id))
	if err != nil || len(tables) == 0 {
		return err
	}
	event := audit.Event{Kind: "workspace.delete.intent", Actor: who.Subject, Grant: id, Payload: naming(tables), Facts: counting(tables)}
	if _, err := a.Record.Append(ctx, event); err != nil {
		return fmt.Errorf("announce the deletion of a workspace: %w", err)
	}
	gone, failure := a.Tables.Delete(ctx, sandbox.OfGrant(id))
	event.Kind, event.Payload, event.Facts = "workspace.deleted", naming(gone), counting(gone)
	if failure != nil {
		event.Facts["code"] = problem.Of(failure).Code
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	_, err = a.Record.Append(last, event)
	return errors.Join(failure, err)
}

func naming(tables []sandbox.Kept) []byte {
	names := make([]string, len(tables))
	for i, table := range tables {
		names[i] = fmt.Sprintf("%s v%d %s", table.Name, table.Version, table.Hash)
	}
	return []byte(strings.Join(names, ", "))
}

func counting(tables []sandbox.Kept) map[string]string {
	return map[string]string{"tables": strconv.Itoa(len(tables))}
}

// sweepEvery is how long the workspace of a grant may outlive its term.
const sweepEvery = time.Hour

// Sweep deletes the workspaces of grants that have ended: whose term is over, or whose termination was cut off before
// it came to that. One that cannot be deleted does not keep the others.
func (a *Acts) Sweep(ctx context.Context) error {
	owners, err := a.Tables.Grants(ctx)
	if err != nil {
		return err
	}
	ended, err := a.Grants.Ended(ctx, owners)
	failures := []error{err}
	for _, id := range ended {
		if err := a.clear(ctx, policy.Principal{}, id); err != nil {
			failures = append(failures, fmt.Errorf("delete the workspace of grant %s: %w", id, err))
		}
	}
	return errors.Join(failures...)
}

// KeepSwept sweeps at once and every hour, until ctx ends. What fails is told to the operation log, and tried again.
func (a *Acts) KeepSwept(ctx context.Context, log *zap.Logger) {
	complaint := complaint{log: log, about: "workspaces of grants that have ended are not deleted"}
	hour := time.NewTicker(sweepEvery)
	defer hour.Stop()
	for ctx.Err() == nil {
		complaint.hear(a.Sweep(ctx))
		select {
		case <-hour.C:
		case <-ctx.Done():
		}
	}
}
