// Package audit is the log of everything that is done with the platform: an append-only Merkle tree whose signed
// checkpoints let anybody who kept one show that history was changed.
//
// Entries, tree hashes and checkpoints are rows in the platform's database, written in one transaction each time,
// and on stable storage before an append is acknowledged. The tree and its proofs are those of RFC 6962, the
// checkpoints are signed notes (c2sp.org/tlog-checkpoint), and the log is read as tiles (c2sp.org/tlog-tiles), so
// that a foreign client can verify it.
//
// Trust boundary: whoever holds the database and the key can write another history. What convicts them is a
// checkpoint that somebody else kept, a receipt for one. The database alone, or the key alone, is not enough.
//
// The package must never acknowledge an entry that power loss can take back, never say "not logged" of an entry
// that may be on the log, never put a person's name or a payload into the tree (only salted hashes, so that they
// can be erased), and never go on from a state that it has not verified.
package audit

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/tlog"

	"weir/internal/problem"
	"weir/internal/store"
)

var (
	//go:embed problems.yaml
	problems []byte
	_        = problem.Register(problems)

	//go:embed migrations
	migrations embed.FS
)

// What an append that was not acknowledged may mean. Errors for people wrap one of them.
var (
	// ErrNotLogged says that the event is not on the log and never will be.
	ErrNotLogged = errors.New("not on the log")
	// ErrUncertain says that the event may or may not be on the log, because the database failed while it
	// committed and could not be asked afterwards. Treat what the event announces as not having happened.
	ErrUncertain = errors.New("not known whether it is on the log")
	// ErrDamaged says that the log's tables do not agree with its newest checkpoint. Verify names the place.
	ErrDamaged = errors.New("the audit log is damaged")
)

// Event is one thing that happened.
//
// Kind, Grant, Job, Object and Facts stand in the tree in clear and for ever: names, codes, limits and digests
// only, never a value from a data set and never what somebody typed; see Fact. Actor and Payload stand outside of it,
// beside their salts, and the tree holds salted hashes of them: these two can be erased.
type Event struct {
	Kind    string // what happened, dotted: "job.intent", "job.outcome", "grant.created"
	Actor   string // who did it, as the identity provider names them; empty for the platform itself
	Grant   Fact   // the grant under which it was done, if any
	Job     Fact   // the job that it belongs to, if any
	Object  Fact   // what else it was done to, "release/7"
	Facts   Facts  // whatever else the log must prove
	Payload []byte // what may have to be erased some day: what people typed, SQL text above all; at most MaxPayload bytes
}

// MaxPayload is the longest payload of an event, in bytes.
const MaxPayload = 1 << 20

// Receipt proves that an event is on the log. Whoever keeps one can later show that the log was rewritten.
type Receipt struct {
	Index      int64            // place of the entry, counted from 0
	Time       time.Time        // when the log took it, by the log's clock
	Leaf       []byte           // the entry as it stands in the tree
	Path       tlog.RecordProof // RFC 6962 audit path of the entry in the checkpoint's tree
	Checkpoint []byte           // signed note over the tree that holds the entry
}

// Proof is the receipt in the format of c2sp.org/tlog-proof, which torchwood.VerifyProof checks against
// tlog.RecordHash(Leaf).
func (r Receipt) Proof() []byte { return torchwood.FormatProof(r.Index, r.Path, r.Checkpoint) }

// Options says whose log it is.
type Options struct {
	// Origin names the log, worldwide and for ever: a host name and a path without a scheme, "weir.example/audit".
	Origin string
	// Key signs every checkpoint.
	Key Key
	// Also sign every checkpoint, each with a line of its own.
	Also []Key
	// Clock tells the time of entries; time.Now if nil.
	Clock func() time.Time
	// Timeout bounds one transaction; 30 seconds if zero.
	Timeout time.Duration

	undurable bool // for the test that shows what is lost by a database that does not wait for its disk
}

// Log is an open audit log. Its methods may be used concurrently. Several logs, also of other processes, may be
// open on the same database: they take turns.
type Log struct {
	db       *bun.DB
	opts     Options
	policy   torchwood.Policy
	requests chan *request
	once     sync.Once
	closing  chan struct{}
	closed   chan struct{}
	head     *head // of the sequencer alone; nil when it must be read again
}

// Open opens the log in db and makes its tables if there are none. It refuses a database that acknowledges before
// its writes are on stable storage, and a log whose end does not agree with its newest checkpoint.
func Open(ctx context.Context, db *bun.DB, opts Options) (*Log, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	policy, err := opts.policy()
	if err != nil {
		return nil, err
	}
	if !opts.undurable {
		if err := durable(ctx, db); err != nil {
			return nil, err
		}
	}
	if err := store.Migrate(ctx, db, "audit", migrations); err != nil {
		return nil, err
	}
	l := &Log{
		db: db, opts: opts, policy: policy,
		requests: make(chan *request), closing: make(chan struct{}), closed: make(chan struct{}),
	}
	if l.head, err = l.begin(ctx); err != nil {
		return nil, err
	}
	go l.sequence()
	return l, nil
}

