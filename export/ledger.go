package export

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// ledger keeps the fingerprint of every cell that an operator was offered in exact mode, and never forgets one. A
// fingerprint tells which units were in a cell to whoever could link it with others, so it is encrypted under a key that the
// store does not hold. The histories that were used last stay in memory, since what follows from thousands of cells is not computed in
// a moment; the ledger alone can make them again.
type ledger struct {
	db     *bun.DB
	sealed cipher.AEAD

	mu        sync.Mutex
	histories []*held // used last comes last
}

// held is a history in memory.
type held struct {
	operator, domain string
	*history
}

// heldHistories is the most of them, and heldBytes about what all but the last may take.
const (
	heldHistories = 16
	heldBytes     = 1 << 30
)

func newLedger(db *bun.DB, secret []byte) (*ledger, error) {
	sealed, err := sealing(secret, "weir export ledger")
	return &ledger{db: db, sealed: sealed}, err
}

// sealing encrypts what is remembered of an operator's questions, under a key of its own for each purpose.
func sealing(secret []byte, purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", purpose, err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", purpose, err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

type ledgerRow struct {
	bun.BaseModel `bun:"table:export_cells"`

	ID          int64  `bun:"id,pk,autoincrement"`
	Operator    string `bun:"operator"`
	Domain      string `bun:"domain"`
	Job         string `bun:"job"`
	Withheld    bool   `bun:"withheld"` // the cell is a count that was withheld for being small
	Fingerprint []byte `bun:"fingerprint"`
	Family      string `bun:"family"` // of a sum: of which grouping it is a cell
	Mass        []byte `bun:"mass"`   // of a sum: what each part of the units gives; NULL where it is none
	Public      []byte `bun:"public"` // of a set that a secret chose: how large it and its public part are; NULL where it is none
}

// remember runs judge with the operator's history in each domain, and keeps what judge adds. One judging at a
// time, in all processes of the platform: two at once would each not know of the other's cells.
func (l *ledger) remember(ctx context.Context, operator string, domains []string, k int, judge func(map[string]*history) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := map[string]*history{}
	kept := false
	defer func() {
		if !kept { // what is in memory may say more than the ledger
			l.histories = slices.DeleteFunc(l.histories, func(h *held) bool { return known[h.domain] == h.history })
		}
	}()
	err := turn(ctx, l.db, "export_cells", func(ctx context.Context, db bun.IDB) error {
		for _, d := range domains {
			if known[d] != nil {
				continue
			}
			h, err := l.history(ctx, db, operator, d, k)
			if err != nil {
				return err
			}
			known[d] = h
		}
		if err := judge(known); err != nil {
			return err
		}
		return l.write(ctx, db, operator, known)
	})
	kept = err == nil
	return err
}

// turn runs fn while no other process judges by what the table remembers. An embedded store has one process; for its sake nothing is locked while cells
// are judged, or nobody could write the log meanwhile.
func turn(ctx context.Context, db *bun.DB, table string, fn func(context.Context, bun.IDB) error) error {
	if db.Dialect().Name() != dialect.PG {
		return fn(ctx, db)
	}
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.ExecContext(ctx, "LOCK TABLE ? IN EXCLUSIVE MODE", bun.Ident(table)); err != nil {
			return fmt.Errorf("lock %s: %w", table, err)
		}
		return fn(ctx, tx)
	})
}

// history gives what the ledger holds, from memory as far as it is there.
func (l *ledger) history(ctx context.Context, db bun.IDB, operator, domain string, k int) (*history, error) {
	h := l.find(operator, domain)
	l.histories = slices.DeleteFunc(l.histories, func(other *held) bool { return other == h })
	if h == nil || h.k != k {
		fresh, err := newHistory(k)
		if err != nil {
			return nil, err
		}
		h = &held{operator, domain, fresh}
	}
	l.histories = append(l.histories, h) // also if not all of it can be read: the next turn goes on from there
	l.forgetOldest()
	return h.history, l.read(ctx, db, h)
}

// find gives what is in memory of a history, or nil.
func (l *ledger) find(operator, domain string) *held {
	at := slices.IndexFunc(l.histories, func(h *held) bool { return h.operator == operator && h.domain == domain })
	if at < 0 {
		return nil
	}
	return l.histories[at]
}

