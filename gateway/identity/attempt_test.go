package identity

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// guess tries a wrong password.
func (f *fixture) guess(t testing.TB, name, from string) string {
	t.Helper()
	tokens, who, err := f.SignIn(t.Context(), Credentials{Name: name, Password: "a wrong password, certainly", From: from})
	if err == nil || tokens != (Tokens{}) || who.Subject != "" {
		t.Fatalf("let in: %+v", who)
	}
	return codeOf(err)
}

func TestAttemptsAreLimited(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		const thief = "198.51.100.9"
		wait := 30 * time.Second
		for n := range limits[pair].free {
			if got := f.guess(t, "li.wei", thief); got != "identity.sign-in-failed" {
				t.Fatalf("guess %d: %s", n, got)
			}
		}
		for range 4 { // 30 s, 60 s, 120 s, 240 s
			f.clock.Advance(wait - time.Second)
			_, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: thief})
			if codeOf(err) != "identity.too-many-attempts" {
				t.Fatalf("the right password must wait %s too: %v", wait, err)
			}
			if help := problem.Of(err).In(problem.English).Help; help != "Try again in 1 seconds." {
				t.Fatal(help)
			}
			f.clock.Advance(time.Second)
			if got := f.guess(t, "li.wei", thief); got != "identity.sign-in-failed" {
				t.Fatalf("after %s: %s", wait, got)
			}
			wait *= 2
		}
		f.signIn(t) // elsewhere, the owner is not kept out

		// It survives a restart.
		again, err := New(t.Context(), db, f.dir, f.options)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := again.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: thief}); codeOf(err) != "identity.too-many-attempts" {
			t.Fatalf("after a restart: %v", err)
		}
		f.clock.Advance(attemptMemory + time.Second)
		if _, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: thief}); err != nil {
			t.Fatalf("after a day: %v", err)
		}
	})
}

func TestOwnerIsNotLockedOutFromElsewhere(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	f.signIn(t) // makes home an address of its own
	for n := range limits[whole].free {
		f.guess(t, "li.wei", fmt.Sprintf("198.51.100.%d", n))
	}
	if got := f.guess(t, "li.wei", "203.0.113.1"); got != "identity.too-many-attempts" {
		t.Fatalf("a new address is not limited: %s", got)
	}
	f.signIn(t)
	if got := f.guess(t, "zhang.min", "203.0.113.1"); got != "identity.sign-in-failed" {
		t.Fatalf("another account is limited: %s", got)
	}
	// Even for a new address the account is never closed for longer than the limit says.
	for n := range 40 {
		f.clock.Advance(limits[whole].most)
		if got := f.guess(t, "li.wei", fmt.Sprintf("203.0.113.%d", n+2)); got != "identity.sign-in-failed" {
			t.Fatalf("guess %d: %s", n, got)
		}
	}
}

// TestInventedNamesCloseNoAddress holds that whoever shares an address with somebody who types names is at most slowed
// down, and not at all where the account is known.
func TestInventedNamesCloseNoAddress(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	f.create(t, Account{Name: "zhang.min"}, testPassword)
	f.signIn(t) // li.wei is known at home, zhang.min is not
	for n := range 3 * limits[address].free {
		f.guess(t, fmt.Sprintf("name%d", n), home)
		if n >= limits[address].free {
			f.clock.Advance(limits[address].most)
		}
	}
	f.signIn(t)
	_, _, err := f.SignIn(t.Context(), Credentials{Name: "zhang.min", Password: testPassword, From: home})
	if codeOf(err) != "identity.too-many-attempts" || problem.Of(err).Wait() > 2*time.Second {
		t.Fatalf("a new account at the address waits %s: %v", problem.Of(err).Wait(), err)
	}
	f.clock.Advance(problem.Of(err).Wait())
	if _, _, err := f.SignIn(t.Context(), Credentials{Name: "zhang.min", Password: testPassword, From: home}); err != nil {
		t.Fatalf("after the wait that it was told: %v", err)
	}
}

