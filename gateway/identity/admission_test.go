package identity

import (
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

func newcomer(name string, roles ...policy.Role) Account {
	return Account{Name: name, DisplayName: "新人", Organisation: "某局", Roles: roles}
}

// opens tries credentials and gives the code of the refusal.
func (f *fixture) opens(t testing.TB, name, password, next string) string {
	t.Helper()
	tokens, who, err := f.SignIn(t.Context(), Credentials{Name: name, Password: password, Next: next, From: home})
	if err != nil && (tokens != (Tokens{}) || who.Subject != "") {
		t.Fatalf("refused, and let in: %+v", who)
	}
	if err != nil {
		return codeOf(err)
	}
	return ""
}

// TestAFirstPasswordIsGoodOnce: it opens nothing until its owner chooses another in the same step, and nothing after.
func TestAFirstPasswordIsGoodOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		first, err := f.Admit(t.Context(), newcomer("zhao", policy.Provider))
		if err != nil || first == "" {
			t.Fatal(err)
		}
		const own = "quiet lake under snow"
		for _, c := range []struct{ password, next, code string }{
			{first, "", "identity.password-first"},
			{first, first, "identity.password-weak"},
			{first, "short", "identity.password-weak"},
			{"another password than that", own, "identity.sign-in-failed"},
			{first, own, ""},
			{first, own, "identity.sign-in-failed"},
			{own, "", ""},
			{own, "yet another one entirely", "identity.password-own"},
		} {
			if got := f.opens(t, "zhao", c.password, c.next); got != c.code {
				t.Fatalf("%q, then %q: got %q, want %q", c.password, c.next, got, c.code)
			}
		}

		late, err := f.Reset(t.Context(), "zhao")
		if err != nil {
			t.Fatal(err)
		}
		if got := f.opens(t, "zhao", own, ""); got != "identity.sign-in-failed" {
			t.Errorf("the old password after a reset: %q", got)
		}
		f.clock.Advance(firstLife + time.Second)
		if got := f.opens(t, "zhao", late, own); got != "identity.password-late" {
			t.Errorf("a week later: %q", got)
		}
	})
}

// TestOneOfTwoChooses: of two who show a first password at once, one is let in.
func TestOneOfTwoChooses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		first, err := f.Admit(t.Context(), newcomer("zhao", policy.Provider))
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		in := make(chan string, 2)
		for _, next := range []string{"quiet lake under snow", "loud river over stone"} {
			all.Go(func() {
				_, _, err := f.SignIn(t.Context(), Credentials{Name: "zhao", Password: first, Next: next, From: home})
				if err == nil {
					in <- next
				} else if codeOf(err) != "identity.sign-in-failed" {
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		if len(in) != 1 {
			t.Fatalf("%d were let in", len(in))
		}
		if got := f.opens(t, "zhao", <-in, ""); got != "" {
			t.Errorf("the one who was: %s", got)
		}
	})
}

// TestTwoPeopleAndTwoHalves: a proposal does nothing until another confirms it, once, and neither half opens anything.
func TestTwoPeopleAndTwoHalves(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, f := t.Context(), newFixture(t, db)
		officer := newcomer("zhao", policy.Officer)
		propose := func(kind Kind, a Account) (Proposal, string) {
			t.Helper()
			p, half, err := f.Propose(ctx, Proposal{Kind: kind, Account: a, Reason: "上岗", By: "wang"})
			if err != nil {
				t.Fatal(err)
			}
			return p, half
		}
		p, first := propose(ProposeCreate, officer)
		if _, found, err := f.account(ctx, "zhao"); found || err != nil {
			t.Fatalf("made by one: %v", err)
		}
		if _, _, err := f.Confirm(ctx, p.ID, "wang"); codeOf(err) != "policy.own-account" {
			t.Fatalf("confirmed by who proposed it: %v", err)
		}
		_, second, err := f.Confirm(ctx, p.ID, "qian")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Confirm(ctx, p.ID, "qian"); codeOf(err) != "identity.no-such-proposal" {
			t.Errorf("confirmed twice: %v", err)
		}
		const own = "quiet lake under snow"
		for _, half := range []string{first, second, second + first} {
			if got := f.opens(t, "zhao", half, own); got != "identity.sign-in-failed" {
				t.Errorf("a half opens: %q", got)
			}
		}
		if got := f.opens(t, "zhao", first+second, own); got != "" {
			t.Errorf("both halves: %q", got)
		}
		var kept proposalRow
		if err := db.NewSelect().Model(&kept).Where("id = ?", p.ID).Scan(ctx); err != nil || kept.Half != "" || kept.Password != "" {
			t.Errorf("kept of the password: %+v, %v", kept, err)
		}

		reset, _ := propose(ProposeReset, officer)
		if _, _, err := f.Confirm(ctx, reset.ID, "zhao"); codeOf(err) != "policy.own-account" {
			t.Errorf("confirmed by whose account it is: %v", err)
		}
		if err := f.Refuse(ctx, reset.ID, "wang"); err != nil {
			t.Fatal(err)
		}
		if got := f.opens(t, "zhao", own, ""); got != "" {
			t.Errorf("after a refusal: %q", got)
		}
		roles, half := propose(ProposeRole, newcomer("zhao", policy.Supervisor))
		if half != "" {
			t.Error("other roles come with a password")
		}
		if _, _, err := f.Confirm(ctx, roles.ID, "qian"); err != nil {
			t.Fatal(err)
		}
		if who, err := f.Person(ctx, "zhao"); err != nil || !who.Has(policy.Supervisor) || who.Has(policy.Officer) {
			t.Errorf("roles: %v, %v", who, err)
		}
		old, _ := propose(ProposeReset, officer)
		f.clock.Advance(firstLife)
		if _, _, err := f.Confirm(ctx, old.ID, "qian"); codeOf(err) != "identity.no-such-proposal" {
			t.Errorf("a week later: %v", err)
		}
		if _, _, err := f.Propose(ctx, Proposal{Kind: ProposeCreate, Account: officer, Reason: "x", By: "wang"}); codeOf(err) != "identity.account-exists" {
			t.Errorf("an account that there is: %v", err)
		}
	})
}

