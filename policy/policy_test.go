package policy

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// The people and the time of the tests: noon in Shanghai.
var (
	noon      = time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	authority = Principal{Subject: "zhao.min", Organisation: "大数据局", Roles: []Role{Authority}}
	analyst   = Principal{Subject: "li.na", Organisation: "银海数据", Roles: []Role{Analyst}}
	stranger  = Principal{Subject: "sun.yu", Organisation: "云杉科技", Roles: []Role{Analyst}}
	officer   = Principal{Subject: "wang.wei", Organisation: "审核中心", Roles: []Role{Officer}}
)

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func engine(t testing.TB, db *bun.DB, c *clock) *Engine {
	t.Helper()
	e, err := New(t.Context(), db, Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	introduce(t, e)
	return e
}

// introduce makes the organisations of the tests' people known.
func introduce(t testing.TB, e *Engine) {
	t.Helper()
	members := []Member{{"运维中心", []Role{Maintainer}}}
	for _, who := range []Principal{authority, analyst, stranger, officer} {
		members = append(members, Member{who.Organisation, who.Roles})
	}
	if err := e.BringOver(t.Context(), members); err != nil {
		t.Fatal(err)
	}
}

func terms() Grant {
	return Grant{
		Operator: "银海数据", Scenario: "房地产金融", Title: "房地产金融场景授权",
		Datasets: []GrantedDataset{{Name: "mortgages", Columns: []string{"district", "amount"}}},
		Mode:     Exact, Rules: Rules{K: 15, DominanceP: 10, DominanceShare: 85, Digits: 6},
		Quota: Quota{JobsPerDay: 5, CellsPerDay: 100},
		From:  noon.Add(-time.Hour), Until: noon.AddDate(1, 0, 0),
	}
}

func granted(t testing.TB, e *Engine, g Grant) Grant {
	t.Helper()
	made, err := e.CreateGrant(t.Context(), authority, g)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// expect compares the code of an error with the one that is wanted; "" wants none.
func expect(t testing.TB, err error, code string) {
	t.Helper()
	got := ""
	if err != nil {
		got = problem.Of(err).Code
	}
	if got != code {
		t.Errorf("got %q (%v), want %q", got, err, code)
	}
}

// TestAuthorize walks one grant through its life and asks at every step, as its analyst and as a stranger.
func TestAuthorize(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		g := granted(t, e, terms())
		ask := func(id, code string) {
			t.Helper()
			_, err := e.Authorize(ctx, analyst, id)
			expect(t, err, code)
			_, err = e.Authorize(ctx, stranger, id)
			expect(t, err, "policy.unknown-grant")
		}
		ask(g.ID, "")
		ask("g-aaaaaaaaaa", "policy.unknown-grant")
		ask("", "policy.unknown-grant")

		c.at = g.From.Add(-time.Nanosecond)
		ask(g.ID, "policy.grant-not-yet-valid")
		c.at = g.From
		ask(g.ID, "")
		c.at = g.Until.Add(-time.Nanosecond)
		ask(g.ID, "")
		c.at = g.Until
		ask(g.ID, "policy.grant-expired")
		c.at = noon

		expect(t, e.Suspend(ctx, authority, g.ID, "整改"), "")
		ask(g.ID, "policy.grant-suspended")
		expect(t, e.Restore(ctx, authority, g.ID, "已整改"), "")
		ask(g.ID, "")
		expect(t, e.Terminate(ctx, authority, g.ID, "期满退出"), "")
		ask(g.ID, "policy.grant-terminated")
	})
}

// TestDecision shows what an analyst's query owes.
func TestDecision(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		e := engine(t, db, &clock{noon})
		g := granted(t, e, terms())
		expect(t, e.Spend(t.Context(), g.ID, 0, 30), "")
		got, err := e.Authorize(t.Context(), analyst, g.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := Decision{Grant: g, Mode: Exact, Rules: g.Rules, Review: true, CellsLeft: 70}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(terms().Datasets, got.Datasets()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestAnswers puts rules in place of the real ones that answer in every wrong way.
func TestAnswers(t *testing.T) {
	var cases []struct{ Name, Decision, Want string }
	load(t, "testdata/answers.yaml", &cases)
	e := engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	g := granted(t, e, terms())
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			text := fmt.Sprintf(`package weir.query
owed := {"mode": "exact", "review": true, "k": 10, "dominance_p": 10, "dominance_share": 90, "digits": 10, "cells": 50}
decision := {"allow": false, "reason": "policy.denied"} if not input.now
decision := %s if input.now`, c.Decision)
			module, err := ast.ParseModuleWithOpts("query.rego", text, ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				t.Fatal(err)
			}
			odd := *e
			odd.query, err = prepare(t.Context(), "data.weir.query.decision", map[string]*ast.Module{"query.rego": module})
			if (err != nil) != (c.Want == "refused") {
				t.Fatalf("prepare: %v", err)
			}
			if err != nil {
				return
			}
			d, err := odd.Authorize(t.Context(), analyst, g.ID)
			if c.Want == "allow" {
				expect(t, err, "")
				if d.Rules.K < g.Rules.K || d.Rules.DominanceP < g.Rules.DominanceP || d.Rules.Digits > g.Rules.Digits ||
					d.Rules.DominanceShare > g.Rules.DominanceShare || !d.Review || d.CellsLeft > g.Quota.CellsPerDay {
					t.Errorf("loosened: %+v", d)
				}
				return
			}
			expect(t, err, c.Want)
			if diff := cmp.Diff(Decision{}, d); diff != "" {
				t.Errorf("a denial came with a decision: %s", diff)
			}
		})
	}
}

