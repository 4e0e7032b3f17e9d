package export

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/uptrace/bun"

	"weir/export/guard"
)

// sketch is the linear fingerprint of a public part: for each part of the units, the sum of a keyed hash over them,
// modulo 2^64. Two sets that differ in fewer than k units differ in fewer than k parts.
type sketch [guard.PublicParts]uint64

func (a *sketch) plus(b *sketch) (sum sketch) {
	for i := range a {
		sum[i] = a[i] + b[i]
	}
	return sum
}

func (a *sketch) minus(b *sketch) (difference sketch) {
	for i := range a {
		difference[i] = a[i] - b[i]
	}
	return difference
}

// few reports whether fewer than k parts are not zero, and some are.
func (a *sketch) few(k int) bool {
	n := 0
	for _, v := range a {
		if v != 0 {
			if n++; n >= k {
				return false
			}
		}
	}
	return n > 0
}

func parseSketch(text string) (sketch, error) {
	var p sketch
	for pair := range strings.FieldsSeq(text) {
		part, sum, ok := strings.Cut(pair, "=")
		i, err := strconv.Atoi(part)
		n, valid := new(big.Int).SetString(sum, 10)
		if !ok || err != nil || !valid || i < 0 || i >= len(p) || n.Sign() < 0 {
			return p, fmt.Errorf("the fingerprint of a public part has an unknown form")
		}
		p[i] = n.And(n, new(big.Int).SetUint64(^uint64(0))).Uint64()
	}
	return p, nil
}

// compared is a public part that was asked about.
type compared struct {
	job string
	set int // parts of one set are disjoint
	sketch
}

// earlier is the set of what an earlier job asked: nothing is known of it.
const earlier = -1

// comparison is what one operator asked about in one domain, as far as it depended on secrets. Two sketches that differ in
// fewer than k parts agree in one of k bands of parts at least, so an index on bands finds every candidate.
//
// It is complete for differences of two parts, which is all that equal answers tell of: noise hides the rest. In exact
// mode it looks at three parts with coefficients of one besides, which are trackers; what E6 withholds beyond them may
// still tell something (docs/design/history.md).
type comparison struct {
	k     int
	parts []compared
	whole map[sketch]bool
	bands []map[uint64][]int
	last  int64 // entry of the store that is in it
	fresh int   // where those begin that the store has not
}

func newComparison(k int) *comparison {
	c := &comparison{k: k, whole: map[sketch]bool{}, bands: make([]map[uint64][]int, k)}
	for i := range c.bands {
		c.bands[i] = map[uint64][]int{}
	}
	return c
}

// band hashes one band of parts. The parts hold sums of keyed hashes, so nobody can aim at a collision.
func (c *comparison) band(i int, p *sketch) uint64 {
	var sum uint64
	for _, v := range p[i*len(p)/c.k : (i+1)*len(p)/c.k] {
		sum = (sum ^ v) * 0x9e3779b97f4a7c15
		sum ^= sum >> 29
	}
	return sum
}

func (c *comparison) add(job string, set int, p sketch) {
	if c.whole[p] {
		return
	}
	for i := range c.bands {
		b := c.band(i, &p)
		c.bands[i][b] = append(c.bands[i][b], len(c.parts))
	}
	c.parts = append(c.parts, compared{job, set, p})
	c.whole[p] = true
}

// near finds a part that differs from p in too few units, but in some.
func (c *comparison) near(p *sketch) (job string, found bool) {
	for i := range c.bands {
		for _, at := range c.bands[i][c.band(i, p)] {
			difference := p.minus(&c.parts[at].sketch)
			if difference.few(c.k) && !c.counted(&difference) {
				return c.parts[at].job, true
			}
		}
	}
	return "", false
}

// counted reports whether a combination is a part that was counted, and found to have k units; only its parts may be few, as
// two of its units can fall into one.
func (c *comparison) counted(p *sketch) bool {
	var zero sketch
	return c.whole[*p] || c.whole[zero.minus(p)]
}

// tracks finds two parts with which p would single out fewer than k units. Parts of one set are disjoint and cannot, so
// they are passed over.
func (c *comparison) tracks(p *sketch, set int) (job string, found bool) {
	var zero sketch
	negative := zero.minus(p)
	for i := range c.parts {
		if c.parts[i].set == set {
			continue
		}
		x := &c.parts[i].sketch
		for _, v := range []sketch{p.minus(x), p.plus(x), negative.plus(x)} {
			if v.few(c.k) && !c.counted(&v) {
				return c.parts[i].job, true
			}
			if job, found := c.near(&v); found {
				return job, true
			}
		}
	}
	return "", false
}

