package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// decide compares both trees with the root of a valid checkpoint, settles what was disputed since the last one,
// and goes on from the tree that is right.
func (v *verification) decide(place string, root tlog.Hash) {
	fromLeaves, fromRows := v.leaves.root() == root, v.rows.root() == root
	switch {
	case fromLeaves:
		for _, d := range v.disputed {
			v.fault("hash "+hashName(d.index), "does not follow from the entries below it")
		}
		v.rows.hashes = maps.Clone(v.leaves.hashes)
	case fromRows:
		v.blame(place)
		v.leaves.hashes = maps.Clone(v.rows.hashes)
	case len(v.disputed) == 0:
		v.fault(place, "root does not match the entries")
	default:
		v.settle("neither of which gives " + place)
	}
	v.disputed = nil
}

// blame names the entries that do not give the stored hashes, when the stored hashes give the root of a checkpoint.
// Where an entry's own hash was changed along with it, what is left to name is the range under the lowest hash
// that disagrees.
func (v *verification) blame(checkpoint string) {
	before := len(v.report.Faults)
	for _, d := range v.disputed {
		if d.index == tlog.StoredHashIndex(0, d.entry) {
			v.fault(fmt.Sprintf("entry %d", d.entry), "does not match its hash, which %s confirms", checkpoint)
		}
	}
	if len(v.report.Faults) > before || len(v.disputed) == 0 {
		return
	}
	level, n := tlog.SplitStoredHashIndex(v.disputed[0].index)
	v.fault(fmt.Sprintf("entries %d to %d", n<<level, (n+1)<<level-1), "do not give hash %d/%d, which %s confirms", level, n, checkpoint)
}

// settle reports what is disputed when nothing tells who is right.
func (v *verification) settle(why string) {
	for _, d := range v.disputed {
		v.fault(fmt.Sprintf("entry %d", d.entry), "does not match hash %s, %s", hashName(d.index), why)
	}
	v.disputed = nil
}

// erasures checks that what is gone was erased on the log, and that what was erased is gone.
func (v *verification) erasures(ctx context.Context) error {
	for _, i := range v.missing {
		if v.erased[i] {
			v.report.Erased++
			continue
		}
		// It may have been erased while we were reading.
		meanwhile, err := v.db.NewSelect().Model((*entryRow)(nil)).
			Where("kind = ? AND object = ? AND idx >= ?", kindErased, entryName(i), v.size).Exists(ctx)
		if err != nil {
			return fmt.Errorf("look for an erasure: %w", err)
		}
		if !meanwhile {
			v.fault(fmt.Sprintf("entry %d", i), "private part is missing, and no erasure is on the log")
		}
	}
	for i := range v.erased {
		there, err := v.db.NewSelect().Model((*privateRow)(nil)).Where("idx = ?", i).Exists(ctx)
		if err != nil {
			return fmt.Errorf("look for an erased part: %w", err)
		}
		if there {
			v.fault(fmt.Sprintf("entry %d", i), "was erased, but its private part is there")
		}
	}
	return nil
}

// kept compares the log with checkpoints that others kept.
func (v *verification) kept() {
	for _, text := range v.opts.Kept {
		checkpoint, _, err := torchwood.VerifyCheckpoint(text, v.opts.Policy)
		if err != nil {
			v.fault("kept checkpoint", "signature or form is not valid")
			continue
		}
		place := fmt.Sprintf("kept checkpoint %d", checkpoint.N)
		root, stored := v.roots[checkpoint.N]
		switch {
		case checkpoint.N > v.size:
			v.fault(place, "the log has only %d entries: the end was cut off", v.size)
		case !stored:
			v.fault(place, "is not among the log's checkpoints")
		case root != checkpoint.Hash:
			v.fault(place, "the log now has another history")
		}
	}
}

// prove does what a client of the log would do, from the stored hashes: inclusion of every entry in the newest
// checkpoint, and consistency of each checkpoint with the next.
func (v *verification) prove(ctx context.Context) error {
	newest := v.checkpoints[len(v.checkpoints)-1]
	if newest.N > 0 {
		client, err := torchwood.NewClient(tileReader{v.db})
		if err != nil {
			return err
		}
		proved := int64(0)
		for range client.AllEntries(ctx, newest, 0) {
			proved++
		}
		if err := errors.Join(client.Err(), ctx.Err()); err != nil {
			return fmt.Errorf("prove the entries: %w", err)
		}
		if proved != newest.N {
			v.fault(fmt.Sprintf("entry %d", proved), "cannot be proved to be in checkpoint %d", newest.N)
		}
	}
	hashes := newBlocks(ctx, v.db)
	for i, next := range v.checkpoints[1:] {
		before := v.checkpoints[i]
		if before.N == 0 {
			continue // everything is consistent with the empty tree
		}
		place := fmt.Sprintf("checkpoint %d", next.N)
		proof, err := tlog.ProveTree(next.N, before.N, hashes)
		if err != nil {
			return fmt.Errorf("prove %s: %w", place, err)
		}
		if err := tlog.CheckTree(proof, next.N, next.Hash, before.N, before.Hash); err != nil {
			v.fault(place, "is not consistent with checkpoint %d", before.N)
		}
	}
	return nil
}

// edge is the right edge of a growing tree: all that is needed to go on and to compute the root.
type edge struct {
	size   int64
	hashes map[int64]tlog.Hash
}

func newEdge() *edge { return &edge{hashes: map[int64]tlog.Hash{}} }

func (e *edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = e.hashes[index]
	}
	return hashes, nil
}

func (e *edge) add(i int64, leaf []byte) []tlog.Hash {
	hashes, err := tlog.StoredHashes(i, leaf, e)
	if err != nil {
		panic(err) // ReadHashes above gives none
	}
	e.put(i, hashes)
	return hashes
}

// put adds the hashes that an entry completes. The last of them covers the others and what was on the edge beside
// them, so these go.
func (e *edge) put(i int64, hashes []tlog.Hash) {
	top := len(hashes) - 1
	for level := range top {
		delete(e.hashes, tlog.StoredHashIndex(level, i>>level-1))
	}
	e.hashes[tlog.StoredHashIndex(top, i>>top)] = hashes[top]
	e.size = i + 1
}

func (e *edge) root() tlog.Hash {
	root, err := tlog.TreeHash(e.size, e)
	if err != nil {
		panic(err) // ReadHashes above gives none
	}
	return root
}

func erasedIndex(object string) (int64, bool) {
	text, ok := strings.CutPrefix(object, "entry/")
	index, err := strconv.ParseInt(text, 10, 64)
	return index, ok && err == nil && index >= 0 && entryName(index) == object
}

// strict gives base64 as an encoder writes it: a decoder lets the unused bits of the last letter be anything.
func strict(text string) string {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(raw)
}