// TestRulesThatAlwaysAllow are refused before anybody asks them anything.
func TestRulesThatAlwaysAllow(t *testing.T) {
	for name, text := range map[string]string{
		"allows without facts": `package weir.query
decision := {"allow": true}`,
		"has no decision": `package weir.query
allow := true`,
	} {
		module := ast.MustParseModuleWithOpts(text, ast.ParserOptions{RegoVersion: ast.RegoV1})
		if _, err := prepare(t.Context(), "data.weir.query.decision", map[string]*ast.Module{"x": module}); err == nil {
			t.Errorf("rules that %s were accepted", name)
		}
	}
}

// TestPermit asks the engine about acts whose facts it looks up itself: what an organisation is admitted for, now.
func TestPermit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, e := t.Context(), engine(t, db, &clock{noon})
		parties := []Party{{Subject: authority.Subject, Organisation: authority.Organisation}}
		output := Object{Operator: "云杉科技", Owner: "sun.yu", Parties: parties}
		inside := Principal{Subject: "chen.jie", Organisation: "银海数据", Roles: []Role{Officer}}
		expect(t, e.Permit(ctx, officer, ReleaseApprove, output), "")
		expect(t, e.Permit(ctx, inside, ReleaseApprove, output), "policy.organisation-capacity")
		output.Parties = nil
		expect(t, e.Permit(ctx, officer, ReleaseApprove, output), "policy.own-output")

		account := Object{Organisation: "审核中心", Roles: []Role{Officer}, Account: "chen.jie"}
		expect(t, e.Permit(ctx, authority, UserCreate, account), "")
		account.Roles = []Role{Provider}
		expect(t, e.Permit(ctx, authority, UserCreate, account), "policy.account-roles")
		account.Organisation, account.Roles = "银海数据", []Role{Analyst}
		expect(t, e.Permit(ctx, authority, UserCreate, account), "policy.account-operator")
		account.Organisation = "nobody knows it"
		expect(t, e.Permit(ctx, authority, UserCreate, account), "policy.account-roles")

		expect(t, e.Permit(ctx, authority, "grant.transfer", Object{Operator: "云杉科技"}), "policy.forbidden")
		expect(t, e.Permit(ctx, Principal{}, DatasetList, Object{}), "policy.person-incomplete")
	})
}

// TestNoStoreNoPermission: whoever cannot look up the facts denies.
func TestNoStoreNoPermission(t *testing.T) {
	e := engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	g := granted(t, e, terms())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Authorize(gone, analyst, g.ID)
	expect(t, err, "policy.undecided")
	expect(t, e.Permit(gone, authority, AuditRead, Object{}), "policy.undecided")
	if err := e.Spend(gone, g.ID, 1, 0); err == nil {
		t.Error("charged without a store")
	}
}

// TestCheckRoles tries every pair of roles: only an operator may be an analyst too.
func TestCheckRoles(t *testing.T) {
	expect(t, CheckRoles(nil), "policy.roles-none")
	expect(t, CheckRoles([]Role{"root"}), "policy.roles-unknown")
	expect(t, CheckRoles([]Role{Analyst, "root"}), "policy.roles-unknown")
	for _, a := range Roles {
		expect(t, CheckRoles([]Role{a}), "")
		for _, b := range Roles {
			want := "policy.account-conflict"
			switch {
			case a == b:
				want = "policy.roles-unknown"
			case a == Operator && b == Analyst, a == Analyst && b == Operator:
				want = ""
			}
			expect(t, CheckRoles([]Role{a, b}), want)
		}
	}
}

// TestReasonsHaveMessages: a reason without a message would panic when it is given.
func TestReasonsHaveMessages(t *testing.T) {
	_, entries := problem.Codes()
	for _, reason := range Reasons {
		if _, ok := entries[reason]; !ok {
			t.Errorf("%s has no message", reason)
		}
	}
	for _, x := range []examples{queryExamples(t), actExamples(t)} {
		for _, q := range x.questions {
			if q.want != "allow" && denied(q.want).Code != q.want {
				t.Errorf("%s is no reason that the platform knows", q.want)
			}
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	e := engine(b, storetest.Open(b, storetest.SQLite(b)), &clock{noon})
	g := granted(b, e, terms())
	b.Run("with store", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Authorize(b.Context(), analyst, g.ID); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("rules only", func(b *testing.B) {
		person, err := e.personFacts(b.Context(), analyst)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if a, err := ask(b.Context(), e.query, queryFacts(noon, person, g, usage{})); err != nil || !a.allow {
				b.Fatal(a, err)
			}
		}
	})
	b.Run("permit", func(b *testing.B) {
		for b.Loop() {
			if err := e.Permit(b.Context(), authority, AuditRead, Object{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
