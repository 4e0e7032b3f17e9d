package identity

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/policy"
)

// Account is one person's account. It is a real-name account (Chongqing, draft on registration, art. 11):
// DisplayName is the name that the person bears.
type Account struct {
	Name         string        // 2 to 64 of a–z, 0–9, ".", "_", "-", a letter first; never given to another person
	DisplayName  string        // the person's real name
	Organisation string        // identifier of the organisation that the person belongs to
	Unit         string        // the unit of it, where it has several
	Roles        []policy.Role // at least one
	External     []Subject     // who the person is at external providers
	Disabled     bool          // set by DisableAccount
	First        bool          // has a first password, in whose place its owner chooses another
	Created      time.Time
}

// Subject is a person as an external provider names them.
type Subject struct {
	Issuer  string
	Subject string // value of the provider's SubjectClaim
}

// account is a row of identity_accounts.
type account struct {
	bun.BaseModel `bun:"table:identity_accounts,alias:a"`

	Name         string        `bun:"name,pk"`
	DisplayName  string        `bun:"display_name"`
	Organisation string        `bun:"organisation"`
	Roles        []policy.Role `bun:"roles,type:text"`
	Password     string        `bun:"password"`
	Version      int64         `bun:"version"`
	ChangedAt    int64         `bun:"changed_at"`
	CreatedAt    int64         `bun:"created_at"`
	DisabledAt   int64         `bun:"disabled_at"`
	Unit         string        `bun:"unit"`
	OnceUntil    int64         `bun:"once_until"`
	Admits       int64         `bun:"admits"`
}

type link struct {
	bun.BaseModel `bun:"table:identity_links,alias:l"`

	Issuer  string `bun:"issuer,pk"`
	Subject string `bun:"subject,pk"`
	Account string `bun:"account"`
}

var accountName = regexp.MustCompile(`^[a-z][a-z0-9._-]{1,63}$`)

// CreateAccount makes an account. An empty password makes one that signs in at an external provider only, which
// then must be named. It refuses with identity.account-invalid, identity.account-exists, identity.roles-refused
// or identity.password-weak.
func (i *Identity) CreateAccount(ctx context.Context, a Account, password string) error {
	if err := i.checkAccount(a, password); err != nil {
		return err
	}
	row := i.rowOf(a)
	if password != "" {
		encoded, err := i.encode(ctx, a.Name, password)
		if err != nil {
			return err
		}
		row.Password = encoded
	}
	return i.insert(ctx, row, a.External, nil)
}

// rowOf is a new account as it lies in the database. It has no password yet.
func (i *Identity) rowOf(a Account) account {
	now := i.now().UnixMicro()
	return account{Name: a.Name, DisplayName: a.DisplayName, Organisation: a.Organisation, Unit: a.Unit,
		Roles: slices.Compact(slices.Sorted(slices.Values(a.Roles))), Version: 1, CreatedAt: now, ChangedAt: now}
}

// insert writes a new account, and in the same transaction does what else belongs to it.
func (i *Identity) insert(ctx context.Context, row account, external []Subject, also func(context.Context, bun.Tx) error) error {
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := insertNew(ctx, tx.NewInsert().Model(&row)); err != nil {
			return err
		}
		if also != nil {
			if err := also(ctx, tx); err != nil {
				return err
			}
		}
		return insertLinks(ctx, tx, row.Name, external)
	})
	if err != nil {
		return fmt.Errorf("create account: %w", err)
	}
	return nil
}

func insertLinks(ctx context.Context, tx bun.Tx, name string, subjects []Subject) error {
	for _, s := range subjects {
		l := link{Issuer: s.Issuer, Subject: s.Subject, Account: name}
		if err := insertNew(ctx, tx.NewInsert().Model(&l)); err != nil {
			return err
		}
	}
	return nil
}

// insertNew refuses what is there already.
func insertNew(ctx context.Context, q *bun.InsertQuery) error {
	result, err := q.On("CONFLICT DO NOTHING").Exec(ctx)
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows != 1 {
		return problem.New("identity.account-exists")
	}
	return err
}

