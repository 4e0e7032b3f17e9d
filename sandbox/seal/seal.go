// Package seal is the form in which data lies on a disk: encrypted, and bound to what it is.
//
// A sealed file is an age file (C2SP age-encryption.org/v1): its content is cut into chunks of 64 KiB, each
// ChaCha20-Poly1305 under a key of the file's own, with the chunk's place as the nonce and a mark on the last. So a
// chunk that was altered, moved or cut off is an error when it is read, a wrong length when the file is opened, and
// any place can be read without what lies before it. The file's key is wrapped by a data key together with a
// Purpose, which says whose file this is: under another name or version it does not open.
//
// The trust boundary is the disk: whoever writes to it may put anything where a sealed file is expected. The package
// must never give out a byte that it has not authenticated, and knows no engine, no store and no person.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// Key is a secret that wraps others: a data key wraps what is needed to read one file, a master key wraps data keys.
type Key [KeySize]byte

// NewKey makes a key that nobody knows.
func NewKey() Key {
	var k Key
	rand.Read(k[:])
	return k
}

// Purpose says what a key or a file is for, in a form that no other has, such as "dataset/people/2/1".
type Purpose string

// ErrBroken is a sealed file that is not what it should be: altered, cut off, of another purpose, or of another key.
var ErrBroken = errors.New("the seal is broken")

// Wrap encrypts a secret for a purpose, with AES-256-GCM under a random nonce (NIST SP 800-38D).
func (k Key) Wrap(secret []byte, p Purpose) []byte { return k.aead().Seal(nil, nil, secret, []byte(p)) }

// Unwrap gives the secret that was wrapped for that purpose under this key, or ErrBroken.
func (k Key) Unwrap(wrapped []byte, p Purpose) ([]byte, error) {
	secret, err := k.aead().Open(nil, nil, wrapped, []byte(p))
	if err != nil {
		return nil, ErrBroken
	}
	return secret, nil
}

func (k Key) aead() cipher.AEAD {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(err) // only the length could be wrong
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// Writer seals what is written to it into dst. Only Close makes the file whole.
func Writer(dst io.Writer, k Key, p Purpose) (io.WriteCloser, error) {
	w, err := age.Encrypt(dst, binding{k, p})
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return w, nil
}

// Reader reads a sealed file at any place. It may be used by several goroutines at once.
type Reader struct {
	plain io.ReaderAt
	size  int64
}

// Open opens a sealed file of the given length. What does not belong to the key and the purpose, or has another
// length than it was sealed with, is ErrBroken.
func Open(src io.ReaderAt, length int64, k Key, p Purpose) (*Reader, error) {
	plain, size, err := age.DecryptReaderAt(src, length, binding{k, p})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return &Reader{plain, size}, nil
}

// Size is the length of the content in bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt reads content. Every byte that it gives has been authenticated; otherwise the error is ErrBroken.
func (r *Reader) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.plain.ReadAt(b, at)
	if err != nil && err != io.EOF {
		return 0, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return n, err
}

// binding wraps the key of an age file by a data key, for a purpose.
type binding struct {
	key     Key
	purpose Purpose
}

const stanza = "weir-data-key"

// Wrap makes the line of the file's header that holds its key. It is age's side of sealing.
func (b binding) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	return []*age.Stanza{{Type: stanza, Body: b.key.Wrap(fileKey, b.purpose)}}, nil
}

// Unwrap reads it. It is age's side of opening.
func (b binding) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanza {
		return nil, ErrBroken
	}
	return b.key.Unwrap(stanzas[0].Body, b.purpose)
}
