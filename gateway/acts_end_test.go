package gateway_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/zap"

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

// endsOnLog is what the log says about the ends of a grant, in order.
func endsOnLog(t *testing.T, p *gatewaytest.Platform, grant string) (kinds []string) {
	t.Helper()
	records, err := p.Log.Search(t.Context(), audit.Filter{Grant: grant, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

// TestReapClosesAndDeletes follows grants past their end: they are closed at once, what they leave is deleted when the
// grace is over and no hold is on it, and what can come back stays.
func TestReapClosesAndDeletes(t *testing.T) {
	authority, supervisor := gatewaytest.Person("authority"), gatewaytest.Person("supervisor")
	closed := []string{"grant.end.intent", "grant.ended"}
	deleted := append(slices.Clone(closed), "grant.delete.intent", "grant.deleted")
	for _, c := range []struct {
		name  string
		end   func(t *testing.T, p *gatewaytest.Platform) error
		after time.Duration
		want  []string
	}{
		{"terminated and cut off, in its grace", func(t *testing.T, p *gatewaytest.Platform) error {
			return p.Policy.Terminate(t.Context(), authority, p.Grant.ID, "over")
		}, 0, closed},
		{"terminated, after its grace", func(t *testing.T, p *gatewaytest.Platform) error {
			return p.Policy.Terminate(t.Context(), authority, p.Grant.ID, "over")
		}, gatewaytest.Grace + time.Second, deleted},
		{"expired, in its grace", func(*testing.T, *gatewaytest.Platform) error { return nil }, 25 * time.Hour, closed},
		{"expired, after its grace", func(*testing.T, *gatewaytest.Platform) error { return nil }, 25*time.Hour + gatewaytest.Grace, deleted},
		{"expired, and held", func(t *testing.T, p *gatewaytest.Platform) error {
			_, err := p.Acts.HoldGrant(t.Context(), supervisor, p.Grant.ID, "inquiry")
			return err
		}, 25*time.Hour + gatewaytest.Grace, append([]string{"grant.hold.intent", "grant.hold.outcome"}, closed...)},
		{"suspended", func(t *testing.T, p *gatewaytest.Platform) error {
			return p.Policy.Suspend(t.Context(), authority, p.Grant.ID, "evaluation")
		}, 0, nil},
		{"nothing happened", func(*testing.T, *gatewaytest.Platform) error { return nil }, 0, nil},
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
				p.Pass(c.after)
				for range 2 { // the second finds nothing to do
					if err := p.Acts.Reap(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				gone := slices.Contains(c.want, "grant.deleted")
				if _, left := p.Tables.Kept[sandbox.OfGrant(p.Grant.ID)]; left == gone {
					t.Errorf("left: %v", left)
				}
				if len(p.Tables.Kept[sandbox.OfGrant(long.ID)]) != 1 {
					t.Error("another grant's workspace is gone")
				}
				if got := endsOnLog(t, p, p.Grant.ID); !slices.Equal(got, c.want) {
					t.Errorf("on the log: %v, want %v", got, c.want)
				}
				for _, r := range workspaceEvents(t, p, "grant.deleted") {
					if r.Grant == p.Grant.ID && (r.Actor != "" || r.Facts["tables"] != "1" || string(r.Payload) != "by_district v2 abc") {
						t.Errorf("on the log: %+v", r)
					}
				}
			})
		})
	}
}

// hands is a clock that a test turns. It tells when it is waited for.
type hands struct {
	at    time.Time
	waits chan time.Time
	rings chan time.Time
}

func (h *hands) Now() time.Time { return h.at }

func (h *hands) Until(at time.Time) <-chan time.Time {
	h.waits <- at
	return h.rings
}

// TestExpiryActsAtItsMinute: the platform waits for the very moment at which the next term is over, and acts then.
func TestExpiryActsAtItsMinute(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	until := p.Grant.Until
	h := &hands{at: until.Add(-20 * time.Second), waits: make(chan time.Time), rings: make(chan time.Time)}
	p.Pass(time.Until(h.at))
	ctx, stop := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { p.Acts.KeepReaped(ctx, h, zap.NewNop()) })
	if at := receive(t, h.waits); !at.Equal(until) {
		t.Errorf("waits until %s, and the term is over at %s", at, until)
	}
	if got := endsOnLog(t, p, p.Grant.ID); len(got) != 0 {
		t.Errorf("before the end, on the log: %v", got)
	}
	p.Pass(21 * time.Second)
	h.rings <- until
	if at := receive(t, h.waits); !at.Equal(h.at.Add(time.Minute)) {
		t.Errorf("with nothing due, waits until %s", at)
	}
	if got := endsOnLog(t, p, p.Grant.ID); !slices.Equal(got, []string{"grant.end.intent", "grant.ended"}) {
		t.Errorf("after the end, on the log: %v", got)
	}
	stop()
	keeping.Wait()
}

