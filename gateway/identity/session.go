package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"weir/internal/problem"
	"weir/policy"
)

// Tokens are what a person holds after proving who they are. Access is a JWT for the Authorization header; Refresh
// is an opaque secret that is good for one exchange.
type Tokens struct {
	Access  string
	Refresh string
	Device  string    // from SignIn: the secret by which this device is known at the next sign-in
	Expires time.Time // of Access
}

// Credentials are what somebody shows who wants to sign in.
type Credentials struct {
	Name     string
	Password string
	From     string // the address that they come from
	Device   string // Tokens.Device of an earlier sign-in, if they have one
	Next     string // the password that they choose in place of a first one
}

// session is a row of identity_sessions. Sessions of external providers stand there too, so that one check
// serves both and a sign-out is remembered.
type session struct {
	bun.BaseModel `bun:"table:identity_sessions,alias:s"`

	ID        string `bun:"id,pk"`
	Account   string `bun:"account"`
	Version   int64  `bun:"version"`
	CreatedAt int64  `bun:"created_at"`
	ExpiresAt int64  `bun:"expires_at"`
	EndedAt   int64  `bun:"ended_at"`
	ForgetAt  int64  `bun:"forget_at"`

	Owner *account `bun:"rel:belongs-to,join:account=name"`
}

type refreshToken struct {
	bun.BaseModel `bun:"table:identity_refresh,alias:r"`

	Hash      string `bun:"hash,pk"`
	Session   string `bun:"session"`
	ExpiresAt int64  `bun:"expires_at"`
	UsedAt    int64  `bun:"used_at"`
}

// SignIn checks a name and a password that came from an address and begins a session. It refuses with
// identity.sign-in-failed whatever was wrong, with identity.too-many-attempts, or with identity.busy when the
// context ends while waiting for a turn. The same work is done for a name that nobody has.
func (i *Identity) SignIn(ctx context.Context, c Credentials) (Tokens, policy.Principal, error) {
	a, device, err := i.prove(ctx, c)
	if err != nil {
		return Tokens{}, policy.Principal{}, err
	}
	roles, err := i.rolesOf(a)
	if err != nil {
		return Tokens{}, policy.Principal{}, err
	}
	if a, err = i.own(ctx, a, c); err != nil {
		return Tokens{}, policy.Principal{}, err
	}
	now := i.now()
	s := session{ID: uuid.NewString(), Account: a.Name, Version: a.Version, CreatedAt: now.UnixMicro()}
	s.ExpiresAt = now.Add(i.options.SessionLife).UnixMicro()
	s.ForgetAt = now.Add(i.options.SessionLife + MaxTokenLife).UnixMicro()
	var tokens Tokens
	err = i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&s).Exec(ctx); err != nil {
			return err
		}
		if tokens, err = i.issue(ctx, tx, s); err != nil {
			return err
		}
		return i.forget(ctx, tx)
	})
	if err != nil {
		return Tokens{}, policy.Principal{}, fmt.Errorf("begin session: %w", err)
	}
	tokens.Device = device
	who := policy.Principal{Subject: a.Name, Organisation: a.Organisation, Unit: a.Unit, Roles: roles, Session: s.ID}
	return tokens, who, nil
}

// Refresh exchanges a refresh token for new tokens. A refresh token that comes a second time has two holders, one
// of them a thief: the whole session ends (RFC 9700, section 4.14.2). It refuses with identity.session-ended.
func (i *Identity) Refresh(ctx context.Context, refresh string) (Tokens, error) {
	var tokens Tokens
	var refusal error // kept apart from err, because a refusal must not undo what the transaction noted
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var err error
		tokens, refusal, err = i.exchange(ctx, tx, refresh)
		return err
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("refresh session: %w", err)
	}
	if refusal != nil {
		return Tokens{}, problem.New("identity.session-ended").Because(refusal)
	}
	return tokens, nil
}

