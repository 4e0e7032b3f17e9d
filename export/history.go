package export

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"weir/export/guard"
)

// E6: no small combination of cells isolates fewer than k units.
//
// Every cell that is offered or released leaves a linear fingerprint of the rows behind it. For a new cell z the
// history is searched for cells x and y of the same operator such that z ± x, or z ± x ± y, is supported on fewer
// than k of the parts into which the units are divided, and not on none: then the units on which it is supported
// are fewer than k too, or nearly so. The search is complete for combinations of up to three cells with
// coefficients of one; longer ones are not looked for, which docs/design/history.md says plainly. What was counted
// once stays counted, whether or not the job ended well: a refund would be an answer.

// fingerprint is a cell's linear fingerprint, modulo 2^64.
type fingerprint [guard.FingerprintParts]uint64

func (a *fingerprint) plus(b *fingerprint) (sum fingerprint) {
	for i := range a {
		sum[i] = a[i] + b[i]
	}
	return sum
}

func (a *fingerprint) minus(b *fingerprint) (difference fingerprint) {
	for i := range a {
		difference[i] = a[i] - b[i]
	}
	return difference
}

// support counts the parts that are not zero, and stops at limit.
func (a *fingerprint) support(limit int) int {
	n := 0
	for _, v := range a {
		if v != 0 {
			if n++; n >= limit {
				return n
			}
		}
	}
	return n
}

func parseFingerprint(text string) (fingerprint, error) {
	var f fingerprint
	for pair := range strings.FieldsSeq(text) {
		part, sum, ok := strings.Cut(pair, "=")
		i, err := strconv.Atoi(part)
		n, valid := new(big.Int).SetString(sum, 10)
		if !ok || err != nil || !valid || i < 0 || i >= len(f) || n.Sign() < 0 {
			return f, fmt.Errorf("a fingerprint has an unknown form")
		}
		f[i] = n.And(n, new(big.Int).SetUint64(^uint64(0))).Uint64()
	}
	return f, nil
}

// remembered is a cell of the history, or a sum of cells that were released together.
type remembered struct {
	job string
	set int // cells of one set are disjoint: groups of one aggregate
	f   fingerprint
}

// earlier is the set of every cell that an earlier job left: nothing is known of them.
const earlier = -1

// history is the cells that one operator was offered, in one domain of units. Two fingerprints that differ in fewer
// than k parts agree in one of k bands of parts at least, so an index on bands finds every candidate.
type history struct {
	k     int
	cells []remembered
	whole map[fingerprint]bool
	bands []map[uint64][]int
}

func newHistory(k int) *history {
	h := &history{k: k, whole: map[fingerprint]bool{}, bands: make([]map[uint64][]int, k)}
	for i := range h.bands {
		h.bands[i] = map[uint64][]int{}
	}
	return h
}

// band hashes one band of parts. The parts hold sums of keyed hashes, so nobody can aim at a collision.
func (h *history) band(i int, f *fingerprint) uint64 {
	var sum uint64
	for _, v := range f[i*len(f)/h.k : (i+1)*len(f)/h.k] {
		sum = (sum ^ v) * 0x9e3779b97f4a7c15
		sum ^= sum >> 29
	}
	return sum
}

func (h *history) add(job string, set int, f fingerprint) {
	for i := range h.bands {
		b := h.band(i, &f)
		h.bands[i][b] = append(h.bands[i][b], len(h.cells))
	}
	h.cells = append(h.cells, remembered{job, set, f})
	h.whole[f] = true
}

// isolating reports whether a combination rests on units, but on too few. One that is a cell of its own rests on
// enough, since that was counted; only its parts may be few, as two of its units can fall into one.
func (h *history) isolating(v *fingerprint) bool {
	n := v.support(h.k)
	if n == 0 || n >= h.k {
		return false
	}
	var zero fingerprint
	return !h.whole[*v] && !h.whole[zero.minus(v)]
}

// near finds a cell that differs from f in fewer than k parts, but in some.
func (h *history) near(f *fingerprint) (job string, found bool) {
	for i := range h.bands {
		for _, at := range h.bands[i][h.band(i, f)] {
			difference := f.minus(&h.cells[at].f)
			if h.isolating(&difference) {
				return h.cells[at].job, true
			}
		}
	}
	return "", false
}

// isolates reports whether a cell, with one or two cells of the history, would isolate fewer than k units, and with
// a cell of which job. Two cells that are disjoint from z and from each other cannot, so they are passed over.
func (h *history) isolates(z *fingerprint, set int) (job string, found bool) {
	if job, found = h.near(z); found {
		return job, true
	}
	var zero fingerprint
	negative := zero.minus(z)
	for i := range h.cells {
		if h.cells[i].set == set {
			continue
		}
		x := &h.cells[i].f
		// z - x against y covers z-x-y; z + x against y covers z+x-y; and y - z against x is the first again.
		for _, v := range []fingerprint{z.minus(x), z.plus(x), negative.plus(x)} {
			if h.isolating(&v) {
				return h.cells[i].job, true
			}
			if job, found := h.near(&v); found {
				return job, true
			}
		}
	}
	return "", false
}

type ledgerRow struct {
	bun.BaseModel `bun:"table:export_ledger"`

	ID          int64  `bun:"id,pk,autoincrement"`
	Operator    string `bun:"operator"`
	Domain      string `bun:"domain"`
	Job         string `bun:"job"`
	Fingerprint []byte `bun:"fingerprint"`
}

// remember runs judge with the operator's history in each domain, and keeps what judge adds. One judging at a
// time: two at once would each not know of the other's cells.
func (q *Queue) remember(ctx context.Context, operator, job string, domains []string, k int, judge func(map[string]*history) error) error {
	return q.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if tx.Dialect().Name() == dialect.PG {
			if _, err := tx.ExecContext(ctx, "LOCK TABLE export_ledger IN EXCLUSIVE MODE"); err != nil {
				return fmt.Errorf("lock the ledger: %w", err)
			}
		}
		known := map[string]*history{}
		counts := map[string]int{}
		for _, d := range domains {
			if known[d] != nil {
				continue
			}
			h, err := readHistory(ctx, tx, operator, d, k)
			if err != nil {
				return err
			}
			known[d], counts[d] = h, len(h.cells)
		}
		if err := judge(known); err != nil {
			return err
		}
		var fresh []ledgerRow
		for d, h := range known {
			for _, c := range h.cells[counts[d]:] {
				blob := make([]byte, 0, 8*len(c.f))
				for _, v := range c.f {
					blob = binary.LittleEndian.AppendUint64(blob, v)
				}
				fresh = append(fresh, ledgerRow{Operator: operator, Domain: d, Job: job, Fingerprint: blob})
			}
		}
		for some := range slices.Chunk(fresh, 500) {
			if _, err := tx.NewInsert().Model(&some).Exec(ctx); err != nil {
				return fmt.Errorf("write the ledger: %w", err)
			}
		}
		return nil
	})
}

func readHistory(ctx context.Context, tx bun.Tx, operator, domain string, k int) (*history, error) {
	var rows []ledgerRow
	if err := tx.NewSelect().Model(&rows).Where("operator = ? AND domain = ?", operator, domain).OrderExpr("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	h := newHistory(k)
	for _, r := range rows {
		var f fingerprint
		if len(r.Fingerprint) != 8*len(f) {
			return nil, fmt.Errorf("read the ledger: entry %d is damaged", r.ID)
		}
		for i := range f {
			f[i] = binary.LittleEndian.Uint64(r.Fingerprint[8*i:])
		}
		h.add(r.Job, earlier, f)
	}
	return h, nil
}
