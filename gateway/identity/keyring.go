package identity

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	keySuffix = ".pem"
	keyHeader = "Created" // RFC 3339, in the PEM headers
)

// signingKey is an Ed25519 key of ours. Its id is its RFC 7638 thumbprint, so that no two keys can share one.
type signingKey struct {
	id      string
	private ed25519.PrivateKey
	created time.Time
	until   time.Time // verifies until then; zero for the key that signs
}

// keyring holds the signing keys of a directory, one file a key. The newest signs; an older one verifies until
// the last token that it can have signed has expired. The directory decides: it is read again before every
// signature, for an unknown key and otherwise once a minute, so that what another process does there is seen.
type keyring struct {
	dir   string
	clock func() time.Time

	mu     sync.RWMutex
	keys   []signingKey // newest first
	loaded time.Time
}

// reload is how long the directory is believed unread: a key file that was deleted verifies nothing after that.
const reload = time.Minute

func openKeyring(dir string, clock func() time.Time) (*keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	k := &keyring{dir: dir, clock: clock}
	if err := k.load(); err != nil {
		return nil, err
	}
	if len(k.keys) == 0 {
		return k, k.rotate()
	}
	return k, k.discard()
}

// signer gives the key that signs now.
func (k *keyring) signer() (signingKey, error) {
	if err := k.load(); err != nil {
		return signingKey{}, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(k.keys) == 0 {
		return signingKey{}, errors.New("no signing key")
	}
	return k.keys[0], nil
}

// current lists the keys that verify now.
func (k *keyring) current() ([]signingKey, error) {
	now := k.clock()
	k.mu.RLock()
	stale := now.Sub(k.loaded) >= reload
	k.mu.RUnlock()
	if stale {
		if err := k.load(); err != nil {
			return nil, err
		}
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(k.keys), func(s signingKey) bool { return s.over(now) }), nil
}

func (s signingKey) over(now time.Time) bool { return !s.until.IsZero() && now.After(s.until) }

// VerifySignature makes the keyring a key set for the OpenID verifier. Only the key that the token names is
// tried.
func (k *keyring) VerifySignature(_ context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, err
	}
	id := jws.Signatures[0].Protected.KeyID
	key, err := k.find(id)
	if errors.Is(err, errUnknownKey) {
		// Reading the few files again costs less than checking a signature, so strangers may cause it.
		if err := k.load(); err != nil {
			return nil, err
		}
		key, err = k.find(id)
	}
	if err != nil {
		return nil, err
	}
	return jws.Verify(key.private.Public())
}

var errUnknownKey = errors.New("unknown key")

func (k *keyring) find(id string) (signingKey, error) {
	keys, err := k.current()
	if err != nil {
		return signingKey{}, err
	}
	n := slices.IndexFunc(keys, func(s signingKey) bool { return s.id == id })
	if n < 0 {
		return signingKey{}, errUnknownKey
	}
	return keys[n], nil
}

// rotate writes a new key, which signs from now on: it is made newer than every other, whatever the clock says.
func (k *keyring) rotate() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	id, err := thumbprint(private)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	created := k.clock()
	k.mu.RLock()
	if len(k.keys) > 0 && !created.After(k.keys[0].created) {
		created = k.keys[0].created.Add(time.Microsecond)
	}
	k.mu.RUnlock()
	text := pem.EncodeToMemory(&pem.Block{
		Type:    "PRIVATE KEY",
		Headers: map[string]string{keyHeader: created.UTC().Format(time.RFC3339Nano)},
		Bytes:   der,
	})
	if err := writeDurably(k.dir, id+keySuffix, text); err != nil {
		return err
	}
	if err := k.load(); err != nil {
		return err
	}
	return k.discard()
}

// load reads the directory. A file that is not a private key of its own name, or that others may read, is an
// error and not passed over: somebody must look at it.
func (k *keyring) load() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	var keys []signingKey
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		key, err := readKey(k.dir, e.Name())
		if errors.Is(err, os.ErrNotExist) {
			continue // another process discarded it just now
		}
		if err != nil {
			return fmt.Errorf("key file %s: %w", e.Name(), err)
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b signingKey) int {
		if c := b.created.Compare(a.created); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	for n := 1; n < len(keys); n++ {
		keys[n].until = keys[n-1].created.Add(MaxTokenLife)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.loaded = keys, k.clock()
	return nil
}

// discard deletes the keys that can verify nothing any more.
func (k *keyring) discard() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	for _, s := range k.keys {
		if s.over(now) {
			if err := os.Remove(filepath.Join(k.dir, s.id+keySuffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	k.keys = slices.DeleteFunc(k.keys, func(s signingKey) bool { return s.over(now) })
	return nil
}

func readKey(dir, name string) (signingKey, error) {
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	if err != nil {
		return signingKey{}, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return signingKey{}, errors.New("must be a plain file with mode 0600")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return signingKey{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return signingKey{}, errors.New("not in PEM format")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return signingKey{}, err
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return signingKey{}, errors.New("not an Ed25519 key")
	}
	created, err := time.Parse(time.RFC3339Nano, block.Headers[keyHeader])
	if err != nil {
		return signingKey{}, fmt.Errorf("header %s: %w", keyHeader, err)
	}
	id, err := thumbprint(private)
	if err != nil {
		return signingKey{}, err
	}
	if id+keySuffix != name {
		return signingKey{}, errors.New("the name is not the key's thumbprint")
	}
	return signingKey{id: id, private: private, created: created}, nil
}

func thumbprint(private ed25519.PrivateKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// writeDurably makes a file that is either whole and on the disk, or not there under its name.
func writeDurably(dir, name string, text []byte) error {
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
