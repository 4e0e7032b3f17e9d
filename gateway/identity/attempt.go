package identity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"weir/internal/problem"
)

const (
	attemptMemory = 24 * time.Hour      // a count starts anew after so long without an attempt
	trust         = 90 * 24 * time.Hour // an address from which an account signed in is its own for so long
)

// limit says how many attempts in a row are free, and how long the next must wait: first, doubling with each
// further one, up to most.
type limit struct {
	free        int
	first, most time.Duration
}

// The limits. They are in this order everywhere, so that two sign-ins cannot wait for each other's rows.
// An account from a certain address is limited strictly. An address is limited loosely, because many people sit
// behind one; an account as a whole loosely too, and only for addresses that are not its own: else whoever knows
// a name could keep its owner out.
var limits = [...]limit{
	pair:    {free: 5, first: 30 * time.Second, most: time.Hour},
	address: {free: 50, first: 30 * time.Second, most: time.Hour},
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
	Failures     int    `bun:"failures"`
	LastAt       int64  `bun:"last_at"`
	TrustedUntil int64  `bun:"trusted_until"`
}

var errWait = errors.New("the next attempt must wait")

// charge is an attempt that was counted as failed.
type charge [len(limits)]string

// chargeAttempt counts an attempt as failed before it is made, so that many at once cannot slip through between
// check and count, or refuses with identity.too-many-attempts. A refused attempt is not counted: waiting helps.
func (i *Identity) chargeAttempt(ctx context.Context, name, from string) (charge, error) {
	from = network(from)
	c := charge{pair: digest("pair", name, from), address: digest("address", from), whole: digest("account", name)}
	now := i.now()
	var wait time.Duration
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var rows [len(limits)]attempts
		for n, scope := range c {
			row, err := lockAttempts(ctx, tx, scope, now)
			if err != nil {
				return err
			}
			rows[n] = row
			if n == whole && rows[pair].TrustedUntil > now.UnixMicro() {
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
			if _, err := tx.NewUpdate().Model(&row).WherePK().Column("failures", "last_at").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errWait) {
		seconds := int64((wait + time.Second - 1) / time.Second)
		return charge{}, problem.New("identity.too-many-attempts", "seconds", strconv.FormatInt(seconds, 10))
	}
	if err != nil {
		return charge{}, fmt.Errorf("count attempt: %w", err)
	}
	return c, nil
}

// lockAttempts reads a count, and keeps it from others until the transaction ends.
func lockAttempts(ctx context.Context, tx bun.Tx, scope string, now time.Time) (attempts, error) {
	row := attempts{Scope: scope, LastAt: now.UnixMicro()}
	_, err := tx.NewInsert().Model(&row).On("CONFLICT (scope) DO UPDATE").Set("scope = EXCLUDED.scope").
		Returning("failures, last_at, trusted_until").Exec(ctx, &row.Failures, &row.LastAt, &row.TrustedUntil)
	if now.Sub(time.UnixMicro(row.LastAt)) > attemptMemory {
		row.Failures = 0
	}
	return row, err
}

// refundAttempt takes back what chargeAttempt counted, since it succeeded. Only the count of the account from this
// address begins anew: a success elsewhere says nothing about what others try.
func (i *Identity) refundAttempt(ctx context.Context, c charge) error {
	until := i.now().Add(trust).UnixMicro()
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := tx.NewUpdate().Model((*attempts)(nil)).Set("failures = 0").Set("trusted_until = ?", until).
			Where("scope = ?", c[pair]).Exec(ctx)
		if err != nil {
			return err
		}
		for _, scope := range c[address:] {
			_, err := tx.NewUpdate().Model((*attempts)(nil)).Set("failures = failures - 1").
				Where("scope = ?", scope).Where("failures > 0").Exec(ctx)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count success: %w", err)
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
