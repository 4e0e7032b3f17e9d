package api

import (
	"context"
	"testing"
	"testing/synctest"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		only := make(turns, 1)
		first, err := only.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithCancel(t.Context())
		var impatient error
		go func() { _, impatient = only.take(ctx) }()
		begun := false
		go func() {
			second, err := only.take(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			begun = true
			second()
		}()
		synctest.Wait()
		if begun || impatient != nil {
			t.Fatalf("two at once, or %v", impatient)
		}
		leave()
		synctest.Wait()
		if impatient == nil || begun {
			t.Errorf("whoever left: %v, the other has begun: %v", impatient, begun)
		}
		first()
		synctest.Wait()
		if !begun {
			t.Error("the next turn was not given")
		}
	})
}
