// Package api is Weir over HTTP.
//
// The specification comes first: openapi.yaml says what may be asked and answered; types, routes and a client are
// generated from it, and every request is held against it before a handler sees it. A handler decodes, calls one
// method of the gateway and encodes.
//
// Trust boundary: everything that arrives is hostile. Who asks is decided here, by a token that identity verifies
// on every request; what they may do is decided behind, by policy. Whatever no rule of the specification opens to
// strangers needs a token.
//
// It must never encode a result that is not an export.Released, never show the cause of an error, and never log
// the body of a request.
package api

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/export"
	privacy "weir/export/account"
	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/gateway/identity"
	"weir/internal/fair"
	"weir/internal/problem"
	"weir/policy"
)

var (
	// Specification is the OpenAPI document that this package keeps to.
	//
	//go:embed openapi.yaml
	Specification []byte

	//go:embed problems.yaml
	messages []byte
	_        = problem.Register(messages)
)

// Verifier tells who presents a bearer token, and whether their session goes on; identity.Identity does.
type Verifier interface {
	Verify(ctx context.Context, bearer string) (policy.Principal, error)
	Present(ctx context.Context, session string) error
}

// Explainer shows what the guard makes of a query; gateway.Flow does. The value is encoded as a JSON object.
type Explainer interface {
	Explain(ctx context.Context, who policy.Principal, req gateway.Request) (any, error)
}

// Jobs runs queries; gateway.Jobs does.
type Jobs interface {
	Submit(ctx context.Context, who policy.Principal, key, grant, sql string) (gateway.Job, error)
	Wait(ctx context.Context, id string, most time.Duration) (gateway.Job, error)
	Get(ctx context.Context, who policy.Principal, id string) (gateway.Job, error)
	List(ctx context.Context, who policy.Principal, before string, limit int) ([]gateway.Job, error)
	Result(ctx context.Context, who policy.Principal, id string) (export.Released, error)
	Follow(ctx context.Context, who policy.Principal, id string, after int, quiet time.Duration,
		see func(gateway.JobEvent) error, idle func() error) error
}

// Acts is everything else that people do; gateway.Acts does it.
type Acts interface {
	SignIn(ctx context.Context, c identity.Credentials) (identity.Tokens, error)
	Refresh(ctx context.Context, token string) (identity.Tokens, error)
	SignOut(ctx context.Context, who policy.Principal) error
	ChangePassword(ctx context.Context, who policy.Principal, current, next, from string) error

	ListAccounts(ctx context.Context, who policy.Principal) ([]identity.Account, error)
	CreateAccount(ctx context.Context, who policy.Principal, account identity.Account, reason string) (gateway.Admission, error)
	EnableAccount(ctx context.Context, who policy.Principal, name, reason string) (gateway.Admission, error)
	ResetAccount(ctx context.Context, who policy.Principal, name, reason string) (gateway.Admission, error)
	SetRoles(ctx context.Context, who policy.Principal, name string, roles []policy.Role, reason string) (gateway.Admission, error)
	ListProposals(ctx context.Context, who policy.Principal) ([]identity.Proposal, error)
	ConfirmProposal(ctx context.Context, who policy.Principal, id string) (gateway.Admission, error)
	RefuseProposal(ctx context.Context, who policy.Principal, id, reason string) error
	DisableAccount(ctx context.Context, who policy.Principal, name, reason string) error
	UnlockAccount(ctx context.Context, who policy.Principal, name string) error

	ListOrganisations(ctx context.Context, who policy.Principal) ([]policy.Organisation, error)
	AdmitOrganisation(ctx context.Context, who policy.Principal, wanted policy.NewOrganisation) (policy.Organisation, error)
	ChangeOrganisation(ctx context.Context, who policy.Principal, id string, change policy.OrganisationChange) (policy.Organisation, error)

	ListDatasets(ctx context.Context, who policy.Principal) ([]policy.Dataset, error)
	Dataset(ctx context.Context, who policy.Principal, name string) (policy.Dataset, error)
	ImportDataset(ctx context.Context, who policy.Principal, upload gateway.Upload) (policy.Version, error)
	DatasetVersions(ctx context.Context, who policy.Principal, name string) ([]gateway.ShownVersion, error)
	DecideVersion(ctx context.Context, who policy.Principal, decision policy.VersionDecision) error

	ListGrants(ctx context.Context, who policy.Principal) ([]policy.Grant, error)
	Grant(ctx context.Context, who policy.Principal, id string) (policy.Grant, error)
	PrivacySpent(ctx context.Context, who policy.Principal, id string) (map[string]float64, error)
	Left(ctx context.Context, who policy.Principal, id string) (policy.Left, error)
	GrantHistory(ctx context.Context, who policy.Principal, id string) ([]policy.Change, error)
	CreateGrant(ctx context.Context, who policy.Principal, grant policy.Grant) (policy.Grant, error)
	SuspendGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error)
	RestoreGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error)
	TerminateGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error)
	HoldGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error)
	LiftGrant(ctx context.Context, who policy.Principal, id, reason string) (policy.Grant, error)
	GrantEnd(ctx context.Context, who policy.Principal, id string) (end *policy.Ending, held bool, err error)

	CancelJob(ctx context.Context, who policy.Principal, id string) (gateway.Job, error)
	Usage(ctx context.Context, who policy.Principal, days gateway.Days) ([]gateway.Usage, error)
	JobUsage(ctx context.Context, who policy.Principal, days gateway.Days) ([]gateway.JobUsage, error)
	Budgets(ctx context.Context, who policy.Principal, operator string) ([]privacy.Balance, error)
	SetBudget(ctx context.Context, who policy.Principal, domain string, left float64, reason string) (privacy.Balance, error)
	JobWords(ctx context.Context, who policy.Principal, job gateway.Job) (gateway.JobWords, error)
	ListReleases(ctx context.Context, who policy.Principal, state string) ([]gateway.ListedRelease, error)
	ShowRelease(ctx context.Context, who policy.Principal, id string) (export.Offer, error)
	ApproveRelease(ctx context.Context, who policy.Principal, id, reason string) error
	RefuseRelease(ctx context.Context, who policy.Principal, id, reason string) error

	SearchLog(ctx context.Context, who policy.Principal, filter audit.Filter) ([]audit.Record, error)
	EraseEntry(ctx context.Context, who policy.Principal, index int64, reason string) error
	VerifyLog(ctx context.Context, who policy.Principal) (audit.Report, error)
	Checkpoint(ctx context.Context, who policy.Principal) ([]byte, error)
	Tile(ctx context.Context, who policy.Principal, tile tlog.Tile) ([]byte, error)
	ProveInclusion(ctx context.Context, who policy.Principal, index int64) (audit.Receipt, error)
	ProveConsistency(ctx context.Context, who policy.Principal, from int64) (gateway.ConsistencyProof, error)
}