func (i *Identity) checkAccount(a Account, password string) error {
	invalid := func(field string) error { return problem.New("identity.account-invalid", "field", field) }
	switch {
	case !accountName.MatchString(a.Name):
		return invalid("name")
	case !isLine(a.DisplayName, 200):
		return invalid("display name")
	case !isLine(a.Organisation, 200):
		return invalid("organisation")
	case a.Unit != "" && (!isLine(a.Unit, 200) || a.Unit != policy.Tidy(a.Unit)):
		return invalid("unit")
	case password == "" && len(a.External) == 0:
		return invalid("password")
	}
	if err := i.checkSubjects(a.External); err != nil {
		return err
	}
	return i.checkRoles(a.Roles)
}

func (i *Identity) checkSubjects(subjects []Subject) error {
	for _, s := range subjects {
		source, configured := i.sources[s.Issuer]
		if !configured || source.ours || !isLine(s.Subject, maxSubject) {
			return problem.New("identity.account-invalid", "field", "external subject")
		}
	}
	return nil
}

// maxSubject is the greatest length of a provider's subject in bytes (OpenID Connect Core 1.0, section 2, asks for
// 255 characters).
const maxSubject = 500

// isLine reports whether text is one line of something that can be read, within so many bytes. Databases differ in
// what they make of anything else.
func isLine(text string, most int) bool {
	return strings.TrimSpace(text) != "" && len(text) <= most && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, unicode.IsControl)
}

// DisableAccount ends everything that the account could do, at once. It is never deleted: the log refers to it. It
// refuses with identity.last-authorities.
func (i *Identity) DisableAccount(ctx context.Context, name string) error {
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := i.keepAuthorities(ctx, tx, name); err != nil {
			return err
		}
		return i.change(ctx, tx, name, func(q *bun.UpdateQuery) { q.Set("disabled_at = ?", i.now().UnixMicro()) })
	})
	return asProblem("disable account", err)
}

// EnableAccount undoes DisableAccount. Tokens from before stay refused.
func (i *Identity) EnableAccount(ctx context.Context, name string) error {
	return i.change(ctx, i.db, name, func(q *bun.UpdateQuery) { q.Set("disabled_at = 0") })
}

// SetRoles replaces an account's roles and ends its sessions. It refuses with identity.last-authorities.
func (i *Identity) SetRoles(ctx context.Context, name string, roles []policy.Role) error {
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return i.setRoles(ctx, tx, name, roles) })
	return asProblem("set roles", err)
}

func (i *Identity) setRoles(ctx context.Context, tx bun.Tx, name string, roles []policy.Role) error {
	if err := i.checkRoles(roles); err != nil {
		return err
	}
	if !slices.Contains(roles, policy.Authority) {
		if err := i.keepAuthorities(ctx, tx, name); err != nil {
			return err
		}
	}
	text, err := json.Marshal(slices.Compact(slices.Sorted(slices.Values(roles))))
	if err != nil {
		return fmt.Errorf("encode roles: %w", err)
	}
	return i.change(ctx, tx, name, func(q *bun.UpdateQuery) { q.Set("roles = ?", string(text)) })
}

// SetExternal replaces the external subjects that an account is linked to, and ends its sessions. It refuses with
// identity.account-exists if one of them is linked to another account.
func (i *Identity) SetExternal(ctx context.Context, name string, subjects []Subject) error {
	if err := i.checkSubjects(subjects); err != nil {
		return err
	}
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := i.change(ctx, tx, name, func(*bun.UpdateQuery) {}); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*link)(nil)).Where("account = ?", name).Exec(ctx); err != nil {
			return err
		}
		return insertLinks(ctx, tx, name, subjects)
	})
	if err != nil {
		return fmt.Errorf("link account: %w", err)
	}
	return nil
}

// ResetPassword sets a password without asking for the old one, and ends the account's sessions. It is for the
// person who administers accounts.
func (i *Identity) ResetPassword(ctx context.Context, name, password string) error {
	if !accountName.MatchString(name) {
		return problem.New("identity.no-such-account")
	}
	encoded, err := i.encode(ctx, name, password)
	if err != nil {
		return err
	}
	return i.change(ctx, i.db, name, func(q *bun.UpdateQuery) { q.Set("password = ?", encoded).Set("once_until = 0") })
}

