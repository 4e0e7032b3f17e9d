package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// staticKeys are keys of a provider, by id.
type staticKeys map[string]jose.JSONWebKey

// parseKeys reads the keys of a provider that the network cannot reach. In a configuration, a key that could not be
// used is a mistake.
func parseKeys(text []byte) (staticKeys, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys := staticKeys{}
	for _, k := range set.Keys {
		if !usable(k) {
			return nil, errors.New("key set: every key must be a public signature key with an id")
		}
		keys[k.KeyID] = k
	}
	if len(keys) == 0 || len(keys) != len(set.Keys) {
		return nil, errors.New("key set: no key, or two with one id")
	}
	return keys, nil
}

// VerifySignature tries the key that the token names, and with no other algorithm than the key is for.
func (k staticKeys) VerifySignature(_ context.Context, token string) ([]byte, error) {
	var algorithms []jose.SignatureAlgorithm
	for _, a := range asymmetric {
		algorithms = append(algorithms, jose.SignatureAlgorithm(a))
	}
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, err
	}
	header := jws.Signatures[0].Protected
	key, known := k[header.KeyID]
	if !known || key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, errUnknownKey
	}
	return jws.Verify(key)
}

// remoteKeys are a reachable provider's keys. The library's own key set asks the provider again for every signature
// that does not fit; this one asks for unknown keys only, and has the new keys before it answers.
type remoteKeys struct {
	address string
	client  *http.Client

	mu   sync.Mutex
	last *staticKeys // what the provider published last; nil before it was asked
}

// fetchFailure is the context key of a place where remoteKeys notes that it could not fetch, since the OpenID
// verifier does not pass on what kind of error it got.
type fetchFailure struct{}

// VerifySignature tries the key that the token names, asking the provider first if that is unknown.
func (r *remoteKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	r.mu.Lock()
	seen := r.last
	r.mu.Unlock()
	if seen != nil {
		if payload, err := seen.VerifySignature(ctx, token); !errors.Is(err, errUnknownKey) {
			return payload, err
		}
	}
	fresh, err := r.renew(ctx, seen)
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnreachable, err)
		if note, ok := ctx.Value(fetchFailure{}).(*error); ok {
			*note = err
		}
		return nil, err
	}
	return fresh.VerifySignature(ctx, token)
}

// renew asks the provider, unless somebody else did since the caller looked.
func (r *remoteKeys) renew(ctx context.Context, seen *staticKeys) (*staticKeys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last != seen {
		return r.last, nil
	}
	// The answer serves everybody, so the first caller's leaving must not spoil it; the client bounds the time.
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, r.address, nil)
	if err != nil {
		return nil, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, err
	}
	keys := staticKeys{}
	for _, text := range set.Keys {
		var k jose.JSONWebKey
		// A provider may publish keys of kinds that are not known here (RFC 7517, section 5): they verify nothing.
		if err := json.Unmarshal(text, &k); err == nil && usable(k) {
			keys[k.KeyID] = k
		}
	}
	r.last = &keys
	return r.last, nil
}

// usable reports whether a key can verify signatures and can be named by a token.
func usable(k jose.JSONWebKey) bool {
	return k.KeyID != "" && k.IsPublic() && k.Valid() && k.Use != "enc"
}
