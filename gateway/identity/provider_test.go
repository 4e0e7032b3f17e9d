package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
	"weir/policy"
)

// outsider is an OpenID provider that really listens: discovery, keys, and keys that change.
type outsider struct {
	*httptest.Server

	mu    sync.Mutex
	keys  map[string]crypto.Signer
	asked map[string]int
	down  bool
	other func(w http.ResponseWriter) // answers instead, where set
}

func newOutsider(t testing.TB) *outsider {
	t.Helper()
	p := &outsider{keys: map[string]crypto.Signer{}, asked: map[string]int{}}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(p.answer))
	t.Cleanup(p.Close)
	p.rotate(t, "first")
	return p
}

func (p *outsider) answer(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	switch {
	case p.down:
		w.WriteHeader(http.StatusBadGateway)
	case p.other != nil:
		p.other(w)
	case r.URL.Path == DiscoveryPath:
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"authorization_endpoint":%q}`, p.URL, p.URL+"/keys", p.URL+"/auth")
	case r.URL.Path == "/keys":
		// Keys that are of no use here, as real providers have them, are passed over.
		keys := []any{map[string]any{"kty": "ML", "kid": "odd"}, map[string]any{"kty": "oct", "kid": "odd", "k": "c2VjcmV0"}}
		for id, k := range p.keys {
			keys = append(keys, jose.JSONWebKey{Key: k.Public(), KeyID: id, Use: "sig"})
		}
		set := map[string]any{"keys": keys}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(set)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// change does something to the provider while nobody asks it.
func (p *outsider) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

func (p *outsider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

func (p *outsider) rotate(t testing.TB, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.change(func() { p.keys = map[string]crypto.Signer{id: key} })
}

func (p *outsider) configure(o *Options) {
	o.HTTP = p.Client()
	o.External = append(o.External, Provider{Issuer: p.URL, Audience: "weir-client"})
}

// token gives a good token for a subject, signed with the key that the provider now has.
func (p *outsider) token(f *fixture, subject string) forgery {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := forgery{method: jwt.SigningMethodES256, header: map[string]any{}}
	for id, key := range p.keys {
		g.key, g.header["kid"] = key, id
	}
	now := f.clock.Now().Unix()
	g.claims = jwt.MapClaims{"iss": p.URL, "aud": []string{"weir-client", "another"}, "sub": subject, "sid": "s-" + subject,
		"jti": "1", "iat": now, "exp": now + 600, "roles": []string{"authority"}, "organisation": "elsewhere"}
	return g
}

// linked is a fixture with a provider, and zhang.min who is its subject 17 and has no password.
func linked(t testing.TB, db *bun.DB) (*fixture, *outsider) {
	t.Helper()
	p := newOutsider(t)
	f := newFixture(t, db, p.configure)
	f.create(t, Account{Name: "zhang.min", External: []Subject{{p.URL, "17"}}}, "")
	return f, p
}

func TestExternalTokenIsRefused(t *testing.T) {
	f, p := linked(t, onlySQLite(t))
	public := p.token(f, "17").key.(crypto.Signer).Public()
	good := func() forgery {
		// Many spoilt tokens must not use up the asking of keys that this test needs.
		f.clock.Advance(5 * time.Second)
		return p.token(f, "17")
	}
	refuseSpoilt(t, f, good, public)
	t.Run("a subject of nobody", func(t *testing.T) {
		f.refuses(t, p.token(f, "18").text(t), "identity.account-unknown")
		f.refuses(t, p.token(f, "li.wei").text(t), "identity.account-unknown") // a local name is no subject there
	})
	t.Run("another issuer's subject", func(t *testing.T) {
		other := newOutsider(t)
		f.refuses(t, other.token(f, "17").text(t), "identity.token-invalid")
	})
	t.Run("our issuer, their key", func(t *testing.T) {
		g := p.token(f, "li.wei")
		g.claims["iss"], g.claims["aud"] = testIssuer, testIssuer
		f.refuses(t, g.text(t), "identity.token-invalid")
	})
	t.Run("their issuer, our key", func(t *testing.T) {
		key, err := f.keys.signer()
		if err != nil {
			t.Fatal(err)
		}
		g := p.token(f, "17")
		g.method, g.key, g.header["kid"] = jwt.SigningMethodEdDSA, key.private, key.id
		f.refuses(t, g.text(t), "identity.token-invalid")
	})
}

func TestExternalRolesComeFromTheAccount(t *testing.T) {
	f, p := linked(t, onlySQLite(t))
	who := f.accepts(t, p.token(f, "17").text(t))
	if who.Subject != "zhang.min" || who.Organisation != "运营单位甲" || len(who.Roles) != 1 || !who.Has(policy.Analyst) {
		t.Fatalf("%+v", who)
	}
	// No password ever opens an account without one.
	for _, password := range []string{"", testPassword} {
		if _, _, err := f.SignIn(t.Context(), Credentials{Name: "zhang.min", Password: password, From: home}); codeOf(err) != "identity.sign-in-failed" {
			t.Fatal(err)
		}
	}
}

func TestExternalTokenIsRefusedAfter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f, p := linked(t, db)
		text := p.token(f, "17").text(t)
		who := f.accepts(t, text)
		if again := f.accepts(t, text); again.Session != who.Session {
			t.Fatal("two sessions of one sid")
		}
		if err := f.SignOut(t.Context(), who.Session); err != nil {
			t.Fatal(err)
		}
		f.refuses(t, text, "identity.session-ended")
		f.clock.Advance(time.Minute)
		f.refuses(t, p.token(f, "17").text(t), "identity.session-ended") // a later token of the session
		fresh := p.token(f, "17")
		fresh.claims["sid"] = "s-next"
		text = fresh.text(t)
		f.accepts(t, text)

		f.clock.Advance(time.Second)
		if err := f.SetRoles(t.Context(), "zhang.min", []policy.Role{policy.Operator}); err != nil {
			t.Fatal(err)
		}
		f.refuses(t, text, "identity.session-ended")
		fresh.claims["iat"] = f.clock.Now().Unix()
		text = fresh.text(t)
		if who := f.accepts(t, text); !who.Has(policy.Operator) || who.Has(policy.Analyst) {
			t.Fatalf("old roles: %+v", who)
		}
		if err := f.DisableAccount(t.Context(), "zhang.min"); err != nil {
			t.Fatal(err)
		}
		f.refuses(t, text, "identity.session-ended")
		if err := f.EnableAccount(t.Context(), "zhang.min"); err != nil {
			t.Fatal(err)
		}
		f.accepts(t, text)
		if err := f.SetExternal(t.Context(), "zhang.min", nil); err != nil {
			t.Fatal(err)
		}
		f.refuses(t, text, "identity.account-unknown")
	})
}

// TestExternalSessionWithoutName holds that a token that names no session can be signed out of as well, however its
// signature is written.
func TestExternalSessionWithoutName(t *testing.T) {
	f, p := linked(t, onlySQLite(t))
	for _, absent := range [][]string{{"sid"}, {"sid", "jti"}} {
		g := p.token(f, "17")
		for _, claim := range absent {
			delete(g.claims, claim)
		}
		one, other := g.text(t), g.text(t) // ECDSA: two signatures of one text
		if one == other {
			t.Fatal("the signatures are the same")
		}
		who := f.accepts(t, one)
		if err := f.SignOut(t.Context(), who.Session); err != nil {
			t.Fatal(err)
		}
		f.refuses(t, one, "identity.session-ended")
		f.refuses(t, other, "identity.session-ended")
	}
}

func TestExternalKeysChange(t *testing.T) {
	f, p := linked(t, onlySQLite(t))
	old := p.token(f, "17").text(t)
	f.accepts(t, old)
	p.rotate(t, "second")
	f.accepts(t, p.token(f, "17").text(t)) // an unknown key is asked for
	f.refuses(t, old, "identity.token-invalid")

	// A key that was withdrawn without another being seen is good for no longer than the keys are kept.
	late := p.token(f, "17")
	late.claims["exp"] = f.clock.Now().Add(time.Hour).Unix()
	p.rotate(t, "third")
	f.clock.Advance(keysLife - time.Second)
	f.accepts(t, late.text(t))
	f.clock.Advance(time.Second)
	f.refuses(t, late.text(t), "identity.token-invalid")
}

func TestExternalProviderFails(t *testing.T) {
	f, p := linked(t, onlySQLite(t))
	p.change(func() { p.down = true })
	f.refuses(t, p.token(f, "17").text(t), "identity.provider-unavailable")
	p.change(func() { p.down = false })
	f.refuses(t, p.token(f, "17").text(t), "identity.provider-unavailable") // not asked again at once
	if n := p.count(DiscoveryPath); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	f.clock.Advance(retryAfter)
	f.accepts(t, p.token(f, "17").text(t))
	p.rotate(t, "second")
	p.change(func() { p.down = true })
	f.refuses(t, p.token(f, "17").text(t), "identity.provider-unavailable")
	tokens, _ := f.signIn(t) // our own accounts do not depend on it
	f.accepts(t, tokens.Access)
}

func TestExternalProviderAnswersBadly(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"nothing":     func(http.ResponseWriter) {},
		"no document": func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
		"another's":   func(w http.ResponseWriter) { fmt.Fprint(w, `{"issuer":"https://other.example"}`) },
		"endless":     func(w http.ResponseWriter) { fmt.Fprint(w, `{"x":"`, strings.Repeat("x", 2*maxAnswer), `"}`) },
		"elsewhere": func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := linked(t, onlySQLite(t))
			p.change(func() { p.other = answer })
			f.refuses(t, p.token(f, "17").text(t), "identity.provider-unavailable")
		})
	}
	t.Run("no keys", func(t *testing.T) {
		f, p := linked(t, onlySQLite(t))
		p.change(func() {
			p.other = func(w http.ResponseWriter) {
				fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"keys":7}`, p.URL, p.URL+"/keys")
			}
		})
		f.refuses(t, p.token(f, "17").text(t), "identity.provider-unavailable")
		p.change(func() { p.other = nil })
		f.accepts(t, p.token(f, "17").text(t))
	})
	t.Run("a caller who leaves", func(t *testing.T) {
		f, p := linked(t, onlySQLite(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Verify(ctx, p.token(f, "17").text(t)); err == nil {
			t.Fatal("accepted without a database")
		}
		f.accepts(t, p.token(f, "17").text(t))
		if n := p.count("/keys"); n != 1 {
			t.Fatalf("asked %d times", n)
		}
	})
	t.Run("keys without TLS", func(t *testing.T) {
		f, p := linked(t, onlySQLite(t))
		p.change(func() {
			p.other = func(w http.ResponseWriter) {
				fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"http://127.0.0.1:1/keys"}`, p.URL)
			}
		})
		f.refuses(t, p.token(f, "17").text(t), "identity.provider-unavailable")
	})
}

// TestStrangersCannotMakeUsAsk holds that tokens with made-up keys do not become a flood on the provider.
func TestStrangersCannotMakeUsAsk(t *testing.T) {
	f, p := linked(t, onlySQLite(t))
	good := p.token(f, "17")
	f.accepts(t, good.text(t))
	for n := range 100 {
		g := p.token(f, "17")
		g.header["kid"] = fmt.Sprint("made-up-", n)
		if _, err := f.Verify(t.Context(), g.text(t)); err == nil {
			t.Fatal("accepted")
		}
	}
	if n := p.count("/keys"); n > 6 {
		t.Fatalf("asked %d times", n)
	}
	f.accepts(t, good.text(t))
}

// TestProviderWithoutNetwork verifies with keys from the configuration, of every kind, and by another claim.
func TestProviderWithoutNetwork(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ed.Public(), KeyID: "ed"}, {Key: ec.Public(), KeyID: "ec"},
		{Key: rs.Public(), KeyID: "rs"}, {Key: rs.Public(), KeyID: "ps", Algorithm: "PS256"}}}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	const issuer = "urn:example:municipal-id"
	f := newFixture(t, onlySQLite(t), func(o *Options) {
		o.External = []Provider{{Issuer: issuer, Audience: "weir", SubjectClaim: "employee", JWKS: text}}
	})
	f.create(t, Account{Name: "zhang.min", External: []Subject{{issuer, "E-17"}}}, "")
	mint := func(method jwt.SigningMethod, key any, id string, employee any) string {
		now := f.clock.Now().Unix()
		return forgery{method, key, map[string]any{"kid": id}, jwt.MapClaims{"iss": issuer, "aud": "weir", "sub": "E-17",
			"employee": employee, "iat": now, "exp": now + 60}}.text(t)
	}
	for _, c := range []struct {
		name, token, code string
	}{
		{"EdDSA", mint(jwt.SigningMethodEdDSA, ed, "ed", "E-17"), ""},
		{"ES256", mint(jwt.SigningMethodES256, ec, "ec", "E-17"), ""},
		{"RS256", mint(jwt.SigningMethodRS256, rs, "rs", "E-17"), ""},
		{"PS256", mint(jwt.SigningMethodPS256, rs, "ps", "E-17"), ""},
		{"RS256 with a key for PS256", mint(jwt.SigningMethodRS256, rs, "ps", "E-17"), "identity.token-invalid"},
		{"RS512, not configured", mint(jwt.SigningMethodRS512, rs, "rs", "E-17"), "identity.token-invalid"},
		{"the right key under another id", mint(jwt.SigningMethodEdDSA, ed, "ec", "E-17"), "identity.token-invalid"},
		{"another employee", mint(jwt.SigningMethodEdDSA, ed, "ed", "E-18"), "identity.account-unknown"},
		{"no employee", mint(jwt.SigningMethodEdDSA, ed, "ed", nil), "identity.token-invalid"},
		{"a list of employees", mint(jwt.SigningMethodEdDSA, ed, "ed", []string{"E-17"}), "identity.token-invalid"},
		{"a control character", mint(jwt.SigningMethodEdDSA, ed, "ed", "E-17\x00"), "identity.token-invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.code == "" {
				f.accepts(t, c.token)
				return
			}
			f.refuses(t, c.token, c.code)
		})
	}
}
