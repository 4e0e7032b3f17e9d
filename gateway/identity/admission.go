package identity

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"weir/internal/problem"
	"weir/policy"
)

// firstLife is how long a first password, or a proposal, is good.
const firstLife = 7 * 24 * time.Hour

// leastAuthorities is how many authorities there must always be who can sign in: with one alone, nothing that needs a
// second person could ever be done again.
const leastAuthorities = 2

// rescues is how many authorities a rescuer lets in.
const rescues = leastAuthorities

// Admit makes an account with a first password, which is good for one sign-in and is told to nobody again. An account
// that is linked to an external provider gets none, and signs in there. It refuses as CreateAccount does.
func (i *Identity) Admit(ctx context.Context, a Account) (first string, err error) {
	row, first, err := i.newcomer(ctx, a)
	if err != nil {
		return "", err
	}
	if err := i.insert(ctx, row, a.External, nil); err != nil {
		return "", err
	}
	return first, nil
}

// AdmitBy is Admit by a rescuer, whose account ends with the last authority that it may let in.
func (i *Identity) AdmitBy(ctx context.Context, rescuer string, a Account) (first string, err error) {
	row, first, err := i.newcomer(ctx, a)
	if err != nil {
		return "", err
	}
	now := i.now().UnixMicro()
	err = i.insert(ctx, row, a.External, func(ctx context.Context, tx bun.Tx) error {
		result, err := tx.NewUpdate().Model((*account)(nil)).Set("admits = admits - 1").
			Set("disabled_at = CASE WHEN admits = 1 THEN ? ELSE disabled_at END", now).
			Where("name = ?", rescuer).Where("admits > 0").Where("disabled_at = 0").Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return errors.Join(problem.New("identity.rescue-over"), err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return first, nil
}

// AdmitRescuer makes an account that may let authorities in, and nothing else. It is for the platform's own machine.
func (i *Identity) AdmitRescuer(ctx context.Context, a Account) (first string, err error) {
	a.Roles, a.External = []policy.Role{policy.Rescuer}, nil
	row, first, err := i.newcomer(ctx, a)
	if err != nil {
		return "", err
	}
	row.Admits = rescues
	if err := i.insert(ctx, row, nil, nil); err != nil {
		return "", err
	}
	return first, nil
}

// newcomer is an account that is to be made, with a first password.
func (i *Identity) newcomer(ctx context.Context, a Account) (row account, first string, err error) {
	if len(a.External) == 0 {
		first = rand.Text()
	}
	if err := i.checkAccount(a, first); err != nil {
		return account{}, "", err
	}
	row = i.rowOf(a)
	if first == "" {
		return row, "", nil
	}
	if row.Password, err = i.hasher.hash(ctx, first); err != nil {
		return account{}, "", err
	}
	row.OnceUntil = i.now().Add(firstLife).UnixMicro()
	return row, first, nil
}

// Reset gives an account a first password in place of the one it has, and ends its sessions. The failed attempts on it
// are forgotten, so that its owner can use it at once.
func (i *Identity) Reset(ctx context.Context, name string) (first string, err error) {
	first = rand.Text()
	encoded, err := i.hasher.hash(ctx, first)
	if err != nil {
		return "", err
	}
	if err := i.reset(ctx, i.db, name, encoded); err != nil {
		return "", err
	}
	return first, i.Unlock(ctx, name)
}

func (i *Identity) reset(ctx context.Context, db bun.IDB, name, encoded string) error {
	until := i.now().Add(firstLife).UnixMicro()
	return i.change(ctx, db, name, func(q *bun.UpdateQuery) { q.Set("password = ?", encoded).Set("once_until = ?", until) })
}

// own has the owner of a first password choose their own, in the same step in which they show it: nobody is ever signed
// in by a password that somebody else has seen. It refuses with identity.password-first, which asks for one, with
// identity.password-late or identity.password-weak.
func (i *Identity) own(ctx context.Context, a account, c Credentials) (account, error) {
	switch {
	case a.OnceUntil == 0 && c.Next == "":
		return a, nil
	case a.OnceUntil == 0:
		return account{}, problem.New("identity.password-own")
	case a.OnceUntil < i.now().UnixMicro():
		return account{}, problem.New("identity.password-late")
	case c.Next == "":
		return account{}, problem.New("identity.password-first")
	case c.Next == c.Password:
		return account{}, problem.New("identity.password-weak").Because(errors.New("the first password again"))
	}
	encoded, err := i.encode(ctx, a.Name, c.Next)
	if err != nil {
		return account{}, err
	}
	// Of two who show it at once, one finds it used.
	result, err := i.db.NewUpdate().Model((*account)(nil)).Set("password = ?", encoded).Set("once_until = 0").
		Set("version = version + 1").Set("changed_at = ?", i.now().UnixMicro()).
		Where("name = ?", a.Name).Where("password = ?", a.Password).Where("once_until = ?", a.OnceUntil).Exec(ctx)
	if err != nil {
		return account{}, fmt.Errorf("choose password: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return account{}, errors.Join(problem.New("identity.sign-in-failed"), err)
	}
	a.Password, a.OnceUntil, a.Version = encoded, 0, a.Version+1
	return a, nil
}

// keepAuthorities refuses to take an authority away when fewer than two others can sign in. Those who have not chosen a
// password yet do not count: they may be nobody.
func (i *Identity) keepAuthorities(ctx context.Context, tx bun.Tx, name string) error {
	var able []account
	q := tx.NewSelect().Model(&able).Where("disabled_at = 0").Where("once_until = 0").Where("roles LIKE ?", `%"authority"%`).Order("name")
	if tx.Dialect().Name() == dialect.PG {
		q = q.For("UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		return err
	}
	isOne := slices.ContainsFunc(able, func(a account) bool { return a.Name == name })
	if isOne && len(able)-1 < leastAuthorities {
		return problem.New("identity.last-authorities")
	}
	return nil
}

// Kind is what a proposal is about.
type Kind string

// The kinds of proposals.
const (
	ProposeCreate Kind = "create"
	ProposeEnable Kind = "enable"
	ProposeReset  Kind = "reset"
	ProposeRole   Kind = "roles"
)

// Proposal is what one person of the authority wants done with an account, which another has to confirm. The first
// password that comes of it is in two halves: one is told to each of the two, and only its owner learns both.
type Proposal struct {
	ID      string
	Kind    Kind
	Account Account // as it is to be
	Reason  string
	By      string
	At      time.Time
	Expires time.Time
	Decided string // by whom; empty while it waits
	Done    bool   // it was confirmed
}

type proposalRow struct {
	bun.BaseModel `bun:"table:identity_proposals,alias:p"`

	ID         string `bun:"id,pk"`
	Kind       Kind   `bun:"kind"`
	Name       string `bun:"name"`
	Account    string `bun:"account"`
	Password   string `bun:"password"`
	Half       string `bun:"half"`
	Reason     string `bun:"reason"`
	ProposedBy string `bun:"proposed_by"`
	ProposedAt int64  `bun:"proposed_at"`
	ExpiresAt  int64  `bun:"expires_at"`
	DecidedBy  string `bun:"decided_by"`
	DecidedAt  int64  `bun:"decided_at"`
	Confirmed  int64  `bun:"confirmed"`
}

func (r proposalRow) proposal() (Proposal, error) {
	p := Proposal{
		ID: r.ID, Kind: r.Kind, Reason: r.Reason, By: r.ProposedBy, Decided: r.DecidedBy, Done: r.Confirmed != 0,
		At: time.UnixMicro(r.ProposedAt).UTC(), Expires: time.UnixMicro(r.ExpiresAt).UTC(),
	}
	return p, json.Unmarshal([]byte(r.Account), &p.Account)
}

// Propose keeps a proposal, and gives the half of the first password that whoever proposes tells the account's owner;
// none where no password comes of it.
func (i *Identity) Propose(ctx context.Context, p Proposal) (Proposal, string, error) {
	if err := i.checkProposal(ctx, p); err != nil {
		return Proposal{}, "", err
	}
	text, err := json.Marshal(p.Account)
	if err != nil {
		return Proposal{}, "", fmt.Errorf("encode proposal: %w", err)
	}
	now := i.now()
	row := proposalRow{
		ID: "p-" + rand.Text()[:10], Kind: p.Kind, Name: p.Account.Name, Account: string(text), Reason: p.Reason,
		ProposedBy: p.By, ProposedAt: now.UnixMicro(), ExpiresAt: now.Add(firstLife).UnixMicro(),
	}
	first := ""
	if p.Kind == ProposeCreate && len(p.Account.External) == 0 || p.Kind == ProposeReset {
		first, row.Half = rand.Text()[:13], rand.Text()[:13]
		if row.Password, err = i.hasher.hash(ctx, first+row.Half); err != nil {
			return Proposal{}, "", err
		}
	}
	if _, err := i.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return Proposal{}, "", fmt.Errorf("keep proposal: %w", err)
	}
	kept, err := row.proposal()
	return kept, first, err
}

func (i *Identity) checkProposal(ctx context.Context, p Proposal) error {
	_, found, err := i.account(ctx, p.Account.Name)
	switch {
	case err != nil:
		return err
	case !isLine(p.Reason, 1000):
		return problem.New("identity.reason-needed")
	case p.Kind != ProposeCreate && !found:
		return problem.New("identity.no-such-account")
	case p.Kind == ProposeCreate && found:
		return problem.New("identity.account-exists")
	case p.Kind == ProposeCreate:
		return i.checkAccount(p.Account, "to be made")
	}
	return i.checkRoles(p.Account.Roles)
}

// Proposal gives one that waits, or identity.no-such-proposal.
func (i *Identity) Proposal(ctx context.Context, id string) (Proposal, error) {
	row, err := i.waiting(ctx, i.db, id)
	if err != nil {
		return Proposal{}, err
	}
	return row.proposal()
}

func (i *Identity) waiting(ctx context.Context, db bun.IDB, id string) (proposalRow, error) {
	var rows []proposalRow
	err := db.NewSelect().Model(&rows).Where("id = ?", id).Where("decided_at = 0").
		Where("expires_at > ?", i.now().UnixMicro()).Scan(ctx)
	if err != nil {
		return proposalRow{}, fmt.Errorf("read proposal: %w", err)
	}
	if len(rows) != 1 {
		return proposalRow{}, problem.New("identity.no-such-proposal")
	}
	return rows[0], nil
}

// Proposals lists what waits to be confirmed, the oldest first.
func (i *Identity) Proposals(ctx context.Context) ([]Proposal, error) {
	var rows []proposalRow
	err := i.db.NewSelect().Model(&rows).Where("decided_at = 0").Where("expires_at > ?", i.now().UnixMicro()).
		Order("proposed_at", "id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list proposals: %w", err)
	}
	list := make([]Proposal, len(rows))
	for n, r := range rows {
		if list[n], err = r.proposal(); err != nil {
			return nil, fmt.Errorf("read proposal: %w", err)
		}
	}
	return list, nil
}

// Confirm does what somebody else proposed, and gives the other half of the first password, if there is one.
func (i *Identity) Confirm(ctx context.Context, id, by string) (Proposal, string, error) {
	var p Proposal
	var half string
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		row, err := i.decide(ctx, tx, id, by, true)
		if err != nil {
			return err
		}
		if p, err = row.proposal(); err != nil {
			return err
		}
		half = row.Half
		if by == row.ProposedBy || by == row.Name {
			return problem.New("policy.own-account")
		}
		return i.carryOut(ctx, tx, p, row.Password)
	})
	if err != nil {
		return Proposal{}, "", asProblem("confirm proposal", err)
	}
	if p.Kind == ProposeReset {
		return p, half, i.Unlock(ctx, p.Account.Name)
	}
	return p, half, nil
}

// carryOut does what was proposed. encoded is the hash of the first password that comes of it.
func (i *Identity) carryOut(ctx context.Context, tx bun.Tx, p Proposal, encoded string) error {
	name := p.Account.Name
	switch p.Kind {
	case ProposeCreate:
		row := i.rowOf(p.Account)
		if row.Password = encoded; encoded != "" {
			row.OnceUntil = i.now().Add(firstLife).UnixMicro()
		}
		if err := insertNew(ctx, tx.NewInsert().Model(&row)); err != nil {
			return err
		}
		return insertLinks(ctx, tx, name, p.Account.External)
	case ProposeReset:
		return i.reset(ctx, tx, name, encoded)
	case ProposeEnable:
		return i.change(ctx, tx, name, func(q *bun.UpdateQuery) { q.Set("disabled_at = 0") })
	case ProposeRole:
		return i.setRoles(ctx, tx, name, p.Account.Roles)
	}
	return fmt.Errorf("a proposal of a kind that nobody knows: %q", p.Kind)
}

// Refuse does away with a proposal.
func (i *Identity) Refuse(ctx context.Context, id, by string) error {
	err := i.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err := i.decide(ctx, tx, id, by, false)
		return err
	})
	return asProblem("refuse proposal", err)
}

