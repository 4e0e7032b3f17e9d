package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// TestDutiesPairByPair holds the committed matrix: every pair of capacities stands in it once, with its source and a
// reason in both languages, and is kept apart or not exactly as it says.
func TestDutiesPairByPair(t *testing.T) {
	apart := 0
	for a := range duties.Capacities {
		for b := range duties.Capacities {
			if a == b {
				continue
			}
			n := 0
			for _, pair := range duties.Pairs {
				if pair.Of != [2]Capacity{a, b} && pair.Of != [2]Capacity{b, a} {
					continue
				}
				n++
				if pair.Source == "" || pair.Why["zh"] == "" || pair.Why["en"] == "" {
					t.Errorf("%s and %s: no source or reason", a, b)
				}
				want := ""
				if !pair.May {
					want = "policy.capacities-exclude"
					apart++
				}
				expect(t, CheckCapacities([]Capacity{a, b}), want)
			}
			if n != 1 {
				t.Errorf("%s and %s stand %d times in the matrix", a, b, n)
			}
		}
		expect(t, CheckCapacities([]Capacity{a}), "")
		expect(t, CheckCapacities([]Capacity{a, a}), "policy.capacity-unknown")
	}
	if apart == 0 || len(duties.Pairs) != len(duties.Capacities)*(len(duties.Capacities)-1)/2 {
		t.Errorf("%d pairs apart of %d", apart, len(duties.Pairs))
	}
	expect(t, CheckCapacities([]Capacity{"root"}), "policy.capacity-unknown")
	// An operator has nothing else to do here, and neither has an outside supervisor.
	for c := range duties.Capacities {
		for _, alone := range []Capacity{CapacityOperator, CapacitySupervision, CapacityRescue} {
			if c != alone && compatible(c, alone) {
				t.Errorf("one organisation may be %s and %s", c, alone)
			}
		}
	}
	if !compatible(CapacityAuthority, CapacityProvider) {
		t.Error("a bureau that supplies data cannot be the authority")
	}
}

// TestSecondPerson: whoever could decide, watch or let others in is admitted by two.
func TestSecondPerson(t *testing.T) {
	for _, role := range Roles {
		want := slices.Contains([]Role{Authority, Officer, Supervisor}, role)
		if NeedsSecond([]Role{role}) != want {
			t.Errorf("%s: a second person %v", role, !want)
		}
	}
}