// Deps is what the interface is made of. All but Limits, TrustedProxies and MetricsOnLoopback is required.
type Deps struct {
	Identity  Verifier
	Explain   Explainer
	Jobs      Jobs
	Acts      Acts
	Permit    gateway.Permitter
	Ready     func(context.Context) error // whether the platform can take a query
	Discovery http.Handler                // of the token keys
	Keys      http.Handler                // the token keys
	Metrics   *prometheus.Registry
	Log       *zap.Logger

	Limits            Limits
	Secure            bool     // people reach the platform over TLS, ours or a proxy's: browsers are told to insist on it
	TrustedProxies    []string // addresses or CIDR ranges whose X-Forwarded-For is believed; default none
	MetricsOnLoopback bool     // /metrics needs no token from the machine itself
}

// server holds what handlers need. Each handler is a method, in a file by subject.
type server struct {
	Deps
	addresses *buckets
	accounts  *buckets
	streams   *places
	uploads   *places
	explain   *fair.Queue
	verify    turns
	counters  counters
	proxies   proxies
}

var _ gen.StrictServerInterface = (*server)(nil)

// New puts the interface together.
func New(deps Deps) (http.Handler, error) {
	for _, required := range []string{"Identity", "Explain", "Jobs", "Acts", "Permit", "Ready", "Discovery", "Keys", "Metrics", "Log"} {
		if reflect.ValueOf(deps).FieldByName(required).IsZero() {
			return nil, errors.New("api without " + required)
		}
	}
	deps.Limits = deps.Limits.complete()
	counters, err := newCounters(deps.Metrics)
	if err != nil {
		return nil, err
	}
	trusted, err := newProxies(deps.TrustedProxies)
	if err != nil {
		return nil, err
	}
	l := deps.Limits
	s := &server{
		Deps:      deps,
		addresses: newBuckets(l.PerAddress, l.AddressBurst, l.Remembered),
		accounts:  newBuckets(l.PerAccount, l.AccountBurst, l.Remembered),
		streams:   newPlaces(l.Streams, l.AccountStream, "api.too-many-streams"),
		uploads:   newPlaces(l.Uploads, l.AccountUpload, "api.too-many-uploads"),
		explain:   fair.New(l.Explain, l.AccountExplain, l.WaitExplain),
		verify:    make(turns, l.Verify),
		counters:  counters,
		proxies:   trusted,
	}
	validate, err := s.validator()
	if err != nil {
		return nil, err
	}

	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.ContextWithFallback = true // what the request's context knows, gin's knows too
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	if err := engine.SetTrustedProxies(deps.TrustedProxies); err != nil {
		return nil, err
	}
	engine.Use(s.identify, s.harden, s.observe, s.survive, s.limitAddress, s.limitBody, validate)
	engine.NoRoute(func(c *gin.Context) { s.fail(c, problem.New("api.no-such-path")) })
	engine.NoMethod(func(c *gin.Context) { s.fail(c, problem.New("api.no-such-method")) })

	strict := gen.NewStrictHandlerWithOptions(s, nil, gen.StrictGinServerOptions{
		RequestErrorHandlerFunc:  s.malformed,
		HandlerErrorFunc:         s.fail,
		ResponseErrorHandlerFunc: s.fail,
	})
	gen.RegisterHandlersWithOptions(engine, strict, gen.GinServerOptions{
		ErrorHandler: func(c *gin.Context, err error, _ int) { s.malformed(c, err) },
	})
	engine.GET("/api/v1/log/tile/*path", s.getTile)
	engine.GET(identity.DiscoveryPath, gin.WrapH(deps.Discovery))
	engine.GET(identity.JWKSPath, gin.WrapH(deps.Keys))
	return engine, nil
}
