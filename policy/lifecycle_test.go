package policy

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
)

// TestTerms changes terms that stand, one at a time.
func TestTerms(t *testing.T) {
	var cases []struct {
		Name string
		Set  map[string]any
		Want string
	}
	load(t, "testdata/terms.yaml", &cases)
	e := engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	text, err := json.Marshal(terms())
	if err != nil {
		t.Fatal(err)
	}
	var base facts
	if err := json.Unmarshal(text, &base); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			text, err := json.Marshal(changed(t, base, c.Set))
			if err != nil {
				t.Fatal(err)
			}
			var g Grant
			if err := json.Unmarshal(text, &g); err != nil {
				t.Fatal(err)
			}
			before := count(t, e.db)
			made, err := e.CreateGrant(t.Context(), authority, g)
			expect(t, err, c.Want)
			if kept := count(t, e.db) - before; (kept == 1) != (c.Want == "") {
				t.Errorf("%d grants were kept", kept)
			}
			if c.Want == "" && made.Rules.K < DefaultRules.K {
				t.Errorf("made with rules %+v", made.Rules)
			}
		})
	}
}

func count(t *testing.T, db *bun.DB) int64 {
	t.Helper()
	n, err := db.NewSelect().Table("policy_grants").Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGrantComesBack reads a grant as it was made, and shows it to those who may see it.
func TestGrantComesBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, e := t.Context(), engine(t, db, &clock{noon})
		g := granted(t, e, terms())
		if !regexp.MustCompile(`^g-[a-z2-7]{10}$`).MatchString(g.ID) {
			t.Errorf("identifier %q", g.ID)
		}
		want := terms()
		if diff := cmp.Diff(want, g, cmpopts.IgnoreFields(Grant{}, "ID", "State")); diff != "" {
			t.Error(diff)
		}
		read, err := e.Grant(ctx, analyst, g.ID)
		expect(t, err, "")
		if diff := cmp.Diff(g, read); diff != "" {
			t.Error(diff)
		}
		maintainer := Principal{Subject: "he.xin", Organisation: "运维中心", Roles: []Role{Maintainer}}
		for _, id := range []string{g.ID, "g-aaaaaaaaaa"} {
			_, err = e.Grant(ctx, stranger, id)
			expect(t, err, "policy.unknown-grant")
			_, err = e.History(ctx, stranger, id)
			expect(t, err, "policy.unknown-grant")
			_, err = e.Grant(ctx, maintainer, id)
			expect(t, err, "policy.forbidden")
			expect(t, e.Suspend(ctx, stranger, id, "x"), "policy.unknown-grant")
			expect(t, e.Suspend(ctx, officer, id, "x"), "policy.forbidden")
		}
		expect(t, e.Suspend(ctx, analyst, g.ID, "x"), "policy.forbidden")
		expect(t, e.Suspend(ctx, authority, "g-aaaaaaaaaa", "x"), "policy.unknown-grant")

		other := terms()
		other.Operator = "云杉科技"
		theirs := granted(t, e, other)
		for _, c := range []struct {
			who      Principal
			operator string
			want     []string
			code     string
		}{
			{authority, "", []string{g.ID, theirs.ID}, ""},
			{authority, "云杉科技", []string{theirs.ID}, ""},
			{analyst, "银海数据", []string{g.ID}, ""},
			{analyst, "云杉科技", nil, "policy.forbidden"},
			{analyst, "", nil, "policy.forbidden"},
		} {
			grants, err := e.Grants(ctx, c.who, c.operator)
			expect(t, err, c.code)
			var ids []string
			for _, g := range grants {
				ids = append(ids, g.ID)
			}
			if diff := cmp.Diff(c.want, ids, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
				t.Error(diff)
			}
		}
	})
}

// TestStates tries every step from every state, and reads the history that it left.
func TestStates(t *testing.T) {
	type step = func(ctx context.Context, who Principal, id, reason string) error
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		for _, one := range []struct {
			name  string
			steps []step
			codes []string
			want  []GrantState
		}{
			{"suspended and restored", []step{e.Suspend, e.Suspend, e.Restore, e.Restore},
				[]string{"", "policy.grant-state", "", "policy.grant-state"},
				[]GrantState{GrantActive, GrantSuspended, GrantActive}},
			{"terminated", []step{e.Terminate, e.Restore, e.Suspend, e.Terminate},
				[]string{"", "policy.grant-state", "policy.grant-state", "policy.grant-state"},
				[]GrantState{GrantActive, GrantTerminated}},
			{"suspended, then terminated", []step{e.Suspend, e.Terminate, e.Restore},
				[]string{"", "", "policy.grant-state"},
				[]GrantState{GrantActive, GrantSuspended, GrantTerminated}},
		} {
			t.Run(one.name, func(t *testing.T) {
				g := granted(t, e, terms())
				for i, do := range one.steps {
					expect(t, do(ctx, authority, g.ID, ""), "policy.reason-needed")
					c.at = c.at.Add(time.Minute)
					expect(t, do(ctx, authority, g.ID, "年度评估"), one.codes[i])
				}
				history, err := e.History(ctx, authority, g.ID)
				expect(t, err, "")
				var states []GrantState
				for _, change := range history {
					states = append(states, change.State)
				}
				if diff := cmp.Diff(one.want, states); diff != "" {
					t.Error(diff)
				}
				if last := history[len(history)-1]; last.By != authority.Subject || last.Reason != "年度评估" || last.At <= noon.Unix() {
					t.Errorf("the last change is %+v", last)
				}
			})
		}
	})
}

