package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// maxToken is the length in bytes above which a token is not looked at.
const maxToken = 8 << 10

var (
	// headerFields are what the header of a token may say. "crit" is refused because nothing critical is
	// understood here (RFC 7515, section 4.1.11); "jwk", "jku", "x5u" and "x5c" because a token must not bring
	// its own key.
	headerFields = []string{"alg", "kid", "typ", "x5t", "x5t#S256"}

	// accessType is the type of our own access tokens (RFC 9068, section 2.1).
	accessType = "at+jwt"

	// externalTypes are the types of tokens that say who somebody is. A logout token, say, is not among them.
	externalTypes = []string{"", "jwt", "at+jwt", "application/at+jwt"}
)

// claims are what is read in a verified token.
type claims struct {
	Subject   string    `json:"sub"`
	Session   string    `json:"sid"`
	ID        string    `json:"jti"`
	Version   int64     `json:"ver"`
	Expires   *unixTime `json:"exp"`
	NotBefore *unixTime `json:"nbf"`
	IssuedAt  *unixTime `json:"iat"`

	Linked string `json:"-"` // the claim that the provider's configuration names
}

// unixTime is a NumericDate (RFC 7519, section 2). A value outside the years in which this platform can run is
// refused, so that no arithmetic on it can overflow.
type unixTime struct{ time.Time }

func (u *unixTime) UnmarshalJSON(text []byte) error {
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return err
	}
	if math.IsNaN(seconds) || seconds < 0 || seconds > 1e11 {
		return errors.New("not a time")
	}
	u.Time = time.UnixMicro(int64(seconds * 1e6))
	return nil
}

// sourceOf finds who claims to have issued a token. Nothing in it is believed yet; the claim only chooses the
// keys and rules that the token is then held to.
func (i *Identity) sourceOf(token string) (*source, error) {
	if len(token) > maxToken {
		return nil, errors.New("too long")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("not three parts")
	}
	header := map[string]json.RawMessage{}
	var payload struct {
		Issuer string `json:"iss"`
	}
	head, headErr := decodePart(parts[0])
	body, bodyErr := decodePart(parts[1])
	_, signatureErr := decodePart(parts[2])
	if err := errors.Join(headErr, bodyErr, signatureErr); err != nil {
		return nil, err
	}
	if err := errors.Join(json.Unmarshal(head, &header), json.Unmarshal(body, &payload)); err != nil {
		return nil, err
	}
	for field := range header {
		if !slices.Contains(headerFields, field) {
			return nil, errors.New("a header field that is not allowed")
		}
	}
	s, known := i.sources[payload.Issuer]
	if !known {
		return nil, errors.New("unknown issuer")
	}
	return s, s.checkHeader(header)
}

// checkHeader holds a token's header to what its issuer may write.
func (s *source) checkHeader(header map[string]json.RawMessage) error {
	var algorithm, key, kind string
	for field, value := range map[string]*string{"alg": &algorithm, "kid": &key, "typ": &kind} {
		if text, present := header[field]; present {
			if err := json.Unmarshal(text, value); err != nil {
				return fmt.Errorf("header %s: %w", field, err)
			}
		}
	}
	if !slices.Contains(s.algorithms, algorithm) {
		return errors.New("algorithm not accepted")
	}
	if key == "" {
		return errors.New("no key named")
	}
	if s.ours && kind != accessType || !s.ours && !slices.Contains(externalTypes, strings.ToLower(kind)) {
		return errors.New("not an access token")
	}
	return nil
}

// verify checks signature, issuer, audience and times: the same for our own tokens and for others'.
func (s *source) verify(ctx context.Context, token string) (claims, error) {
	verifier, err := s.ready(ctx)
	if err != nil {
		return claims{}, err
	}
	var unreachable error
	checked, err := verifier.Verify(context.WithValue(ctx, fetchFailure{}, &unreachable), token)
	if unreachable != nil {
		return claims{}, unreachable
	}
	if err != nil {
		return claims{}, err
	}
	var c claims
	if err := checked.Claims(&c); err != nil {
		return claims{}, err
	}
	all := map[string]any{}
	if err := checked.Claims(&all); err != nil {
		return claims{}, err
	}
	if _, isLogout := all["events"]; isLogout {
		return claims{}, errors.New("a logout token")
	}
	c.Linked, _ = all[s.subject].(string)
	return c, c.check(s.clock(), s.maxAge)
}

// check holds what the OpenID verifier leaves open or sees more loosely: it does not ask for a subject, and lets
// a token be used five minutes before its time.
func (c claims) check(now time.Time, maxAge time.Duration) error {
	switch {
	case c.Subject == "" || !isLine(c.Linked, maxSubject):
		return errors.New("no subject")
	case c.Expires == nil || !now.Before(c.Expires.Time):
		return errors.New("expired, or without an end")
	case c.IssuedAt == nil || c.IssuedAt.After(now.Add(leeway)):
		return errors.New("issued in the future, or at no time")
	case c.NotBefore != nil && c.NotBefore.After(now.Add(leeway)):
		return errors.New("not valid yet")
	case now.Sub(c.IssuedAt.Time) > maxAge:
		return errors.New("issued too long ago")
	}
	return nil
}

// decodePart reads base64url that is written in the only right way: decoders pass over line ends and unused bits, and
// one token must not have several texts.
func decodePart(part string) ([]byte, error) {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err == nil && base64.RawURLEncoding.EncodeToString(text) != part {
		err = errors.New("base64 that is not canonical")
	}
	return text, err
}
