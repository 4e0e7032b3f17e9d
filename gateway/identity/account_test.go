package identity

import (
	"slices"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"weir/internal/store/storetest"
	"weir/policy"
)

func TestCreateAccount(t *testing.T) {
	const issuer = "https://id.example"
	good := Account{Name: "wang.fang", DisplayName: "王芳", Organisation: "大数据局", Roles: []policy.Role{policy.Authority}}
	cases := []struct {
		name     string
		edit     func(*Account)
		password string
		code     string
	}{
		{"good", func(*Account) {}, testPassword, ""},
		{"twice", func(*Account) {}, testPassword, "identity.account-exists"},
		{"linked, without a password", func(a *Account) { a.Name, a.External = "b2", []Subject{{issuer, "1"}} }, "", ""},
		{"linked to a linked subject", func(a *Account) { a.Name, a.External = "b3", []Subject{{issuer, "1"}} }, "", "identity.account-exists"},
		{"neither", func(a *Account) { a.Name = "b4" }, "", "identity.account-invalid"},
		{"linked to us", func(a *Account) { a.Name, a.External = "b4", []Subject{{testIssuer, "1"}} }, "", "identity.account-invalid"},
		{"linked to nobody", func(a *Account) { a.Name, a.External = "b4", []Subject{{issuer, ""}} }, "", "identity.account-invalid"},
		{"linked to a stranger", func(a *Account) { a.Name, a.External = "b4", []Subject{{"https://x.example", "1"}} }, "", "identity.account-invalid"},
		{"no name", func(a *Account) { a.Name = "" }, testPassword, "identity.account-invalid"},
		{"upper case", func(a *Account) { a.Name = "Wang" }, testPassword, "identity.account-invalid"},
		{"look-alike letter", func(a *Account) { a.Name = "w\u0430ng" }, testPassword, "identity.account-invalid"},
		{"long name", func(a *Account) { a.Name = strings.Repeat("a", 65) }, testPassword, "identity.account-invalid"},
		{"no real name", func(a *Account) { a.Name, a.DisplayName = "b4", " " }, testPassword, "identity.account-invalid"},
		{"two lines", func(a *Account) { a.Name, a.DisplayName = "b4", "王\n芳" }, testPassword, "identity.account-invalid"},
		{"no organisation", func(a *Account) { a.Name, a.Organisation = "b4", "" }, testPassword, "identity.account-invalid"},
		{"no role", func(a *Account) { a.Name, a.Roles = "b4", nil }, testPassword, "identity.roles-refused"},
		{"unknown role", func(a *Account) { a.Name, a.Roles = "b4", []policy.Role{"root"} }, testPassword, "identity.roles-refused"},
		{"two sides", func(a *Account) { a.Name, a.Roles = "b4", []policy.Role{policy.Officer, policy.Analyst} }, testPassword, "identity.roles-refused"},
		{"one side", func(a *Account) { a.Name, a.Roles = "b4", []policy.Role{policy.Operator, policy.Analyst} }, testPassword, ""},
		{"weak password", func(a *Account) { a.Name = "b5" }, "short", "identity.password-weak"},
	}
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db, func(o *Options) {
			o.External = []Provider{{Issuer: issuer, Audience: "weir"}}
		})
		for _, c := range cases {
			a := good
			c.edit(&a)
			if err := f.CreateAccount(t.Context(), a, c.password); codeOf(err) != c.code {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		list, err := f.Accounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, a := range list {
			names = append(names, a.Name)
		}
		if !slices.Equal(names, []string{"b2", "b4", "li.wei", "wang.fang"}) {
			t.Fatalf("what was refused left something: %v", names)
		}
		if got := list[3]; got.DisplayName != "王芳" || got.Organisation != "大数据局" || !got.Created.Equal(f.clock.Now()) ||
			!slices.Equal(got.Roles, good.Roles) || got.Disabled || got.External != nil {
			t.Fatalf("%+v", got)
		}
		if got := list[0].External; !slices.Equal(got, []Subject{{issuer, "1"}}) {
			t.Fatalf("%+v", got)
		}
	})
}

