package seal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Master wraps data keys. It is a key at hand (Masters) or a service that keeps its keys to itself (a KMS or HSM):
// two calls and a name are all that such a service must offer.
type Master interface {
	// KeyID names the key with which Wrap wraps now. It is no secret.
	KeyID() string
	// Wrap encrypts a data key for a purpose, so that it cannot be taken for another's.
	Wrap(ctx context.Context, key []byte, p Purpose) ([]byte, error)
	// Unwrap opens what the key of that name has wrapped for that purpose. It must know earlier keys too for as long as
	// something is wrapped by them; one that it does not know is ErrUnknownMaster.
	Unwrap(ctx context.Context, id string, wrapped []byte, p Purpose) ([]byte, error)
}

// ErrUnknownMaster is a master key that is not at hand.
var ErrUnknownMaster = errors.New("the master key is not at hand")

// Masters are master keys at hand. The first wraps; all unwrap, so that the others can be retired one by one.
type Masters []Key

// KeyID names the first key: a hash of it, which tells keys apart and nothing about them.
func (m Masters) KeyID() string { return m[0].id() }

// Wrap encrypts under the first key.
func (m Masters) Wrap(_ context.Context, key []byte, p Purpose) ([]byte, error) {
	return m[0].Wrap(key, p), nil
}

// Unwrap decrypts under the key of that name.
func (m Masters) Unwrap(_ context.Context, id string, wrapped []byte, p Purpose) ([]byte, error) {
	for _, k := range m {
		if k.id() == id {
			return k.Unwrap(wrapped, p)
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownMaster, id)
}

func (k Key) id() string {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("weir master key"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// ParseKey reads a key of 64 hexadecimal digits.
func ParseKey(text string) (Key, error) {
	var k Key
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != KeySize {
		return k, errors.New("not a key of 64 hexadecimal digits") // and never the text
	}
	return Key(raw), nil
}

// Hex writes a key for ParseKey. A key's other ways of being printed do not show it.
func (k Key) Hex() string { return hex.EncodeToString(k[:]) }

// String keeps a key out of messages and logs.
func (k Key) String() string { return "key " + k.id() }

// GoString is String.
func (k Key) GoString() string { return k.String() }
