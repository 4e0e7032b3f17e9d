package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"weir/internal/problem"
)

// Key signs checkpoints and verifies them.
type Key struct {
	Signer   note.Signer
	Verifier note.Verifier
	// Public is what a verifier needs, in the encoding of golang.org/x/mod/sumdb/note. Publish it.
	Public string
}

const keyFile = "audit.key"

// LoadKey reads the key of a log from a folder, and makes one (Ed25519) where there is none. The file must be
// readable by its owner alone: with it and the database, history can be rewritten.
func LoadKey(folder, origin string) (Key, error) {
	path := filepath.Join(folder, keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(folder, origin); err != nil {
			return Key{}, err
		}
		info, err = os.Stat(path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("audit key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular() {
		return Key{}, unusableKey(path + " must be a file that only its owner can read (mode 0600)")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("audit key: %w", err)
	}
	key, err := parseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return Key{}, err
	}
	if key.Signer.Name() != origin {
		return Key{}, problem.New("audit.other-origin", "key", key.Signer.Name(), "origin", origin)
	}
	return key, nil
}

// makeKey writes a new key under a temporary name and links it into place, so that of two servers that start at
// once one wins and both use its key, and a crash leaves either no key or a whole one.
func makeKey(folder, origin string) error {
	secret, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return fmt.Errorf("make audit key: %w", err)
	}
	file, err := os.CreateTemp(folder, keyFile+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("make audit key: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(secret + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("make audit key: %w", err)
	}
	if err := os.Link(file.Name(), filepath.Join(folder, keyFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make audit key: %w", err)
	}
	dir, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("make audit key: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func parseKey(secret string) (Key, error) {
	signer, err := note.NewSigner(secret)
	if err != nil {
		return Key{}, unusableKey("the file does not hold a note signer key")
	}
	verifier, err := torchwood.NewVerifierFromSigner(secret)
	if err != nil {
		return Key{}, unusableKey("the file does not hold an Ed25519 key")
	}
	public, err := publicKey(secret)
	if err != nil {
		return Key{}, err
	}
	return Key{signer, verifier, public}, nil
}

func publicKey(secret string) (string, error) {
	fields := strings.Split(secret, "+") // PRIVATE+KEY+<name>+<hash>+<algorithm and seed>
	raw, err := base64.StdEncoding.DecodeString(strings.Join(fields[4:], "+"))
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", errors.New("audit key: the file does not hold an Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(fields[2], public)
}

// Trust is the policy of somebody who verifies the log of an origin: every one of these public keys (Key.Public)
// must have signed.
func Trust(origin string, public ...string) (torchwood.Policy, error) {
	if len(public) == 0 {
		return nil, errors.New("trust a log: no key")
	}
	var keys []note.Verifier
	for _, text := range public {
		key, err := note.NewVerifier(text)
		if err != nil {
			return nil, fmt.Errorf("trust a log: %w", err)
		}
		keys = append(keys, key)
	}
	return trust(origin, keys...), nil
}