// TestADeviceIsKnown holds that guesses from the owner's own address do not keep the owner's device out, and that the
// device's secret is no way around the limits.
func TestADeviceIsKnown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		f.create(t, Account{Name: "zhang.min"}, testPassword)
		first, _ := f.signIn(t)
		for range limits[pair].free {
			f.guess(t, "li.wei", home)
		}
		if got := f.guess(t, "li.wei", home); got != "identity.too-many-attempts" {
			t.Fatalf("the address is not limited: %s", got)
		}
		own := Credentials{Name: "li.wei", Password: testPassword, From: "198.51.100.77", Device: first.Device}
		again, _, err := f.SignIn(t.Context(), own)
		if err != nil || again.Device != first.Device {
			t.Fatalf("the owner's device: %v, known as %q and %q", err, first.Device, again.Device)
		}
		for name, c := range map[string]Credentials{
			"a device that nobody has": {Name: "li.wei", Password: testPassword, From: home, Device: "invented"},
			"no device":                {Name: "li.wei", Password: testPassword, From: home},
		} {
			if _, _, err := f.SignIn(t.Context(), c); codeOf(err) != "identity.too-many-attempts" {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Another account's device is unknown for this one, and is slowed like any.
		other, _, err := f.SignIn(t.Context(), Credentials{Name: "zhang.min", Password: testPassword, From: "198.51.100.1"})
		if err != nil || other.Device == "" {
			t.Fatal(err)
		}
		if _, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: home, Device: other.Device}); codeOf(err) != "identity.too-many-attempts" {
			t.Errorf("another's device: %v", err)
		}
		// Whoever holds the device guesses no faster.
		own.Password = "a wrong password, certainly"
		for n := range limits[pair].free {
			if _, _, err := f.SignIn(t.Context(), own); codeOf(err) != "identity.sign-in-failed" {
				t.Fatalf("guess %d at the device: %v", n, err)
			}
		}
		if _, _, err := f.SignIn(t.Context(), own); codeOf(err) != "identity.too-many-attempts" {
			t.Errorf("guesses at the device have no end: %v", err)
		}
	})
}

// TestAClockThatStepsCostsMinutes holds that what a clock wrote while it was a year ahead, or behind, locks nobody out.
func TestAClockThatStepsCostsMinutes(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, step := range []time.Duration{year, -year} {
		t.Run(step.String(), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				f := newFixture(t, db)
				f.clock.Advance(step)
				ahead, _ := f.signIn(t)
				for range limits[pair].free {
					f.guess(t, "li.wei", "198.51.100.9")
				}
				f.clock.Advance(-step)
				if _, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: "198.51.100.10"}); err != nil {
					t.Fatalf("from a new address: %v", err)
				}
				f.clock.Advance(limits[pair].most)
				if _, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: testPassword, From: "198.51.100.9"}); err != nil {
					t.Fatalf("minutes after: %v", err)
				}
				f.signIn(t)
				if step > 0 { // its session would outlive a session's life by a year
					if _, err := f.Refresh(t.Context(), ahead.Refresh); codeOf(err) != "identity.session-ended" {
						t.Errorf("a session of the future goes on: %v", err)
					}
				}
			})
		})
	}
}

func TestUnlock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		f.create(t, Account{Name: "zhang.min"}, testPassword)
		for range limits[pair].free {
			f.guess(t, "li.wei", home)
			f.guess(t, "zhang.min", home)
		}
		if err := f.Unlock(t.Context(), "li.wei"); err != nil {
			t.Fatal(err)
		}
		f.signIn(t)
		if got := f.guess(t, "zhang.min", home); got != "identity.too-many-attempts" {
			t.Errorf("another account was unlocked: %s", got)
		}
		if err := f.Unlock(t.Context(), "nobody"); codeOf(err) != "identity.no-such-account" {
			t.Errorf("nobody: %v", err)
		}
	})
}

func TestAddressIsLimitedOverAllNames(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	for n := range limits[address].free {
		// Every address of one /64 is the same attacker.
		if got := f.guess(t, fmt.Sprintf("name%d", n), fmt.Sprintf("2001:db8:1:2::%x", n)); got != "identity.sign-in-failed" {
			t.Fatalf("guess %d: %s", n, got)
		}
	}
	before, err := f.db.NewSelect().Table("identity_attempts").Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := f.guess(t, "one.more", "[2001:db8:1:2::ffff]:443"); got != "identity.too-many-attempts" {
		t.Fatal(got)
	}
	if after, err := f.db.NewSelect().Table("identity_attempts").Count(t.Context()); err != nil || after != before {
		t.Fatalf("a refused attempt left a row: %d, then %d, %v", before, after, err)
	}
	if got := f.guess(t, "one.more", "2001:db8:1:3::1"); got != "identity.sign-in-failed" {
		t.Fatal(got)
	}
}

