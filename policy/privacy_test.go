package policy

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// private are the terms of a grant whose budget is worth five queries of 0.2.
func private() Grant {
	g := terms()
	g.Mode, g.Privacy = Private, Privacy{Epsilon: 1, Delta: 1e-6, QueryEpsilon: 0.2}
	return g
}

// TestSpendPrivacy uses a scenario's budgets up, with two grants that share it and one that does not.
func TestSpendPrivacy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		e := engine(t, db, &clock{noon})
		g, colleague := granted(t, e, private()), granted(t, e, private())
		elsewhere := private()
		elsewhere.Scenario = "another"
		other := granted(t, e, elsewhere)
		spent := func(want float64) {
			t.Helper()
			got, err := e.PrivacySpent(ctx, analyst, g.ID)
			if err != nil || len(got) != 1 || got["mortgages"] != want {
				t.Errorf("spent %v, want %v (%v)", got, want, err)
			}
		}
		spent(0)
		expect(t, e.SpendPrivacy(ctx, g.ID, []string{"mortgages", "mortgages"}), "") // one data set, read twice in a query
		spent(0.2)
		for range 3 {
			expect(t, e.SpendPrivacy(ctx, colleague.ID, []string{"mortgages"}), "")
		}
		spent(0.8)
		expect(t, e.SpendPrivacy(ctx, g.ID, []string{"mortgages", "residents"}), "")
		spent(1)
		expect(t, e.SpendPrivacy(ctx, g.ID, []string{"mortgages"}), "policy.budget-spent")
		for range 4 { // of residents one query is gone
			expect(t, e.SpendPrivacy(ctx, g.ID, []string{"residents"}), "")
		}
		expect(t, e.SpendPrivacy(ctx, g.ID, []string{"residents"}), "policy.budget-spent")
		expect(t, e.SpendPrivacy(ctx, other.ID, []string{"mortgages", "residents"}), "")
		expect(t, e.SpendPrivacy(ctx, "g-aaaaaaaaaa", []string{"mortgages"}), "policy.unknown-grant")
		if err := e.SpendPrivacy(ctx, granted(t, e, terms()).ID, []string{"mortgages"}); err == nil {
			t.Error("a grant without a budget spent one")
		}
	})
}

// TestAChargeIsWholeOrNotAtAll: where one data set has nothing left, the other keeps what it has.
func TestAChargeIsWholeOrNotAtAll(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		e := engine(t, db, &clock{noon})
		g := granted(t, e, private())
		for range 5 {
			expect(t, e.SpendPrivacy(ctx, g.ID, []string{"residents"}), "")
		}
		expect(t, e.SpendPrivacy(ctx, g.ID, []string{"mortgages", "residents"}), "policy.budget-spent")
		got, err := e.PrivacySpent(ctx, analyst, g.ID)
		if err != nil || got["mortgages"] != 0 {
			t.Errorf("spent %v (%v)", got, err)
		}
	})
}

// TestManySpendPrivacyAtOnce: of 32 who ask together, five are answered.
func TestManySpendPrivacyAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		e := engine(t, db, &clock{noon})
		g := granted(t, e, private())
		var paid, refused atomic.Int32
		var all sync.WaitGroup
		for i := range 32 {
			all.Go(func() {
				names := []string{"mortgages", "residents"}
				if i%2 == 0 {
					names[0], names[1] = names[1], names[0]
				}
				switch err := e.SpendPrivacy(ctx, g.ID, names); {
				case err == nil:
					paid.Add(1)
				case problem.Of(err).Code == "policy.budget-spent":
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if paid.Load() != 5 || refused.Load() != 27 {
			t.Errorf("%d paid, %d refused", paid.Load(), refused.Load())
		}
	})
}

// TestBudgetsAreNotRefunded, not even by somebody with the database in hand.
func TestBudgetsAreNotRefunded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		e := engine(t, db, &clock{noon})
		g := granted(t, e, private())
		expect(t, e.SpendPrivacy(ctx, g.ID, []string{"mortgages"}), "")
		for _, statement := range []string{
			"UPDATE policy_budgets SET spent = 0", "DELETE FROM policy_budgets",
			"UPDATE policy_grants SET epsilon = 9", "UPDATE policy_grants SET query_epsilon = 0.1", "UPDATE policy_grants SET delta = 1",
		} {
			if _, err := db.ExecContext(ctx, statement); err == nil {
				t.Errorf("%s was done", statement)
			}
		}
	})
}

// TestQueryCost: delta is spent in the proportion of epsilon, so that it lasts as long.
func TestQueryCost(t *testing.T) {
	epsilon, delta := private().Privacy.Query()
	if epsilon != 0.2 || delta < 1.99e-7 || delta > 2.01e-7 {
		t.Errorf("epsilon %v, delta %v", epsilon, delta)
	}
	if epsilon, delta := (Privacy{}).Query(); epsilon != 0 || delta != 0 {
		t.Errorf("without a budget: epsilon %v, delta %v", epsilon, delta)
	}
}

// TestTheStricterShareHolds: an operator's account is one, so what any of its grants in force states binds all.
func TestTheStricterShareHolds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		e := engine(t, db, &clock{noon})
		with := func(mode Mode, operator string, share float64) Grant {
			g := terms()
			if mode == Private {
				g = private()
			}
			g.Mode, g.Operator, g.Share = mode, operator, share
			return granted(t, e, g)
		}
		share := func(g Grant, want float64) {
			t.Helper()
			if got, err := e.Share(ctx, g.ID); err != nil || got != want {
				t.Errorf("the share of %s in mode %s is %v, want %v (%v)", g.Operator, g.Mode, got, want, err)
			}
		}
		perturbed, secret, exact := with(Perturbed, "银海数据", 0), with(Private, "银海数据", 0), with(Exact, "银海数据", 0)
		share(perturbed, 1)
		share(secret, 0.25)
		share(exact, 0)
		with(Perturbed, "云杉科技", 0.1)
		share(perturbed, 1)
		strict := with(Perturbed, "银海数据", 0.2)
		share(perturbed, 0.2)
		share(secret, 0.2)
		expect(t, e.Terminate(ctx, authority, strict.ID, "over"), "")
		share(perturbed, 1)
		if _, err := e.Share(ctx, "g-aaaaaaaaaa"); err == nil {
			t.Error("a grant that is not there has a share")
		}
	})
}
