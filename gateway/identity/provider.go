package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Provider is an external OpenID provider whose subjects may be linked to accounts (OpenID Connect Core 1.0).
type Provider struct {
	Issuer       string          // exactly as its tokens write it; https, unless JWKS is given
	Audience     string          // the client id, or audience, that its tokens for this platform carry; required
	SubjectClaim string          // claim, a string, that names a person there; default "sub"
	Algorithms   []string        // accepted signature algorithms; default EdDSA, ES256, PS256 and RS256
	JWKS         json.RawMessage // its public keys (RFC 7517), where the network cannot reach it; else discovered
}

var (
	// errUnreachable says that a provider's keys could not be had, so that nothing can be said of its token.
	errUnreachable = errors.New("the provider's keys could not be had")

	// asymmetric are the algorithms that a provider may be configured with. "none" and those that share a
	// secret are not among them: a public key must never become an HMAC key.
	asymmetric = []string{oidc.EdDSA, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512,
		oidc.RS256, oidc.RS384, oidc.RS512}

	defaultAlgorithms = []string{oidc.EdDSA, oidc.ES256, oidc.PS256, oidc.RS256}
)

const (
	keysLife   = 15 * time.Minute // a key that a provider withdrew is good for at most so long here
	retryAfter = 10 * time.Second // a provider that failed is left alone for so long
	maxAnswer  = 1 << 20          // bytes of a provider's document that are read
)

// source verifies the tokens of one issuer.
type source struct {
	issuer     string
	ours       bool
	subject    string // name of the claim
	algorithms []string
	clock      func() time.Time
	maxAge     time.Duration // since the token was issued
	config     *oidc.Config
	client     *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	renew    time.Time // discover anew from then on; zero: never
	failed   time.Time
}

func embedded(o Options, keys *keyring) *source {
	s := newSource(o, o.Issuer, o.Audience, []string{oidc.EdDSA})
	s.ours, s.subject, s.maxAge = true, "sub", MaxTokenLife
	s.verifier = oidc.NewVerifier(o.Issuer, keys, s.config)
	return s
}

func external(o Options, p Provider) (*source, error) {
	if p.Issuer == "" || p.Audience == "" {
		return nil, errors.New("issuer and audience are required")
	}
	algorithms := p.Algorithms
	if len(algorithms) == 0 {
		algorithms = defaultAlgorithms
	}
	for _, a := range algorithms {
		if !slices.Contains(asymmetric, a) {
			return nil, fmt.Errorf("algorithm %q is not a signature with a public key", a)
		}
	}
	s := newSource(o, p.Issuer, p.Audience, algorithms)
	s.subject, s.maxAge = p.SubjectClaim, o.SessionLife
	if s.subject == "" {
		s.subject = "sub"
	}
	if p.JWKS != nil {
		keys, err := parseKeys(p.JWKS)
		if err != nil {
			return nil, err
		}
		s.verifier = oidc.NewVerifier(p.Issuer, keys, s.config)
		return s, nil
	}
	if u, err := url.Parse(p.Issuer); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("issuer %q must be an https address", p.Issuer)
	}
	s.client = guarded(o.HTTP, o.Clock)
	return s, nil
}

func newSource(o Options, issuer, audience string, algorithms []string) *source {
	return &source{issuer: issuer, algorithms: algorithms, clock: o.Clock,
		config: &oidc.Config{ClientID: audience, SupportedSigningAlgs: algorithms, Now: o.Clock}}
}

// ready gives the verifier, discovering the provider first where that is due. One caller asks for all; a provider
// that just failed is not asked again at once.
func (s *source) ready(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	if s.verifier != nil && (s.renew.IsZero() || now.Before(s.renew)) {
		return s.verifier, nil
	}
	if !s.failed.IsZero() && now.Before(s.failed.Add(retryAfter)) {
		return nil, errUnreachable
	}
	// The keys serve everybody, so the first caller's leaving must not spoil them; the client bounds the time.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), s.client)
	provider, err := oidc.NewProvider(ctx, s.issuer)
	if err != nil {
		s.failed = now
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		s.failed = now
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	keys := &remoteKeys{address: document.Keys, client: s.client}
	s.verifier, s.renew = oidc.NewVerifier(s.issuer, keys, s.config), now.Add(keysLife)
	return s.verifier, nil
}
