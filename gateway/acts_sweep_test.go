package gateway_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
)

// workspaceEvents are what the log says about workspaces.
func workspaceEvents(t *testing.T, p *gatewaytest.Platform, kind string) []audit.Record {
	t.Helper()
	found, err := p.Log.Search(t.Context(), audit.Filter{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Whatever ended a grant while nobody was there to delete its workspace, the next sweep does. What can come back stays.
func TestSweepDeletesWhatHasEnded(t *testing.T) {
	authority := gatewaytest.Person("authority")
	for _, c := range []struct {
		name string
		end  func(t *testing.T, p *gatewaytest.Platform) error
		gone bool
	}{
		{"terminated and cut off", func(t *testing.T, p *gatewaytest.Platform) error {
			return p.Policy.Terminate(t.Context(), authority, p.Grant.ID, "over")
		}, true},
		{"expired", func(_ *testing.T, p *gatewaytest.Platform) error { p.Pass(48 * time.Hour); return nil }, true},
		{"suspended", func(t *testing.T, p *gatewaytest.Platform) error {
			return p.Policy.Suspend(t.Context(), authority, p.Grant.ID, "evaluation")
		}, false},
		{"nothing happened", func(*testing.T, *gatewaytest.Platform) error { return nil }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				p := gatewaytest.New(t, db, gateway.JobOptions{})
				long := p.LongGrant(t, "canal")
				kept := sandbox.Kept{Name: "by_district", Version: 2, Hash: "abc"}
				p.Tables.Kept = map[sandbox.Owner][]sandbox.Kept{sandbox.OfGrant(p.Grant.ID): {kept}, sandbox.OfGrant(long.ID): {kept}}
				if err := c.end(t, p); err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second finds nothing to do
					if err := p.Acts.Sweep(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if _, left := p.Tables.Kept[sandbox.OfGrant(p.Grant.ID)]; left == c.gone {
					t.Errorf("left: %v", left)
				}
				if len(p.Tables.Kept[sandbox.OfGrant(long.ID)]) != 1 {
					t.Error("another grant's workspace is gone")
				}
				for _, kind := range []string{"workspace.delete.intent", "workspace.deleted"} {
					found := workspaceEvents(t, p, kind)
					if !c.gone && len(found) > 0 {
						t.Errorf("on the log: %+v", found)
					}
					if c.gone && (len(found) != 1 || found[0].Grant != p.Grant.ID || found[0].Actor != "" || string(found[0].Payload) != "by_district v2 abc") {
						t.Errorf("%s on the log: %+v", kind, found)
					}
				}
			})
		})
	}
}

// clumsy fails in one of its calls, before or after it did what it was asked.
type clumsy struct {
	*gatewaytest.Tables
	gateway.Recorder
	calls, failAt int
	after         bool
}

var errClumsy = errors.New("injected")

func (c *clumsy) fails(do func() error) error {
	c.calls++
	if c.calls-1 != c.failAt {
		return do()
	}
	if c.after {
		return errors.Join(errClumsy, do())
	}
	return errClumsy
}

func (c *clumsy) Append(ctx context.Context, e audit.Event) (r audit.Receipt, err error) {
	err = c.fails(func() (err error) { r, err = c.Recorder.Append(ctx, e); return err })
	return r, err
}

func (c *clumsy) Delete(ctx context.Context, owner sandbox.Owner) (gone []sandbox.Kept, err error) {
	err = c.fails(func() (err error) { gone, err = c.Tables.Delete(ctx, owner); return err })
	if err != nil {
		return nil, err
	}
	return gone, nil
}

func (c *clumsy) List(ctx context.Context, owner sandbox.Owner) (list []sandbox.Kept, err error) {
	err = c.fails(func() (err error) { list, err = c.Tables.List(ctx, owner); return err })
	return list, err
}

// TestSweepAfterFaults fails one call after the other. Nothing is deleted that was not announced, one grant's trouble
// does not keep another's workspace, and the next sweep brings to an end what was left.
func TestSweepAfterFaults(t *testing.T) {
	for _, after := range []bool{false, true} {
		for failAt := 0; ; failAt++ {
			p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
			kept := sandbox.Kept{Name: "by_district", Version: 2, Hash: "abc"}
			p.Tables.Kept = map[sandbox.Owner][]sandbox.Kept{sandbox.OfGrant(p.Grant.ID): {kept}, sandbox.OfGrant(p.Other.ID): {kept}}
			p.Pass(48 * time.Hour)
			c := &clumsy{Tables: p.Tables, Recorder: p.Log, failAt: failAt, after: after}
			acts, err := gateway.NewActs(gateway.ActsParts{
				Permit: p.Policy, Record: c, Log: p.Log, Grants: p.Policy, Accounts: p.Identity, Organisations: p.Policy, Catalogue: p.Catalogue,
				Releases: p.Queue, Jobs: p.Jobs, Ledger: p.Jobs, Budget: p.Budget, Tables: c,
			})
			if err != nil {
				t.Fatal(err)
			}
			failed := acts.Sweep(t.Context())
			if (failed != nil) != (c.calls > failAt) {
				t.Fatalf("call %d of %d: %v", failAt, c.calls, failed)
			}
			if failed != nil && len(p.Tables.Kept) == 2 {
				t.Errorf("call %d: one grant's trouble kept another's workspace", failAt)
			}
			announced := map[string]bool{}
			for _, r := range workspaceEvents(t, p, "workspace.delete.intent") {
				announced[r.Grant] = true
			}
			for _, grant := range []policy.Grant{p.Grant, p.Other} {
				if _, left := p.Tables.Kept[sandbox.OfGrant(grant.ID)]; !left && !announced[grant.ID] {
					t.Errorf("call %d: the workspace of %s went unannounced", failAt, grant.ID)
				}
			}
			if err := acts.Sweep(t.Context()); err != nil || len(p.Tables.Kept) > 0 {
				t.Errorf("call %d: the next sweep left %v, %v", failAt, p.Tables.Kept, err)
			}
			if failed == nil {
				break
			}
		}
	}
}
