package gateway

import (
	"context"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/policy"
)

// LogReader reads and proves the log, and erases what is personal in it; audit.Log does.
type LogReader interface {
	Search(ctx context.Context, filter audit.Filter) ([]audit.Record, error)
	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, tile tlog.Tile) ([]byte, error)
	Inclusion(ctx context.Context, index int64) (audit.Receipt, error)
	Consistency(ctx context.Context, from, to int64) (tlog.TreeProof, error)
	Erase(ctx context.Context, index int64, actor, reason string) (audit.Receipt, error)
	Verify(ctx context.Context, progress func(done, total int64)) (audit.Report, error)
}

// SearchLog shows entries of the log, and is itself on it. What was searched for is not: it can name a person.
func (a *Acts) SearchLog(ctx context.Context, who policy.Principal, filter audit.Filter) ([]audit.Record, error) {
	d := deed{action: policy.AuditRead, about: audit.Word("log")}
	return act(ctx, a, who, d, func(ctx context.Context) ([]audit.Record, error) { return a.Log.Search(ctx, filter) })
}

// EraseEntry destroys who did it and what was typed in an entry of the log, for somebody whose data must go. The entry and
// all proofs stay; the erasure is an entry of its own. Nobody erases what they did themselves.
func (a *Acts) EraseEntry(ctx context.Context, who policy.Principal, index int64, reason string) error {
	d := deed{
		action: policy.AuditErase, object: policy.Object{Owner: nobody},
		about: audit.Format("entry/%s", audit.Number(index)), private: reason,
	}
	found, err := a.Log.Search(ctx, audit.Filter{After: index, Limit: 1})
	if err != nil {
		return err
	}
	if len(found) == 1 && found[0].Index == index && found[0].Actor != "" {
		d.object.Owner = found[0].Actor
	}
	return perform(ctx, a, who, d, func(ctx context.Context) error {
		_, err := a.Log.Erase(context.WithoutCancel(ctx), index, who.Subject, reason)
		return err
	})
}

// nobody is who did what the platform did by itself. No account is called so: names have no spaces.
const nobody = "the platform"

// VerifyLog recomputes the whole log.
func (a *Acts) VerifyLog(ctx context.Context, who policy.Principal) (audit.Report, error) {
	d := deed{action: policy.AuditVerify, about: audit.Word("log")}
	return act(ctx, a, who, d, func(ctx context.Context) (audit.Report, error) { return a.Log.Verify(ctx, nil) })
}

// Checkpoint is the newest signed checkpoint. Like hashes and proofs it says nothing of what happened, and is not
// logged: whoever follows the log would otherwise make it grow, and never reach its end.
func (a *Acts) Checkpoint(ctx context.Context, who policy.Principal) ([]byte, error) {
	if err := a.Permit.Permit(ctx, who, policy.AuditVerify, policy.Object{}); err != nil {
		return nil, err
	}
	return a.Log.Checkpoint(ctx)
}

// Tile is a tile of the tree. One with entries (level -1) shows what happened, so reading it is on the log.
func (a *Acts) Tile(ctx context.Context, who policy.Principal, tile tlog.Tile) ([]byte, error) {
	if tile.L >= 0 {
		if err := a.Permit.Permit(ctx, who, policy.AuditVerify, policy.Object{}); err != nil {
			return nil, err
		}
		return a.Log.Tile(ctx, tile)
	}
	d := deed{action: policy.AuditRead, about: audit.Registered(tile.Path())}
	return act(ctx, a, who, d, func(ctx context.Context) ([]byte, error) { return a.Log.Tile(ctx, tile) })
}

// ProveInclusion proves that an entry is in the log.
func (a *Acts) ProveInclusion(ctx context.Context, who policy.Principal, index int64) (audit.Receipt, error) {
	if err := a.Permit.Permit(ctx, who, policy.AuditVerify, policy.Object{}); err != nil {
		return audit.Receipt{}, err
	}
	return a.Log.Inclusion(ctx, index)
}

// ConsistencyProof shows that the newest tree only added entries to a smaller one.
type ConsistencyProof struct {
	To         int64 // size of the newest tree
	Proof      tlog.TreeProof
	Checkpoint []byte // signed note over the newest tree
}

// ProveConsistency proves that the newest tree only added entries to the tree of a size.
func (a *Acts) ProveConsistency(ctx context.Context, who policy.Principal, from int64) (ConsistencyProof, error) {
	note, err := a.Checkpoint(ctx, who)
	if err != nil {
		return ConsistencyProof{}, err
	}
	to, err := TreeSize(note)
	if err != nil {
		return ConsistencyProof{}, err
	}
	proof, err := a.Log.Consistency(ctx, from, to)
	return ConsistencyProof{To: to, Proof: proof, Checkpoint: note}, err
}

// TreeSize reads the number of entries out of a signed checkpoint of our own. It checks no signature.
func TreeSize(note []byte) (int64, error) {
	text, _, _ := strings.Cut(string(note), "\n\n")
	checkpoint, err := torchwood.ParseCheckpoint(text + "\n")
	if err != nil {
		return 0, fmt.Errorf("read our own checkpoint: %w", err)
	}
	return checkpoint.N, nil
}
