package hunt

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"

	"github.com/uptrace/bun"

	"weir/export/noise"
)

// stream is draws that can be repeated. Each answer has draws of its own, so that one that needs more of them does not
// move those of the next.
type stream struct {
	seed    byte
	answers int
	source  io.Reader
}

func (s *stream) next() {
	seed := sha256.Sum256([]byte{'h', 'u', 'n', 't', s.seed, byte(s.answers >> 8), byte(s.answers)})
	s.source, s.answers = noise.Seeded(seed), s.answers+1
}

func (s *stream) Read(p []byte) (int, error) {
	if s.source == nil {
		s.next()
	}
	return s.source.Read(p)
}

// drawn is a figure's noisy numbers by group, as they are kept.
type drawn struct {
	Groups [][]any       `json:"groups"`
	Values []json.Number `json:"values"`
}

// record keeps answers, in the order in which they were first asked for. With a record of the other world, what that
// world was told stands here as well: so only what is no answer can differ.
type record struct {
	stream
	places map[[sha256.Size]byte]int
	stands [][]byte
	drew   [][]byte // what this world would have said
	other  *record
	log    []int // places, in the order in which they were kept
}

func newRecord(seed byte, other *record) *record {
	return &record{stream: stream{seed: seed}, places: map[[sha256.Size]byte]int{}, other: other}
}

func (r *record) place(digest [sha256.Size]byte) int {
	at, ok := r.places[digest]
	if !ok {
		at = len(r.places)
		r.places[digest] = at
		r.stands, r.drew = append(r.stands, nil), append(r.drew, nil)
	}
	return at
}

func (r *record) Find(_ context.Context, digest [sha256.Size]byte) ([]byte, bool, error) {
	at := r.place(digest)
	return r.stands[at], r.stands[at] != nil, nil
}

func (r *record) Keep(_ context.Context, _ bun.IDB, digest [sha256.Size]byte, answer []byte) ([]byte, error) {
	at := r.place(digest)
	if r.stands[at] == nil {
		r.drew[at], r.stands[at] = answer, answer
		if r.other != nil && at < len(r.other.stands) && r.other.stands[at] != nil {
			r.stands[at] = r.other.stands[at]
		}
		r.log = append(r.log, at)
		r.next()
	}
	return r.stands[at], nil
}
