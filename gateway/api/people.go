package api

import (
	"context"
	"time"

	"weir/gateway/api/gen"
	"weir/gateway/identity"
	"weir/policy"
)

func (s *server) SignIn(ctx context.Context, req gen.SignInRequestObject) (gen.SignInResponseObject, error) {
	ctx, from, err := s.attempting(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := s.Acts.SignIn(ctx, identity.Credentials{
		Name: req.Body.Account, Password: req.Body.Password, From: from, Device: given(req.Body.Device), Next: given(req.Body.Next),
	})
	if err != nil {
		return nil, err
	}
	return gen.SignIn200JSONResponse(session(tokens)), nil
}

func (s *server) RefreshSession(ctx context.Context, req gen.RefreshSessionRequestObject) (gen.RefreshSessionResponseObject, error) {
	ctx, _, err := stranger(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := s.Acts.Refresh(ctx, req.Body.RefreshToken)
	if err != nil {
		return nil, err
	}
	return gen.RefreshSession200JSONResponse(session(tokens)), nil
}

func (s *server) GetSession(ctx context.Context, _ gen.GetSessionRequestObject) (gen.GetSessionResponseObject, error) {
	_, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.GetSession200JSONResponse{
		Subject: person.Subject, Organisation: person.Organisation, Roles: convert(person.Roles, role),
	}, nil
}

func (s *server) SignOut(ctx context.Context, _ gen.SignOutRequestObject) (gen.SignOutResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.SignOut204Response{}, s.Acts.SignOut(ctx, person)
}

func (s *server) ChangePassword(ctx context.Context, req gen.ChangePasswordRequestObject) (gen.ChangePasswordResponseObject, error) {
	_, from, err := s.attempting(ctx)
	if err != nil {
		return nil, err
	}
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	err = s.Acts.ChangePassword(ctx, person, req.Body.Current, req.Body.Next, from)
	return gen.ChangePassword204Response{}, err
}

func (s *server) ListAccounts(ctx context.Context, _ gen.ListAccountsRequestObject) (gen.ListAccountsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := s.Acts.ListAccounts(ctx, person)
	if err != nil {
		return nil, err
	}
	return gen.ListAccounts200JSONResponse{Accounts: convert(accounts, account)}, nil
}

func (s *server) CreateAccount(ctx context.Context, req gen.CreateAccountRequestObject) (gen.CreateAccountResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	wanted := identity.Account{
		Name: req.Body.Name, DisplayName: req.Body.DisplayName, Organisation: req.Body.Organisation, Unit: given(req.Body.Unit),
		Roles:    roles(req.Body.Roles),
		External: convert(given(req.Body.External), func(e gen.ExternalSubject) identity.Subject { return identity.Subject(e) }),
	}
	made, err := s.Acts.CreateAccount(ctx, person, wanted, given(req.Body.Reason))
	if err != nil {
		return nil, err
	}
	if made.Proposal != nil {
		return gen.CreateAccount202JSONResponse(admission(made)), nil
	}
	return gen.CreateAccount201JSONResponse(admission(made)), nil
}

func (s *server) DisableAccount(ctx context.Context, req gen.DisableAccountRequestObject) (gen.DisableAccountResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.DisableAccount204Response{}, s.Acts.DisableAccount(ctx, person, req.Account, req.Body.Reason)
}

func (s *server) UnlockAccount(ctx context.Context, req gen.UnlockAccountRequestObject) (gen.UnlockAccountResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.UnlockAccount204Response{}, s.Acts.UnlockAccount(ctx, person, req.Account)
}

func session(t identity.Tokens) gen.Session {
	return gen.Session{
		AccessToken: t.Access, RefreshToken: t.Refresh, TokenType: gen.Bearer, Device: optional(t.Device),
		ExpiresIn: max(0, int(time.Until(t.Expires).Seconds())),
	}
}

func account(a identity.Account) gen.Account {
	return gen.Account{
		Name: a.Name, DisplayName: a.DisplayName, Organisation: a.Organisation, Unit: optional(a.Unit), Disabled: a.Disabled,
		Created: a.Created, FirstPassword: optional(a.First),
		Roles:    convert(a.Roles, role),
		External: convert(a.External, func(e identity.Subject) gen.ExternalSubject { return gen.ExternalSubject(e) }),
	}
}

func roles(list []gen.Role) []policy.Role {
	return convert(list, func(r gen.Role) policy.Role { return policy.Role(r) })
}

func role(r policy.Role) gen.Role { return gen.Role(r) }

// convert maps a list. It is never nil, since nil would be encoded as null.
func convert[A, B any](list []A, f func(A) B) []B {
	mapped := make([]B, len(list))
	for i, item := range list {
		mapped[i] = f(item)
	}
	return mapped
}

// given is a field that may be left out.
func given[T any](field *T) T {
	if field == nil {
		var none T
		return none
	}
	return *field
}

// optional leaves out a zero value.
func optional[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}