// TestNothingLeavesAfterTheEnd: a result that waits is refused, one that was released is closed, a stream ends, and an
// officer decides nothing any more. What is suspended only waits.
func TestNothingLeavesAfterTheEnd(t *testing.T) {
	authority, analyst, officer := gatewaytest.Person("authority"), gatewaytest.Person("analyst"), gatewaytest.Person("officer")
	for _, c := range []struct {
		name   string
		end    func(t *testing.T, p *gatewaytest.Platform) error
		code   string
		waits  gateway.JobState // what becomes of the job that waited
		comes  bool             // back, when the grant is restored
		offers int
	}{
		{"terminated", func(t *testing.T, p *gatewaytest.Platform) error {
			_, err := p.Acts.TerminateGrant(t.Context(), authority, p.Grant.ID, "breach")
			return err
		}, "policy.grant-terminated", gateway.JobDenied, false, 0},
		{"expired", func(t *testing.T, p *gatewaytest.Platform) error {
			p.Pass(25 * time.Hour)
			return p.Acts.Reap(t.Context())
		}, "policy.grant-expired", gateway.JobDenied, false, 0},
		{"expired, before anybody has acted", func(_ *testing.T, p *gatewaytest.Platform) error {
			p.Pass(25 * time.Hour)
			return nil
		}, "policy.grant-expired", gateway.JobWaiting, false, 1},
		{"suspended", func(t *testing.T, p *gatewaytest.Platform) error {
			_, err := p.Acts.SuspendGrant(t.Context(), authority, p.Grant.ID, "evaluation")
			return err
		}, "policy.grant-suspended", gateway.JobWaiting, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
			released := wait(t, p.Jobs, submit(t, p.Jobs, analyst, p.Grant.ID, gatewaytest.Release).ID)
			waits := wait(t, p.Jobs, submit(t, p.Jobs, analyst, p.Grant.ID, gatewaytest.Wait).ID)
			if _, err := p.Jobs.Result(t.Context(), analyst, released.ID); err != nil {
				t.Fatalf("before the end: %v", err)
			}
			listening, heard := make(chan struct{}), make(chan error, 1)
			var once sync.Once
			go func() {
				heard <- p.Jobs.Follow(t.Context(), analyst, waits.ID, 0, time.Hour, func(gateway.JobEvent) error {
					once.Do(func() { close(listening) })
					return nil
				}, func() error { return nil })
			}()
			<-listening
			if err := c.end(t, p); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Jobs.Result(t.Context(), analyst, released.ID); codeOf(err) != c.code {
				t.Errorf("a released result after the end: %v", err)
			}
			if _, err := p.Jobs.Result(t.Context(), analyst, waits.ID); err == nil {
				t.Error("a result that waited can be read")
			}
			if err := <-heard; c.waits == gateway.JobWaiting && codeOf(err) != c.code || c.waits != gateway.JobWaiting && err != nil && codeOf(err) != c.code {
				t.Errorf("the stream ended with %v", err)
			}
			offers, err := p.Acts.ListReleases(t.Context(), officer, "waiting")
			if err != nil || len(offers) != c.offers {
				t.Errorf("%d offers, %v", len(offers), err)
			}
			if err := p.Acts.ApproveRelease(t.Context(), officer, waits.ID, "fine"); codeOf(err) != c.code {
				t.Errorf("approved after the end: %v", err)
			}
			if _, err := p.Acts.ShowRelease(t.Context(), officer, waits.ID); codeOf(err) != c.code {
				t.Errorf("shown after the end: %v", err)
			}
			if job := wait(t, p.Jobs, waits.ID); job.State != c.waits {
				t.Errorf("the job that waited is %s", job.State)
			}
			if !c.comes {
				return
			}
			if _, err := p.Acts.RestoreGrant(t.Context(), authority, p.Grant.ID, "mended"); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Jobs.Result(t.Context(), analyst, released.ID); err != nil {
				t.Errorf("after it was restored: %v", err)
			}
			if err := p.Acts.ApproveRelease(t.Context(), officer, waits.ID, "fine"); err != nil {
				t.Errorf("after it was restored: %v", err)
			}
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

// TestReapAfterFaults fails one call after the other. Nothing is deleted that was not announced, one grant's trouble
// does not keep another's workspace, and the next reaping brings to an end what was left.
func TestReapAfterFaults(t *testing.T) {
	for _, after := range []bool{false, true} {
		for failAt := 0; ; failAt++ {
			p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
			kept := sandbox.Kept{Name: "by_district", Version: 2, Hash: "abc"}
			p.Tables.Kept = map[sandbox.Owner][]sandbox.Kept{sandbox.OfGrant(p.Grant.ID): {kept}, sandbox.OfGrant(p.Other.ID): {kept}}
			p.Pass(25*time.Hour + gatewaytest.Grace)
			c := &clumsy{Tables: p.Tables, Recorder: p.Log, failAt: failAt, after: after}
			acts, err := gateway.NewActs(gateway.ActsParts{
				Permit: p.Policy, Record: c, Log: p.Log, Grants: p.Policy, Endings: p.Policy, Grace: gatewaytest.Grace, Accounts: p.Identity, Organisations: p.Policy, Catalogue: p.Catalogue,
				Releases: p.Queue, Jobs: p.Jobs, Ledger: p.Jobs, Budget: p.Budget, Tables: c,
			})
			if err != nil {
				t.Fatal(err)
			}
			failed := acts.Reap(t.Context())
			if (failed != nil) != (c.calls > failAt) {
				t.Fatalf("call %d of %d: %v", failAt, c.calls, failed)
			}
			if failed != nil && len(p.Tables.Kept) == 2 {
				t.Errorf("call %d: one grant's trouble kept another's workspace", failAt)
			}
			announced := map[string]bool{}
			for _, r := range workspaceEvents(t, p, "grant.delete.intent") {
				announced[r.Grant] = true
			}
			for _, grant := range []policy.Grant{p.Grant, p.Other} {
				if _, left := p.Tables.Kept[sandbox.OfGrant(grant.ID)]; !left && !announced[grant.ID] {
					t.Errorf("call %d: the workspace of %s went unannounced", failAt, grant.ID)
				}
			}
			if err := acts.Reap(t.Context()); err != nil || len(p.Tables.Kept) > 0 {
				t.Errorf("call %d: the next reaping left %v, %v", failAt, p.Tables.Kept, err)
			}
			if failed == nil {
				break
			}
		}
	}
}
