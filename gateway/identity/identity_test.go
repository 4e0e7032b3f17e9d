package identity

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

const (
	testIssuer   = "https://weir.example"
	testPassword = "four unrelated words here"
	home         = "192.0.2.7"
)

// testClock stands still until a test moves it.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is an Identity with a clock and one analyst, "li.wei".
type fixture struct {
	*Identity
	clock *testClock
	db    *bun.DB
	dir   string
}

// oneSide refuses an officer who works for an operator, as the policy does.
func oneSide(roles []policy.Role) error {
	if slices.Contains(roles, policy.Officer) && slices.Contains(roles, policy.Analyst) {
		return errors.New("an officer must not be an analyst")
	}
	return nil
}

func newFixture(t testing.TB, db *bun.DB, edit ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{clock: &testClock{now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}, db: db,
		dir: filepath.Join(t.TempDir(), "keys")}
	o := Options{Issuer: testIssuer, Argon: LeastArgon, CheckRoles: oneSide, Clock: f.clock.Now}
	for _, e := range edit {
		e(&o)
	}
	i, err := New(t.Context(), db, f.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	f.Identity = i
	f.create(t, Account{Name: "li.wei"}, testPassword)
	return f
}

// create fills in what the test does not care about.
func (f *fixture) create(t testing.TB, a Account, password string) {
	t.Helper()
	a.DisplayName, a.Organisation = "李伟", "运营单位甲"
	if a.Roles == nil {
		a.Roles = []policy.Role{policy.Analyst}
	}
	if err := f.CreateAccount(t.Context(), a, password); err != nil {
		t.Fatal(err)
	}
}

// empty deletes every row, for tests that set up several fixtures in one database.
func empty(t testing.TB, db *bun.DB) {
	t.Helper()
	for _, m := range []any{(*attempts)(nil), (*refreshToken)(nil), (*session)(nil), (*link)(nil), (*proposalRow)(nil), (*account)(nil)} {
		if _, err := db.NewDelete().Model(m).Where("1 = 1").Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fixture) signIn(t testing.TB) (Tokens, policy.Principal) {
	t.Helper()
	tokens, who, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: home})
	if err != nil {
		t.Fatal(err)
	}
	return tokens, who
}

func (f *fixture) accepts(t testing.TB, token string) policy.Principal {
	t.Helper()
	who, err := f.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("refused: %v (%v)", err, errors.Unwrap(problem.Of(err)))
	}
	return who
}

func (f *fixture) refuses(t testing.TB, token, code string) {
	t.Helper()
	who, err := f.Verify(t.Context(), token)
	if got := codeOf(err); got != code {
		t.Fatalf("got %q (%v), want %q", got, err, code)
	}
	if who.Subject != "" || who.Roles != nil {
		t.Fatalf("refused, and yet somebody: %+v", who)
	}
}

// codeOf is the code of a refusal, "" where there was none.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return problem.Of(err).Code
}

// onlySQLite is for tests of what the database has no part in.
func onlySQLite(t testing.TB) *bun.DB {
	t.Helper()
	return storetest.Open(t, storetest.SQLite(t))
}

func TestNewRefusesUnsafeOptions(t *testing.T) {
	good := Options{Issuer: testIssuer, Argon: LeastArgon, CheckRoles: oneSide}
	outside := Provider{Issuer: "https://id.example", Audience: "weir"}
	cases := map[string]func(*Options){
		"":                         func(*Options) {},
		"no issuer":                func(o *Options) { o.Issuer = "" },
		"no role check":            func(o *Options) { o.CheckRoles = nil },
		"tokens of eleven minutes": func(o *Options) { o.TokenLife = 11 * time.Minute },
		"negative token life":      func(o *Options) { o.TokenLife = -time.Minute },
		"refresh outlives session": func(o *Options) { o.SessionLife, o.IdleLife = time.Hour, 2*time.Hour },
		"cheap passwords":          func(o *Options) { o.Argon = Argon{Memory: 1024, Time: 1, Lanes: 1} },
		"provider without audience": func(o *Options) {
			o.External = []Provider{{Issuer: "https://id.example"}}
		},
		"provider without TLS": func(o *Options) {
			o.External = []Provider{{Issuer: "http://id.example", Audience: "weir"}}
		},
		"provider twice":   func(o *Options) { o.External = []Provider{outside, outside} },
		"provider is us":   func(o *Options) { o.External = []Provider{{Issuer: testIssuer, Audience: "weir"}} },
		"provider with HS": func(o *Options) { p := outside; p.Algorithms = []string{"HS256"}; o.External = []Provider{p} },
		"provider unsigned": func(o *Options) {
			p := outside
			p.Algorithms = []string{"none"}
			o.External = []Provider{p}
		},
		"provider with an empty key set": func(o *Options) {
			p := outside
			p.JWKS = []byte(`{"keys":[]}`)
			o.External = []Provider{p}
		},
		"provider with a secret key": func(o *Options) {
			p := outside
			p.JWKS = []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}`)
			o.External = []Provider{p}
		},
	}
	db := onlySQLite(t)
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			o := good
			edit(&o)
			_, err := New(t.Context(), db, filepath.Join(t.TempDir(), "keys"), o)
			if (err == nil) != (name == "") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestProblemsHaveEveryLanguage(t *testing.T) {
	codes, entries := problem.Codes()
	n := 0
	for _, c := range codes {
		if len(c) > 9 && c[:9] == "identity." {
			n++
			if entries[c].Chinese.Detail == entries[c].English.Detail {
				t.Errorf("%s is not translated", c)
			}
		}
	}
	if n < 12 {
		t.Fatalf("only %d codes", n)
	}
}

// BenchmarkVerify is what every request pays.
func BenchmarkVerify(b *testing.B) {
	f := newFixture(b, onlySQLite(b))
	tokens, _ := f.signIn(b)
	for b.Loop() {
		f.accepts(b, tokens.Access)
	}
}

// BenchmarkPassword is what a sign-in pays for the password at the default cost.
func BenchmarkPassword(b *testing.B) {
	h, err := newHasher(DefaultArgon)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := h.hash(b.Context(), testPassword); err != nil {
			b.Fatal(err)
		}
	}
}