// forgetOldest takes from memory what was not used for the longest time.
func (l *ledger) forgetOldest() {
	bytes := 0
	for i := len(l.histories) - 1; i >= 0; i-- {
		bytes += l.histories[i].bytes()
		if n := len(l.histories) - i; n > heldHistories || n > 1 && bytes > heldBytes {
			l.histories = slices.Delete(l.histories, 0, i+1)
			return
		}
	}
}

// readAtOnce is how many entries are in memory at a time.
const readAtOnce = 200

// read adds to a history what the ledger has besides.
func (l *ledger) read(ctx context.Context, db bun.IDB, h *held) error {
	for more := true; more; {
		var err error
		if more, err = l.readSome(ctx, db, h); err != nil {
			return err
		}
	}
	return nil
}

// readSome adds the next of them, and reports whether there are more.
func (l *ledger) readSome(ctx context.Context, db bun.IDB, h *held) (more bool, err error) {
	var rows []ledgerRow
	err = db.NewSelect().Model(&rows).Where("operator = ? AND domain = ? AND id > ?", h.operator, h.domain, h.last).
		OrderExpr("id").Limit(readAtOnce).Scan(ctx)
	if err != nil {
		return false, fmt.Errorf("read the ledger: %w", err)
	}
	if len(rows) == 0 {
		return false, nil
	}
	entries := make([]entry, len(rows))
	for i, r := range rows {
		written, err := l.open(r)
		if err != nil {
			return false, fmt.Errorf("read the ledger: entry %d: %w", r.ID, err)
		}
		entries[i] = entry{job: r.Job, print: written, withheld: r.Withheld, family: r.Family}
		for of, sealed := range map[*[]byte][]byte{(*[]byte)(&entries[i].mass): r.Mass, &entries[i].public: r.Public} {
			if sealed == nil {
				continue
			}
			if *of, err = l.sealed.Open(nil, nil, sealed, r.besideOwner()); err != nil {
				return false, fmt.Errorf("read the ledger: what is beside entry %d: %w", r.ID, err)
			}
		}
	}
	if err := h.know(entries); err != nil {
		return false, fmt.Errorf("read the ledger: entries from %d on: %w", rows[0].ID, err)
	}
	h.last = rows[len(rows)-1].ID
	return len(rows) == readAtOnce, nil
}

// write keeps what was added to the histories.
func (l *ledger) write(ctx context.Context, db bun.IDB, operator string, known map[string]*history) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		for domain, h := range known {
			for some := range slices.Chunk(h.fresh, readAtOnce) {
				rows := make([]ledgerRow, len(some))
				for i, e := range some {
					rows[i] = ledgerRow{Operator: operator, Domain: domain, Job: e.job, Withheld: e.withheld}
					rows[i].Fingerprint = l.sealed.Seal(nil, nil, e.print, rows[i].owner())
					rows[i].Family = e.family
					if len(e.mass) > 0 {
						rows[i].Mass = l.sealed.Seal(nil, nil, e.mass, rows[i].besideOwner())
					}
					if len(e.public) > 0 {
						rows[i].Public = l.sealed.Seal(nil, nil, e.public, rows[i].besideOwner())
					}
				}
				if _, err := tx.NewInsert().Model(&rows).Returning("id").Exec(ctx); err != nil {
					return fmt.Errorf("write the ledger: %w", err)
				}
				for _, r := range rows {
					h.last = max(h.last, r.ID)
				}
			}
			h.fresh = nil
		}
		return nil
	})
}

func (r ledgerRow) owner() []byte {
	if r.Withheld {
		return owner(r.Operator, r.Domain, r.Job, "withheld")
	}
	return owner(r.Operator, r.Domain, r.Job)
}

func (r ledgerRow) besideOwner() []byte {
	return owner(r.Operator, r.Domain, r.Job, r.Family, "beside")
}

// owner is what an entry is bound to: it cannot be moved to another operator, domain or job, nor made to have been released.
func owner(parts ...string) []byte {
	var text []byte
	for _, part := range parts {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	return text
}

func (l *ledger) open(r ledgerRow) (fingerprint, error) {
	return l.sealed.Open(nil, nil, r.Fingerprint, r.owner())
}
