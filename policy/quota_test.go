package policy

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// TestSpend charges one grant up to its limits: each charge that fits beside the nearest that does not.
func TestSpend(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		g := granted(t, e, terms()) // 5 jobs, 100 cells
		left := func(jobs, cells int) {
			t.Helper()
			_, used, err := e.account(ctx, g.ID)
			if err != nil || used.Jobs != 5-jobs || used.Cells != 100-cells {
				t.Errorf("used %+v, want %d jobs and %d cells left (%v)", used, jobs, cells, err)
			}
		}
		expect(t, e.Spend(ctx, g.ID, 6, 0), "policy.quota-jobs")
		expect(t, e.Spend(ctx, g.ID, 0, 101), "policy.quota-cells")
		left(5, 100)
		expect(t, e.Spend(ctx, g.ID, 4, 99), "")
		left(1, 1)
		expect(t, e.Spend(ctx, g.ID, 1, 2), "policy.quota-cells")
		left(1, 1)
		expect(t, e.Spend(ctx, g.ID, 2, 1), "policy.quota-jobs")
		left(1, 1)
		expect(t, e.Spend(ctx, g.ID, 1, 1), "")
		left(0, 0)
		expect(t, e.Spend(ctx, g.ID, 1, 0), "policy.quota-jobs")
		expect(t, e.Spend(ctx, g.ID, 0, 1), "policy.quota-cells")
		_, err := e.Authorize(ctx, analyst, g.ID)
		expect(t, err, "policy.quota-jobs")
		expect(t, e.Spend(ctx, "g-aaaaaaaaaa", 1, 0), "policy.unknown-grant")

		for _, odd := range [][2]int{{0, 0}, {-1, 0}, {0, -1}, {-1, 1}, {math.MaxInt, 0}, {1, math.MaxInt}, {spendLimit + 1, 0}} {
			if err := e.Spend(ctx, g.ID, odd[0], odd[1]); err == nil {
				t.Errorf("charged %v", odd)
			}
		}
		left(0, 0)
	})
}

// TestTheDayEndsAtMidnight in the platform's time zone, not in Greenwich.
func TestTheDayEndsAtMidnight(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		g := granted(t, e, terms())
		midnight := time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC) // in Shanghai
		expect(t, e.Spend(ctx, g.ID, 5, 0), "")
		c.at = midnight.Add(-time.Nanosecond)
		expect(t, e.Spend(ctx, g.ID, 1, 0), "policy.quota-jobs")
		c.at = midnight
		expect(t, e.Spend(ctx, g.ID, 5, 0), "")
		expect(t, e.Spend(ctx, g.ID, 1, 0), "policy.quota-jobs")
		c.at = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
		expect(t, e.Spend(ctx, g.ID, 1, 0), "policy.quota-jobs")
	})
}

// TestOnlyALivingGrantSpends: a suspension also stops what was already running from being released.
func TestOnlyALivingGrantSpends(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		g := granted(t, e, terms())
		spend := func(code string) { t.Helper(); expect(t, e.Spend(ctx, g.ID, 0, 1), code) }
		spend("")
		c.at = g.From.Add(-time.Second)
		spend("policy.grant-not-yet-valid")
		c.at = g.Until
		spend("policy.grant-expired")
		c.at = noon
		expect(t, e.Suspend(ctx, authority, g.ID, "整改"), "")
		spend("policy.grant-suspended")
		expect(t, e.Restore(ctx, authority, g.ID, "已整改"), "")
		spend("")
		expect(t, e.Terminate(ctx, authority, g.ID, "退出"), "")
		spend("policy.grant-terminated")
	})
}

// TestManySpendAtOnce: of 64 who charge three cells of a hundred together, 33 succeed, and 99 cells are gone.
func TestManySpendAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx := t.Context()
		e := engine(t, db, &clock{noon})
		g := granted(t, e, terms())
		var paid, refused atomic.Int32
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				switch err := e.Spend(ctx, g.ID, 0, 3); {
				case err == nil:
					paid.Add(1)
				case problem.Of(err).Code == "policy.quota-cells":
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		_, used, err := e.account(ctx, g.ID)
		if err != nil || paid.Load() != 33 || refused.Load() != 31 || used.Cells != 99 {
			t.Errorf("%d paid, %d refused, %d cells used (%v)", paid.Load(), refused.Load(), used.Cells, err)
		}
	})
}
