package fair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestTurns: a key that has a hundred waiting does not keep another's one waiting for more than what is held already.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1, 1, 100)
		first, err := q.Take(t.Context(), "big")
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var served []string
		var all sync.WaitGroup
		wait := func(key string) {
			all.Go(func() {
				done, err := q.Take(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				served = append(served, key)
				mu.Unlock()
				done()
			})
			synctest.Wait()
		}
		for range 100 {
			wait("big")
		}
		wait("small")
		wait("small")
		if _, err := q.Take(t.Context(), "big"); !errors.Is(err, ErrFull) {
			t.Errorf("the hundred and first waits: %v", err)
		}
		first()
		first() // a second time does nothing
		all.Wait()
		if at := slices.Index(served, "small"); at > 1 || len(served) != 102 || served[at+2] != "small" {
			t.Errorf("%d were served, small first at %d of %v", len(served), at, served[:6])
		}
	})
}

// TestPlaces: never more than there are, never more of one key than it may hold, and who gives up gives nothing away.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(3, 2, 10)
		var done []func()
		for range 2 {
			d, err := q.Take(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			done = append(done, d)
		}
		ctx, give := context.WithCancel(t.Context())
		third := make(chan error, 1)
		go func() { _, err := q.Take(ctx, "a"); third <- err }()
		synctest.Wait()
		d, err := q.Take(t.Context(), "b") // the third place is for others
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, d)
		give()
		if err := <-third; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		for _, d := range done {
			d()
		}
		for range 2 {
			if _, err := q.Take(t.Context(), "c"); err != nil {
				t.Errorf("places are lost: %v", err)
			}
		}
		if q.free != 1 || len(q.lines) != 0 || len(q.order) != 0 || len(q.held) != 1 {
			t.Errorf("left: %+v", q)
		}
	})
}

// TestNameless: a key may be empty, as the provider is that no manifest names.
func TestNameless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1, 1, 1)
		done, err := q.Take(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		done()
		if len(q.lines) != 0 || len(q.order) != 0 || len(q.held) != 0 {
			t.Errorf("left: %+v", q)
		}
	})
}
