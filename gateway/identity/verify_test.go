package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
	"weir/policy"
)

// forgery is a token in the making: a good one, until a case spoils it.
type forgery struct {
	method jwt.SigningMethod
	key    any
	header map[string]any
	claims jwt.MapClaims
}

func (g forgery) text(t testing.TB) string {
	t.Helper()
	token := jwt.NewWithClaims(g.method, g.claims)
	maps.Copy(token.Header, g.header)
	text, err := token.SignedString(g.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// spoilt lists what must be refused by its name, for whoever issued the token.
func spoilt(f *fixture, public any) map[string]func(*forgery) {
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	at := func(name string, d time.Duration) func(*forgery) {
		return func(g *forgery) { g.claims[name] = f.clock.Now().Add(d).Unix() }
	}
	claim := func(name string, value any) func(*forgery) { return func(g *forgery) { g.claims[name] = value } }
	without := func(name string) func(*forgery) { return func(g *forgery) { delete(g.claims, name) } }
	header := func(name string, value any) func(*forgery) { return func(g *forgery) { g.header[name] = value } }
	return map[string]func(*forgery){
		"wrong signature":           func(g *forgery) { g.method, g.key = jwt.SigningMethodEdDSA, stranger },
		"expired":                   at("exp", 0),
		"expired long ago":          at("exp", -time.Hour),
		"not yet valid":             at("nbf", leeway+time.Second),
		"issued in the future":      at("iat", leeway+time.Second),
		"issued too long ago":       at("iat", -13*time.Hour),
		"wrong audience":            claim("aud", "https://other.example"),
		"wrong issuer":              claim("iss", "https://other.example"),
		"issuer of another kind":    claim("iss", 7),
		"missing exp":               without("exp"),
		"missing sub":               without("sub"),
		"missing iat":               without("iat"),
		"missing aud":               without("aud"),
		"missing iss":               without("iss"),
		"empty sub":                 claim("sub", ""),
		"sub of another kind":       claim("sub", 7),
		"exp beyond all time":       claim("exp", 1e300),
		"exp as text":               claim("exp", "tomorrow"),
		"unknown kid":               header("kid", "nobody"),
		"no kid":                    func(g *forgery) { delete(g.header, "kid") },
		"kid with a path":           header("kid", "../../etc/passwd"),
		"crit header":               header("crit", []string{"exp"}),
		"crit header understood":    func(g *forgery) { g.header["crit"], g.header["b64"] = []string{"b64"}, true },
		"key in the header":         header("jwk", jose.JSONWebKey{Key: stranger.Public()}),
		"address of keys in header": header("jku", "https://other.example/keys"),
		"nested":                    header("cty", "JWT"),
		"another type":              header("typ", "logout+jwt"),
		"logout token":              claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}),
		"huge":                      claim("filler", strings.Repeat("x", maxToken)),
		"alg none": func(g *forgery) {
			g.method, g.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
		},
		"HS256 signed with the public key": func(g *forgery) {
			der, _ := (&jose.JSONWebKey{Key: public}).MarshalJSON()
			g.method, g.key = jwt.SigningMethodHS256, der
			if raw, ok := public.(ed25519.PublicKey); ok {
				g.key = []byte(raw)
			}
		},
	}
}

func refuseSpoilt(t *testing.T, f *fixture, good func() forgery, public any) {
	f.accepts(t, good().text(t)) // or the refusals below would prove nothing
	for name, spoil := range spoilt(f, public) {
		t.Run(name, func(t *testing.T) {
			g := good()
			spoil(&g)
			f.refuses(t, g.text(t), "identity.token-invalid")
		})
	}
	t.Run("malformed", func(t *testing.T) {
		text := good().text(t)
		parts := strings.Split(text, ".")
		for _, bad := range []string{"", ".", "..", "...", "a.b.c", text + ".", text + "=", " " + text, text[:len(text)-8],
			parts[0] + "." + parts[1] + ".", parts[0] + ".." + parts[2], `{"payload":"` + parts[1] + `"}`,
			strings.Repeat(".", 100), text + "\x00", text + "\n", parts[0] + "\n." + parts[1] + "." + parts[2]} {
			f.refuses(t, bad, "identity.token-invalid")
		}
	})
}

// own gives good tokens of the embedded issuer for a session.
func own(t testing.TB, f *fixture, access string) func() forgery {
	t.Helper()
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser(jwt.WithExpirationRequired()).ParseUnverified(access, claims)
	if err != nil {
		t.Fatal(err)
	}
	key, err := f.keys.signer()
	if err != nil {
		t.Fatal(err)
	}
	return func() forgery {
		return forgery{jwt.SigningMethodEdDSA, key.private, maps.Clone(parsed.Header), maps.Clone(claims)}
	}
}