func (i *Identity) exchange(ctx context.Context, tx bun.Tx, refresh string) (_ Tokens, refusal, err error) {
	now := i.now().UnixMicro()
	hash := digest("refresh", refresh)
	// One statement takes the token: of two that present it at once, one finds it used.
	result, err := tx.NewUpdate().Model((*refreshToken)(nil)).Set("used_at = ?", now).
		Where("hash = ?", hash).Where("used_at = 0").Exec(ctx)
	if err != nil {
		return Tokens{}, nil, err
	}
	taken, err := result.RowsAffected()
	if err != nil {
		return Tokens{}, nil, err
	}
	var r refreshToken
	err = tx.NewSelect().Model(&r).Where("hash = ?", hash).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return Tokens{}, errors.New("unknown refresh token"), nil
	}
	if err != nil {
		return Tokens{}, nil, err
	}
	if taken != 1 {
		return Tokens{}, errors.New("refresh token used twice"), i.end(ctx, tx, r.Session)
	}
	if r.ExpiresAt <= now {
		return Tokens{}, errors.New("refresh token expired"), nil
	}
	s, a, err := i.sessionOf(ctx, tx, r.Session)
	if err != nil {
		return Tokens{}, nil, err
	}
	if err := s.alive(a, now); err != nil {
		return Tokens{}, err, nil
	}
	if _, err := i.rolesOf(a); err != nil {
		return Tokens{}, err, nil
	}
	tokens, err := i.issue(ctx, tx, s)
	return tokens, nil, err
}

// SignOut ends a session, given by Principal.Session: its access and refresh tokens are refused from now on.
// Ending an ended or unknown session is no error.
func (i *Identity) SignOut(ctx context.Context, session string) error {
	if !isLine(session, maxSubject) {
		return nil // no session has such a name
	}
	if err := i.end(ctx, i.db, session); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

func (i *Identity) end(ctx context.Context, db bun.IDB, id string) error {
	_, err := db.NewUpdate().Model((*session)(nil)).Set("ended_at = ?", i.now().UnixMicro()).
		Where("id = ?", id).Where("ended_at = 0").Exec(ctx)
	return err
}

// accessClaims are what an access token of ours says (RFC 9068). Roles are not among it: they are looked up.
type accessClaims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
	Version int64  `json:"ver"`
}

// issue makes the tokens of a session. Neither outlives it.
func (i *Identity) issue(ctx context.Context, tx bun.Tx, s session) (Tokens, error) {
	now := i.now()
	end := time.UnixMicro(s.ExpiresAt)
	key, err := i.keys.signer()
	if err != nil {
		return Tokens{}, err
	}
	expires := earlier(now.Add(i.options.TokenLife), end)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    i.options.Issuer,
			Audience:  jwt.ClaimStrings{i.options.Audience},
			Subject:   s.Account,
			ID:        uuid.NewString(),
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		Session: s.ID,
		Version: s.Version,
	})
	t.Header["typ"], t.Header["kid"] = accessType, key.id
	access, err := t.SignedString(key.private)
	if err != nil {
		return Tokens{}, err
	}
	secret := rand.Text() // 128 bits and more
	r := refreshToken{Hash: digest("refresh", secret), Session: s.ID}
	r.ExpiresAt = earlier(now.Add(i.options.IdleLife), end).UnixMicro()
	if _, err := tx.NewInsert().Model(&r).Exec(ctx); err != nil {
		return Tokens{}, err
	}
	return Tokens{Access: access, Refresh: secret, Expires: time.Unix(expires.Unix(), 0)}, nil
}