// comparisons keeps public parts, encrypted like the ledger, and those that were used last in memory too.
type comparisons struct {
	db     *bun.DB
	sealed cipher.AEAD

	mu   sync.Mutex
	held []*heldComparison // used last comes last
}

type heldComparison struct {
	operator, domain string
	*comparison
}

func newComparisons(db *bun.DB, secret []byte) (*comparisons, error) {
	sealed, err := sealing(secret, "weir public parts")
	return &comparisons{db: db, sealed: sealed}, err
}

type comparisonRow struct {
	bun.BaseModel `bun:"table:export_public"`

	ID       int64  `bun:"id,pk,autoincrement"`
	Operator string `bun:"operator"`
	Domain   string `bun:"domain"`
	Job      string `bun:"job"`
	Sketch   []byte `bun:"sketch"`
}

// remember runs judge with what the operator asked before in each domain, and keeps what judge adds, whatever becomes of
// the question. One at a time, in all processes of the platform: two at once would each not know of the other.
func (c *comparisons) remember(ctx context.Context, operator string, domains []string, k int, judge func(map[string]*comparison) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var judged error
	err := turn(ctx, c.db, "export_public", func(ctx context.Context, db bun.IDB) error {
		known := map[string]*comparison{}
		for _, d := range domains {
			if known[d] != nil {
				continue
			}
			var err error
			if known[d], err = c.comparison(ctx, db, operator, d, k); err != nil {
				return err
			}
		}
		judged = judge(known)
		return c.write(ctx, db, operator, known)
	})
	if err != nil { // what is in memory may say more than the store
		c.held = nil
	}
	return errors.Join(judged, err)
}

func (c *comparisons) comparison(ctx context.Context, db bun.IDB, operator, domain string, k int) (*comparison, error) {
	at := slices.IndexFunc(c.held, func(h *heldComparison) bool { return h.operator == operator && h.domain == domain && h.k == k })
	h := &heldComparison{operator, domain, newComparison(k)}
	if at >= 0 {
		h = c.held[at]
		c.held = slices.Delete(c.held, at, at+1)
	}
	if err := c.read(ctx, db, h); err != nil {
		return nil, err
	}
	c.held = append(c.held, h)
	if len(c.held) > heldHistories {
		c.held = slices.Delete(c.held, 0, 1)
	}
	return h.comparison, nil
}

func (c *comparisons) read(ctx context.Context, db bun.IDB, h *heldComparison) error {
	for {
		var rows []comparisonRow
		err := db.NewSelect().Model(&rows).Where("operator = ? AND domain = ? AND id > ?", h.operator, h.domain, h.last).
			OrderExpr("id").Limit(readAtOnce).Scan(ctx)
		if err != nil {
			return fmt.Errorf("read the public parts: %w", err)
		}
		for _, r := range rows {
			plain, err := c.sealed.Open(nil, nil, r.Sketch, r.owner())
			var p sketch
			if err != nil || len(plain) != 8*len(p) {
				return fmt.Errorf("read the public parts: entry %d is damaged", r.ID)
			}
			for i := range p {
				p[i] = binary.LittleEndian.Uint64(plain[8*i:])
			}
			h.add(r.Job, earlier, p)
			h.last = r.ID
		}
		h.fresh = len(h.parts)
		if len(rows) < readAtOnce {
			return nil
		}
	}
}

func (c *comparisons) write(ctx context.Context, db bun.IDB, operator string, known map[string]*comparison) error {
	for domain, h := range known {
		for some := range slices.Chunk(h.parts[h.fresh:], readAtOnce) {
			rows := make([]comparisonRow, len(some))
			for i, p := range some {
				plain := make([]byte, 0, 8*len(p.sketch))
				for _, v := range p.sketch {
					plain = binary.LittleEndian.AppendUint64(plain, v)
				}
				rows[i] = comparisonRow{Operator: operator, Domain: domain, Job: p.job}
				rows[i].Sketch = c.sealed.Seal(nil, nil, plain, rows[i].owner())
			}
			if _, err := db.NewInsert().Model(&rows).Returning("id").Exec(ctx); err != nil {
				return fmt.Errorf("write the public parts: %w", err)
			}
			for _, r := range rows {
				h.last = max(h.last, r.ID)
			}
		}
		h.fresh = len(h.parts)
		for i := range h.parts {
			h.parts[i].set = earlier // what is disjoint is known within one aggregation only
		}
	}
	return nil
}

func (r comparisonRow) owner() []byte { return owner(r.Operator, r.Domain, r.Job) }
