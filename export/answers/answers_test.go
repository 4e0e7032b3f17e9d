package answers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"weir/export/answers"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

var secret = bytes.Repeat([]byte{7}, 32)

func open(t *testing.T, db *bun.DB, secret []byte) *answers.Store {
	t.Helper()
	s, err := answers.Open(t.Context(), db, secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digest(n byte) (d [32]byte) { d[0] = n; return d }

func TestAnAnswerIsKeptOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		s := open(t, db, secret)
		if got, found, err := s.Find(t.Context(), digest(1)); got != nil || found || err != nil {
			t.Fatalf("before: %q, %v, %v", got, found, err)
		}
		for _, payload := range []string{"first", "second"} {
			if got, err := s.Keep(t.Context(), db, digest(1), []byte(payload)); string(got) != "first" || err != nil {
				t.Errorf("keep %s: %q, %v", payload, got, err)
			}
		}
		for _, s := range []*answers.Store{s, open(t, db, secret)} {
			if got, found, err := s.Find(t.Context(), digest(1)); string(got) != "first" || !found || err != nil {
				t.Errorf("find: %q, %v, %v", got, found, err)
			}
		}
		if got, err := s.Keep(t.Context(), db, digest(2), nil); len(got) != 0 || err != nil {
			t.Errorf("an empty answer: %q, %v", got, err)
		}
		if _, found, err := s.Find(t.Context(), digest(2)); !found || err != nil {
			t.Errorf("an empty answer: %v, %v", found, err)
		}
	})
}

func TestAnAnswerInATransactionThatIsLost(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		s, lost := open(t, db, secret), errors.New("lost")
		err := db.RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
			if got, err := s.Keep(ctx, tx, digest(1), []byte("drawn")); string(got) != "drawn" || err != nil {
				t.Errorf("keep: %q, %v", got, err)
			}
			return lost
		})
		if !errors.Is(err, lost) {
			t.Fatal(err)
		}
		if got, err := s.Keep(t.Context(), db, digest(1), []byte("drawn again")); string(got) != "drawn again" || err != nil {
			t.Errorf("keep: %q, %v", got, err)
		}
	})
}

// TestManyKeepAtOnce: all are told the same answer.
func TestManyKeepAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		s := open(t, db, secret)
		told := make([]string, 12)
		var wait sync.WaitGroup
		for i := range told {
			wait.Go(func() {
				got, err := s.Keep(context.Background(), db, digest(1), fmt.Append(nil, i))
				if err != nil {
					t.Error(err)
				}
				told[i] = string(got)
			})
		}
		wait.Wait()
		for _, one := range told {
			if one != told[0] {
				t.Errorf("told %q", told)
			}
		}
	})
}

// TestWhatCannotBeReadIsNotDrawnAgain: neither Find nor Keep lets anybody go on as if there were no answer.
func TestWhatCannotBeReadIsNotDrawnAgain(t *testing.T) {
	tests := []struct {
		name   string
		secret []byte
		change string
	}{
		{"another key", bytes.Repeat([]byte{8}, 32), ""},
		{"a byte that changed", secret, "UPDATE answers SET sealed = ? WHERE digest = ?"},
		{"cut off", secret, "UPDATE answers SET sealed = '' WHERE digest = ?1"},
		{"the answer to another question", secret, "UPDATE answers SET sealed = (SELECT sealed FROM answers WHERE digest <> ?1) WHERE digest = ?1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db := storetest.Open(t, storetest.SQLite(t))
			s := open(t, db, secret)
			for n := range byte(2) {
				if _, err := s.Keep(t.Context(), db, digest(n), []byte{n}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := db.ExecContext(t.Context(), "DROP TRIGGER answers_fixed"); err != nil {
				t.Fatal(err)
			}
			d := digest(1)
			var err error
			switch tt.name {
			case "another key":
			case "a byte that changed":
				var sealed []byte
				if err := db.DB.QueryRowContext(t.Context(), "SELECT sealed FROM answers WHERE digest = ?", d[:]).Scan(&sealed); err != nil {
					t.Fatal(err)
				}
				sealed[len(sealed)-1] ^= 1
				_, err = db.DB.ExecContext(t.Context(), tt.change, sealed, d[:])
			default:
				_, err = db.DB.ExecContext(t.Context(), tt.change, d[:])
			}
			if err != nil {
				t.Fatal(err)
			}
			s = open(t, db, tt.secret)
			if _, found, err := s.Find(t.Context(), d); found || err == nil || problem.Of(err).Code != "export.answer-unreadable" {
				t.Errorf("find: %v, %v", found, err)
			}
			if got, err := s.Keep(t.Context(), db, d, []byte("drawn again")); got != nil || err == nil || problem.Of(err).Code != "export.answer-unreadable" {
				t.Errorf("keep: %q, %v", got, err)
			}
		})
	}
}

func TestAnswersAreNotRemoved(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		s := open(t, db, secret)
		if _, err := s.Keep(t.Context(), db, digest(1), []byte("figures")); err != nil {
			t.Fatal(err)
		}
		for _, change := range []string{"DELETE FROM answers", "UPDATE answers SET sealed = key_id"} {
			if _, err := db.ExecContext(t.Context(), change); err == nil {
				t.Errorf("%s was carried out", change)
			}
		}
		var sealed []byte
		if err := db.NewRaw("SELECT sealed FROM answers").Scan(t.Context(), &sealed); err != nil || bytes.Contains(sealed, []byte("figures")) {
			t.Errorf("kept as %q (%v)", sealed, err)
		}
	})
}

func TestAShortSecretIsRefused(t *testing.T) {
	if _, err := answers.Open(t.Context(), storetest.Open(t, storetest.SQLite(t)), secret[:31]); err == nil {
		t.Error("opened")
	}
}