// resume finds the session of a token of ours and tells whose it is.
func (i *Identity) resume(ctx context.Context, c claims) (policy.Principal, error) {
	s, a, err := i.sessionOf(ctx, i.db, c.Session)
	if errors.Is(err, sql.ErrNoRows) {
		return policy.Principal{}, problem.New("identity.session-ended").Because(err)
	}
	if err != nil {
		return policy.Principal{}, fmt.Errorf("look up session: %w", err)
	}
	if s.Account != c.Subject || s.Version != c.Version {
		return policy.Principal{}, problem.New("identity.token-invalid").Because(errors.New("not this session's token"))
	}
	if err := s.alive(a, i.now().UnixMicro()); err != nil {
		return policy.Principal{}, problem.New("identity.session-ended").Because(err)
	}
	return i.principal(a, s.ID)
}

// Present says whether a session goes on: it has not ended, and neither has what its account may do. It is for what takes
// longer than a token lives, and asks again while it lasts.
func (i *Identity) Present(ctx context.Context, id string) error {
	s, a, err := i.sessionOf(ctx, i.db, id)
	if errors.Is(err, sql.ErrNoRows) {
		return problem.New("identity.session-ended").Because(err)
	}
	if err != nil {
		return fmt.Errorf("look up session: %w", err)
	}
	if err := s.alive(a, i.now().UnixMicro()); err != nil {
		return problem.New("identity.session-ended").Because(err)
	}
	return nil
}

// admit tells which account the subject of an external token is linked to, and notes the session so that it can
// be signed out of.
func (i *Identity) admit(ctx context.Context, src *source, c claims, token string) (policy.Principal, error) {
	var a account
	err := i.db.NewSelect().Model(&a).Join("JOIN identity_links AS l ON l.account = a.name").
		Where("l.issuer = ?", src.issuer).Where("l.subject = ?", c.Linked).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return policy.Principal{}, problem.New("identity.account-unknown").Because(err)
	}
	if err != nil {
		return policy.Principal{}, fmt.Errorf("look up linked account: %w", err)
	}
	if a.DisabledAt != 0 {
		return policy.Principal{}, problem.New("identity.session-ended").Because(errors.New("account disabled"))
	}
	if a.ChangedAt > i.now().Add(skew).UnixMicro() {
		// A clock that was ahead wrote it. When the account was changed is not known any more, so this moment counts:
		// tokens that the provider issues from now on are good, and none has to wait until that time has come.
		if a, err = i.changedNow(ctx, a); err != nil {
			return policy.Principal{}, err
		}
	}
	// The provider writes whole seconds; a token of the very second of the change gets the new roles anyway.
	if c.IssuedAt.Unix() < time.UnixMicro(a.ChangedAt).Unix() {
		return policy.Principal{}, problem.New("identity.session-ended").Because(errors.New("account changed since"))
	}
	s, err := i.note(ctx, a, src.issuer, c, token)
	if err != nil {
		return policy.Principal{}, fmt.Errorf("note external session: %w", err)
	}
	if s.EndedAt != 0 {
		return policy.Principal{}, problem.New("identity.session-ended").Because(errors.New("signed out"))
	}
	return i.principal(a, s.ID)
}

// changedNow dates an account's last change to this moment.
func (i *Identity) changedNow(ctx context.Context, a account) (account, error) {
	now := i.now().UnixMicro()
	_, err := i.db.NewUpdate().Model((*account)(nil)).Set("changed_at = ?", now).
		Where("name = ?", a.Name).Where("changed_at = ?", a.ChangedAt).Exec(ctx)
	if err != nil {
		return a, fmt.Errorf("date account's change: %w", err)
	}
	a.ChangedAt = now
	return a, nil
}

