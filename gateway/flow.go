// Package gateway takes what people ask for through the platform: a query by Flow, everything else by Acts.
//
// Flow, in this file, is the whole way of a query. Acts are the other things that people do: each is announced on
// the log, done, and its outcome logged. The HTTP interface is in gateway/api and adds nothing to either. This
// package must never show a result that is not an export.Released, and never begin what it could not put on the log.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"weir/audit"
	"weir/export"
	"weir/export/guard"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// Request is one query under one grant.
type Request struct {
	Job   string // the platform's number for it
	Grant string
	SQL   string

	grant audit.Fact // on the log, if there is a grant of this name
}

// Flow takes a query from request to release.
type Flow struct{ FlowParts }

// FlowParts is what a query goes through. All of it is required.
type FlowParts struct {
	Policy    QueryPolicy
	Catalogue Versions
	Planners  Planners
	Workers   Workers
	Tables    Tables
	Filter    *export.Filter
	Log       Recorder
	Budgets   Budgets
	Clock     func() time.Time
}

// Versions finds the newest version of a data set; sandbox.Vault does.
type Versions interface {
	Dataset(ctx context.Context, name string) (policy.Dataset, error)
}

// QueryPolicy decides on queries and keeps the day's account; policy.Engine does.
type QueryPolicy interface {
	Register
	Authorize(ctx context.Context, who policy.Principal, grant string) (policy.Decision, error)
	Spend(ctx context.Context, grant string, jobs, cells int) error
	Share(ctx context.Context, grant string) (float64, error)
}

// Planners starts processes that read the analyst's text and hold no data; sandbox.Planner does.
type Planners interface {
	Start(ctx context.Context, schema []policy.Dataset) (Planning, error)
}

// Planning is one such process.
type Planning interface {
	Bind(ctx context.Context, sql string) (sandbox.Bound, error)
	Finish(ctx context.Context, q sandbox.Query) (sandbox.Table, error)
	Close() sandbox.Usage
}

// Workers starts processes that hold granted data and never see the analyst's text; sandbox.Workers does.
type Workers interface {
	Start(ctx context.Context, job string, data []policy.Dataset) (Session, error)
	StartKeeping(ctx context.Context, job string, data []policy.Dataset) (KeepingSession, error)
}

// Session is one such process.
type Session interface {
	Query(ctx context.Context, q sandbox.Query) (sandbox.Table, error)
	Close() sandbox.Usage
}

// Run takes one query from request to release. It is the only path on which anything derived from protected data
// reaches a person. Every early return denies; the order of the steps is the security argument.
func (f *Flow) Run(ctx context.Context, who policy.Principal, req Request) (result export.Released, err error) {
	started := f.Clock()
	req.grant = grantFact(ctx, f.Policy, req.Grant)
	defer f.survive(ctx, who, req, &result, &err)

	// May this person ask this, for this scenario, now, and is there anything left of the day?
	decision, err := f.Policy.Authorize(ctx, who, req.Grant)
	if err != nil {
		return f.refuse(ctx, who, req, err)
	}
	rounded := pace(ctx, time.Duration(decision.Grant.TimeStep)*time.Second) // what is told of times from here on
	schema, err := f.schema(ctx, decision)
	if err != nil {
		return f.refuse(ctx, who, req, err)
	}

	// CREATE TABLE and DROP TABLE change the grant's workspace and show nothing.
	if step, is := tableStepOf(req.SQL); is {
		return f.table(ctx, who, req, decision, schema, step)
	}

	// A process without data reads the text; what it means is typed, or refused with a place and a reason.
	planning, err := f.Planners.Start(ctx, schema)
	if err != nil {
		return f.refuse(ctx, who, req, err)
	}
	defer planning.Close()
	bound, err := planning.Bind(ctx, req.SQL)
	if err != nil {
		return f.refuse(ctx, who, req, err)
	}
	program, err := guard.Check(req.SQL, bound, schema, decision.Rules, decision.Mode)
	if err != nil {
		return f.refuse(ctx, who, req, err)
	}
	if err := program.Constants.Hold(ctx, planning); err != nil {
		return f.refuse(ctx, who, req, err)
	}

	// The day's account is charged before data is touched, and for nothing that was refused until here: what is wrong with a
	// text costs no job.
	if err := f.Policy.Spend(ctx, req.Grant, 1, 0); err != nil {
		return f.refuse(ctx, who, req, err)
	}

	// From here on data is touched, and that stands on the log first.
	intent, err := f.intend(ctx, who, req, decision, schema, program)
	if err != nil {
		return export.Released{}, err
	}

	// A process that sees data, and never the text, brings cells and the evidence for them; the filter judges.
	verdict, used, err := f.measure(ctx, who, req, decision, schema, program, planning)
	if err != nil {
		return f.fail(ctx, who, req, intent, err)
	}
	if verdict.Cells > 0 {
		if err := f.Policy.Spend(ctx, req.Grant, 0, verdict.Cells); err != nil {
			return f.fail(ctx, who, req, intent, err)
		}
	}
	if err := f.Policy.Usable(context.WithoutCancel(ctx), req.Grant); err != nil { // it may have ended meanwhile
		return f.fail(ctx, who, req, intent, err)
	}
	verdict.Grant, verdict.Subject, verdict.SQL = req.Grant, who.Subject, req.SQL

	// Not on the log: not released.
	outcome, err := f.conclude(ctx, who, req, intent, verdict, used)
	if err != nil {
		return export.Released{}, err
	}
	verdict.Took(rounded(f.Clock().Sub(started)))
	released, err := f.Filter.Release(context.WithoutCancel(ctx), verdict, export.LogIndex(outcome.Index)) // now, or a place in the officer's queue
	if err != nil {
		return f.fail(ctx, who, req, intent, err)
	}
	return released, nil
}

