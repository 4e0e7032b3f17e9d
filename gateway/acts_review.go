package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"weir/audit"
	"weir/internal/problem"
	"weir/policy"
)

// ShownVersion is a version of a data set as a person may see it.
type ShownVersion struct {
	policy.Version
	Exact bool // the person may know how many rows there are
}

// DatasetVersions lists versions of data sets, the newest first, with what became of their review: a provider's own, and
// all for those who oversee. How many rows came in is for the provider alone.
func (a *Acts) DatasetVersions(ctx context.Context, who policy.Principal, name string) ([]ShownVersion, error) {
	provider := ""
	if who.Has(policy.Provider) {
		provider = who.Organisation
	}
	if err := a.Permit.Permit(ctx, who, policy.DatasetVersions, policy.Object{Organisation: provider}); err != nil {
		return nil, err
	}
	versions, err := a.Catalogue.Versions(ctx, name, provider)
	if err != nil {
		return nil, err
	}
	exact := provider != "" && a.Permit.Permit(ctx, who, policy.DatasetCount, policy.Object{Organisation: provider}) == nil
	shown := make([]ShownVersion, len(versions))
	for i, v := range versions {
		shown[i] = ShownVersion{Version: v, Exact: exact}
	}
	return shown, nil
}

// decisions are the acts that lead to each state.
var decisions = map[policy.VersionState]policy.Action{
	policy.VersionApproved: policy.DatasetApprove, policy.VersionRefused: policy.DatasetRefuse, policy.VersionWithdrawn: policy.DatasetWithdraw,
}

// DecideVersion approves, refuses or withdraws a version, or withdraws a data set whole.
func (a *Acts) DecideVersion(ctx context.Context, who policy.Principal, decision policy.VersionDecision) error {
	action, known := decisions[decision.State]
	if !known {
		return fmt.Errorf("no act makes a version %q", decision.State)
	}
	versions, err := a.Catalogue.Versions(ctx, decision.Dataset, "")
	if err != nil {
		return err
	}
	d := deed{action: action, about: audit.Word("dataset"), private: decision.Reason, made: &made{}}
	if len(versions) > 0 {
		d.about = audit.Format("dataset/%s", audit.Registered(versions[0].Name))
		d.object.Organisation = versions[0].Provider
	}
	if i := slices.IndexFunc(versions, func(v policy.Version) bool { return v.Version == decision.Version }); i >= 0 {
		d.object.Organisation = versions[i].Provider
		d.facts, _ = declared(versions[i])
	}
	if err := a.Permit.Permit(ctx, who, d.action, d.object); err != nil {
		return a.refused(ctx, who, d, err)
	}
	if len(versions) == 0 {
		return problem.New("sandbox.unknown-dataset", "name", decision.Dataset)
	}
	return perform(ctx, a, who, d, func(ctx context.Context) error {
		changed, err := a.Catalogue.Decide(ctx, decision)
		if err != nil {
			return err
		}
		numbers := make([]audit.Fact, len(changed))
		for i, v := range changed {
			numbers[i] = audit.Number(v.Version)
		}
		d.made.facts = audit.Facts{"versions": audit.List(numbers...), "state": stateFact(decision.State)}
		return nil
	})
}

// declared is what the log says of a version: whose it is, its number, the hash of its content and of its declaration,
// for ever; and the declaration itself, which holds a provider's own words, so that it can be erased.
func declared(v policy.Version) (facts audit.Facts, private string) {
	text, err := json.Marshal(v.Declaration())
	if err != nil { // of plain values, so it cannot be
		text = []byte("{}")
	}
	digest := sha256.Sum256(text)
	facts = audit.Facts{
		"provider": audit.Registered(v.Provider), "version": audit.Number(v.Version), "hash": audit.Digest(v.Hash),
		"declaration": audit.Digest(hex.EncodeToString(digest[:])), "state": stateFact(v.State),
	}
	var kinds []audit.Fact
	for _, w := range v.Weaker {
		if kind := audit.OneOf(w.What, policy.WeakeningKinds...); !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) > 0 {
		facts["weaker"] = audit.List(kinds...)
	}
	return facts, string(text)
}

func stateFact(state policy.VersionState) audit.Fact {
	return audit.OneOf(state, policy.VersionWaiting, policy.VersionApproved, policy.VersionRefused, policy.VersionWithdrawn)
}
