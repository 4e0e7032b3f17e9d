package identity

import (
	"context"
	"strings"
	"testing"

	"weir/policy"
)

func TestPasswordRules(t *testing.T) {
	cases := map[string]bool{
		testPassword:                      true,
		"elevenchars":                     false,
		"twelve chars":                    true,
		"十二个汉字也算得上是口令":                    true,
		"十一个汉字还不能算口令":                     false,
		"my Li.Wei account":               false,
		"Password1234":                    false,
		"1qaz2wsx3edc":                    false,
		"woaini1314520":                   false,
		"woaini1314520 said the old weir": true,
		"aaaaaaaaaaaaaa":                  false,
		"abababababababab":                false,
		strings.Repeat("four words ", 12): false,
		strings.Repeat("x", 1<<20):        false,
		"control\x07characters":           false,
		"not \xff UTF-8 at all":           false,
	}
	f := newFixture(t, onlySQLite(t))
	for password, good := range cases {
		err := f.ResetPassword(t.Context(), "li.wei", password)
		if want := map[bool]string{true: "", false: "identity.password-weak"}[good]; codeOf(err) != want {
			t.Errorf("%.40q: %v", password, err)
		}
	}
}

func TestPasswordIsTheSameOnEveryKeyboard(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	f.create(t, Account{Name: "composed"}, "caf\u00e9 au lait, deux sucres")
	for password, good := range map[string]bool{
		"cafe\u0301 au lait, deux sucres":      true,
		"caf\u00e9 au lait,\u3000deux sucres":  true, // an ideographic space
		"cafe au lait, deux sucres":            false,
		"caf\u00e9 au lait, deux sucres ":      false,
		"CAF\u00c9 AU LAIT, DEUX SUCRES":       false,
		"caf\u00e9 au lait, deux sucres\u0000": false,
	} {
		_, _, err := f.SignIn(t.Context(), Credentials{Name: "composed", Password: password, From: home})
		if (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func TestHashIsRenewedWhenCostsChange(t *testing.T) {
	db := onlySQLite(t)
	f := newFixture(t, db)
	before, _, err := f.account(t.Context(), "li.wei")
	if err != nil {
		t.Fatal(err)
	}
	tokens, _ := f.signIn(t)
	o := f.options
	o.Argon.Time++
	again, err := New(t.Context(), db, f.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	f.Identity = again
	f.signIn(t)
	after, _, err := f.account(t.Context(), "li.wei")
	if err != nil || after.Password == before.Password || !strings.Contains(after.Password, "t=3") {
		t.Fatalf("%q, %v", after.Password, err)
	}
	f.signIn(t)
	f.accepts(t, tokens.Access) // the same password: no session ends
}

func TestStoredHash(t *testing.T) {
	h, err := newHasher(LeastArgon)
	if err != nil {
		t.Fatal(err)
	}
	good, err := h.hash(t.Context(), testPassword)
	if err != nil {
		t.Fatal(err)
	}
	if ok, stale, err := h.matches(t.Context(), good, testPassword); !ok || stale || err != nil {
		t.Fatal(ok, stale, err)
	}
	if ok, _, err := h.matches(t.Context(), "", testPassword); ok || err != nil {
		t.Fatalf("no password at all: %v, %v", ok, err)
	}
	parts := strings.Split(good, "$")
	for _, bad := range []string{"x", testPassword, strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1), strings.Replace(good, "m=19456", "m=4294967295", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1),
		strings.Join(append(parts[:5:5], ""), "$"), strings.Join(append(parts[:4:4], "", parts[5]), "$")} {
		if ok, _, err := h.matches(t.Context(), bad, testPassword); ok || err == nil {
			t.Errorf("%q: %v", bad, ok)
		}
	}
}

func TestTurnIsBoundByContext(t *testing.T) {
	h, err := newHasher(LeastArgon)
	if err != nil {
		t.Fatal(err)
	}
	for range cap(h.turns) {
		if _, err := h.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.hash(ctx, testPassword); codeOf(err) != "identity.busy" {
		t.Fatal(err)
	}
	if _, _, err := h.matches(ctx, h.dummy, ""); codeOf(err) != "identity.busy" {
		t.Fatal(err)
	}
}

func TestChangePassword(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	const next = "another four words entirely"
	change := func(current, next string) string {
		return codeOf(f.ChangePassword(t.Context(), "li.wei", current, next, home))
	}
	if got := change("a wrong password, certainly", next); got != "identity.sign-in-failed" {
		t.Fatal(got)
	}
	if got := change(testPassword, "short"); got != "identity.password-weak" {
		t.Fatal(got)
	}
	f.signIn(t)
	if got := change(testPassword, next); got != "" {
		t.Fatal(got)
	}
	if _, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: home}); codeOf(err) != "identity.sign-in-failed" {
		t.Fatal(err)
	}
	if _, who, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: next, From: home}); err != nil || !who.Has(policy.Analyst) {
		t.Fatal(err)
	}
	for range limits[pair].free {
		change("a wrong password, certainly", next)
	}
	if got := change(next, testPassword); got != "identity.too-many-attempts" {
		t.Fatal(got)
	}
}