// measure runs the guarded aggregations one after the other, has each judged, and finishes the query over what
// was let through. The last step runs where no protected data is: in the planner's process, or, if it reads open
// data sets, in a worker that holds those alone.
func (f *Flow) measure(ctx context.Context, who policy.Principal, req Request, d policy.Decision, schema []policy.Dataset, p *guard.Program, planning Planning,
) (*export.Verdict, sandbox.Usage, error) {
	var used sandbox.Usage
	assessment, err := f.Filter.Begin(req.Job, p, d)
	if err != nil {
		return nil, used, err
	}
	if used, err = f.cells(ctx, asking{who, req, d, schema}, p, assessment); err != nil {
		return nil, used, err
	}
	last := sandbox.Query{SQL: p.Final.SQL, Tables: assessment.Tables(p.Final.Reads)}
	finish := planning.Finish
	if len(p.Final.Data) > 0 {
		session, err := f.Workers.Start(ctx, req.Job, openOnly(schema, p.Final.Data))
		if err != nil {
			return nil, used, err
		}
		defer session.Close()
		finish = session.Query
	}
	table, err := withoutData(ctx, len(p.Final.Data) == 0, func(ctx context.Context) (sandbox.Table, error) { return finish(ctx, last) })
	if err != nil && len(p.Releases) == 0 { // no protected data in it, so the reason may be told
		err = sandbox.OpenFailure(err)
	}
	if err != nil {
		return nil, used, err
	}
	verdict, err := assessment.Judge(table)
	return verdict, used, err
}

// timeWithoutData bounds what a query does where it reads no data: what was released is small, and what nothing bounds
// would keep a worker from everybody.
const timeWithoutData = 10 * time.Second

// withoutData gives what is done without data its few seconds. That these were not enough depends on the text and on
// what was released, so it may be said.
func withoutData(ctx context.Context, without bool, do func(context.Context) (sandbox.Table, error)) (sandbox.Table, error) {
	if !without {
		return do(ctx)
	}
	brief, done := context.WithTimeout(ctx, timeWithoutData)
	defer done()
	table, err := do(brief)
	if err != nil && ctx.Err() == nil && errors.Is(brief.Err(), context.DeadlineExceeded) {
		limit := strconv.Itoa(int(timeWithoutData.Seconds()))
		return sandbox.Table{}, problem.New("gateway.time-without-data", "seconds", limit).Because(err)
	}
	return table, err
}

// asking is who asks what, and what was decided on it.
type asking struct {
	who      policy.Principal
	req      Request
	decision policy.Decision
	schema   []policy.Dataset
}

