package audit

import (
	"bytes"
	"context"
	"fmt"
	"math/bits"
	"slices"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Fault is one place where the log's tables are wrong.
type Fault struct {
	Place   string // "entry 17", "hash 3/2" (level/number), "checkpoint 5" (its size), "table audit_private"
	Problem string // "payload does not match its hash"
}

func (f Fault) String() string { return f.Place + ": " + f.Problem }

// Report is what Verify found.
type Report struct {
	Entries     int64     // entries under the newest checkpoint
	Checkpoints int       // stored checkpoints, each with its signatures
	Erased      int       // entries whose private part was erased, and whose erasure is on the log
	Root        tlog.Hash // root that was recomputed from the entries
	Checkpoint  []byte    // the newest; keep it, and the next verification can show that nothing before it changed
	Faults      []Fault   // in the order in which they were found, at most maxFaults
}

// OK says that nothing was wrong.
func (r Report) OK() bool { return len(r.Faults) == 0 }

const maxFaults = 100

// VerifyOptions says whom to believe.
type VerifyOptions struct {
	// Policy accepts the log's checkpoints; see Trust.
	Policy torchwood.Policy
	// Kept are signed checkpoints from before that somebody else kept: receipts', a witness's, an earlier
	// report's. Without one, a log that was rewritten as a whole with its own key cannot be told from the first.
	Kept [][]byte
	// Progress, if not nil, is told now and then how many of the entries are done.
	Progress func(done, total int64)
}

// Verify is the package's Verify with the log's own keys.
func (l *Log) Verify(ctx context.Context, progress func(done, total int64)) (Report, error) {
	return Verify(ctx, l.db, VerifyOptions{Policy: l.policy, Progress: progress})
}

// Verify recomputes the log in db from its entries up: each leaf against the columns copied from it and against
// its private part, each stored hash, each checkpoint's signatures and root; then it proves the inclusion of every
// entry in the newest checkpoint, and the consistency of each checkpoint with the next, as a client would.
// It needs no running platform and no secret, changes nothing, and holds no lock: what is appended meanwhile is not looked at.
//
// An error says that verification could not be carried out; what is wrong with the log is in the report.
func Verify(ctx context.Context, db *bun.DB, opts VerifyOptions) (Report, error) {
	v := &verification{db: db, opts: opts, leaves: newEdge(), rows: newEdge(), erased: map[int64]bool{}}
	if err := v.start(ctx); err != nil {
		return v.report, err
	}
	if err := v.recompute(ctx); err != nil {
		return v.report, err
	}
	if err := v.erasures(ctx); err != nil {
		return v.report, err
	}
	v.kept()
	if v.report.OK() {
		if err := v.prove(ctx); err != nil {
			return v.report, err
		}
	}
	return v.report, nil
}

// verification carries two trees upward beside each other: one computed from the leaves, one made of the stored
// hashes. Where they differ, the next valid checkpoint tells which of them was changed.
type verification struct {
	db     *bun.DB
	opts   VerifyOptions
	size   int64
	report Report

	leaves, rows *edge
	roots        map[int64]tlog.Hash // by size, of kept checkpoints
	disputed     []dispute
	checkpoints  []tlog.Tree // the valid ones
	missing      []int64     // entries whose private part is not there
	erased       map[int64]bool
}

type dispute struct {
	index int64 // stored hash index
	entry int64 // the entry that it is stored with
}

func (v *verification) fault(place, format string, args ...any) {
	if len(v.report.Faults) < maxFaults {
		v.report.Faults = append(v.report.Faults, Fault{place, fmt.Sprintf(format, args...)})
	}
}

// start fixes what is verified, in one statement, so that a log that grows meanwhile does not look damaged, and
// reports what lies outside of it.
func (v *verification) start(ctx context.Context) error {
	v.size, v.roots = -1, map[int64]tlog.Hash{}
	var entry, hash, private, first int64
	err := v.db.NewRaw(`SELECT (SELECT coalesce(max(size), -1) FROM audit_checkpoints),
		(SELECT coalesce(max(idx), -1) FROM audit_entries), (SELECT coalesce(max(idx), -1) FROM audit_hashes),
		(SELECT coalesce(max(idx), -1) FROM audit_private),
		(SELECT coalesce(min(i), 0) FROM (SELECT min(idx) AS i FROM audit_entries UNION ALL SELECT min(idx) FROM audit_hashes
			UNION ALL SELECT min(idx) FROM audit_private UNION ALL SELECT min(size) FROM audit_checkpoints) AS firsts)`).
		Scan(ctx, &v.size, &entry, &hash, &private, &first)
	if err != nil {
		return fmt.Errorf("verify the audit log: %w", err)
	}
	if v.size < 0 {
		v.fault("table audit_checkpoints", "there is no checkpoint")
		v.size = max(entry, hash) + 1
	}
	for _, last := range []struct {
		table string
		index int64
	}{{"entry", entry}, {"hashes of entry", hash}, {"private part of entry", private}} {
		if last.index >= v.size {
			v.fault(fmt.Sprintf("%s %d", last.table, last.index), "lies beyond the newest checkpoint, which is %d", v.size)
		}
	}
	if first < 0 {
		v.fault(fmt.Sprintf("entry %d", first), "is not a place in the log")
	}
	v.report.Entries = v.size
	return v.integrity(ctx)
}

// integrity asks SQLite whether its own structures hold together, its indexes above all: a search that misses an
// entry is as good as a missing entry. PostgreSQL checks its pages by checksums, where they are switched on.
func (v *verification) integrity(ctx context.Context) error {
	if !sqlite(v.db) {
		return nil
	}
	for _, table := range []string{"audit_entries", "audit_hashes", "audit_checkpoints", "audit_private"} {
		var found []string
		if err := v.db.NewRaw("PRAGMA integrity_check(?)", bun.Ident(table)).Scan(ctx, &found); err != nil {
			return fmt.Errorf("check table %s: %w", table, err)
		}
		if !slices.Equal(found, []string{"ok"}) {
			v.fault("table "+table, "SQLite finds its pages or indexes damaged")
		}
	}
	return nil
}

// recompute goes through entries and checkpoints from the first on, a chunk at a time.
func (v *verification) recompute(ctx context.Context) error {
	const step = 1024
	for from := int64(0); ; from += step {
		until := min(from+step, v.size)
		part, err := v.read(ctx, from, until)
		if err != nil {
			return err
		}
		if from == 0 {
			v.checkpoint(part.checkpoints[0]) // of the empty tree
		}
		for i := from; i < until; i++ {
			if !v.entry(i, part) {
				return nil
			}
			v.checkpoint(part.checkpoints[i+1])
		}
		if v.opts.Progress != nil {
			v.opts.Progress(until, v.size)
		}
		if until == v.size {
			v.settle("which no valid checkpoint decides")
			v.report.Root = v.leaves.root()
			return nil
		}
	}
}

// chunk is what the tables hold for a range of entries.
type chunk struct {
	entries     map[int64]*entryRow
	hashes      map[int64]*hashRow
	private     map[int64]*privateRow
	checkpoints map[int64]*checkpointRow // by size, of trees that end in the range
}

func (v *verification) read(ctx context.Context, from, until int64) (*chunk, error) {
	c := &chunk{}
	var err error
	within := func(column string) string { return column + " >= ? AND " + column + " < ?" }
	if c.entries, err = collect(ctx, v.db, within("idx"), from, until, func(r *entryRow) int64 { return r.Index }); err != nil {
		return nil, err
	}
	if c.hashes, err = collect(ctx, v.db, within("idx"), from, until, func(r *hashRow) int64 { return r.Index }); err != nil {
		return nil, err
	}
	if c.private, err = collect(ctx, v.db, within("idx"), from, until, func(r *privateRow) int64 { return r.Index }); err != nil {
		return nil, err
	}
	first := from + 1
	if from == 0 {
		first = 0
	}
	c.checkpoints, err = collect(ctx, v.db, within("size"), first, until+1, func(r *checkpointRow) int64 { return r.Size })
	return c, err
}

func collect[Row any](ctx context.Context, db *bun.DB, where string, from, until int64, key func(*Row) int64) (map[int64]*Row, error) {
	var rows []Row
	if err := db.NewSelect().Model(&rows).Where(where, from, until).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	found := make(map[int64]*Row, len(rows))
	for i := range rows {
		found[key(&rows[i])] = &rows[i]
	}
	return found, nil
}

// entry checks an entry and lets both trees grow by it. It gives false where neither can.
func (v *verification) entry(i int64, part *chunk) bool {
	place := fmt.Sprintf("entry %d", i)
	row := part.entries[i]
	if row == nil {
		v.fault(place, "is missing")
	}
	stored := v.storedHashes(i, part.hashes[i])
	if row == nil {
		if stored != nil {
			v.leaves.put(i, stored)
			v.rows.put(i, stored)
		}
		return stored != nil // with neither, nothing after it can be verified
	}
	v.content(place, i, row, part.private[i])
	computed := v.leaves.add(i, row.Leaf)
	if stored == nil {
		v.rows.put(i, computed)
		return true
	}
	v.rows.put(i, stored)
	for level := range computed {
		if computed[level] != stored[level] {
			v.disputed = append(v.disputed, dispute{tlog.StoredHashIndex(level, i>>level), i})
		}
	}
	return true
}

func (v *verification) content(place string, i int64, row *entryRow, private *privateRow) {
	l, wrong, gone := row.contradictions(private)
	for _, problem := range wrong {
		v.fault(place, "%s", problem)
	}
	if gone {
		v.missing = append(v.missing, i)
	}
	if l.Kind == kindErased {
		if index, ok := erasedIndex(l.Object); ok && index < i {
			v.erased[index] = true
		} else {
			v.fault(place, "is the erasure of something that is no earlier entry")
		}
	}
}

func (v *verification) storedHashes(i int64, row *hashRow) []tlog.Hash {
	if row == nil {
		v.fault(fmt.Sprintf("hash 0/%d", i), "is missing, with all that are stored with it")
		return nil
	}
	count := bits.TrailingZeros64(uint64(i+1)) + 1
	if len(row.Hashes) != count*tlog.HashSize {
		v.fault(fmt.Sprintf("hash 0/%d", i), "and those stored with it have %d bytes, not %d", len(row.Hashes), count*tlog.HashSize)
		return nil
	}
	hashes := make([]tlog.Hash, count)
	for level := range hashes {
		copy(hashes[level][:], row.Hashes[level*tlog.HashSize:])
	}
	return hashes
}

// checkpoint checks the checkpoint, if there is one, of the tree as far as it has grown.
func (v *verification) checkpoint(row *checkpointRow) {
	if row == nil {
		return
	}
	v.report.Checkpoints++
	place := fmt.Sprintf("checkpoint %d", row.Size)
	signed, text, err := torchwood.VerifyCheckpoint(row.Note, v.opts.Policy)
	switch {
	case err != nil:
		v.fault(place, "signature or form is not valid")
		return
	case signed.N != row.Size:
		v.fault(place, "is signed for %d entries", signed.N)
		return
	case !bytes.Equal(canonical(text), row.Note):
		v.fault(place, "signature lines are not those of known keys in their one encoding")
		return
	}
	v.report.Checkpoint = row.Note
	v.checkpoints = append(v.checkpoints, signed.Tree)
	v.roots[row.Size] = signed.Hash
	v.decide(place, signed.Hash)
}

// canonical writes a note with the signatures that were verified, and no other.
func canonical(n *note.Note) []byte {
	text := bytes.NewBufferString(n.Text + "\n")
	for _, s := range n.Sigs {
		fmt.Fprintf(text, "— %s %s\n", s.Name, strict(s.Base64))
	}
	return text.Bytes()
}