func TestNames(t *testing.T) {
	var file struct {
		Alike   [][]string
		Refused []string
	}
	load(t, "testdata/names.yaml", &file)
	e := engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	admit := func(name string) (Organisation, error) {
		return e.AdmitOrganisation(t.Context(), authority, NewOrganisation{Name: name, Capacities: []Capacity{CapacityProvider}, Reason: "供数"})
	}
	for _, names := range file.Alike {
		first, err := admit(names[0])
		expect(t, err, "")
		for _, name := range names {
			_, err := admit(name)
			expect(t, err, "policy.organisation-exists")
			if found, err := e.Organisation(t.Context(), name); err != nil || found.ID != first.ID {
				t.Errorf("%q is %q, %v, not %q", name, found.ID, err, first.ID)
			}
		}
	}
	for _, name := range file.Refused {
		if _, err := admit(name); problem.Of(err).Code != "policy.organisation-name" {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAdmitOrganisation(t *testing.T) {
	e := engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	for _, c := range []struct {
		name string
		who  Principal
		edit func(*NewOrganisation)
		code string
	}{
		{"an operator with its first person", authority, func(*NewOrganisation) {}, ""},
		{"once more", authority, func(*NewOrganisation) {}, "policy.organisation-exists"},
		{"by an officer", officer, func(o *NewOrganisation) { o.Name = "别的公司" }, "policy.forbidden"},
		{"an operator without a first person", authority, func(o *NewOrganisation) { o.Name, o.First = "别的公司", "" }, "policy.organisation-first"},
		{"a provider with one", authority, func(o *NewOrganisation) { o.Name, o.Capacities = "别的局", []Capacity{CapacityProvider} }, "policy.organisation-first"},
		{"operator and maintainer", authority, func(o *NewOrganisation) {
			o.Name, o.Capacities = "别的公司", []Capacity{CapacityMaintenance, CapacityOperator}
		}, "policy.capacities-exclude"},
		{"for nothing", authority, func(o *NewOrganisation) { o.Name, o.Capacities, o.First = "别的局", nil, "" }, "policy.capacity-unknown"},
		{"for rescue", authority, func(o *NewOrganisation) { o.Name, o.Capacities, o.First = "别的局", []Capacity{CapacityRescue}, "" }, "policy.capacity-unknown"},
		{"without a reason", authority, func(o *NewOrganisation) { o.Name, o.Reason = "别的公司", "" }, "policy.reason-needed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wanted := NewOrganisation{Name: "远山数据", Capacities: []Capacity{CapacityOperator}, First: "he.yu", Reason: "中标"}
			c.edit(&wanted)
			made, err := e.AdmitOrganisation(t.Context(), c.who, wanted)
			expect(t, err, c.code)
			if err == nil && (made.ID != wanted.Name || made.First != "he.yu" || made.State != OrganisationActive) {
				t.Errorf("made %+v", made)
			}
			if _, err := e.Organisation(t.Context(), wanted.Name); c.code != "" && c.code != "policy.organisation-exists" && err == nil {
				t.Error("a refusal left an organisation behind")
			}
		})
	}
}

// TestTheFirstPerson: the authority admits an operator's first person, by the name that it gave, and nobody else of it.
func TestTheFirstPerson(t *testing.T) {
	ctx, e := t.Context(), engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	_, err := e.AdmitOrganisation(ctx, authority, NewOrganisation{Name: "远山数据", Capacities: []Capacity{CapacityOperator}, First: "he.yu", Reason: "中标"})
	expect(t, err, "")
	person := Object{Organisation: "远山数据", Account: "he.yu", Roles: []Role{Operator}}
	expect(t, e.Permit(ctx, authority, UserCreate, person), "")
	person.Account = "somebody"
	expect(t, e.Permit(ctx, authority, UserCreate, person), "policy.account-operator")
	first := Principal{Subject: "he.yu", Organisation: "远山数据", Roles: []Role{Operator}}
	person.Roles = []Role{Analyst}
	expect(t, e.Permit(ctx, authority, UserCreate, person), "policy.account-operator")
	expect(t, e.Permit(ctx, first, UserCreate, person), "")
	_, err = e.ChangeOrganisation(ctx, authority, "远山数据", OrganisationChange{First: "somebody", Reason: "换人"})
	expect(t, err, "")
	person.Roles = []Role{Operator}
	expect(t, e.Permit(ctx, authority, UserCreate, person), "")
}

// TestGrantsGoToOperators: a grant to whom nobody knows, or to whoever reviews, supplies, supervises, authorises or
// maintains, is refused, so that it locks nobody out.
func TestGrantsGoToOperators(t *testing.T) {
	ctx, e := t.Context(), engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	for name, c := range map[string]Capacity{"民政局": CapacityProvider, "网信办": CapacitySupervision} {
		_, err := e.AdmitOrganisation(ctx, authority, NewOrganisation{Name: name, Capacities: []Capacity{c}, Reason: "x"})
		expect(t, err, "")
	}
	for operator, code := range map[string]string{
		"银海数据": "", " 银海数据": "", "银海数据\u200b": "policy.organisation-unknown", "谁也不是": "policy.organisation-unknown",
		"民政局": "policy.grant-operator", "网信办": "policy.grant-operator", "运维中心": "policy.grant-operator", "审核中心": "policy.grant-operator",
	} {
		g := terms()
		g.Operator = operator
		made, err := e.CreateGrant(ctx, authority, g)
		expect(t, err, code)
		if code == "" && made.Operator != "银海数据" {
			t.Errorf("%q: granted to %q", operator, made.Operator)
		}
	}
	expect(t, e.Permit(ctx, officer, GrantRead, Object{Operator: "银海数据"}), "") // nobody was locked out
}

// TestWhatEndedDoesNotCount: an operator whose grants have ended may become something else, and its analysts are done.
func TestWhatEndedDoesNotCount(t *testing.T) {
	ctx, e := t.Context(), engine(t, storetest.Open(t, storetest.SQLite(t)), &clock{noon})
	g := granted(t, e, terms())
	turn := OrganisationChange{End: []Capacity{CapacityOperator}, Add: []Capacity{CapacityProvider}, Reason: "转为供数单位"}
	_, err := e.ChangeOrganisation(ctx, authority, "银海数据", turn)
	expect(t, err, "policy.organisation-grants")
	_, err = e.ChangeOrganisation(ctx, authority, "银海数据", OrganisationChange{Add: []Capacity{CapacityProvider}, Reason: "x"})
	expect(t, err, "policy.capacities-exclude")
	_, err = e.Authorize(ctx, analyst, g.ID)
	expect(t, err, "")
	expect(t, e.Terminate(ctx, authority, g.ID, "退出"), "")
	now, err := e.ChangeOrganisation(ctx, authority, "银海数据", turn)
	expect(t, err, "")
	if diff := cmp.Diff([]Capacity{CapacityProvider}, now.Capacities); diff != "" {
		t.Error(diff)
	}
	expect(t, e.Permit(ctx, analyst, GrantList, Object{Operator: "银海数据"}), "policy.organisation-capacity")
	supplier := Principal{Subject: "li.na", Organisation: "银海数据", Roles: []Role{Provider}}
	expect(t, e.Permit(ctx, supplier, DatasetImport, Object{Organisation: "银海数据"}), "")
}

// TestBringOver brings over what was texts: what is clear goes on, what is not waits, and the authority settles it.
func TestBringOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		ctx, e := t.Context(), engine(t, db, &clock{noon})
		members := []Member{
			{"民政局", []Role{Provider}}, {"民政局", []Role{Authority}},
			{"远山数据", []Role{Operator}}, {"远山数据", []Role{Analyst}},
			{"yuanshan ", []Role{Analyst}}, {"yuanshan", []Role{Operator}},
			{"两头公司", []Role{Analyst}}, {"两头公司", []Role{Officer}},
			{"审核中心\u200b", []Role{Officer}},
			{"自己人", []Role{Authority}}, {"自己人", []Role{Supervisor}},
			{"旧单位", nil},
		}
		for range 2 { // opening the folder again changes nothing
			if err := e.BringOver(ctx, members); err != nil {
				t.Fatal(err)
			}
		}
		list, err := e.Organisations(ctx, authority)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, o := range list {
			got[o.ID] = fmt.Sprint(o.State, o.Capacities)
		}
		want := map[string]string{
			"大数据局": "active[authority]", "银海数据": "active[operator]", "云杉科技": "active[operator]", "审核中心": "active[review]", "运维中心": "active[maintenance]",
			"民政局": "active[authority provider]", "远山数据": "active[operator]", "旧单位": "active[]",
			"yuanshan ": "waiting[]", "yuanshan": "waiting[]", "两头公司": "waiting[]", "审核中心\u200b": "waiting[]",
			"自己人": "waiting[authority]",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		waits := Principal{Subject: "x", Organisation: "yuanshan", Roles: []Role{Operator}}
		expect(t, e.Permit(ctx, waits, GrantList, Object{Operator: "yuanshan"}), "policy.organisation-capacity")

		// An organisation of its own, and another spelling of it.
		settle := func(id string, change OrganisationChange, code string) {
			t.Helper()
			change.Reason = "认定"
			_, err := e.ChangeOrganisation(ctx, authority, id, change)
			expect(t, err, code)
		}
		operator := []Capacity{CapacityOperator}
		settle("yuanshan ", OrganisationChange{Add: operator, First: "he.yu"}, "policy.organisation-name")
		settle("yuanshan", OrganisationChange{}, "policy.capacity-unknown")
		settle("yuanshan", OrganisationChange{Add: operator, First: "he.yu"}, "")
		settle("yuanshan ", OrganisationChange{Into: "两头公司"}, "policy.organisation-merge")
		settle("yuanshan ", OrganisationChange{Into: "yuanshan"}, "")
		settle("审核中心\u200b", OrganisationChange{Add: []Capacity{CapacityReview}}, "policy.organisation-name")
		settle("审核中心\u200b", OrganisationChange{Into: "审核中心"}, "")
		expect(t, e.Permit(ctx, waits, GrantList, Object{Operator: "yuanshan"}), "")
		if merged, err := e.Organisation(ctx, "yuanshan "); err != nil || merged.ID != "yuanshan" {
			t.Errorf("the other spelling is %+v, %v", merged, err)
		}
	})
}

// TestAGrantKeepsItsOperator: an operator with an open grant is not merged into another, since a grant is not
// transferred, and its spelling waits meanwhile.
func TestAGrantKeepsItsOperator(t *testing.T) {
	ctx, at := t.Context(), &clock{noon}
	e := engine(t, storetest.Open(t, storetest.SQLite(t)), at)
	granted(t, e, terms())
	change := OrganisationChange{Into: "云杉科技", Reason: "合并"}
	_, err := e.ChangeOrganisation(ctx, authority, "银海数据", change)
	expect(t, err, "policy.organisation-grants")
	at.at = noon.AddDate(1, 0, 0).Add(time.Second) // its term is over
	_, err = e.ChangeOrganisation(ctx, authority, "银海数据", change)
	expect(t, err, "")
}
