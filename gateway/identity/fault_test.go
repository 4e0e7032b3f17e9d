package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

// faults makes one operation of the database fail: the one that comes after so many others, beginning and end of
// transactions among them.
type faults struct {
	mu    sync.Mutex
	after int // -1: none fails
	end   context.CancelFunc
}

func (q *faults) arm(after int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.after = after
}

func (q *faults) BeforeQuery(ctx context.Context, event *bun.QueryEvent) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.after == 0
	q.after = max(q.after, 0) - 1
	switch {
	case event.Query == "ROLLBACK":
		return ctx
	case event.Query == "COMMIT":
		if due {
			q.end() // a transaction whose context is over does not commit
		}
		return ctx
	case event.Query == "BEGIN":
		ctx, q.end = context.WithCancel(ctx)
		if due {
			q.end()
		}
		return ctx
	case due:
		dead, cancel := context.WithCancel(ctx)
		cancel()
		return dead
	}
	return ctx
}

func (q *faults) AfterQuery(context.Context, *bun.QueryEvent) {}

var errTakenForYes = errors.New("an error, and somebody beside it")

// TestStoreFails lets each operation of the database fail in turn, until everything works, and holds that a failure
// is never taken for a yes, that it is not told to people as a refusal, and that nothing is half done.
func TestStoreFails(t *testing.T) {
	type state struct {
		tokens Tokens
		who    policy.Principal
		from   string
		n      int
	}
	cases := map[string]struct {
		do     func(ctx context.Context, f *fixture, s state) error
		intact func(t *testing.T, f *fixture, s state) // after a failure
	}{
		"SignIn": {
			func(ctx context.Context, f *fixture, s state) error {
				tokens, who, err := f.SignIn(ctx, Credentials{Name: "li.wei", Password: testPassword, From: s.from})
				if err != nil && (tokens != (Tokens{}) || who.Subject != "") {
					return errTakenForYes
				}
				return err
			},
			func(t *testing.T, f *fixture, s state) {
				n, err := f.db.NewSelect().Table("identity_sessions").Where("ended_at = 0").Count(t.Context())
				if err != nil || int64(n) != int64(s.n+1) {
					t.Fatalf("%d sessions, %v", n, err)
				}
			},
		},
		"Verify": {
			func(ctx context.Context, f *fixture, s state) error {
				who, err := f.Verify(ctx, s.tokens.Access)
				if err != nil && who.Subject != "" {
					return errTakenForYes
				}
				return err
			},
			func(t *testing.T, f *fixture, s state) { f.accepts(t, s.tokens.Access) },
		},
		"Refresh": {
			func(ctx context.Context, f *fixture, s state) error {
				tokens, err := f.Refresh(ctx, s.tokens.Refresh)
				if err != nil && tokens != (Tokens{}) {
					return errTakenForYes
				}
				return err
			},
			func(t *testing.T, f *fixture, s state) { // not used up, so nobody is thrown out by a failure of ours
				if _, err := f.Refresh(t.Context(), s.tokens.Refresh); err != nil {
					t.Fatal(err)
				}
			},
		},
		"SignOut": {
			func(ctx context.Context, f *fixture, s state) error { return f.SignOut(ctx, s.who.Session) },
			func(t *testing.T, f *fixture, s state) { f.accepts(t, s.tokens.Access) },
		},
		"SetRoles": {
			func(ctx context.Context, f *fixture, _ state) error {
				return f.SetRoles(ctx, "li.wei", []policy.Role{policy.Operator})
			},
			func(t *testing.T, f *fixture, s state) { f.accepts(t, s.tokens.Access) },
		},
		"SetExternal": {
			func(ctx context.Context, f *fixture, s state) error {
				return f.SetExternal(ctx, "li.wei", []Subject{{"https://id.example", "2"}})
			},
			func(t *testing.T, f *fixture, s state) { f.accepts(t, s.tokens.Access) },
		},
		"DisableAccount": {
			func(ctx context.Context, f *fixture, _ state) error { return f.DisableAccount(ctx, "li.wei") },
			func(t *testing.T, f *fixture, s state) { f.accepts(t, s.tokens.Access) },
		},
		"ChangePassword": {
			func(ctx context.Context, f *fixture, s state) error {
				return f.ChangePassword(ctx, "li.wei", testPassword, "another four words entirely", s.from)
			},
			func(t *testing.T, f *fixture, s state) { f.signIn(t) },
		},
		"CreateAccount": {
			func(ctx context.Context, f *fixture, _ state) error {
				return f.CreateAccount(ctx, Account{Name: "new", DisplayName: "新人", Organisation: "甲",
					Roles: []policy.Role{policy.Analyst}, External: []Subject{{"https://id.example", "1"}}}, testPassword)
			},
			func(t *testing.T, f *fixture, _ state) {
				for _, table := range []string{"identity_accounts", "identity_links"} {
					n, err := f.db.NewSelect().Table(table).Where("1 = 1").Count(t.Context())
					if want := map[string]int{"identity_accounts": 1, "identity_links": 0}[table]; err != nil || int(n) != want {
						t.Fatalf("%s: %d rows, %v", table, n, err)
					}
				}
			},
		},
		"Accounts": {
			func(ctx context.Context, f *fixture, _ state) error {
				_, err := f.Accounts(ctx)
				return err
			},
			func(*testing.T, *fixture, state) {},
		},
	}
	storetest.Each(t, func(t *testing.T, plain *bun.DB) {
		q := &faults{after: -1}
		db := plain.WithQueryHook(q)
		newFixture(t, db)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				empty(t, db)
				f := newFixture(t, db, func(o *Options) {
					o.External = []Provider{{Issuer: "https://id.example", Audience: "weir"}}
				})
				for n := 0; ; n++ {
					if n > 60 {
						t.Fatal("never works")
					}
					s := state{from: fmt.Sprintf("192.0.2.%d", n), n: n}
					s.tokens, s.who = f.signIn(t)
					q.arm(n)
					err := c.do(t.Context(), f, s)
					q.arm(-1)
					if err == nil {
						if n == 0 {
							t.Fatal("nothing can fail here, so nothing is shown")
						}
						return
					}
					if errors.Is(err, errTakenForYes) {
						t.Fatalf("operation %d: %v", n, err)
					}
					if p := (*problem.Problem)(nil); errors.As(err, &p) {
						t.Fatalf("operation %d: a failure is told as a refusal: %v", n, err)
					}
					c.intact(t, f, s)
				}
			})
		}
	})
}