// Append puts an event on the log and returns when it is on stable storage.
//
// Cancelling ctx withdraws an event that still waits for its turn, with ErrNotLogged. Once the log has taken it,
// Append waits for the outcome whatever becomes of ctx, since an answer given earlier could be wrong; what bounds
// the wait then is Options.Timeout.
func (l *Log) Append(ctx context.Context, event Event) (Receipt, error) {
	if event.Kind == kindErased {
		return Receipt{}, refused(errors.New("audit event: only Erase logs an erasure"))
	}
	if err := event.check(); err != nil {
		return Receipt{}, refused(err)
	}
	return l.submit(ctx, &request{event: event})
}

// Erase destroys the actor and the payload of an entry, and the salts without which their hashes in the tree say
// nothing. The entry and every proof stay. The erasure is an entry of its own: Kind "entry.erased", Object
// "entry/<index>", the reason as its payload. It is the same transaction: neither happens without the other.
//
// An error beside a receipt with a checkpoint says that the erasure is done and on the log, but that the database's
// files may hold the data until it is less busy. The database's own backups, and PostgreSQL's dead rows until the next VACUUM, are not reached.
func (l *Log) Erase(ctx context.Context, index int64, actor, reason string) (Receipt, error) {
	event := Event{Kind: kindErased, Actor: actor, Object: Format("entry/%s", Number(index)), Payload: []byte(reason)}
	if err := event.check(); err != nil {
		return Receipt{}, refused(err)
	}
	receipt, err := l.submit(ctx, &request{event: event, erase: &index})
	if err != nil || !sqlite(l.db) {
		return receipt, err
	}
	return receipt, l.forget(ctx)
}

// forget empties SQLite's write-ahead log, whose older frames still hold what was deleted.
func (l *Log) forget(ctx context.Context) error {
	var busy, frames, moved int
	if err := l.db.NewRaw("PRAGMA wal_checkpoint(TRUNCATE)").Scan(ctx, &busy, &frames, &moved); err != nil {
		return fmt.Errorf("erased, but not yet from the write-ahead log: %w", err)
	}
	if busy != 0 {
		return errors.New("erased, but not yet from the write-ahead log: the database is busy")
	}
	return nil
}

func (l *Log) submit(ctx context.Context, r *request) (Receipt, error) {
	if err := ctx.Err(); err != nil { // select would choose at random
		return Receipt{}, refused(err)
	}
	r.done = make(chan struct{})
	select {
	case l.requests <- r: // unbuffered: from here on the sequencer has it
	case <-ctx.Done():
		return Receipt{}, refused(ctx.Err())
	case <-l.closing:
		return Receipt{}, refused(errors.New("the log is closed"))
	}
	<-r.done
	return r.receipt, r.err
}

// Close waits until what was taken is answered, and refuses everything after. It does not close the database.
func (l *Log) Close() error {
	l.once.Do(func() { close(l.closing) })
	<-l.closed
	return nil
}

// Checkpoint is the newest signed checkpoint.
func (l *Log) Checkpoint(ctx context.Context) ([]byte, error) {
	row, err := newestCheckpoint(ctx, l.db)
	if err != nil {
		return nil, err
	}
	return row.Note, nil
}

// Inclusion makes a receipt of an entry against the newest checkpoint.
func (l *Log) Inclusion(ctx context.Context, index int64) (Receipt, error) {
	row, err := newestCheckpoint(ctx, l.db)
	if err != nil {
		return Receipt{}, err
	}
	if index < 0 || index >= row.Size {
		return Receipt{}, problem.New("audit.no-such-entry", "index", fmt.Sprint(index))
	}
	var entry entryRow
	if err := l.db.NewSelect().Model(&entry).Where("idx = ?", index).Scan(ctx); err != nil {
		return Receipt{}, fmt.Errorf("read entry %d: %w", index, err)
	}
	path, err := tlog.ProveRecord(row.Size, index, hashReader(ctx, l.db))
	if err != nil {
		return Receipt{}, fmt.Errorf("prove entry %d: %w", index, err)
	}
	return Receipt{index, time.Unix(0, entry.At).UTC(), entry.Leaf, path, row.Note}, nil
}

// Consistency proves that the tree of size to only added entries to the tree of size from.
func (l *Log) Consistency(ctx context.Context, from, to int64) (tlog.TreeProof, error) {
	row, err := newestCheckpoint(ctx, l.db)
	if err != nil {
		return nil, err
	}
	if from < 1 || from > to || to > row.Size {
		return nil, problem.New("audit.no-such-tree", "from", fmt.Sprint(from), "to", fmt.Sprint(to))
	}
	return tlog.ProveTree(to, from, hashReader(ctx, l.db))
}
