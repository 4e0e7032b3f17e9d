package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

const (
	attemptMemory = 24 * time.Hour      // a count begins again after so long without an attempt
	trust         = 90 * 24 * time.Hour // a device or address from which an account signed in is known for so long
	skew          = time.Minute         // how far the clocks of two nodes may be apart
)

// limit says how many failures are free, and how long the next attempt must wait after them: first, doubling with each
// further failure, up to most.
type limit struct {
	free        int
	first, most time.Duration
}

// The limits. They are in this order everywhere, so that two sign-ins cannot wait for each other's rows.
//
// An account from one device or address is limited strictly. An address is only slowed down, whatever was tried from it:
// many people sit behind one, and invented names cost nothing, so a limit that grew would let anybody close it. An
// account as a whole is limited loosely. The last two do not hold for where the account is known, or whoever knows a
// name could keep its owner out.
var limits = [...]limit{
	pair:    {free: 5, first: 30 * time.Second, most: 15 * time.Minute},
	address: {free: 50, first: 2 * time.Second, most: 2 * time.Second},
	whole:   {free: 30, first: 10 * time.Second, most: 5 * time.Minute},
}

const (
	pair = iota
	address
	whole
)

// wait is how long after the last of so many failures the next attempt must wait.
func (l limit) wait(failures int) time.Duration {
	over := failures - l.free
	if over < 0 {
		return 0
	}
	wait := l.first
	for ; over > 0 && wait < l.most; over-- {
		wait *= 2
	}
	return min(wait, l.most)
}

// attempts is a row of identity_attempts. What it counts stands there as a hash, since people type passwords into
// the field for names.
type attempts struct {
	bun.BaseModel `bun:"table:identity_attempts,alias:t"`

	Scope        string `bun:"scope,pk"`
	Account      string `bun:"account"`
	Failures     int    `bun:"failures"`
	LastAt       int64  `bun:"last_at"`
	TrustedUntil int64  `bun:"trusted_until"`
}

var errWait = errors.New("the next attempt must wait")

// charge is an attempt that was counted as failed.
type charge struct {
	scopes [len(limits)]string
	owner  string // hash of the name
	device string // the secret of a known device; empty for an unknown one
}

// chargeAttempt counts an attempt as failed before it is made, so that many at once cannot slip through between
// check and count, or refuses with identity.too-many-attempts. A refused attempt is not counted: waiting helps.
func (i *Identity) chargeAttempt(ctx context.Context, c Credentials) (charge, error) {
	from := network(c.From)
	ch := charge{owner: digest("account", c.Name)}
	ch.scopes = [...]string{pair: digest("pair", c.Name, from), address: digest("address", from), whole: ch.owner}
	now := i.now()
	known, err := i.isDevice(ctx, c, now)
	if err != nil {
		return charge{}, fmt.Errorf("look up device: %w", err)
	}
	if known {
		// What others try from the same address is no business of this device's.
		ch.device, ch.scopes[pair] = c.Device, digest("device", c.Name, c.Device)
	}
	var wait time.Duration
	err = i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		wait = 0
		var rows [len(limits)]attempts
		for n, scope := range ch.scopes {
			row := attempts{Scope: scope, Account: ch.owner}
			if n == address {
				row.Account = ""
			}
			if err := lockAttempts(ctx, tx, &row, now); err != nil {
				return err
			}
			rows[n] = row
			if n != pair && rows[pair].TrustedUntil > now.UnixMicro() {
				continue
			}
			until := time.UnixMicro(row.LastAt).Add(limits[n].wait(row.Failures))
			wait = max(wait, until.Sub(now))
		}
		if wait > 0 {
			return errWait // undo the empty counts, or refused attempts could fill the table
		}
		for _, row := range rows {
			row.Failures, row.LastAt = row.Failures+1, now.UnixMicro()
			_, err := tx.NewUpdate().Model(&row).WherePK().Column("account", "failures", "last_at", "trusted_until").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errWait) {
		seconds := int64((wait + time.Second - 1) / time.Second)
		return charge{}, problem.New("identity.too-many-attempts", "seconds", strconv.FormatInt(seconds, 10)).After(wait)
	}
	if err != nil {
		return charge{}, fmt.Errorf("count attempt: %w", err)
	}
	return ch, nil
}

