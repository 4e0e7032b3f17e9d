package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

func approve(t *testing.T, v *Vault, d policy.Dataset) {
	t.Helper()
	if err := decideOn(t, v, d.Name, d.Version, policy.VersionApproved); err != nil {
		t.Fatal(cause(err))
	}
}

func decideOn(t *testing.T, v *Vault, name string, number int, state policy.VersionState) error {
	t.Helper()
	_, err := v.Decide(t.Context(), policy.VersionDecision{Dataset: name, Version: number, State: state, Reason: "said so"})
	return err
}

// declare takes two rows in under a declaration that is given as lines of a manifest.
func declare(t *testing.T, v *Vault, name, provider, lines, columns string) (Intake, error) {
	t.Helper()
	dir := t.TempDir()
	text := "name: " + name + "\nprovider: " + provider + "\nfile: data.csv\n" + lines + "\ncolumns: [" + columns + "]\n"
	for file, content := range map[string]string{"m.yaml": text, "data.csv": "id,n,s\na,1,x\nb,2,y\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v.Intake(t.Context(), filepath.Join(dir, "m.yaml"))
}

const (
	protected = "units: [{domain: person, key: id, rows: 1}]"
	idColumn  = "{name: id, type: text, class: identifier}"
	sensitive = idColumn + ", {name: s, type: text, class: sensitive}"
	quasi     = idColumn + ", {name: s, type: text, class: quasi}"
)

func weakerIn(list []policy.Weakening) string {
	var words []string
	for _, w := range list {
		words = append(words, strings.TrimSpace(string(w.What)+" "+w.Column))
	}
	return strings.Join(words, ", ")
}

// TestReview: a first version waits, one as strict is served at once, a weaker one waits and is seen by nobody.
func TestReview(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		v, err := OpenVault(t.Context(), filepath.Join(t.TempDir(), "vault"), db, worker, master)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			what, lines, columns string
			state                policy.VersionState
			weaker               string
			decide               policy.VersionState
			code                 string // served instead
			served               int
		}{
			{"first", protected, quasi, policy.VersionWaiting, "first", "", "sandbox.not-approved", 0},
			{"again while the first waits", protected, quasi, policy.VersionWaiting, "first", policy.VersionApproved, "", 2},
			{"as strict", protected, quasi, policy.VersionApproved, "", "", "", 3},
			{"stricter", protected, sensitive, policy.VersionApproved, "", "", "", 4},
			{"as the second was", protected, quasi, policy.VersionWaiting, "class s", policy.VersionRefused, "", 4},
			{"open", "open: true", "{name: n, type: int, class: open}", policy.VersionWaiting, "open, membership, unit id, column n", policy.VersionWithdrawn, "", 4},
			{"weaker, and approved", protected, quasi, policy.VersionWaiting, "class s", policy.VersionApproved, "", 7},
			{"with a frame that is none", protected + "\nframe: nobody", quasi, policy.VersionWaiting, "frame, no-frame", "", "", 7},
		} {
			taken, err := declare(t, v, "people", "bureau", c.lines, c.columns)
			if err != nil {
				t.Fatalf("%s: %s", c.what, cause(err))
			}
			if taken.Dataset.Version != i+1 || taken.State != c.state || weakerIn(taken.Weaker) != c.weaker {
				t.Errorf("%s: version %d is %s because of %q", c.what, taken.Dataset.Version, taken.State, weakerIn(taken.Weaker))
			}
			if c.decide != "" {
				if err := decideOn(t, v, "people", i+1, c.decide); err != nil {
					t.Fatalf("%s: %s", c.what, cause(err))
				}
			}
			d, err := v.Dataset(t.Context(), "people")
			if c.code != "" {
				if problem.Of(err).Code != c.code {
					t.Errorf("%s: serves version %d, %v", c.what, d.Version, err)
				}
				continue
			}
			if err != nil || d.Version != c.served {
				t.Errorf("%s: serves version %d, %v", c.what, d.Version, err)
			}
			if all, err := v.Datasets(t.Context()); err != nil || len(all) != 1 || all[0].Version != c.served {
				t.Errorf("%s: lists %v, %v", c.what, all, err)
			}
		}
		var states []string
		all, err := v.Versions(t.Context(), "", "bureau")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			states = append(states, string(one.State))
		}
		want := "waiting withdrawn refused approved"
		if got := strings.Join([]string{states[0], states[2], states[3], states[4]}, " "); got != want {
			t.Errorf("states are %q", states)
		}
		if others, err := v.Versions(t.Context(), "people", "police"); err != nil || len(others) != 0 {
			t.Errorf("another provider sees %d versions, %v", len(others), err)
		}
		// Only what is approved can be opened, whoever asks for it by number.
		for number, want := range map[int]bool{1: false, 5: false, 6: false, 7: true, 8: false} {
			file, err := v.open(t.Context(), "people", number)
			if (err == nil) != want {
				t.Errorf("opening version %d: %v", number, err)
			}
			if err == nil {
				file.Close()
			}
		}
	})
}

