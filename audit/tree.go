package audit

import (
	"context"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weir/internal/problem"
)

// head is a verified end of the log: what is needed to go on from it, and to recognise it.
type head struct {
	tree tlog.Tree
	note []byte
	edge map[int64]tlog.Hash // the complete subtrees that make up the tree, by stored hash index
}

// loadHead reads the end of the log and verifies it: the checkpoint's signatures, that the edge gives the
// checkpoint's root, and that no table goes on beyond it.
func loadHead(ctx context.Context, db bun.IDB, policy torchwood.Policy) (*head, error) {
	row, err := newestCheckpoint(ctx, db)
	if err != nil {
		return nil, err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(row.Note, policy)
	if err != nil {
		return nil, problem.New("audit.other-key").Because(fmt.Errorf("%w: checkpoint %d: %w", ErrDamaged, row.Size, err))
	}
	if checkpoint.N != row.Size {
		return nil, fmt.Errorf("%w: checkpoint %d is for %d entries", ErrDamaged, row.Size, checkpoint.N)
	}
	var entries, hashes int64
	err = db.NewRaw(`SELECT (SELECT coalesce(max(idx), -1) FROM audit_entries), (SELECT coalesce(max(idx), -1) FROM audit_hashes)`).
		Scan(ctx, &entries, &hashes)
	if err != nil {
		return nil, fmt.Errorf("read the end of the log: %w", err)
	}
	if entries != row.Size-1 || hashes != row.Size-1 {
		return nil, fmt.Errorf("%w: checkpoint %d, but the last entry is %d and the last hashes are of %d", ErrDamaged, row.Size, entries, hashes)
	}
	h := &head{tree: checkpoint.Tree, note: row.Note, edge: map[int64]tlog.Hash{}}
	indexes := torchwood.RightEdge(row.Size)
	edge, err := hashReader(ctx, db).ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	for i, index := range indexes {
		h.edge[index] = edge[i]
	}
	root, err := tlog.TreeHash(row.Size, h)
	if err != nil {
		return nil, err
	}
	if root != checkpoint.Hash {
		return nil, fmt.Errorf("%w: the hashes do not give the root of checkpoint %d", ErrDamaged, row.Size)
	}
	return h, nil
}

// ReadHashes gives hashes of the edge.
func (h *head) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hash, ok := h.edge[index]
		if !ok {
			return nil, errors.New("hash " + hashName(index) + " is not on the edge of the tree")
		}
		hashes[i] = hash
	}
	return hashes, nil
}

// growth is a tree being extended in memory. It leaves the head that it grows from as it is.
type growth struct {
	from  *head
	size  int64
	first int64       // stored hash index of hashes[0]
	added []tlog.Hash // in the order of tlog.StoredHashIndex
}

func (h *head) grow() *growth {
	return &growth{from: h, size: h.tree.N, first: tlog.StoredHashCount(h.tree.N)}
}

// add appends a leaf and gives the hashes that it completes.
func (g *growth) add(leaf []byte) ([]tlog.Hash, error) {
	hashes, err := tlog.StoredHashes(g.size, leaf, g)
	if err != nil {
		return nil, fmt.Errorf("grow the tree: %w", err)
	}
	g.added = append(g.added, hashes...)
	g.size++
	return hashes, nil
}

// ReadHashes gives the hashes that were added and those of the old edge, which are all that proofs of the added
// leaves can need.
func (g *growth) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if at := index - g.first; at >= 0 && at < int64(len(g.added)) {
			hashes[i] = g.added[at]
			continue
		}
		old, err := g.from.ReadHashes([]int64{index})
		if err != nil {
			return nil, err
		}
		hashes[i] = old[0]
	}
	return hashes, nil
}

// seal signs the grown tree and gives its head.
func (g *growth) seal(opts Options) (*head, error) {
	root, err := tlog.TreeHash(g.size, g)
	if err != nil {
		return nil, err
	}
	next := &head{tree: tlog.Tree{N: g.size, Hash: root}, edge: map[int64]tlog.Hash{}}
	indexes := torchwood.RightEdge(g.size)
	edge, err := g.ReadHashes(indexes)
	if err != nil {
		return nil, err
	}
	for i, index := range indexes {
		next.edge[index] = edge[i]
	}
	next.note, err = opts.sign(next.tree)
	return next, err
}

func (o Options) sign(tree tlog.Tree) ([]byte, error) {
	signers := []note.Signer{o.Key.Signer}
	for _, key := range o.Also {
		signers = append(signers, key.Signer)
	}
	text := torchwood.Checkpoint{Origin: o.Origin, Tree: tree}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	return signed, nil
}

// policy trusts a checkpoint that has the origin and the signature of every key.
func (o Options) policy() (torchwood.Policy, error) {
	if o.Key.Signer == nil || o.Key.Verifier == nil {
		return nil, errors.New("audit log: no key")
	}
	keys := []note.Verifier{o.Key.Verifier}
	for _, key := range o.Also {
		keys = append(keys, key.Verifier)
	}
	return trust(o.Origin, keys...), nil
}

func trust(origin string, keys ...note.Verifier) torchwood.Policy {
	all := []torchwood.Policy{torchwood.OriginPolicy(origin)}
	for _, key := range keys {
		all = append(all, torchwood.SingleVerifierPolicy(key))
	}
	return torchwood.ThresholdPolicy(len(all), all...)
}
