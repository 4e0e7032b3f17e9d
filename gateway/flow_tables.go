package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"weir/export"
	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Tables keeps what jobs leave behind in the workspace of a grant; KeptTables does.
type Tables interface {
	List(ctx context.Context, grant string) ([]policy.Dataset, error)
	Drop(ctx context.Context, grant, name string) error
}

// KeepingSession is a process that holds data and may leave tables behind.
type KeepingSession interface {
	Session
	Keep(ctx context.Context, q sandbox.Query, grant string, table policy.Dataset) error
}

// Quota of a workspace, and the memory in which a job may make a table.
const (
	tablesOfGrant = 50
	bytesOfGrant  = 4 << 30
	roomForTable  = 512 << 20
)

// tableStep is a statement that changes the grant's workspace instead of asking for anything.
type tableStep struct {
	name    string
	drop    bool
	replace bool
	sql     string // the SELECT, at its place in the text
}

var (
	gap        = `(?:\s|--[^\n]*\n|/\*(?s:.*?)\*/)+`
	createHead = regexp.MustCompile(`^(?i:(?:` + gap + `)?create` + gap + `(or` + gap + `replace` + gap + `)?table` + gap + `)([A-Za-z0-9_"]+)(?i:` + gap + `as(` + gap + `|\())`)
	dropWhole  = regexp.MustCompile(`^(?i:(?:` + gap + `)?drop` + gap + `table` + gap + `)([A-Za-z0-9_"]+)\s*;?\s*$`)
	notNewline = regexp.MustCompile(`[^\n]`)
	tableName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// tableStepOf recognises CREATE [OR REPLACE] TABLE name AS and DROP TABLE name. What follows AS is bound and typed like
// any query; nothing else of the statement reaches the engine. Whatever is not recognised is taken for a query, which the
// planner refuses if it is none.
func tableStepOf(sql string) (tableStep, bool) {
	if m := dropWhole.FindStringSubmatch(sql); m != nil {
		return tableStep{name: m[1], drop: true}, true
	}
	m := createHead.FindStringSubmatchIndex(sql)
	if m == nil {
		return tableStep{}, false
	}
	end := m[1]
	if sql[end-1] == '(' {
		end--
	}
	blank := notNewline.ReplaceAllString(sql[:end], " ")
	return tableStep{name: sql[m[4]:m[5]], replace: m[2] >= 0, sql: blank + sql[end:]}, true
}

// table takes a statement on the workspace the same way as a query: authorised, typed, charged, on the log before and after.
func (f *Flow) table(ctx context.Context, who policy.Principal, req Request, d policy.Decision, schema []policy.Dataset, step tableStep) (export.Released, error) {
	if err := step.allowed(schema); err != nil {
		return f.refuse(ctx, who, req, err)
	}
	var kept *guard.Table
	if !step.drop {
		planning, err := f.Planners.Start(ctx, schema)
		if err != nil {
			return f.refuse(ctx, who, req, err)
		}
		defer planning.Close()
		bound, err := planning.Bind(ctx, step.sql)
		if err != nil {
			return f.refuse(ctx, who, req, err)
		}
		if kept, err = guard.CheckTable(step.name, step.sql, bound, schema, d.Rules, d.Mode); err != nil {
			return f.refuse(ctx, who, req, err)
		}
		if err := kept.Constants.Hold(ctx, planning); err != nil {
			return f.refuse(ctx, who, req, err)
		}
	}
	if err := f.Policy.Spend(ctx, req.Grant, 1, 0); err != nil {
		return f.refuse(ctx, who, req, err)
	}
	program := &guard.Program{}
	if kept != nil {
		program.Sources = kept.Dataset.Sources
	}
	intent, err := f.intend(ctx, who, req, d, schema, program)
	if err != nil {
		return export.Released{}, err
	}
	used, err := f.change(ctx, req, schema, step, kept)
	if err != nil {
		return f.fail(ctx, who, req, intent, err)
	}
	if err := f.Policy.Usable(context.WithoutCancel(ctx), req.Grant); err != nil {
		return f.fail(ctx, who, req, intent, err)
	}
	verdict := export.TableStep(req.Job, step.name, d)
	verdict.Grant, verdict.Subject, verdict.SQL = req.Grant, who.Subject, req.SQL
	outcome, err := f.conclude(ctx, who, req, intent, verdict, used)
	if err != nil {
		return export.Released{}, err
	}
	released, err := f.Filter.Release(context.WithoutCancel(ctx), verdict, export.LogIndex(outcome.Index))
	if err != nil {
		return f.fail(ctx, who, req, intent, err)
	}
	return released, nil
}

// allowed looks whether the name can be given, or taken away.
func (s tableStep) allowed(schema []policy.Dataset) error {
	at := slices.IndexFunc(schema, func(d policy.Dataset) bool { return d.Name == s.name })
	switch {
	case !tableName.MatchString(s.name) || at >= 0 && schema[at].Workspace == "":
		return problem.New("gateway.table-name")
	case s.drop && at < 0:
		return problem.New("gateway.no-table", "name", s.name)
	case !s.drop && at >= 0 && !s.replace:
		return problem.New("gateway.table-exists", "name", s.name)
	}
	return nil
}

// change makes or drops the table.
func (f *Flow) change(ctx context.Context, req Request, schema []policy.Dataset, step tableStep, kept *guard.Table) (used sandbox.Usage, err error) {
	if step.drop {
		return used, f.Tables.Drop(ctx, req.Grant, step.name)
	}
	session, err := f.Workers.StartKeeping(ctx, req.Job, only(schema, kept.Data))
	if err != nil {
		return used, err
	}
	defer func() { used = session.Close() }()
	if kept.Proofs != "" {
		proofs, err := session.Query(ctx, sandbox.Query{SQL: kept.Proofs})
		if err != nil {
			return used, err
		}
		for _, row := range proofs.Rows {
			if slices.ContainsFunc(row, func(v any) bool { alike, ok := v.(bool); return !ok || !alike }) {
				return used, problem.New("export.fan-out")
			}
		}
	}
	return used, session.Keep(ctx, sandbox.Query{SQL: kept.SQL}, req.Grant, kept.Dataset)
}

// KeptTables are the sandbox's workspaces.
type KeptTables struct{ *sandbox.Workspaces }

// List gives the tables of a grant, typed as they were when they were made.
func (t KeptTables) List(ctx context.Context, grant string) ([]policy.Dataset, error) {
	kept, err := t.Workspaces.List(ctx, sandbox.OfGrant(grant))
	if err != nil {
		return nil, err
	}
	var all []policy.Dataset
	for _, k := range kept {
		var d policy.Dataset
		if err := json.Unmarshal(k.Manifest, &d); err != nil || len(k.MostRows) != len(d.Units) {
			return nil, fmt.Errorf("table %s of grant %s has no types: %w", k.Name, grant, err)
		}
		for i := range d.Units {
			d.Units[i].Unique, d.Units[i].Most = k.MostRows[i] == 1, k.MostRows[i]
		}
		d.Workspace, d.Version, d.Rows, d.Hash = grant, k.Version, k.Rows, k.Hash
		all = append(all, d)
	}
	return all, nil
}

// Drop removes a table and its key.
func (t KeptTables) Drop(ctx context.Context, grant, name string) error {
	_, err := t.Workspaces.Drop(ctx, sandbox.OfGrant(grant), name)
	return err
}

// shown splits what a worker is given into the vault's data sets and the tables of workspaces.
func (w RealWorkers) shown(ctx context.Context, data []policy.Dataset) (vault []policy.Dataset, kept []sandbox.Kept, err error) {
	for _, d := range data {
		if d.Workspace == "" {
			vault = append(vault, d)
			continue
		}
		k, err := w.Tables.Table(ctx, sandbox.OfGrant(d.Workspace), d.Name)
		if err != nil {
			return nil, nil, err
		}
		if k.Version != d.Version {
			return nil, nil, problem.New("sandbox.job-failed").Because(fmt.Errorf("table %s was made anew meanwhile", d.Name))
		}
		kept = append(kept, k)
	}
	return vault, kept, nil
}

// StartKeeping starts a worker process that may leave tables behind.
func (w RealWorkers) StartKeeping(ctx context.Context, job string, data []policy.Dataset) (KeepingSession, error) {
	vault, kept, err := w.shown(ctx, data)
	if err != nil {
		return nil, err
	}
	session, err := w.Workers.StartKeeping(ctx, job, roomForTable, vault, kept...)
	if err != nil {
		return nil, err
	}
	return keepingSession{session}, nil
}

type keepingSession struct{ *sandbox.Session }

// Keep leaves the rows behind as a table of the grant, with its types beside it.
func (s keepingSession) Keep(ctx context.Context, q sandbox.Query, grant string, table policy.Dataset) error {
	manifest, err := json.Marshal(table)
	if err != nil {
		return fmt.Errorf("keep types: %w", err)
	}
	var units []string
	for i := range table.Units {
		units = append(units, guard.UnitColumn(i))
	}
	_, err = s.Session.Keep(ctx, q, sandbox.Keeping{
		Owner: sandbox.OfGrant(grant), Name: table.Name, Quota: sandbox.Quota{Tables: tablesOfGrant, Bytes: bytesOfGrant}, Units: units, Manifest: manifest,
	})
	return err
}