// cells has every guarded aggregation measured and judged, in one process that ends with it.
func (f *Flow) cells(ctx context.Context, of asking, p *guard.Program, a *export.Assessment) (used sandbox.Usage, err error) {
	if len(p.Releases) == 0 {
		return used, nil
	}
	session, err := f.Workers.Start(ctx, of.req.Job, only(of.schema, dataOf(p.Releases)))
	if err != nil {
		return used, err
	}
	defer func() { used = session.Close() }()
	for _, release := range p.Releases {
		if release.Noised != nil {
			if err := f.answer(ctx, of, session, a, release); err != nil {
				return used, err
			}
			continue
		}
		cells, err := evidence(ctx, session, a, release)
		if err != nil {
			return used, err
		}
		if err := a.Admit(ctx, release, cells); err != nil {
			return used, err
		}
	}
	return used, nil
}

// evidence brings the cells of one guarded aggregation. Bounds settle most of them; where they leave a cell open, all
// evidence is brought.
func evidence(ctx context.Context, session Session, a *export.Assessment, r guard.Release) (sandbox.Table, error) {
	tables := a.Tables(r.Reads)
	if r.Public != "" { // whom the question would single out if nothing in it were secret
		units, err := session.Query(ctx, sandbox.Query{SQL: r.Public, Tables: tables})
		if err != nil {
			return sandbox.Table{}, err
		}
		if err := a.Compare(r, units); err != nil {
			return sandbox.Table{}, err
		}
	}
	if r.Quick == "" {
		return session.Query(ctx, sandbox.Query{SQL: r.SQL, Tables: tables})
	}
	quick, err := session.Query(ctx, sandbox.Query{SQL: r.Quick, Tables: tables})
	if err != nil {
		return sandbox.Table{}, err
	}
	settled := a.Settle(r, quick)
	rest, open := settled.Open()
	if !open {
		return settled.With(sandbox.Table{})
	}
	rest.Tables = append(rest.Tables, tables...)
	exact, err := session.Query(ctx, rest)
	if err != nil {
		return sandbox.Table{}, err
	}
	return settled.With(exact)
}

// Explain shows how the guard types a query, without touching data: the typed plan, or the refusal.
func (f *Flow) Explain(ctx context.Context, who policy.Principal, req Request) (any, error) {
	decision, err := f.Policy.Authorize(ctx, who, req.Grant)
	if err != nil {
		return nil, err
	}
	schema, err := f.schema(ctx, decision)
	if err != nil {
		return nil, err
	}
	planning, err := f.Planners.Start(ctx, schema)
	if err != nil {
		return nil, err
	}
	defer planning.Close()
	bound, err := planning.Bind(ctx, req.SQL)
	if err != nil {
		return nil, err
	}
	program, err := guard.Check(req.SQL, bound, schema, decision.Rules, decision.Mode)
	if err != nil {
		return nil, err
	}
	if err := program.Constants.Hold(ctx, planning); err != nil {
		return nil, err
	}
	return Explanation{Plan: program.Tree, Releases: len(program.Releases), Mode: decision.Mode}, nil
}

// Explanation is the typed plan of a query that may run.
type Explanation struct {
	Plan     *guard.Typed `json:"plan"`
	Releases int          `json:"releases"` // guarded aggregations in it
	Mode     policy.Mode  `json:"mode"`
}

// schema gives the newest version of each granted data set, with the granted columns alone, and the workspace's tables.
func (f *Flow) schema(ctx context.Context, d policy.Decision) ([]policy.Dataset, error) {
	var schema []policy.Dataset
	for _, granted := range d.Datasets() {
		whole, err := f.Catalogue.Dataset(ctx, granted.Name)
		if err != nil {
			return nil, err
		}
		narrow, err := whole.Only(granted.Columns)
		if err != nil {
			return nil, problem.New("gateway.grant-outdated", "dataset", granted.Name).Because(err)
		}
		schema = append(schema, narrow)
	}
	tables, err := f.Tables.List(ctx, d.Grant.ID)
	if err != nil {
		return nil, err
	}
	return append(schema, tables...), nil
}