func TestDecisions(t *testing.T) {
	v := vault(t)
	for range 2 {
		if _, err := declare(t, v, "people", "bureau", protected, quasi); err != nil {
			t.Fatal(cause(err))
		}
	}
	for _, c := range []struct {
		what   string
		number int
		state  policy.VersionState
		code   string
	}{
		{"a version that is not there", 3, policy.VersionApproved, "sandbox.unknown-version"},
		{"every version at once", 0, policy.VersionApproved, "sandbox.unknown-version"},
		{"back to waiting", 1, policy.VersionWaiting, "sandbox.version-decided"},
		{"the later one", 2, policy.VersionApproved, ""},
		{"twice", 2, policy.VersionApproved, "sandbox.version-decided"},
		{"the earlier one", 1, policy.VersionApproved, "sandbox.version-superseded"},
		{"what is in use", 2, policy.VersionRefused, "sandbox.version-decided"},
		{"the earlier one, refused", 1, policy.VersionRefused, ""},
		{"what was refused", 1, policy.VersionWithdrawn, "sandbox.version-decided"},
		{"all that is left", 0, policy.VersionWithdrawn, ""},
		{"all again", 0, policy.VersionWithdrawn, "sandbox.nothing-to-withdraw"},
		{"what was withdrawn", 2, policy.VersionApproved, "sandbox.version-decided"},
	} {
		err := decideOn(t, v, "people", c.number, c.state)
		if got := codeOf(err); got != c.code {
			t.Errorf("%s: %q, want %q", c.what, got, c.code)
		}
	}
	if _, err := v.Dataset(t.Context(), "people"); problem.Of(err).Code != "sandbox.not-approved" {
		t.Errorf("what was withdrawn is served: %v", err)
	}
	// Nothing is served, so there is nothing to compare the next with.
	taken, err := declare(t, v, "people", "bureau", protected, quasi)
	if err != nil || taken.State != policy.VersionWaiting || weakerIn(taken.Weaker) != "first" {
		t.Errorf("after a withdrawal: %s %v", taken.State, err)
	}
	if all, err := v.Versions(t.Context(), "people", ""); err != nil || all[1].Reason != "said so" || all[1].DecidedAt.IsZero() || !all[0].DecidedAt.IsZero() {
		t.Errorf("decisions are not kept: %+v, %v", all, err)
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return problem.Of(err).Code
}

func TestFrames(t *testing.T) {
	v := vault(t)
	loans := protected + "\nframe: everybody"
	take := func(name, lines string) Intake {
		t.Helper()
		taken, err := declare(t, v, name, "bureau", lines, quasi)
		if err != nil {
			t.Fatal(cause(err))
		}
		return taken
	}
	take("loans", loans)
	if err := decideOn(t, v, "loans", 1, policy.VersionApproved); codeOf(err) != "sandbox.no-frame" {
		t.Errorf("a frame that is not there: %v", err)
	}
	approve(t, v, take("everybody", protected).Dataset)
	if err := decideOn(t, v, "loans", 1, policy.VersionApproved); codeOf(err) != "sandbox.no-frame" {
		t.Errorf("a frame of secret membership: %v", err)
	}
	register := take("everybody", protected+"\nmembership: public")
	if err := decideOn(t, v, "loans", 1, policy.VersionApproved); codeOf(err) != "sandbox.no-frame" {
		t.Errorf("a frame that waits: %v", err)
	}
	approve(t, v, register.Dataset)
	approve(t, v, policy.Dataset{Name: "loans", Version: 1})
	if next := take("loans", loans); next.State != policy.VersionApproved {
		t.Errorf("the next one waits because of %q", weakerIn(next.Weaker))
	}
	if err := decideOn(t, v, "everybody", 0, policy.VersionWithdrawn); err != nil {
		t.Fatal(cause(err))
	}
	if next := take("loans", loans); next.State != policy.VersionWaiting || weakerIn(next.Weaker) != "no-frame" {
		t.Errorf("without its frame: %s because of %q", next.State, weakerIn(next.Weaker))
	}
}

// TestNameOfOneProvider: nobody else's version enters under a name, not even one that was numbered before the name was
// taken. What is refused leaves nothing behind.
func TestNameOfOneProvider(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		v, err := OpenVault(t.Context(), filepath.Join(t.TempDir(), "vault"), db, worker, master)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := declare(t, v, "people", "bureau", protected, quasi); err != nil {
			t.Fatal(cause(err))
		}
		before := left(t, v)
		refused := func(what string) {
			t.Helper()
			if _, err := declare(t, v, "people", "police", protected, quasi); codeOf(err) != "intake.name-taken" {
				t.Errorf("%s: %v", what, err)
			}
			if diff := cmp.Diff(before, left(t, v)); diff != "" {
				t.Error(what, diff)
			}
		}
		refused("another provider, while the first version waits")
		if _, err := declare(t, v, "people", "bureau ", protected, quasi); err != nil {
			t.Errorf("YAML trims the name, so this is the same provider: %s", cause(err))
		}
		for number := 1; number <= 2; number++ {
			if err := decideOn(t, v, "people", number, policy.VersionRefused); err != nil {
				t.Fatal(cause(err))
			}
		}
		taken, err := declare(t, v, "people", "police", protected, quasi)
		if err != nil || taken.Dataset.Version != 3 {
			t.Fatalf("every version was refused, so the name is free: %v", err)
		}
		approve(t, v, taken.Dataset)
		if _, err := declare(t, v, "people", "bureau", protected, quasi); codeOf(err) != "intake.name-taken" {
			t.Errorf("the one who was refused: %v", err)
		}
		if err := decideOn(t, v, "people", 0, policy.VersionWithdrawn); err != nil {
			t.Fatal(cause(err))
		}
		if _, err := declare(t, v, "people", "bureau", protected, quasi); codeOf(err) != "intake.name-taken" {
			t.Errorf("a name that was used and withdrawn: %v", err)
		}
	})
}

// TestNameTakenMeanwhile: two providers are numbered before either has entered; one of them enters.
func TestNameTakenMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		v, err := OpenVault(t.Context(), filepath.Join(t.TempDir(), "vault"), db, worker, master)
		if err != nil {
			t.Fatal(err)
		}
		var codes [2]string
		var entering sync.WaitGroup
		for i, provider := range []string{"bureau", "police"} {
			m := manifest{Dataset: policy.Dataset{Name: "people", Provider: provider, Version: 1, Rows: 1, Hash: strings.Repeat("0", 64)}}
			entering.Go(func() {
				codes[i] = codeOf(v.enter(context.Background(), m, version{Name: "people", Version: 1, Sealing: i}, [32]byte{byte(i)}, &Intake{}))
			})
		}
		entering.Wait()
		if codes[0] == codes[1] || codes[0] != "" && codes[1] != "" {
			t.Errorf("they ended with %q", codes)
		}
		if all, err := v.Versions(t.Context(), "people", ""); err != nil || len(all) != 1 {
			t.Errorf("%d versions, %v", len(all), err)
		}
	})
}