// note finds or makes the row of an external session. A session is what the provider calls one (sid), else a
// single token. The row is kept for a whole session's life beyond the last token that was seen, so that a
// provider's next token for a session that was signed out here is refused as well.
func (i *Identity) note(ctx context.Context, a account, issuer string, c claims, token string) (session, error) {
	// Without the signature, because whoever holds an ECDSA signature can write it in another way.
	signed := token[:strings.LastIndexByte(token, '.')]
	key := []string{"token", signed}
	switch {
	case c.Session != "":
		key = []string{"sid", c.Session}
	case c.ID != "":
		key = []string{"jti", c.ID}
	}
	now := i.now()
	s := session{
		ID:        "external-" + digest(append([]string{issuer, a.Name}, key...)...),
		Account:   a.Name,
		Version:   a.Version,
		CreatedAt: now.UnixMicro(),
		ExpiresAt: c.Expires.UnixMicro(),
		ForgetAt:  later(c.Expires.Time, now).Add(i.options.SessionLife).UnixMicro(),
	}
	var known session
	err := i.db.NewSelect().Model(&known).Where("id = ?", s.ID).Scan(ctx)
	if err == nil && known.ExpiresAt >= s.ExpiresAt {
		return known, nil
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return session{}, err
	}
	_, err = i.db.NewInsert().Model(&s).On("CONFLICT (id) DO UPDATE").
		Set("expires_at = EXCLUDED.expires_at").Set("forget_at = EXCLUDED.forget_at").
		Returning("ended_at").Exec(ctx, &s.EndedAt)
	return s, err
}

// alive tells why a session of ours is over, if it is. One that began in the future was begun by a clock that was ahead,
// and would outlive by as much what a session may last.
func (s session) alive(a account, now int64) error {
	switch {
	case s.CreatedAt > now+skew.Microseconds():
		return errors.New("begun by a clock that was ahead")
	case s.EndedAt != 0:
		return errors.New("signed out")
	case s.ExpiresAt <= now:
		return errors.New("session expired")
	case a.DisabledAt != 0:
		return errors.New("account disabled")
	case s.Version != a.Version:
		return errors.New("account changed since")
	}
	return nil
}

// sessionOf reads a session and its account as they stand now.
func (i *Identity) sessionOf(ctx context.Context, db bun.IDB, id string) (session, account, error) {
	var s session
	if err := db.NewSelect().Model(&s).Relation("Owner").Where("s.id = ?", id).Scan(ctx); err != nil {
		return session{}, account{}, err
	}
	if s.Owner == nil {
		return session{}, account{}, errors.New("a session without an account")
	}
	return s, *s.Owner, nil
}

// forget deletes what nothing can refer to any more. On Postgres it leaves out the rows that somebody else is at
// just now: they can wait, and two transactions then cannot wait for each other.
func (i *Identity) forget(ctx context.Context, tx bun.Tx) error {
	now := i.now()
	sessions := tx.NewSelect().Model((*session)(nil)).Column("id").Where("forget_at < ?", now.UnixMicro())
	counts := tx.NewSelect().Model((*attempts)(nil)).Column("scope").
		Where("last_at < ?", now.Add(-attemptMemory).UnixMicro()).Where("trusted_until < ?", now.UnixMicro())
	if tx.Dialect().Name() == dialect.PG {
		sessions, counts = sessions.For("UPDATE SKIP LOCKED"), counts.For("UPDATE SKIP LOCKED")
	}
	if _, err := tx.NewDelete().Model((*session)(nil)).Where("id IN (?)", sessions).Exec(ctx); err != nil {
		return err
	}
	_, err := tx.NewDelete().Model((*attempts)(nil)).Where("scope IN (?)", counts).Exec(ctx)
	return err
}

func (i *Identity) principal(a account, session string) (policy.Principal, error) {
	roles, err := i.rolesOf(a)
	if err != nil {
		return policy.Principal{}, err
	}
	return policy.Principal{Subject: a.Name, Organisation: a.Organisation, Unit: a.Unit, Roles: roles, Session: session}, nil
}

// digest is the SHA-256 of parts, hex. Each part is preceded by its length, so that no two lists share one.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func earlier(a, b time.Time) time.Time { return slices.MinFunc([]time.Time{a, b}, time.Time.Compare) }
func later(a, b time.Time) time.Time   { return slices.MaxFunc([]time.Time{a, b}, time.Time.Compare) }
