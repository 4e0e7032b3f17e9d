package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed" // the list of common passwords
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/secure/precis"

	"weir/internal/problem"
)

// Argon is the cost of one argon2id computation (RFC 9106).
type Argon struct {
	Memory uint32 // KiB
	Time   uint32 // passes
	Lanes  uint8
}

// DefaultArgon is the second recommended choice of RFC 9106, section 4: for where 2 GiB a sign-in are too much.
// LeastArgon is the least that is accepted.
var (
	DefaultArgon = Argon{Memory: 64 << 10, Time: 3, Lanes: 4}
	LeastArgon   = Argon{Memory: 19 << 10, Time: 2, Lanes: 1}
)

const (
	minPassword = 12  // characters
	maxPassword = 128 // characters
	saltBytes   = 16
	hashBytes   = 32
)

//go:embed common-passwords.txt
var commonText string

var common = strings.Fields(commonText)

// hasher computes argon2id hashes, at most one for each processor at a time: each takes the whole memory of its
// cost, and more at once would only make all of them later.
type hasher struct {
	cost  Argon
	turns chan struct{}
	dummy string // hash that no password has, for names that nobody has
}

func newHasher(cost Argon) (*hasher, error) {
	if cost.Memory < LeastArgon.Memory || cost.Time < LeastArgon.Time || cost.Lanes < LeastArgon.Lanes {
		return nil, errors.New("the cost of a password check is below what is safe")
	}
	h := &hasher{cost: cost, turns: make(chan struct{}, runtime.GOMAXPROCS(0))}
	dummy, err := h.hash(context.Background(), rand.Text())
	h.dummy = dummy
	return h, err
}

// turn waits for a processor. The caller must call done.
func (h *hasher) turn(ctx context.Context) (done func(), err error) {
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-ctx.Done():
		return nil, problem.New("identity.busy").Because(ctx.Err())
	}
}

// hash encodes a password in the PHC string format.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	done, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	sum := argon2.IDKey([]byte(password), salt, h.cost.Time, h.cost.Memory, h.cost.Lanes, hashBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.Memory, h.cost.Time,
		h.cost.Lanes, b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
}

// matches compares a password with an encoded hash. An empty one matches nothing, at the same cost. stale says
// that the hash was made at another cost than today's.
func (h *hasher) matches(ctx context.Context, encoded, password string) (ok, stale bool, err error) {
	real := encoded != ""
	if !real {
		encoded = h.dummy
	}
	cost, salt, want, err := parseHash(encoded)
	if err != nil {
		return false, false, err
	}
	done, err := h.turn(ctx)
	if err != nil {
		return false, false, err
	}
	defer done()
	got := argon2.IDKey([]byte(password), salt, cost.Time, cost.Memory, cost.Lanes, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && real, cost != h.cost, nil
}

func parseHash(encoded string) (cost Argon, salt, sum []byte, err error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return Argon{}, nil, nil, errors.New("stored password is not argon2id")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &cost.Memory, &cost.Time, &cost.Lanes); err != nil {
		return Argon{}, nil, nil, errors.New("stored password has no cost")
	}
	salt, saltErr := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	sum, sumErr := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	badCost := cost.Memory < 8 || cost.Memory > 2<<20 || cost.Time < 1 || cost.Time > 64 || cost.Lanes < 1
	if saltErr != nil || sumErr != nil || badCost || len(salt) < saltBytes || len(sum) < hashBytes {
		return Argon{}, nil, nil, errors.New("stored password cannot be read")
	}
	return cost, salt, sum, nil
}

// prove checks that somebody knows an account's password, within the limits on attempts. Whatever is wrong, the
// refusal is the same and takes the same work. device is the secret by which their device is known from now on.
func (i *Identity) prove(ctx context.Context, c Credentials) (a account, device string, err error) {
	c.Name = strings.ToLower(strings.TrimSpace(c.Name))
	charge, err := i.chargeAttempt(ctx, c)
	if err != nil {
		return account{}, "", err
	}
	a, found, err := i.account(ctx, c.Name)
	if err != nil {
		return account{}, "", err
	}
	canonical, err := canonicalPassword(c.Password)
	acceptable := err == nil
	ok, stale, err := i.hasher.matches(ctx, a.Password, canonical)
	if err != nil {
		return account{}, "", err
	}
	if !ok || !found || !acceptable || a.DisabledAt != 0 {
		return account{}, "", problem.New("identity.sign-in-failed")
	}
	if device, err = i.refundAttempt(ctx, charge, c.Name); err != nil {
		return account{}, "", err
	}
	if stale {
		if err := i.rehash(ctx, a, canonical); err != nil {
			return account{}, "", err
		}
	}
	return a, device, nil
}

// rehash stores the same password at today's cost. Nothing else about the account changes, so sessions go on.
func (i *Identity) rehash(ctx context.Context, a account, password string) error {
	encoded, err := i.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	_, err = i.db.NewUpdate().Model((*account)(nil)).Set("password = ?", encoded).
		Where("name = ?", a.Name).Where("password = ?", a.Password).Exec(ctx)
	if err != nil {
		return fmt.Errorf("renew password hash: %w", err)
	}
	return nil
}

// encode holds a new password to the rules and hashes it. It refuses with identity.password-weak.
func (i *Identity) encode(ctx context.Context, name, password string) (string, error) {
	canonical, err := canonicalPassword(password)
	if err != nil {
		return "", problem.New("identity.password-weak").Because(err)
	}
	if err := checkPassword(name, canonical); err != nil {
		return "", problem.New("identity.password-weak").Because(err)
	}
	return i.hasher.hash(ctx, canonical)
}

// canonicalPassword makes the same password out of what different keyboards send for it (RFC 8265, section 4.2).
// On an error its result is empty.
func canonicalPassword(password string) (string, error) {
	if len(password) > 4*maxPassword || !utf8.ValidString(password) {
		return "", errors.New("too long, or not text")
	}
	canonical, err := precis.OpaqueString.String(password)
	if err != nil {
		return "", err
	}
	return canonical, nil
}

// checkPassword is the rule for new passwords: length, and not what is tried first (NIST SP 800-63B, section 5.1.1).
func checkPassword(name, password string) error {
	n := utf8.RuneCountInString(password)
	if n < minPassword || n > maxPassword {
		return errors.New("too short or too long")
	}
	lower := strings.ToLower(password)
	if strings.Contains(lower, strings.ToLower(name)) {
		return errors.New("holds the account's name")
	}
	for _, c := range common {
		// A common password with a few characters around it is tried next.
		if strings.Contains(lower, c) && n-utf8.RuneCountInString(c) < minPassword/3 {
			return errors.New("a common password")
		}
	}
	if distinct(lower) < 5 {
		return errors.New("repeats itself")
	}
	return nil
}

func distinct(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}
