package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"weir/audit"
	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/problem"
	"weir/internal/store/storetest"
	"weir/policy"
)

func trees(declared string) gateway.Upload {
	return gateway.Upload{
		Manifest: []byte("name: trees\nprovider: registry\nfile: trees.csv\n" + declared),
		File:     func() (io.Reader, error) { return strings.NewReader("kind\n"), nil },
	}
}

// TestLogOfDeclarations: the log says for ever whose version came in, which, with what content and how declared; the
// provider's own words can be erased.
func TestLogOfDeclarations(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	p.Catalogue.Waits = true
	if _, err := p.Acts.ImportDataset(t.Context(), gatewaytest.Person("provider"), trees("")); err != nil {
		t.Fatal(err)
	}
	if err := p.Acts.DecideVersion(t.Context(), gatewaytest.Person("authority"), decision("trees", policy.VersionApproved)); err != nil {
		t.Fatal(err)
	}
	entry := func(kind string) audit.Record {
		t.Helper()
		found, err := p.Log.Search(t.Context(), audit.Filter{Kind: kind})
		if err != nil || len(found) != 1 {
			t.Fatalf("%d entries of %s, %v", len(found), kind, err)
		}
		return found[0]
	}
	taken := entry("dataset.import.outcome")
	digest := sha256.Sum256(taken.Payload)
	want := map[string]string{
		"outcome": "done", "provider": "registry", "version": "1", "hash": gatewaytest.FeedHash, "state": "waiting", "weaker": "first",
		"declaration": hex.EncodeToString(digest[:]), "intent": taken.Facts["intent"],
	}
	if !maps.Equal(taken.Facts, want) {
		t.Errorf("facts are %v", taken.Facts)
	}
	var declared policy.Dataset
	if err := json.Unmarshal(taken.Payload, &declared); err != nil || declared.Columns[0].Name != "kind" || !declared.Open {
		t.Errorf("the declaration reads %q, %v", taken.Payload, err)
	}
	approved := entry("dataset.approve.outcome")
	if approved.Object != "dataset/trees" || approved.Facts["declaration"] != want["declaration"] || approved.Facts["versions"] != "1" || approved.Facts["state"] != "approved" {
		t.Errorf("%s: %v", approved.Object, approved.Facts)
	}
	if intent := entry("dataset.approve.intent"); string(intent.Payload) != "reason of 李四" {
		t.Errorf("the reason reads %q", intent.Payload)
	}
}

// TestVersionsShown: the exact number of rows is the provider's alone, and another provider's versions are nobody's.
func TestVersionsShown(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	stranger := gatewaytest.Person("provider")
	stranger.Subject, stranger.Organisation = "stranger", "railways"
	_, err := p.Policy.AdmitOrganisation(t.Context(), gatewaytest.Person("authority"), policy.NewOrganisation{
		Name: stranger.Organisation, Capacities: []policy.Capacity{policy.CapacityProvider}, Reason: "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		who   policy.Principal
		seen  int
		exact bool
		code  string
	}{
		{gatewaytest.Person("provider"), 1, true, ""},
		{gatewaytest.Person("authority"), 1, false, ""},
		{gatewaytest.Person("supervisor"), 1, false, ""},
		{stranger, 0, false, ""},
		{gatewaytest.Person("analyst"), 0, false, "policy.forbidden"},
		{gatewaytest.Person("maintainer"), 0, false, "policy.forbidden"},
	} {
		shown, err := p.Acts.DatasetVersions(t.Context(), c.who, "")
		if len(shown) != c.seen || (err != nil || c.code != "") && problem.Of(err).Code != c.code {
			t.Errorf("%s sees %d versions, %v", c.who.Subject, len(shown), err)
		}
		if slices.ContainsFunc(shown, func(v gateway.ShownVersion) bool { return v.Exact != c.exact }) {
			t.Errorf("%s may not know exactly what they know, or the other way round", c.who.Subject)
		}
	}
	err = p.Acts.DecideVersion(t.Context(), stranger, policy.VersionDecision{Dataset: "residents", State: policy.VersionWithdrawn, Reason: "x"})
	if problem.Of(err).Code != "policy.forbidden" {
		t.Errorf("another provider withdrew it: %v", err)
	}
	err = p.Acts.DecideVersion(t.Context(), gatewaytest.Person("authority"), policy.VersionDecision{Dataset: "nothing", Version: 1, State: policy.VersionApproved})
	if code := problem.Of(err).Code; code != "policy.forbidden" {
		t.Errorf("a data set that is not there: %v", err)
	}
}

// TestGrantsOfWhatWaits: nobody is granted what was not reviewed.
func TestGrantsOfWhatWaits(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	name := waitingVersion(t, p)
	create := func() error {
		g := p.Grant
		g.ID, g.State, g.Datasets = "", "", []policy.GrantedDataset{{Name: name, Columns: []string{"kind"}}}
		_, err := p.Acts.CreateGrant(t.Context(), gatewaytest.Person("authority"), g)
		return err
	}
	if err := create(); problem.Of(err).Code != "sandbox.not-approved" {
		t.Errorf("granted while it waits: %v", err)
	}
	if err := p.Acts.DecideVersion(t.Context(), gatewaytest.Person("authority"), decision(name, policy.VersionApproved)); err != nil {
		t.Fatal(err)
	}
	if err := create(); err != nil {
		t.Errorf("not granted once it is approved: %v", err)
	}
}