// TestTheLastTwoAuthorities stay, whatever is tried, and however many try at once.
func TestTheLastTwoAuthorities(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, f := t.Context(), newFixture(t, db)
		for _, name := range []string{"wang", "qian", "hong"} {
			f.create(t, Account{Name: name, Roles: []policy.Role{policy.Authority}}, testPassword)
		}
		if _, err := f.Admit(ctx, newcomer("new", policy.Authority)); err != nil { // has not signed in: may be nobody
			t.Fatal(err)
		}
		codes := make(chan string, 3)
		var all sync.WaitGroup
		for _, name := range []string{"wang", "qian", "hong"} {
			all.Go(func() {
				if err := f.DisableAccount(ctx, name); err != nil {
					codes <- codeOf(err)
				}
			})
		}
		all.Wait()
		close(codes)
		n := 0
		for code := range codes {
			n++
			if code != "identity.last-authorities" {
				t.Errorf("refused with %s", code)
			}
		}
		if n != 2 {
			t.Fatalf("of three, %d were kept", n)
		}
		var left []account
		if err := db.NewSelect().Model(&left).Where("disabled_at = 0").Where("once_until = 0").Where("roles LIKE ?", "%authority%").Scan(ctx); err != nil || len(left) != 2 {
			t.Fatalf("%d left, %v", len(left), err)
		}
		if err := f.SetRoles(ctx, left[0].Name, []policy.Role{policy.Provider}); codeOf(err) != "identity.last-authorities" {
			t.Errorf("other roles: %v", err)
		}
		if err := f.DisableAccount(ctx, "new"); err != nil {
			t.Errorf("who has not signed in: %v", err)
		}
		if err := f.DisableAccount(ctx, "li.wei"); err != nil {
			t.Errorf("an analyst: %v", err)
		}
	})
}

// TestARescuerLetsTwoInAndEnds: a third finds it ended, also where all come at once.
func TestARescuerLetsTwoInAndEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, f := t.Context(), newFixture(t, db)
		if _, err := f.AdmitRescuer(ctx, newcomer("glass")); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		made := make(chan string, 3)
		for _, name := range []string{"wang", "qian", "hong"} {
			all.Go(func() {
				first, err := f.AdmitBy(ctx, "glass", newcomer(name, policy.Authority))
				switch {
				case err == nil && first != "":
					made <- name
				case codeOf(err) != "identity.rescue-over":
					t.Errorf("got %v", err)
				}
			})
		}
		all.Wait()
		if len(made) != 2 {
			t.Fatalf("%d were let in", len(made))
		}
		if _, err := f.Person(ctx, "glass"); codeOf(err) != "identity.account-disabled" {
			t.Errorf("it goes on: %v", err)
		}
		if _, err := f.AdmitBy(ctx, "li.wei", newcomer("more", policy.Authority)); problem.Of(err).Code != "identity.rescue-over" {
			t.Errorf("an analyst lets somebody in: %v", err)
		}
		list, err := f.Accounts(ctx)
		if err != nil || len(list) != 4 {
			t.Errorf("%d accounts, %v", len(list), err)
		}
	})
}