// isDevice reports whether the credentials hold the secret of a device from which the account has signed in. One that is
// not known leaves no trace.
func (i *Identity) isDevice(ctx context.Context, c Credentials, now time.Time) (bool, error) {
	if c.Device == "" || len(c.Device) > maxSubject {
		return false, nil
	}
	return i.db.NewSelect().Model((*attempts)(nil)).Where("scope = ?", digest("device", c.Name, c.Device)).
		Where("trusted_until > ?", now.UnixMicro()).Exists(ctx)
}

// lockAttempts reads a count, and keeps it from others until the transaction ends.
func lockAttempts(ctx context.Context, tx bun.Tx, row *attempts, now time.Time) error {
	row.LastAt = now.Add(-attemptMemory).UnixMicro() // so that a new count makes nobody wait, whatever the limit
	_, err := tx.NewInsert().Model(row).On("CONFLICT (scope) DO UPDATE").Set("scope = EXCLUDED.scope").
		Returning("failures, last_at, trusted_until").Exec(ctx, &row.Failures, &row.LastAt, &row.TrustedUntil)
	row.credible(now)
	return err
}

// credible forgets what was counted too long ago to matter, or by a clock that was ahead: no time in the future was ever
// seen. An attacker cannot move the clock, so nothing is gained by making it step; and what was believed would close the
// account until that time came.
func (row *attempts) credible(now time.Time) {
	age := now.Sub(time.UnixMicro(row.LastAt))
	if age > attemptMemory || age < -skew {
		row.Failures = 0
	}
	if age < 0 {
		row.LastAt = now.UnixMicro()
	}
	if row.TrustedUntil > now.Add(trust+skew).UnixMicro() {
		row.TrustedUntil = now.Add(trust).UnixMicro()
	}
}

// refundAttempt takes back what chargeAttempt counted, since it succeeded, and gives the secret by which the device is
// known from now on. Only the count of the account from here begins again: a success says nothing about what others
// try elsewhere.
func (i *Identity) refundAttempt(ctx context.Context, c charge, name string) (device string, err error) {
	until := i.now().Add(trust).UnixMicro()
	device = c.device
	err = i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*attempts)(nil)).Set("failures = 0").Set("trusted_until = ?", until).
			Where("scope = ?", c.scopes[pair]).Exec(ctx)
		if err != nil {
			return err
		}
		for _, scope := range c.scopes[address:] {
			_, err := tx.NewUpdate().Model((*attempts)(nil)).Set("failures = failures - 1").
				Where("scope = ?", scope).Where("failures > 0").Exec(ctx)
			if err != nil {
				return err
			}
		}
		if device != "" {
			return nil
		}
		device = rand.Text()
		row := attempts{Scope: digest("device", name, device), Account: c.owner, LastAt: i.now().UnixMicro(), TrustedUntil: until}
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("count success: %w", err)
	}
	return device, nil
}

// Unlock forgets every failed attempt on an account, wherever it was made. What is known of devices stays.
func (i *Identity) Unlock(ctx context.Context, name string) error {
	if _, found, err := i.account(ctx, name); err != nil {
		return err
	} else if !found {
		return problem.New("identity.no-such-account")
	}
	owner := digest("account", name)
	_, err := i.db.NewUpdate().Model((*attempts)(nil)).Set("failures = 0").Set("last_at = 0").
		WhereGroup(" AND ", func(q *bun.UpdateQuery) *bun.UpdateQuery {
			return q.Where("account = ?", owner).WhereOr("scope = ?", owner)
		}).Exec(ctx)
	if err != nil {
		return fmt.Errorf("unlock account: %w", err)
	}
	return nil
}

// network is what counts as one address: an IPv4 address, or the /64 of an IPv6 address, which one household or
// attacker holds whole. Anything else counts as it is written.
func network(from string) string {
	a, err := netip.ParseAddr(from)
	if err != nil {
		withPort, portErr := netip.ParseAddrPort(from)
		if portErr != nil {
			return from
		}
		a = withPort.Addr()
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}
