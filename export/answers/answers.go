// Package answers keeps the answers of the noised modes, so that the same question has the same answer and costs
// nobody anything again.
//
// An answer is a payload of noisy figures under the digest of all that decided how it was drawn; what goes into the
// digest is the caller's. The payload is encrypted with AES-256-GCM under a key that the store does not hold, and bound
// to the digest, so that answers cannot be exchanged by somebody who writes to the store.
//
// The package must never be given a true figure, never replace an answer, and never say "not found" of one that it
// cannot read: whoever asks would draw again, and the difference of two draws belongs to the person asking.
package answers

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"embed"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store"
)

var (
	//go:embed migrations
	migrations embed.FS

	//go:embed problems.yaml
	messages []byte
	_        = problem.Register(messages)
)

// Store keeps answers in the platform's store.
type Store struct {
	db    *bun.DB
	seal  cipher.AEAD
	keyID []byte
}

// Open opens the answers. secret is the filter's, at least 32 bytes; with another one, answers that were kept under the
// first cannot be read.
func Open(ctx context.Context, db *bun.DB, secret []byte) (*Store, error) {
	if len(secret) < 32 {
		return nil, fmt.Errorf("answers: the secret has %d bytes, and needs 32", len(secret))
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "weir export answers", 32)
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	id, err := hkdf.Key(sha256.New, secret, nil, "weir export answers: name of the key", 16)
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("answers: %w", err)
	}
	if err := store.Migrate(ctx, db, "answers", migrations); err != nil {
		return nil, err
	}
	return &Store{db: db, seal: seal, keyID: id}, nil
}

type row struct {
	bun.BaseModel `bun:"table:answers"`

	Digest []byte `bun:"digest"`
	KeyID  []byte `bun:"key_id"`
	Sealed []byte `bun:"sealed"`
}

// Find gives the answer that is kept under a digest, and whether there is one. An answer that is there and cannot be
// read is an error: the problem export.answer-unreadable.
func (s *Store) Find(ctx context.Context, digest [32]byte) ([]byte, bool, error) {
	return s.find(ctx, s.db, digest)
}

func (s *Store) find(ctx context.Context, db bun.IDB, digest [32]byte) ([]byte, bool, error) {
	var r row
	err := db.NewSelect().Model(&r).Where("digest = ?", digest[:]).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("find an answer: %w", err)
	}
	if subtle.ConstantTimeCompare(r.KeyID, s.keyID) != 1 {
		return nil, false, problem.New("export.answer-unreadable").Because(fmt.Errorf("answer %x is sealed with another key", digest[:8]))
	}
	payload, err := s.seal.Open(nil, nil, r.Sealed, digest[:])
	if err != nil {
		return nil, false, problem.New("export.answer-unreadable").Because(fmt.Errorf("answer %x: %w", digest[:8], err))
	}
	return payload, true, nil
}

// Keep keeps an answer under a digest and gives what stands there afterwards: the payload, or the answer of somebody who
// was first. Only what it gives may be shown. db is the store's, or a transaction on it.
func (s *Store) Keep(ctx context.Context, db bun.IDB, digest [32]byte, payload []byte) ([]byte, error) {
	r := row{Digest: digest[:], KeyID: s.keyID, Sealed: s.seal.Seal(nil, nil, payload, digest[:])}
	if _, err := db.NewInsert().Model(&r).On("CONFLICT (digest) DO NOTHING").Exec(ctx); err != nil {
		return nil, fmt.Errorf("keep an answer: %w", err)
	}
	kept, found, err := s.find(ctx, db, digest)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New("keep an answer: it is not there")
	}
	return kept, nil
}
