package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/bundle"

	"weir/internal/store/storetest"
)

// signer is a key pair in the forms in which a bundle needs it.
type signer struct{ private, public []byte }

func newSigner(t *testing.T, curve elliptic.Curve) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), publicPEM(t, key.Public())}
}

func publicPEM(t *testing.T, key any) []byte {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
}

// packed writes the embedded rules, changed by edit, into a bundle and lets sign sign it.
func packed(t *testing.T, edit func(*bundle.Bundle), sign func(*bundle.Bundle) error, after func(*bundle.Bundle)) string {
	t.Helper()
	b := bundle.Bundle{Data: map[string]any{}}
	modules := embeddedRules(t)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		text, err := embedded.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Modules = append(b.Modules, bundle.ModuleFile{URL: "/" + name, Path: "/" + name, Raw: text, Parsed: modules[name]})
	}
	edit(&b)
	if err := sign(&b); err != nil {
		t.Fatal(err)
	}
	after(&b)
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).DisableFormat(true).Write(b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.tar.gz")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func by(s signer, keyID string) func(*bundle.Bundle) error {
	return func(b *bundle.Bundle) error {
		return b.GenerateSignature(bundle.NewSigningConfig(string(s.private), "ES256", ""), keyID, false)
	}
}

// TestBundle starts an engine on bundles: one that is signed as configured, beside everything that is nearly so.
func TestBundle(t *testing.T) {
	ours, another := newSigner(t, elliptic.P256()), newSigner(t, elliptic.P256())
	same := func(*bundle.Bundle) {}
	unsigned := func(*bundle.Bundle) error { return nil }
	loosened := func(b *bundle.Bundle) {
		for i, m := range b.Modules {
			b.Modules[i].Raw = []byte(strings.ReplaceAll(string(m.Raw), `"analyst" in`, `"maintainer" in`) + "\n# changed\n")
		}
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(b *bundle.Bundle) error { // signed with the public key as if it were a shared secret
		return b.GenerateSignature(bundle.NewSigningConfig(string(ours.public), "HS256", ""), "ours", false)
	}
	allowAll := func(b *bundle.Bundle) {
		b.Modules = b.Modules[:0]
		text := "package weir.query\n\ndecision := {\"allow\": true}\n"
		b.Modules = append(b.Modules, bundle.ModuleFile{URL: "/q.rego", Path: "/q.rego", Raw: []byte(text)})
	}
	data := func(b *bundle.Bundle) { b.Data["grants"] = []any{"g-1"} }
	good := SignedBundle{File: packed(t, same, by(ours, "ours"), same), Key: ours.public, KeyID: "ours"}

	with := func(change func(*SignedBundle)) SignedBundle { s := good; change(&s); return s }
	file := func(name string) SignedBundle { return with(func(s *SignedBundle) { s.File = name }) }
	key := func(text []byte) SignedBundle { return with(func(s *SignedBundle) { s.Key = text }) }
	for name, c := range map[string]struct {
		bundle SignedBundle
		want   string // part of the error; "" where it starts
	}{
		"signed as configured":        {good, ""},
		"not signed":                  {file(packed(t, same, unsigned, same)), ".signatures.json"},
		"signed by another":           {file(packed(t, same, by(another, "ours"), same)), "verify"},
		"signed with a shared secret": {file(packed(t, same, secret, same)), "verify"},
		"changed after it was signed": {file(packed(t, same, by(ours, "ours"), loosened)), "digest mismatch"},
		"more rules than were signed": {file(packed(t, same, by(ours, "ours"), func(b *bundle.Bundle) {
			b.Modules = append(b.Modules, bundle.ModuleFile{URL: "/x.rego", Path: "/x.rego", Raw: []byte("package x\n")})
		})), "not included"},
		"less rules than were signed": {file(packed(t, same, by(ours, "ours"), func(b *bundle.Bundle) { b.Modules = b.Modules[1:] })), "not found"},
		"holding data":                {file(packed(t, data, by(ours, "ours"), same)), "other than rules"},
		"allowing everything":         {file(packed(t, allowAll, by(ours, "ours"), same)), "without facts"},
		"no bundle":                   {file(filepath.Join(t.TempDir(), "none")), "policy bundle"},
		"another scope":               {with(func(s *SignedBundle) { s.Scope = "write" }), "scope"},
		"the key of another":          {key(another.public), "verify"},
		"no key":                      {key(nil), "not one public key"},
		"a private key":               {key(ours.private), "not one public key"},
		"two keys":                    {key(append(slices.Clone(ours.public), another.public...)), "not one public key"},
		"a key of another curve":      {key(newSigner(t, elliptic.P384()).public), "P-256"},
		"a key of another kind":       {key(publicPEM(t, edKey)), "P-256"},
		"a key that is none":          {key(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), "policy bundle"},
		"a key without a name":        {with(func(s *SignedBundle) { s.KeyID = "" }), "name"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := New(t.Context(), storetest.Open(t, storetest.SQLite(t)), Options{Now: (&clock{noon}).now, Bundle: &c.bundle})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v, want an error about %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			introduce(t, e)
			_, err = e.Authorize(t.Context(), analyst, granted(t, e, terms()).ID)
			expect(t, err, "")
			expect(t, e.Permit(t.Context(), analyst, AuditRead, Object{}), "policy.forbidden")
		})
	}
}