func TestChangeAccount(t *testing.T) {
	const issuer = "https://id.example"
	f := newFixture(t, onlySQLite(t), func(o *Options) { o.External = []Provider{{Issuer: issuer, Audience: "weir"}} })
	f.create(t, Account{Name: "other", External: []Subject{{issuer, "1"}}}, "")
	ctx := t.Context()
	for _, name := range []string{"nobody", "", "li.wei\x00", "LI.WEI"} {
		for change, err := range map[string]error{
			"disable": f.DisableAccount(ctx, name), "enable": f.EnableAccount(ctx, name),
			"roles":    f.SetRoles(ctx, name, []policy.Role{policy.Operator}),
			"password": f.ResetPassword(ctx, name, "some other good words"),
			"links":    f.SetExternal(ctx, name, nil),
		} {
			if codeOf(err) != "identity.no-such-account" {
				t.Errorf("%s %q: %v", change, name, err)
			}
		}
	}
	if err := f.SetRoles(ctx, "li.wei", []policy.Role{policy.Officer, policy.Analyst}); codeOf(err) != "identity.roles-refused" {
		t.Fatal(err)
	}
	tokens, _ := f.signIn(t)
	if err := f.SetExternal(ctx, "li.wei", []Subject{{issuer, "2"}, {issuer, "1"}}); codeOf(err) != "identity.account-exists" {
		t.Fatal(err)
	}
	f.accepts(t, tokens.Access) // a refused change changes nothing
	if err := f.SetExternal(ctx, "li.wei", []Subject{{issuer, "2"}}); err != nil {
		t.Fatal(err)
	}
	f.refuses(t, tokens.Access, "identity.session-ended")
	if err := f.DisableAccount(ctx, "li.wei"); err != nil {
		t.Fatal(err)
	}
	list, err := f.Accounts(ctx)
	if err != nil || !list[0].Disabled || !slices.Equal(list[0].External, []Subject{{issuer, "2"}}) {
		t.Fatalf("%+v, %v", list, err)
	}
}

func TestWhoSomebodyIsNow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f, ctx := newFixture(t, db, func(*Options) {}), t.Context()
		f.create(t, Account{Name: "other"}, testPassword)
		who, err := f.Person(ctx, "li.wei")
		if err != nil || who.Subject != "li.wei" || who.Organisation == "" || len(who.Roles) == 0 || who.Session != "" {
			t.Fatalf("%+v, %v", who, err)
		}
		names := []string{"li.wei", "other", "nobody"}
		if barred, err := f.Barred(ctx, names); err != nil || len(barred) != 0 {
			t.Errorf("barred: %v, %v", barred, err)
		}
		if err := f.DisableAccount(ctx, "other"); err != nil {
			t.Fatal(err)
		}
		if barred, err := f.Barred(ctx, names); err != nil || !slices.Equal(barred, []string{"other"}) {
			t.Errorf("barred: %v, %v", barred, err)
		}
		if barred, err := f.Barred(ctx, nil); err != nil || len(barred) != 0 {
			t.Errorf("barred of nobody: %v, %v", barred, err)
		}
		for name, code := range map[string]string{"other": "identity.account-disabled", "nobody": "identity.no-such-account", "": "identity.no-such-account"} {
			if _, err := f.Person(ctx, name); codeOf(err) != code {
				t.Errorf("%q: %v", name, err)
			}
		}
		if err := f.SetRoles(ctx, "li.wei", []policy.Role{policy.Operator}); err != nil {
			t.Fatal(err)
		}
		if who, err := f.Person(ctx, "li.wei"); err != nil || !slices.Equal(who.Roles, []policy.Role{policy.Operator}) {
			t.Errorf("after a change: %+v, %v", who, err)
		}
	})
}