// TestTheStoreKeeps goes around the engine: the database itself refuses to rewrite what was agreed or done.
func TestTheStoreKeeps(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, e := t.Context(), engine(t, db, &clock{noon})
		g := granted(t, e, terms())
		expect(t, e.Spend(ctx, g.ID, 1, 10), "")
		expect(t, e.Terminate(ctx, authority, g.ID, "退出"), "")
		for _, statement := range []string{
			"UPDATE policy_grants SET k = 1",
			"UPDATE policy_grants SET valid_until = valid_until + 1",
			"UPDATE policy_grants SET state = 'active'",
			"DELETE FROM policy_grants",
			"UPDATE policy_grant_changes SET reason = 'another'",
			"DELETE FROM policy_grant_changes",
			"UPDATE policy_usage SET cells = 0",
			"UPDATE policy_usage SET jobs = jobs - 1",
			"DELETE FROM policy_usage",
		} {
			if _, err := db.ExecContext(ctx, statement); err == nil {
				t.Errorf("the store let pass: %s", statement)
			}
		}
	})
}

// failing makes the nth statement from now fail, by taking its context away.
type failing struct{ left int }

var errInjected = errors.New("injected")

func (f *failing) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context {
	f.left--
	if f.left != -1 {
		return ctx
	}
	gone, cancel := context.WithCancelCause(ctx)
	cancel(errInjected)
	return gone
}

func (f *failing) AfterQuery(context.Context, *bun.QueryEvent) {}

// TestEveryStatementCanFail lets the first, second, third … statement fail until all work. A grant is there with its
// history or not at all, and what did not work changed nothing.
func TestEveryStatementCanFail(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, fault := t.Context(), &failing{left: -1}
		e := engine(t, db, &clock{noon})
		e.db = db.WithQueryHook(fault)
		until := func(do func() error, check func(failed bool)) {
			t.Helper()
			for n := 0; ; n++ {
				fault.left = n
				err := do()
				fault.left = -1
				check(err != nil)
				if err == nil && n > 1 {
					return
				}
				if n > 20 {
					t.Fatalf("it never works: %v", err)
				}
			}
		}
		var made Grant
		until(func() (err error) { made, err = e.CreateGrant(ctx, authority, terms()); return err }, func(failed bool) {
			changes, err := db.NewSelect().Table("policy_grant_changes").Count(ctx)
			if err != nil || changes != count(t, db) || failed != (changes == 0) {
				t.Fatalf("failed %v, %d grants, %d changes, %v", failed, count(t, db), changes, err)
			}
		})
		until(func() error { return e.Suspend(ctx, authority, made.ID, "整改") }, func(failed bool) {
			g, err := e.Grant(ctx, authority, made.ID)
			expect(t, err, "")
			history, err := e.History(ctx, authority, made.ID)
			expect(t, err, "")
			if failed != (g.State == GrantActive) || history[len(history)-1].State != g.State {
				t.Fatalf("failed %v, state %s, history %+v", failed, g.State, history)
			}
		})
	})
}

// TestLapsed asks about grants of every kind at once.
func TestLapsed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		var ids []string
		for range 3 {
			ids = append(ids, granted(t, e, terms()).ID)
		}
		later := terms()
		later.From = noon.Add(time.Hour)
		ids = append(ids, granted(t, e, later).ID)
		expect(t, e.Suspend(ctx, authority, ids[1], "x"), "")
		expect(t, e.Terminate(ctx, authority, ids[2], "x"), "")
		for _, one := range []struct {
			at   time.Time
			ask  []string
			want []string
		}{
			{noon, nil, nil},
			{noon, []string{ids[0], "g-aaaaaaaaaa"}, nil},
			{noon, ids, []string{ids[1], ids[2], ids[3]}},
			{noon.Add(time.Hour), ids, []string{ids[1], ids[2]}},
			{terms().Until.Add(-time.Second), ids[:1], nil},
			{terms().Until, ids[:1], ids[:1]},
		} {
			c.at = one.at
			got, err := e.Lapsed(ctx, one.ask)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(one.want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
				t.Errorf("at %s: %s", one.at, diff)
			}
		}
	})
}