// intend puts on the log what is about to be done, also for an analyst who has gone away meanwhile: the text was read.
func (f *Flow) intend(ctx context.Context, who policy.Principal, req Request, d policy.Decision, schema []policy.Dataset, p *guard.Program) (audit.Receipt, error) {
	event := f.event("job.intent", who, req)
	event.Payload = []byte(req.SQL) // may hold persons' attributes as literals, so it can be erased
	event.Facts = audit.Facts{
		"mode": audit.OneOf(d.Mode, policy.Modes...), "k": audit.Number(d.Rules.K), "releases": audit.Number(len(p.Releases)),
		"data": dataFact(only(schema, p.Sources)),
	}
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	receipt, err := f.Log.Append(last, event)
	if err != nil {
		return audit.Receipt{}, problem.New("gateway.not-logged").Because(err)
	}
	return receipt, nil
}

// conclude puts on the log what was decided. It must hold even if the analyst has gone away meanwhile.
func (f *Flow) conclude(ctx context.Context, who policy.Principal, req Request, intent audit.Receipt, v *export.Verdict, used sandbox.Usage) (audit.Receipt, error) {
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	event := f.event("job.outcome", who, req)
	event.Facts = audit.Facts{
		"intent": audit.Number(intent.Index), "outcome": audit.Word("released"), "cells": audit.Number(v.Cells),
		"cpu_ms": audit.Number(used.CPU.Milliseconds()), "wall_ms": audit.Number(used.Wall.Milliseconds()), "peak_bytes": audit.Number(used.PeakMemory),
	}
	if v.Review {
		event.Facts["outcome"] = audit.Word("waiting")
	}
	receipt, err := f.Log.Append(last, event)
	if err != nil {
		return audit.Receipt{}, problem.New("gateway.outcome-not-logged").Because(err)
	}
	return receipt, nil
}

// refuse logs a query that was turned away before data was touched.
func (f *Flow) refuse(ctx context.Context, who policy.Principal, req Request, why error) (export.Released, error) {
	event := f.event("job.refused", who, req)
	event.Payload = []byte(req.SQL)
	if event.Grant == (audit.Fact{}) { // no grant of ours: the name can be anything, so it can be erased with the text
		event.Payload = fmt.Appendf(nil, "-- grant %q\n%s", req.Grant, req.SQL)
	}
	event.Facts = audit.Facts{"code": audit.Code(why)}
	return f.turnedAway(ctx, event, why)
}

// fail logs a query that came to nothing after its intent was logged. All failures on data look alike.
func (f *Flow) fail(ctx context.Context, who policy.Principal, req Request, intent audit.Receipt, why error) (export.Released, error) {
	event := f.event("job.outcome", who, req)
	event.Facts = audit.Facts{"intent": audit.Number(intent.Index), "outcome": audit.Word("failed"), "code": audit.Code(why)}
	return f.turnedAway(ctx, event, why)
}

// survive turns a fault of ours into a failure that is on the log like any other.
func (f *Flow) survive(ctx context.Context, who policy.Principal, req Request, result *export.Released, err *error) {
	fault := recover()
	if fault == nil {
		return
	}
	event := f.event("job.outcome", who, req)
	why := problem.New("internal").Because(fmt.Errorf("panic of type %T", fault))
	event.Facts = audit.Facts{"outcome": audit.Word("failed"), "code": audit.Code(why)}
	*result, *err = f.turnedAway(ctx, event, why)
}

func (f *Flow) turnedAway(ctx context.Context, event audit.Event, why error) (export.Released, error) {
	last, done := context.WithTimeout(context.WithoutCancel(ctx), conclude)
	defer done()
	if _, err := f.Log.Append(last, event); err != nil {
		return export.Released{}, problem.New("gateway.not-logged").Because(errors.Join(err, why))
	}
	return export.Released{}, why
}

func (f *Flow) event(kind string, who policy.Principal, req Request) audit.Event {
	return audit.Event{Kind: kind, Actor: who.Subject, Grant: req.grant, Job: audit.Registered(req.Job)}
}

// dataFact names versions of data sets. How an analyst called a table of the workspace is not for ever.
func dataFact(data []policy.Dataset) audit.Fact {
	var all audit.Fact
	for i, d := range data {
		name := audit.Word("workspace")
		if d.Workspace == "" {
			name = audit.Registered(d.Name)
		}
		version := audit.Format("%s v%s %s", name, audit.Number(d.Version), audit.Digest(d.Hash))
		if all = audit.Format("%s, %s", all, version); i == 0 {
			all = version
		}
	}
	return all
}
