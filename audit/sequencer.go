package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/tlog"

	"weir/internal/problem"
)

const (
	maxBatch      = 256
	maxBatchBytes = 4 << 20 // of payloads; one payload more may be in a batch
)

// request is an event on its way. The sequencer alone writes to it until done is closed.
type request struct {
	event   Event
	erase   *int64 // index of the entry whose private row goes
	do      func(ctx context.Context, tx bun.Tx, index int64) error
	receipt Receipt
	err     error
	done    chan struct{}
}

// refused is the answer to an event that is certainly not on the log.
func refused(cause error) error {
	return problem.New("audit.not-logged").Because(fmt.Errorf("%w: %w", ErrNotLogged, cause))
}

func uncertain(cause error) error {
	return problem.New("audit.uncertain").Because(fmt.Errorf("%w: %w", ErrUncertain, cause))
}

// sequence is the one goroutine that extends the tree. It takes a request as soon as there is one, and with it
// those that wait already: an idle log does not wait for company, and a busy one fills its batches while the
// transaction before is on its way to the disk.
func (l *Log) sequence() {
	defer close(l.closed)
	for {
		select {
		case r := <-l.requests:
			batch := l.collect(r)
			l.write(batch)
			for _, r := range batch {
				close(r.done)
			}
		case <-l.closing:
			return
		}
	}
}

func (l *Log) collect(first *request) []*request {
	batch := []*request{first}
	size := len(first.event.Payload)
	for len(batch) < maxBatch && size < maxBatchBytes {
		select {
		case r := <-l.requests:
			batch = append(batch, r)
			size += len(r.event.Payload)
		default:
			return batch
		}
	}
	return batch
}

// write puts a batch on the log, or answers every request of it with an error and leaves the log where it was.
func (l *Log) write(batch []*request) {
	ctx, cancel := context.WithTimeout(context.Background(), l.opts.Timeout)
	defer cancel()
	fail := func(answer func(error) error, cause error) {
		for _, r := range batch {
			if r.err != nil { // it was dropped, so it is not on the log whatever became of the others
				r.err = refused(cause)
				continue
			}
			r.receipt, r.err = Receipt{}, answer(cause)
		}
	}
	tx, err := beginTurn(ctx, l.db)
	if err != nil {
		fail(refused, err)
		return
	}
	extension, err := l.extend(ctx, tx, batch)
	if err != nil || extension == nil {
		err = errors.Join(err, tx.Rollback())
		if err != nil {
			fail(refused, err)
		}
		return
	}
	err = tx.Commit()
	if err == nil {
		l.head = extension.head
		return
	}
	l.head = nil // whatever the database ends with now is read again and verified before it is extended
	switch landed, unknown := l.landed(extension.entries[0]); {
	case unknown != nil:
		fail(uncertain, errors.Join(err, unknown))
	case !landed:
		fail(refused, err)
	}
}

// landed finds out what became of a transaction whose commit reported an error: it waits for its turn, which ends
// the other transaction if it still runs, and looks for its first entry. Salts make every entry with an actor or
// a payload unique; for others time and place do, and the hash of the leaf is compared with its place in any case.
func (l *Log) landed(first entryRow) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.opts.Timeout)
	defer cancel()
	tx, err := beginTurn(ctx, l.db)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	var found []entryRow
	if err := tx.NewSelect().Model(&found).Where("idx = ?", first.Index).Scan(ctx); err != nil {
		return false, err
	}
	return len(found) == 1 && bytes.Equal(found[0].Leaf, first.Leaf), nil
}

// extension is what one transaction adds.
type extension struct {
	head    *head
	entries []entryRow
	hashes  []hashRow
	private []privateRow
}

// extend writes a batch into the transaction. It gives nil when no request of the batch remains.
func (l *Log) extend(ctx context.Context, tx bun.Tx, batch []*request) (*extension, error) {
	head, err := l.current(ctx, tx)
	if err != nil {
		return nil, err
	}
	tree := head.grow()
	x := &extension{}
	var taken []*request
	for _, r := range batch {
		if r.erase != nil {
			found, err := erase(ctx, tx, *r.erase)
			if err != nil {
				return nil, err
			}
			if !found { // the others go on
				r.err = problem.New("audit.nothing-to-erase", "index", fmt.Sprint(*r.erase))
				continue
			}
		}
		if r.do != nil {
			declined, err := r.carryOut(ctx, tx, tree.size)
			if err != nil {
				return nil, err
			}
			if declined != nil {
				r.err = dropped(declined)
				continue
			}
		}
		if err := x.add(tree, r, l); err != nil {
			return nil, err
		}
		taken = append(taken, r)
	}
	if len(taken) == 0 {
		return nil, nil
	}
	if x.head, err = tree.seal(l.opts); err != nil {
		return nil, err
	}
	for _, r := range taken {
		r.receipt.Checkpoint = x.head.note
		if r.receipt.Path, err = tlog.ProveRecord(tree.size, r.receipt.Index, tree); err != nil {
			return nil, fmt.Errorf("prove entry %d: %w", r.receipt.Index, err)
		}
	}
	return x, x.insert(ctx, l.db, tx)
}