func TestOwnTokenIsRefused(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	tokens, _ := f.signIn(t)
	key, err := f.keys.signer()
	if err != nil {
		t.Fatal(err)
	}
	good := own(t, f, tokens.Access)
	refuseSpoilt(t, f, good, key.private.Public())

	f.create(t, Account{Name: "wang.fang", Roles: []policy.Role{policy.Officer}}, testPassword)
	for name, c := range map[string]struct {
		claim string
		value any
		code  string
	}{
		"another account's name":  {"sub", "wang.fang", "identity.token-invalid"},
		"an account of nobody":    {"sub", "nobody", "identity.token-invalid"},
		"another account version": {"ver", 2, "identity.token-invalid"},
		"no session":              {"sid", "", "identity.session-ended"},
		"a session of nobody":     {"sid", "c0ffee", "identity.session-ended"},
		"more than a token's age": {"iat", f.clock.Now().Add(-MaxTokenLife - time.Second).Unix(), "identity.token-invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			g := good()
			g.claims[c.claim] = c.value
			f.refuses(t, g.text(t), c.code)
		})
	}
	t.Run("plain type", func(t *testing.T) {
		g := good()
		g.header["typ"] = "JWT"
		f.refuses(t, g.text(t), "identity.token-invalid")
	})
	t.Run("refresh token used as access token", func(t *testing.T) {
		f.refuses(t, tokens.Refresh, "identity.token-invalid")
	})
	t.Run("roles in the token", func(t *testing.T) {
		g := good()
		g.claims["roles"] = policy.Roles
		if who := f.accepts(t, g.text(t)); len(who.Roles) != 1 || who.Roles[0] != policy.Analyst {
			t.Fatalf("roles from outside: %v", who.Roles)
		}
	})
}

func TestTokenIsRefusedAfter(t *testing.T) {
	cases := map[string]struct {
		do   func(t *testing.T, f *fixture, session string) error
		code string
	}{
		"logout": {func(t *testing.T, f *fixture, session string) error {
			return f.SignOut(t.Context(), session)
		}, "identity.session-ended"},
		"account disabled": {func(t *testing.T, f *fixture, _ string) error {
			return f.DisableAccount(t.Context(), "li.wei")
		}, "identity.session-ended"},
		"role change": {func(t *testing.T, f *fixture, _ string) error {
			return f.SetRoles(t.Context(), "li.wei", []policy.Role{policy.Operator})
		}, "identity.session-ended"},
		"password change": {func(t *testing.T, f *fixture, _ string) error {
			return f.ChangePassword(t.Context(), "li.wei", testPassword, "another four words entirely", home)
		}, "identity.session-ended"},
		"disabled and enabled": {func(t *testing.T, f *fixture, _ string) error {
			if err := f.DisableAccount(t.Context(), "li.wei"); err != nil {
				return err
			}
			return f.EnableAccount(t.Context(), "li.wei")
		}, "identity.session-ended"},
		"its time": {func(_ *testing.T, f *fixture, _ string) error {
			f.clock.Advance(5 * time.Minute)
			return nil
		}, "identity.token-invalid"},
		"roles that conflict were forced into the row": {func(t *testing.T, f *fixture, _ string) error {
			_, err := f.db.NewUpdate().Model((*account)(nil)).Set("roles = ?", `["officer","analyst"]`).
				Where("name = 'li.wei'").Exec(t.Context())
			return err
		}, "identity.roles-conflict"},
	}
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		newFixture(t, db)
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				empty(t, db)
				f := newFixture(t, db)
				tokens, who := f.signIn(t)
				other, _ := f.signIn(t)
				if got := f.accepts(t, tokens.Access); got.Session != who.Session || got.Subject != "li.wei" ||
					got.Organisation != "运营单位甲" {
					t.Fatalf("another person: %+v", got)
				}
				if err := c.do(t, f, who.Session); err != nil {
					t.Fatal(err)
				}
				f.refuses(t, tokens.Access, c.code)
				if name == "logout" {
					f.accepts(t, other.Access) // the nearest that is allowed
				}
				if _, err := f.Refresh(t.Context(), tokens.Refresh); (name != "its time") != (codeOf(err) == "identity.session-ended") {
					t.Fatalf("refresh: %v", err)
				}
			})
		}
	})
}

// FuzzVerify holds that no text that we did not sign is ever somebody, and that none panics.
func FuzzVerify(f *testing.F) {
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: elliptical.Public(), KeyID: "a"}}})
	if err != nil {
		f.Fatal(err)
	}
	fix := newFixture(f, onlySQLite(f), func(o *Options) {
		o.External = []Provider{{Issuer: "https://id.example", Audience: "weir", JWKS: jwks}}
	})
	fix.create(f, Account{Name: "outside", External: []Subject{{"https://id.example", "17"}}}, "")
	tokens, _ := fix.signIn(f)
	now := fix.clock.Now().Unix()
	outside := forgery{jwt.SigningMethodES256, elliptical, map[string]any{"kid": "a"},
		jwt.MapClaims{"iss": "https://id.example", "aud": "weir", "sub": "17", "iat": now, "exp": now + 60}}.text(f)
	fix.accepts(f, outside)
	good := []string{tokens.Access, outside}
	f.Add("", 0, 0, "")
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3dlaXIuZXhhbXBsZSJ9.", 0, 0, "")
	for at, r := range outside {
		if r == '.' {
			f.Add("", at, 1, "..")
			f.Add("", at+1, 1, "f")
			f.Add("", at-1, 1, "")
		}
	}
	f.Add("", len(tokens.Access)-1, 1, "B") // only unused bits of the last character differ
	// A text as it is, and each good token with a piece of it replaced. Keys differ from run to run, so edits are
	// what can be kept and mutated.
	f.Fuzz(func(t *testing.T, text string, at, cut int, insert string) {
		tries := []string{text}
		for _, g := range good {
			from := min(max(at, 0), len(g))
			to := min(from+min(max(cut, 0), len(g)), len(g))
			tries = append(tries, g[:from]+insert+g[to:])
		}
		for _, try := range tries {
			who, err := fix.Verify(t.Context(), try)
			if err != nil && (who.Subject != "" || codeOf(err) == "internal") {
				t.Fatalf("%+v, %v", who, err)
			}
			if err == nil && !slices.Contains(good, try) {
				t.Fatalf("accepted: %q", try)
			}
		}
	})
}
