// Package identity answers one question: who is this?
//
// Purpose. It keeps the accounts of the people who work on the platform, issues short tokens to those who prove
// who they are, and verifies these and the tokens of configured external OpenID providers by the same code.
//
// Trust boundary. Everything that arrives here is hostile: names, passwords, tokens, addresses. A token is
// believed when its signature, issuer, audience and times are right, and even then only as far as the database
// agrees at that moment: the account must exist and be enabled, and the session must not have ended. Roles and
// organisation always come from the database, never from a token. An external provider is trusted to say which
// of its own subjects somebody is, and nothing else.
//
// It must never tell an unknown account from a wrong password, accept a token whose check could not be completed,
// write a password, a token or a private key to a log or an error, or let its refusals be used to keep the owner
// of an account out.
package identity

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
)

//go:embed migrations
var migrations embed.FS

//go:embed problems.yaml
var messages []byte

var _ = problem.Register(messages)

// MaxTokenLife bounds the life of an access token. A key that no longer signs verifies for as long.
const MaxTokenLife = 10 * time.Minute

// leeway is how far another machine's clock may be ahead of ours. It is not granted to the end of a token.
const leeway = 30 * time.Second

// Options are what an installation decides. A zero field means its default.
type Options struct {
	Issuer      string        // URL under which this platform issues tokens; required
	Audience    string        // audience of the tokens that it issues; default: Issuer
	TokenLife   time.Duration // life of an access token; default 5 minutes, at most MaxTokenLife
	SessionLife time.Duration // after which a person must prove anew who they are; default 12 hours
	IdleLife    time.Duration // life of an unused refresh token; default 1 hour, at most SessionLife

	// CheckRoles refuses combinations of duties that one person must not hold. It is required: without it
	// nobody could be kept from reviewing their own output.
	CheckRoles func([]policy.Role) error

	External []Provider       // OpenID providers whose subjects may be linked to accounts
	HTTP     *http.Client     // reaches external providers; default: system roots, 10 seconds
	Argon    Argon            // cost of a password check; default DefaultArgon
	Clock    func() time.Time // default time.Now
}

// Identity is the platform's knowledge of who may be whom. It is safe for concurrent use, and several processes
// may share one database and key directory.
type Identity struct {
	db      *bun.DB
	options Options
	keys    *keyring
	sources map[string]*source // by issuer, the embedded one among them
	hasher  *hasher
}

// New brings the tables up to date, reads the signing keys in keyDir, making the first one where there is none,
// and prepares the external providers. It reaches none of them: a provider that is down must not keep the
// platform from starting.
func New(ctx context.Context, db *bun.DB, keyDir string, o Options) (*Identity, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("identity options: %w", err)
	}
	if err := store.Migrate(ctx, db, "identity", migrations); err != nil {
		return nil, err
	}
	keys, err := openKeyring(keyDir, o.Clock)
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	hasher, err := newHasher(o.Argon)
	if err != nil {
		return nil, err
	}
	i := &Identity{db: db, options: o, keys: keys, hasher: hasher, sources: map[string]*source{}}
	i.sources[o.Issuer] = embedded(o, keys)
	for _, p := range o.External {
		s, err := external(o, p)
		if err != nil {
			return nil, fmt.Errorf("external provider: %w", err)
		}
		if _, twice := i.sources[s.issuer]; twice {
			return nil, fmt.Errorf("external provider: issuer %q is configured twice", s.issuer)
		}
		i.sources[s.issuer] = s
	}
	return i, nil
}

// Verify tells who presents a bearer token, or refuses with identity.token-invalid, identity.session-ended,
// identity.account-unknown or identity.provider-unavailable. Any other error is a failure of the platform; the
// caller must refuse then too. The checks that need no database come first, so that a flood of bad tokens does
// not reach it.
func (i *Identity) Verify(ctx context.Context, bearer string) (policy.Principal, error) {
	s, err := i.sourceOf(bearer)
	if err != nil {
		return policy.Principal{}, problem.New("identity.token-invalid").Because(err)
	}
	c, err := s.verify(ctx, bearer)
	if errors.Is(err, errUnreachable) {
		return policy.Principal{}, problem.New("identity.provider-unavailable").After(retryAfter).Because(err)
	}
	if err != nil {
		return policy.Principal{}, problem.New("identity.token-invalid").Because(err)
	}
	if s.ours {
		return i.resume(ctx, c)
	}
	return i.admit(ctx, s, c, bearer)
}

// RotateKey makes a new signing key. Tokens that older keys signed stay good until they expire; after that the
// old keys are deleted, at the next rotation or start.
func (i *Identity) RotateKey(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := i.keys.rotate(); err != nil {
		return fmt.Errorf("rotate signing key: %w", err)
	}
	return nil
}

func (i *Identity) now() time.Time { return i.options.Clock() }

// complete fills in the defaults and refuses what would be unsafe.
func (o Options) complete() (Options, error) {
	o.Issuer = strings.TrimSuffix(o.Issuer, "/")
	if o.Issuer == "" {
		return o, errors.New("an issuer is required")
	}
	if o.CheckRoles == nil {
		return o, errors.New("a check of role combinations is required")
	}
	if o.Audience == "" {
		o.Audience = o.Issuer
	}
	if o.TokenLife == 0 {
		o.TokenLife = 5 * time.Minute
	}
	if o.SessionLife == 0 {
		o.SessionLife = 12 * time.Hour
	}
	if o.IdleLife == 0 {
		o.IdleLife = min(time.Hour, o.SessionLife)
	}
	if o.TokenLife < time.Second || o.TokenLife > MaxTokenLife {
		return o, fmt.Errorf("a token lives from one second to %s", MaxTokenLife)
	}
	if o.SessionLife < o.TokenLife || o.IdleLife < o.TokenLife || o.IdleLife > o.SessionLife {
		return o, errors.New("a session outlives its refresh tokens, and these an access token")
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: 10 * time.Second}
	}
	if o.Argon == (Argon{}) {
		o.Argon = DefaultArgon
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o, nil
}
