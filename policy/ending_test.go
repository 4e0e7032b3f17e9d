package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
)

// TestEndings follows grants to their end: what ended is found once, from the very second of its term, and what can come
// back never; it is overdue after its grace, and not while a hold is on it.
func TestEndings(t *testing.T) {
	const grace = 24 * time.Hour
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, c := t.Context(), &clock{noon}
		e := engine(t, db, c)
		active, suspended, terminated := granted(t, e, terms()).ID, granted(t, e, terms()).ID, granted(t, e, terms()).ID
		later := terms()
		later.From, later.Until = noon.Add(time.Hour), later.Until.Add(time.Hour)
		unborn := granted(t, e, later).ID
		expect(t, e.Suspend(ctx, authority, suspended, "x"), "")
		expect(t, e.Terminate(ctx, authority, terminated, "x"), "")
		over := terms().Until
		ending := func(id string, at time.Time) Ending { return Ending{Grant: id, Ended: at, DeleteAfter: at.Add(grace)} }
		seen := func(what string, got []Ending, err error, want ...Ending) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b Ending) bool { return a.Grant < b.Grant })); diff != "" {
				t.Errorf("%s at %s: %s", what, c.at, diff)
			}
		}
		next := func(want time.Time) {
			t.Helper()
			if got, err := e.NextEnd(ctx); err != nil || !got.Equal(want) {
				t.Errorf("at %s the next end is at %s, want %s: %v", c.at, got, want, err)
			}
		}

		first, err := e.Endings(ctx, grace)
		seen("ended", first, err, ending(terminated, noon))
		next(over)
		for range 2 {
			expect(t, e.Close(ctx, first[0]), "")
		}
		again, err := e.Endings(ctx, grace)
		seen("ended, and noted", again, err)
		next(noon.Add(grace))

		expect(t, e.Hold(ctx, authority, terminated, ""), "policy.reason-needed")
		expect(t, e.Hold(ctx, analyst, terminated, "x"), "policy.forbidden")
		expect(t, e.Hold(ctx, authority, terminated, "inquiry"), "")
		expect(t, e.Hold(ctx, authority, terminated, "inquiry"), "policy.grant-held")
		c.at = noon.Add(grace)
		held, err := e.Overdue(ctx)
		seen("overdue under a hold", held, err)
		if end, on, err := e.End(ctx, authority, terminated); err != nil || !on || end == nil || !end.Deleted.IsZero() {
			t.Errorf("held: %+v, %v, %v", end, on, err)
		}
		expect(t, e.Lift(ctx, authority, terminated, "closed"), "")
		expect(t, e.Lift(ctx, authority, terminated, "closed"), "policy.grant-not-held")
		overdue, err := e.Overdue(ctx)
		seen("overdue", overdue, err, ending(terminated, noon))
		expect(t, e.Deleted(ctx, terminated), "")
		done, err := e.Overdue(ctx)
		seen("deleted", done, err)
		if end, on, err := e.End(ctx, authority, terminated); err != nil || on || end == nil || !end.Deleted.Equal(c.at) {
			t.Errorf("deleted: %+v, %v, %v", end, on, err)
		}

		c.at = over.Add(-time.Second)
		before, err := e.Endings(ctx, grace)
		seen("a second before the term is over", before, err)
		expect(t, e.Usable(ctx, active), "")
		c.at = over
		after, err := e.Endings(ctx, grace)
		seen("when the term is over", after, err, ending(active, over), ending(suspended, over))
		next(later.Until)
		for id, want := range map[string]string{
			active: "policy.grant-expired", suspended: "policy.grant-suspended", terminated: "policy.grant-terminated", unborn: "",
			"g-aaaaaaaaaa": "policy.unknown-grant",
		} {
			expect(t, e.Usable(ctx, id), want)
		}
	})
}
