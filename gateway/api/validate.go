package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/gin-gonic/gin"
	ginmiddleware "github.com/oapi-codegen/gin-middleware"

	"weir/internal/problem"
	"weir/policy"
)

// Load reads the specification as requests and responses are held against it.
func Load() (*openapi3.T, error) {
	document, err := openapi3.NewLoader().LoadFromData(Specification)
	if err != nil {
		return nil, fmt.Errorf("read the specification: %w", err)
	}
	if err := document.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("the specification is not OpenAPI: %w", err)
	}
	// OpenAPI cannot say that a path parameter holds slashes; the router of the validator can.
	const tile = "/api/v1/log/tile/{path}"
	document.Paths.Set("/api/v1/log/tile/{path:.+}", document.Paths.Value(tile))
	document.Paths.Delete(tile)
	return document, nil
}

// validator holds every request against the specification: first who asks, then parameters, then the body.
//
// The library reads the whole body into memory before it asks who is there. So it is asked twice: first without the
// body, so that no byte of a stranger's is read, and then with it. The body of an upload does not fit into memory
// whoever sends it; its handler reads it.
func (s *server) validator() (gin.HandlerFunc, error) {
	document, err := Load()
	if err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		return nil, fmt.Errorf("route by the specification: %w", err)
	}
	whole := ginmiddleware.Options{
		Options: openapi3filter.Options{
			AuthenticationFunc:                s.authenticate,
			RejectWhenRequestBodyNotSpecified: true,
			KeepValidatedValue:                true, // the handler gets what was validated, and no second reading of it
			MultiError:                        true, // all faults of a request are told at once
		},
		MultiErrorHandler: func(all openapi3.MultiError) error { return all },
	}
	head := whole
	head.Options.ExcludeRequestBody = true
	return func(c *gin.Context) {
		if where, bad := unsound(c); bad {
			s.fail(c, problem.New("api.nul", "where", where))
			return
		}
		hidden := c.Request.Body
		c.Request.Body = http.NoBody
		err := ginmiddleware.ValidateRequestFromContext(c, router, &head)
		c.Request.Body = hidden
		if err == nil && !isUpload(c) {
			if err := strictBody(c); err != nil {
				if overlong(c) {
					err = problem.New("api.body-too-large")
				}
				s.fail(c, err)
				return
			}
			err = ginmiddleware.ValidateRequestFromContext(c, router, &whole)
		}
		if err != nil {
			s.invalid(c, err)
		}
	}, nil
}

const (
	whoKey     = "weir.who"
	refusedKey = "weir.refused"
)

// asker gives the person whom the validator has verified, and the request's own context: gin's is used again for
// other requests, and must not outlive the handler in some goroutine of a library.
func asker(ctx context.Context) (context.Context, policy.Principal, error) {
	c, ok := ctx.(*gin.Context)
	if !ok {
		return nil, policy.Principal{}, errors.New("a handler was called outside of a request")
	}
	principal, ok := c.Value(whoKey).(policy.Principal)
	if !ok {
		return nil, policy.Principal{}, problem.New("api.no-token")
	}
	return c.Request.Context(), principal, nil
}

// forwarded are the headers in which a proxy says for whom it asks.
var forwarded = []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"}

// stranger is asker for operations that need no token: it gives the request's context and address.
func stranger(ctx context.Context) (context.Context, string, error) {
	c, ok := ctx.(*gin.Context)
	if !ok {
		return nil, "", errors.New("a handler was called outside of a request")
	}
	return c.Request.Context(), c.ClientIP(), nil
}

// attempting is stranger for whoever shows a password, whose address is limited. Behind a proxy that the settings do not
// name, everybody would come from the proxy's address and share its limits, so no password is taken through one. A
// client that writes such a header itself keeps out nobody else.
func (s *server) attempting(ctx context.Context) (context.Context, string, error) {
	c, ok := ctx.(*gin.Context)
	if !ok {
		return nil, "", errors.New("a handler was called outside of a request")
	}
	for _, header := range forwarded {
		if c.GetHeader(header) != "" && !s.proxies.has(c.RemoteIP()) {
			return nil, "", problem.New("api.proxy-unknown")
		}
	}
	return c.Request.Context(), c.ClientIP(), nil
}

// authenticate is called for each operation that needs a token.
func (s *server) authenticate(ctx context.Context, input *openapi3filter.AuthenticationInput) error {
	c := ginmiddleware.GetGinContext(ctx)
	if _, verified := c.Value(whoKey).(policy.Principal); verified {
		return nil
	}
	principal, err := s.principal(c)
	if err != nil {
		c.Set(refusedKey, err)
		return errors.New("not authenticated")
	}
	c.Set(whoKey, principal)
	return nil
}

func (s *server) principal(c *gin.Context) (policy.Principal, error) {
	headers := c.Request.Header.Values("Authorization")
	if len(headers) != 1 {
		return policy.Principal{}, problem.New("api.no-token")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return policy.Principal{}, problem.New("api.no-token")
	}
	principal, err := s.Identity.Verify(c.Request.Context(), token)
	if err != nil {
		return policy.Principal{}, err
	}
	if wait := s.accounts.take(principal.Subject, time.Now()); wait > 0 {
		return policy.Principal{}, problem.New("api.too-many-requests").After(wait)
	}
	return principal, nil
}

// invalid answers for a request that the specification does not allow. The validator's message quotes what was sent
// and is not passed on; which fields it means, and what is allowed in them, is.
func (s *server) invalid(c *gin.Context, err error) {
	message := err.Error()
	refused, _ := c.Value(refusedKey).(error)
	switch {
	case refused != nil:
		s.fail(c, refused)
	case overlong(c):
		s.fail(c, problem.New("api.body-too-large"))
	case c.FullPath() == "" && strings.Contains(message, "not allowed"):
		s.fail(c, problem.New("api.no-such-method"))
	case c.FullPath() == "":
		s.fail(c, problem.New("api.no-such-path"))
	case strings.Contains(message, "header Content-Type has unexpected value"):
		s.fail(c, problem.New("api.content-type"))
	default:
		s.fail(c, invalidRequest(err))
	}
}

var (
	parameter = regexp.MustCompile(`parameter "([A-Za-z-]{1,40})" in (path|query|header)`)
	property  = regexp.MustCompile(`Error at "(/[A-Za-z0-9_/]{1,80})"`)
)

// where finds which part of a request a message of the validator means.
func where(message string) string {
	if found := parameter.FindStringSubmatch(message); found != nil {
		return found[2] + " " + found[1]
	}
	if found := property.FindStringSubmatch(message); found != nil {
		return "body " + found[1]
	}
	if strings.Contains(message, "request body") {
		return "body"
	}
	return "request"
}