// ChangePassword sets a new password for a person who knows the current one, and ends the account's sessions.
// It counts as an attempt from the address, as a sign-in does.
func (i *Identity) ChangePassword(ctx context.Context, name, current, next, from string) error {
	a, _, err := i.prove(ctx, Credentials{Name: name, Password: current, From: from})
	if err != nil {
		return err
	}
	return i.ResetPassword(ctx, a.Name, next)
}

// change updates an account and ends its sessions. It refuses with identity.no-such-account.
func (i *Identity) change(ctx context.Context, db bun.IDB, name string, set func(*bun.UpdateQuery)) error {
	if !accountName.MatchString(name) {
		return problem.New("identity.no-such-account")
	}
	q := db.NewUpdate().Model((*account)(nil))
	set(q)
	result, err := q.Set("version = version + 1").Set("changed_at = ?", i.now().UnixMicro()).
		Where("name = ?", name).Exec(ctx)
	if err != nil {
		return fmt.Errorf("change account: %w", err)
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("change account: %w", err)
	}
	if rows != 1 {
		return problem.New("identity.no-such-account")
	}
	return nil
}

// Accounts lists every account by name, disabled ones too.
func (i *Identity) Accounts(ctx context.Context) ([]Account, error) {
	var rows []account
	if err := i.db.NewSelect().Model(&rows).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	var links []link
	if err := i.db.NewSelect().Model(&links).Order("issuer", "subject").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	external := map[string][]Subject{}
	for _, l := range links {
		external[l.Account] = append(external[l.Account], Subject{l.Issuer, l.Subject})
	}
	list := make([]Account, len(rows))
	for n, r := range rows {
		list[n] = Account{Name: r.Name, DisplayName: r.DisplayName, Organisation: r.Organisation, Unit: r.Unit,
			Roles: r.Roles, First: r.OnceUntil != 0, External: external[r.Name], Disabled: r.DisabledAt != 0, Created: time.UnixMicro(r.CreatedAt).UTC()}
	}
	return list, nil
}

// Person tells who somebody is now, without a session: for what they asked for and left to be done. It refuses with
// identity.no-such-account or identity.account-disabled.
func (i *Identity) Person(ctx context.Context, name string) (policy.Principal, error) {
	a, found, err := i.account(ctx, name)
	switch {
	case err != nil:
		return policy.Principal{}, err
	case !found:
		return policy.Principal{}, problem.New("identity.no-such-account")
	case a.DisabledAt != 0:
		return policy.Principal{}, problem.New("identity.account-disabled")
	}
	return i.principal(a, "")
}

// Barred names those of some accounts that are disabled.
func (i *Identity) Barred(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var barred []string
	err := i.db.NewSelect().Model((*account)(nil)).Column("name").Where("name IN (?)", bun.List(names)).
		Where("disabled_at <> 0").Order("name").Scan(ctx, &barred)
	if err != nil {
		return nil, fmt.Errorf("look for disabled accounts: %w", err)
	}
	return barred, nil
}

// account reads one account. found is false for a name that nobody has, or can have.
func (i *Identity) account(ctx context.Context, name string) (a account, found bool, err error) {
	if !accountName.MatchString(name) {
		return account{}, false, nil
	}
	err = i.db.NewSelect().Model(&a).Where("name = ?", name).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return account{}, false, nil
	}
	if err != nil {
		return account{}, false, fmt.Errorf("look up account: %w", err)
	}
	return a, true, nil
}

// checkRoles refuses unknown roles and combinations that one person must not hold.
func (i *Identity) checkRoles(roles []policy.Role) error {
	if len(roles) == 0 {
		return problem.New("identity.roles-refused").Because(errors.New("no role"))
	}
	for _, r := range roles {
		if !slices.Contains(policy.Roles, r) {
			return problem.New("identity.roles-refused").Because(errors.New("unknown role"))
		}
	}
	err := i.options.CheckRoles(roles)
	if p := (*problem.Problem)(nil); err == nil || errors.As(err, &p) {
		return err
	}
	return problem.New("identity.roles-refused").Because(err)
}

// rolesOf gives the roles of a stored account. They are checked again, because the rules of combination may have
// been tightened since, and a row may have been changed behind our back. It refuses with identity.roles-conflict.
func (i *Identity) rolesOf(a account) ([]policy.Role, error) {
	if err := i.checkRoles(a.Roles); err != nil {
		return nil, problem.New("identity.roles-conflict").Because(err)
	}
	return a.Roles, nil
}