// TestGuessesAtOnce holds that guesses made at the same time are counted one by one.
func TestGuessesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		f := newFixture(t, db)
		codes := make(chan string, 20)
		var all sync.WaitGroup
		for range cap(codes) {
			all.Go(func() {
				_, _, err := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: "a wrong password, certainly", From: home})
				codes <- codeOf(err)
			})
		}
		all.Wait()
		close(codes)
		count := map[string]int{}
		for c := range codes {
			count[c]++
		}
		free := limits[pair].free
		if count["identity.sign-in-failed"] != free || count["identity.too-many-attempts"] != cap(codes)-free {
			t.Fatal(count)
		}
	})
}

func TestUnknownIsLikeWrong(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	f.create(t, Account{Name: "gone"}, testPassword)
	if err := f.DisableAccount(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	_, _, wrong := f.SignIn(t.Context(), Credentials{Name: "li.wei", Password: "a wrong password, certainly", From: home})
	for _, c := range [][2]string{{"nobody", testPassword}, {"gone", testPassword}, {"", ""}, {"li.wei", ""},
		{"li.wei\x00", testPassword}, {"%", testPassword}, {"li.wei", "\x00\xff"}} {
		_, _, err := f.SignIn(t.Context(), Credentials{Name: c[0], Password: c[1], From: "192.0.2." + strconv.Itoa(len(c[0])+20)})
		if err == nil || wrong.Error() != err.Error() || problem.Of(err).Unwrap() != nil {
			t.Errorf("%q differs: %v", c, err)
		}
	}
	if _, _, err := f.SignIn(t.Context(), Credentials{Name: " Li.Wei ", Password: testPassword, From: home}); err != nil {
		t.Fatalf("the owner's own: %v", err)
	}
}

// TestSameWorkForUnknown counts the hash computations instead of the time they take.
func TestSameWorkForUnknown(t *testing.T) {
	f := newFixture(t, onlySQLite(t))
	f.create(t, Account{Name: "gone"}, testPassword)
	if err := f.DisableAccount(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	f.hasher.turns = make(chan struct{}) // the test hands out every turn and takes it back
	for _, c := range [][2]string{{"li.wei", "a wrong password, certainly"}, {"nobody", testPassword},
		{"gone", testPassword}, {"li.wei", "\xff"}, {"li.wei", strings.Repeat("x", 1<<16)}} {
		done := make(chan error)
		go func() {
			_, _, err := f.SignIn(t.Context(), Credentials{Name: c[0], Password: c[1], From: home})
			done <- err
		}()
		select {
		case <-f.hasher.turns:
		case err := <-done:
			t.Fatalf("%s: answered without computing: %v", c[0], err)
		}
		f.hasher.turns <- struct{}{}
		if err := <-done; codeOf(err) != "identity.sign-in-failed" {
			t.Fatalf("%s: %v", c[0], err)
		}
		f.clock.Advance(time.Minute)
	}
}

func TestWait(t *testing.T) {
	l := limit{free: 5, first: 30 * time.Second, most: time.Hour}
	for failures, want := range map[int]time.Duration{-1: 0, 0: 0, 4: 0, 5: 30 * time.Second, 6: time.Minute,
		11: 32 * time.Minute, 12: time.Hour, 1 << 40: time.Hour} {
		if got := l.wait(failures); got != want {
			t.Errorf("%d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7",
		"192.0.2.7:1234":         "192.0.2.7",
		"::ffff:192.0.2.7":       "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"[2001:db8:1:2::9]:1234": "2001:db8:1:2::/64",
		"fe80::1%eth0":           "fe80::/64",
		"":                       "",
		"a socket":               "a socket",
	} {
		if got := network(from); got != want {
			t.Errorf("%q: %q, want %q", from, got, want)
		}
	}
}