// decide takes a proposal that waits: of two who decide at once, one finds it gone. What it held of a password is deleted.
func (i *Identity) decide(ctx context.Context, tx bun.Tx, id, by string, confirmed bool) (proposalRow, error) {
	now, yes := i.now().UnixMicro(), 0
	if confirmed {
		yes = 1
	}
	row, err := i.waiting(ctx, tx, id)
	if err != nil {
		return proposalRow{}, err
	}
	result, err := tx.NewUpdate().Model((*proposalRow)(nil)).Set("decided_by = ?", by).Set("decided_at = ?", now).
		Set("confirmed = ?", yes).Set("password = ''").Set("half = ''").Where("id = ?", id).Where("decided_at = 0").Exec(ctx)
	if err != nil {
		return proposalRow{}, err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return proposalRow{}, errors.Join(problem.New("identity.no-such-proposal"), err)
	}
	return row, nil
}

// asProblem gives the problem in an error as it is, and says of any other what failed.
func asProblem(what string, err error) error {
	if p := (*problem.Problem)(nil); err == nil || errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// MoveOrganisation makes the people of one organisation those of another that it was merged into, and ends their sessions.
func (i *Identity) MoveOrganisation(ctx context.Context, from, into string) error {
	_, err := i.db.NewUpdate().Model((*account)(nil)).Set("organisation = ?", into).Set("version = version + 1").
		Set("changed_at = ?", i.now().UnixMicro()).Where("organisation = ?", from).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move people of an organisation: %w", err)
	}
	return nil
}
