package identity

import (
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
)

func TestRefreshRotates(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		first, who := f.signIn(t)
		f.clock.Advance(4 * time.Minute)
		second, err := f.Refresh(t.Context(), first.Refresh)
		if err != nil {
			t.Fatal(err)
		}
		if second.Refresh == first.Refresh || !second.Expires.Equal(f.clock.Now().Add(5*time.Minute)) {
			t.Fatalf("not new: %+v", second)
		}
		f.accepts(t, first.Access)
		if again := f.accepts(t, second.Access); again.Session != who.Session {
			t.Fatalf("another session: %+v", again)
		}
		if _, err := f.Refresh(t.Context(), first.Refresh); codeOf(err) != "identity.session-ended" {
			t.Fatalf("reuse: %v", err)
		}
		// The thief and the owner cannot be told apart: both lose.
		f.refuses(t, second.Access, "identity.session-ended")
		if _, err := f.Refresh(t.Context(), second.Refresh); codeOf(err) != "identity.session-ended" {
			t.Fatalf("after reuse: %v", err)
		}
	})
}

func TestRefreshIsRefused(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	tokens, _ := f.signIn(t)
	for _, bad := range []string{"", "nobody's", tokens.Access, digest("refresh", tokens.Refresh)} {
		if got, err := f.Refresh(t.Context(), bad); codeOf(err) != "identity.session-ended" || got != (Tokens{}) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	f.accepts(t, tokens.Access) // guessing ends nobody's session
	f.clock.Advance(time.Hour - time.Microsecond)
	tokens, err := f.Refresh(t.Context(), tokens.Refresh)
	if err != nil {
		t.Fatalf("before an idle hour is over: %v", err)
	}
	f.clock.Advance(time.Hour)
	if _, err := f.Refresh(t.Context(), tokens.Refresh); codeOf(err) != "identity.session-ended" {
		t.Fatalf("after an idle hour: %v", err)
	}
}

func TestSessionEndsWhateverIsRefreshed(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	tokens, _ := f.signIn(t)
	var err error
	for step := range 12 * 2 {
		f.clock.Advance(30 * time.Minute)
		if tokens, err = f.Refresh(t.Context(), tokens.Refresh); err != nil {
			if step != 23 || codeOf(err) != "identity.session-ended" {
				t.Fatalf("step %d: %v", step, err)
			}
			return
		}
	}
	t.Fatal("a session longer than its life")
}

// TestConcurrentRefresh holds that of several that present one refresh token at once no two are served.
func TestConcurrentRefresh(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		tokens, _ := f.signIn(t)
		var all sync.WaitGroup
		served := make(chan Tokens, 8)
		for range cap(served) {
			all.Go(func() {
				if got, err := f.Refresh(t.Context(), tokens.Refresh); err == nil {
					served <- got
				} else if codeOf(err) != "identity.session-ended" {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		if len(served) != 1 {
			t.Fatalf("%d were served", len(served))
		}
		f.refuses(t, (<-served).Access, "identity.session-ended")
	})
}

func TestOldRowsAreForgotten(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		f.signIn(t)
		f.clock.Advance(365 * 24 * time.Hour)
		f.signIn(t)
		for table, want := range map[string]int64{"identity_sessions": 1, "identity_refresh": 1, "identity_attempts": 4} {
			if n, err := db.NewSelect().Table(table).Count(t.Context()); err != nil || int64(n) != want {
				t.Errorf("%s: %d rows, %v", table, n, err)
			}
		}
	})
}
