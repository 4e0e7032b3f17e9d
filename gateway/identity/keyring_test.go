package identity

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

func keyFiles(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRotateKey(t *testing.T) {
	f := newFixture(t, onlySQLite(t), func(o *Options) { o.TokenLife = MaxTokenLife })
	before, _ := f.signIn(t)
	forge := own(t, f, before.Access)
	if err := f.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, _ := f.signIn(t)
	if forge().header["kid"] == own(t, f, after.Access)().header["kid"] {
		t.Fatal("the old key still signs")
	}
	f.clock.Advance(MaxTokenLife - time.Second)
	f.accepts(t, before.Access)
	f.accepts(t, after.Access)

	// The token of a rotated-out key: everything about it is good but the key's time.
	g := forge()
	now := f.clock.Now()
	g.claims["iat"], g.claims["exp"] = now.Unix(), now.Add(MaxTokenLife).Unix()
	f.accepts(t, g.text(t))
	f.clock.Advance(2 * time.Second)
	f.refuses(t, g.text(t), "identity.token-invalid")

	if n := len(keyFiles(t, f.dir)); n != 2 {
		t.Fatalf("%d key files", n)
	}
	if err := f.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(keyFiles(t, f.dir)); n != 2 {
		t.Fatalf("%d key files, the oldest was not deleted", n)
	}
}

// TestKeysAreShared holds that a rotation by one process is seen by another, at once, and a deleted key within a
// minute.
func TestKeysAreShared(t *testing.T) {
	db := onlySQLite(t)
	f := newFixture(t, db)
	other, err := New(t.Context(), db, f.dir, f.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokens, _, err := other.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: home})
	if err != nil {
		t.Fatal(err)
	}
	f.accepts(t, tokens.Access)
	mine, _ := f.signIn(t)
	if own(t, f, mine.Access)().header["kid"] != own(t, f, tokens.Access)().header["kid"] {
		t.Fatal("the old key still signs here")
	}
	for _, path := range keyFiles(t, f.dir) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	f.clock.Advance(reload)
	f.refuses(t, tokens.Access, "identity.token-invalid")
	if got, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: home}); err == nil || got != (Tokens{}) {
		t.Fatal("signed without a key")
	}
}

func TestKeyFilesArePrivate(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	path := keyFiles(t, f.dir)[0]
	for name, want := range map[string]os.FileMode{f.dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Fatalf("%v, %v", info.Mode(), err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	spoil := map[string]func() error{
		"readable by others": func() error { return os.Chmod(path, 0o640) },
		"not a key":          func() error { return os.WriteFile(path, []byte("x"), 0o600) },
		"truncated":          func() error { return os.WriteFile(path, text[:len(text)/2], 0o600) },
		"without a time": func() error {
			return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), 0o600)
		},
		"a link": func() error {
			elsewhere := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(elsewhere, text, 0o600); err != nil {
				return err
			}
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink(elsewhere, path)
		},
		"under another name": func() error { return os.WriteFile(filepath.Join(f.dir, "other.pem"), text, 0o600) },
	}
	for name, do := range spoil {
		t.Run(name, func(t *testing.T) {
			if err := do(); err != nil {
				t.Fatal(err)
			}
			_, err := New(t.Context(), f.db, f.dir, f.options)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "PRIVATE") {
				t.Fatal("the error shows the file")
			}
			for _, p := range keyFiles(t, f.dir) {
				if err := os.Remove(p); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(t.Context(), f.db, f.dir, f.options); err != nil {
				t.Fatalf("mended: %v", err)
			}
		})
	}
}

func TestRotateAtOnce(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	tokens, _ := f.signIn(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := f.RotateKey(t.Context()); err != nil {
				t.Error(err)
			}
			f.accepts(t, tokens.Access)
		})
	}
	all.Wait()
}

// TestOthersCanVerify lets a foreign OpenID verifier find and use our keys over HTTP.
func TestOthersCanVerify(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	f := newFixture(t, onlySQLite(t), func(o *Options) { o.Issuer = server.URL + "/" })
	mux.Handle("GET "+DiscoveryPath, f.Discovery())
	mux.Handle("GET "+JWKSPath, f.JWKS())
	tokens, _ := f.signIn(t)
	if err := f.RotateKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(t.Context(), server.Client()), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: server.URL, Now: f.clock.Now})
	token, err := verifier.Verify(t.Context(), tokens.Access)
	if err != nil || token.Subject != "li.wei" {
		t.Fatal(token, err)
	}
	answer, err := server.Client().Get(server.URL + JWKSPath)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var set struct{ Keys []map[string]any }
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil || len(set.Keys) != 2 {
		t.Fatalf("%v, %v", set, err)
	}
	for _, k := range set.Keys {
		if _, secret := k["d"]; secret || k["kty"] != "OKP" || k["use"] != "sig" {
			t.Fatalf("published %v", k)
		}
	}
}
