package main

import (
	"path/filepath"
	"strings"
	"testing"

	"weir/audit"
	"weir/gateway/identity"
	"weir/internal/problem"
	"weir/policy"
)

// machine is a terminal on a platform's own machine.
func machine(t *testing.T) (at recorded, data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "var")
	at = testTerminal(t, problem.English)
	at.environ = func() []string { return []string{"WEIR_DATA=" + data} }
	return at, data
}

// onMachine runs a command there and gives what it printed.
func onMachine(t *testing.T, at recorded, code int, args ...string) string {
	t.Helper()
	at.out.Reset()
	at.err.Reset()
	if got := run(t.Context(), append([]string{"--lang", "en"}, args...), at.terminal); got != code {
		t.Fatalf("%v: ended with %d, want %d\n%s%s", args, got, code, at.out, at.err)
	}
	return at.out.String() + at.err.String()
}

// foundationOf is the platform's foundation on a folder, for as long as use takes.
func foundationOf(t *testing.T, data string, use func(*assembly)) {
	t.Helper()
	s, err := readSettings("", []string{"WEIR_DATA=" + data})
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := foundation(t.Context(), s, "http://127.0.0.1:8440")
	if err != nil {
		t.Fatal(err)
	}
	use(a)
	if err := a.close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTwoAuthoritiesAreFounded: the second person of the authority comes in on the machine as the first did, and nobody
// after them.
func TestTwoAuthoritiesAreFounded(t *testing.T) {
	at, data := machine(t)
	first := onMachine(t, at, 0, "account", "bootstrap", "wang", "--person", "王芳", "--organisation", "政务局")
	if !strings.Contains(first, "A second person of the authority is needed") {
		t.Errorf("the second is not asked for:\n%s", first)
	}
	if said := onMachine(t, at, exitFailed, "account", "bootstrap", "qian", "--person", "钱进", "--organisation", "别的局"); !strings.Contains(said, "[policy.organisation-unknown]") {
		t.Errorf("a second authority elsewhere:\n%s", said)
	}
	second := onMachine(t, at, 0, "account", "bootstrap", "qian", "--person", "钱进", "--organisation", " 政务局")
	if strings.Contains(second, "is needed") {
		t.Errorf("a third is asked for:\n%s", second)
	}
	if said := onMachine(t, at, exitFailed, "account", "bootstrap", "hong", "--person", "洪亮", "--organisation", "政务局"); !strings.Contains(said, "[cli.not-first]") {
		t.Errorf("a third:\n%s", said)
	}
	foundationOf(t, data, func(a *assembly) {
		who, err := a.accounts.Person(t.Context(), "qian")
		if err != nil || who.Organisation != "政务局" || !who.Has(policy.Authority) {
			t.Errorf("the second is %+v, %v", who, err)
		}
		// Neither is let in by the password that the machine printed.
		password := strings.Fields(strings.SplitAfter(first, "days: ")[1])[0]
		_, _, err = a.accounts.SignIn(t.Context(), identity.Credentials{Name: "wang", Password: password, From: "127.0.0.1"})
		if err == nil || problem.Of(err).Code != "identity.password-first" {
			t.Errorf("signed in by the first password alone: %v", err)
		}
	})
}

// TestBreakingGlassIsLoud: the account is on the log under a name of its own, and told of at each start until it ended.
func TestBreakingGlassIsLoud(t *testing.T) {
	at, data := machine(t)
	onMachine(t, at, 0, "account", "bootstrap", "wang", "--person", "王芳", "--organisation", "政务局")
	said := onMachine(t, at, 0, "account", "rescue", "glass", "--person", "彭磊", "--reason", "nobody can sign in")
	if !strings.Contains(said, "BREAK GLASS") || !strings.Contains(said, "First password") {
		t.Errorf("said:\n%s", said)
	}
	start := func(a *assembly) string {
		at.out.Reset()
		at.speak(problem.English)
		if err := at.welcome(t.Context(), "http://127.0.0.1:8440", a); err != nil {
			t.Fatal(err)
		}
		return at.out.String()
	}
	foundationOf(t, data, func(a *assembly) {
		if banner := start(a); !strings.Contains(banner, "BREAK GLASS: account glass") {
			t.Errorf("a start says:\n%s", banner)
		}
		records, err := a.log.Search(t.Context(), audit.Filter{Kind: "account.break-glass.outcome", Limit: 10})
		if err != nil || len(records) != 1 {
			t.Errorf("on the log: %v, %v", records, err)
		}
		glass, err := a.accounts.Person(t.Context(), "glass")
		if err != nil {
			t.Fatal(err)
		}
		may := func(action policy.Action, object policy.Object) string {
			if err := a.engine.Permit(t.Context(), glass, action, object); err != nil {
				return problem.Of(err).Code
			}
			return ""
		}
		if code := may(policy.UserCreate, policy.Object{Organisation: "政务局", Roles: []policy.Role{policy.Authority}, Account: "hong"}); code != "" {
			t.Errorf("it cannot admit an authority: %s", code)
		}
		for _, action := range []policy.Action{policy.DatasetList, policy.GrantList, policy.AuditRead, policy.UserList, policy.OrganisationAdmit, policy.UserConfirm} {
			if code := may(action, policy.Object{Owner: "x", Operator: "政务局"}); code != "policy.forbidden" {
				t.Errorf("it may %s: %q", action, code)
			}
		}
		for _, name := range []string{"hong", "jin"} {
			if _, err := a.accounts.AdmitBy(t.Context(), "glass", identity.Account{Name: name, DisplayName: "新人", Organisation: "政务局", Roles: []policy.Role{policy.Authority}}); err != nil {
				t.Fatal(err)
			}
		}
		if banner := start(a); strings.Contains(banner, "BREAK GLASS") {
			t.Errorf("it ended, and a start says:\n%s", banner)
		}
	})
}

// TestAnOldFolderIsBroughtOver: what were texts in a folder of an earlier platform are organisations once it is opened,
// and what is ambiguous waits.
func TestAnOldFolderIsBroughtOver(t *testing.T) {
	at, data := machine(t)
	onMachine(t, at, 0, "account", "bootstrap", "wang", "--person", "王芳", "--organisation", "政务局")
	foundationOf(t, data, func(a *assembly) {
		for name, organisation := range map[string]string{"li": "chengyan-data", "zhu": "chengyan-data ", "zhao": "审核中心"} {
			role := policy.Analyst
			if name == "zhao" {
				role = policy.Officer
			}
			account := identity.Account{Name: name, DisplayName: "旧人", Organisation: organisation, Roles: []policy.Role{role}}
			if err := a.accounts.CreateAccount(t.Context(), account, endToEndPassword); err != nil {
				t.Fatal(err)
			}
		}
	})
	foundationOf(t, data, func(a *assembly) {
		for name, state := range map[string]policy.OrganisationState{
			"审核中心": policy.OrganisationActive, "chengyan-data": policy.OrganisationWaiting, "chengyan-data ": policy.OrganisationWaiting,
		} {
			if o, err := a.engine.Organisation(t.Context(), name); err != nil || o.State != state {
				t.Errorf("%q: %+v, %v", name, o, err)
			}
		}
		wang, err := a.accounts.Person(t.Context(), "wang")
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			id     string
			change policy.OrganisationChange
		}{
			{"chengyan-data", policy.OrganisationChange{Add: []policy.Capacity{policy.CapacityOperator}, First: "zhu", Reason: "核实"}},
			{"chengyan-data ", policy.OrganisationChange{Into: "chengyan-data", Reason: "同一单位"}},
		} {
			if _, err := a.engine.ChangeOrganisation(t.Context(), wang, step.id, step.change); err != nil {
				t.Fatal(err)
			}
		}
	})
	foundationOf(t, data, func(a *assembly) { // the next start moves whom the change did not
		if who, err := a.accounts.Person(t.Context(), "zhu"); err != nil || who.Organisation != "chengyan-data" {
			t.Errorf("%+v, %v", who, err)
		}
	})
}