func (x *extension) add(tree *growth, r *request, l *Log) error {
	at := l.opts.Clock().UTC().Round(0)
	entry, private, err := r.event.seal(tree.size, at)
	if err != nil {
		return err
	}
	hashes, err := tree.add(entry.Leaf)
	if err != nil {
		return err
	}
	row := hashRow{Index: entry.Index}
	for _, hash := range hashes {
		row.Hashes = append(row.Hashes, hash[:]...)
	}
	x.entries, x.hashes = append(x.entries, entry), append(x.hashes, row)
	if private != nil {
		x.private = append(x.private, *private)
	}
	r.receipt = Receipt{Index: entry.Index, Time: at, Leaf: entry.Leaf}
	return nil
}

// insert writes everything in one go: on PostgreSQL every statement is a way to the server and back.
func (x *extension) insert(ctx context.Context, db *bun.DB, tx bun.Tx) error {
	row := checkpointRow{Size: x.head.tree.N, Note: x.head.note}
	inserts := []*bun.InsertQuery{
		tx.NewInsert().Model(&x.entries), tx.NewInsert().Model(&x.hashes), tx.NewInsert().Model(&row),
	}
	if len(x.private) > 0 {
		inserts = append(inserts, tx.NewInsert().Model(&x.private))
	}
	var script []byte
	var err error
	for _, insert := range inserts {
		if script, err = insert.AppendQuery(db.QueryGen(), script); err != nil {
			return fmt.Errorf("write the batch: %w", err)
		}
		script = append(script, ";\n"...)
	}
	if _, err := tx.Tx.ExecContext(ctx, string(script)); err != nil {
		return fmt.Errorf("write the batch: %w", err)
	}
	return nil
}

// current is the head to go on from: the one in memory if the database still ends there, else, after another
// server wrote or a commit failed, the database's, read again and verified.
func (l *Log) current(ctx context.Context, tx bun.Tx) (*head, error) {
	if l.head == nil {
		return loadHead(ctx, tx, l.policy)
	}
	row, err := newestCheckpoint(ctx, tx)
	if err != nil {
		return nil, err
	}
	if row.Size == l.head.tree.N && bytes.Equal(row.Note, l.head.note) {
		return l.head, nil
	}
	if row.Size <= l.head.tree.N {
		return nil, fmt.Errorf("%w: it ends at %d entries, and had %d", ErrDamaged, row.Size, l.head.tree.N)
	}
	return loadHead(ctx, tx, l.policy)
}

// begin gives the head of the log, and signs the empty tree for a new one, so that there is always a checkpoint.
func (l *Log) begin(ctx context.Context) (*head, error) {
	tx, err := beginTurn(ctx, l.db)
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	defer tx.Rollback()
	var rows int
	err = tx.NewRaw(`SELECT (SELECT count(*) FROM audit_checkpoints) + (SELECT count(*) FROM audit_entries)`).Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	if rows > 0 {
		return loadHead(ctx, tx, l.policy)
	}
	root, err := tlog.TreeHash(0, nil)
	if err != nil {
		return nil, err
	}
	empty := &head{tree: tlog.Tree{Hash: root}, edge: map[int64]tlog.Hash{}}
	if empty.note, err = l.opts.sign(empty.tree); err != nil {
		return nil, err
	}
	if _, err := tx.NewInsert().Model(&checkpointRow{Note: empty.note}).Exec(ctx); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	return empty, tx.Commit()
}

// erase deletes the private row of an entry, and tells whether there was one.
func erase(ctx context.Context, tx bun.Tx, index int64) (bool, error) {
	result, err := tx.NewDelete().Model((*privateRow)(nil)).Where("idx = ?", index).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("erase entry %d: %w", index, err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
