package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/gateway"
	"weir/gateway/api"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
)

func init() {
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/jwk-set+json", openapi3filter.JSONBodyDecoder)
}

var everybody = []string{"authority", "second", "third", "provider", "operator", "analyst", "colleague", "stranger", "officer", "supervisor", "maintainer"}

// site is a platform that answers on a socket, and a client that holds every answer against the specification.
type site struct {
	*gatewaytest.Platform
	handler http.Handler
	server  *httptest.Server
	tokens  map[string]string // access token of each person
	refresh map[string]string
	logs    *observer.ObservedLogs
	ready   error

	document *openapi3.T
	router   routers.Router
	mu       sync.Mutex
	seen     map[string]map[int]bool // statuses by operation
}

// newSite starts a platform. Nobody is signed in yet.
func newSite(t testing.TB, change func(*api.Deps)) *site {
	t.Helper()
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	return siteOf(t, p, change)
}

func siteOf(t testing.TB, p *gatewaytest.Platform, change func(*api.Deps)) *site {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	s := &site{Platform: p, logs: logs, tokens: map[string]string{}, refresh: map[string]string{}, seen: map[string]map[int]bool{}}
	deps := api.Deps{
		Identity: p.Identity, Explain: p.Flow, Jobs: p.Jobs, Acts: p.Acts, Permit: p.Policy,
		Ready:     func(context.Context) error { return s.ready },
		Discovery: p.Identity.Discovery(), Keys: p.Identity.JWKS(),
		Metrics: prometheus.NewRegistry(), Log: zap.New(core),
		Limits: api.Limits{PerAddress: 1e6, AddressBurst: 1e6, PerAccount: 1e6, AccountBurst: 1e6},
	}
	if change != nil {
		change(&deps)
	}
	handler, err := api.New(deps)
	if err != nil {
		t.Fatal(err)
	}
	if s.document, err = api.Load(); err != nil {
		t.Fatal(err)
	}
	if s.router, err = gorillamux.NewRouter(s.document); err != nil {
		t.Fatal(err)
	}
	s.handler = handler
	s.server = httptest.NewServer(handler)
	t.Cleanup(s.server.Close)
	return s
}

// signIn makes accounts and signs them in.
func (s *site) signIn(t testing.TB, names ...string) {
	t.Helper()
	s.Admit(t, names...)
	for _, name := range names {
		a := s.do(t, request{method: "POST", path: "/api/v1/session", body: object{"account": name, "password": gatewaytest.Password}})
		a.want(t, 200, "")
		s.tokens[name], s.refresh[name] = a.text("access_token"), a.text("refresh_token")
	}
}

type object map[string]any

// request is one request; as is the person whose token it carries.
type request struct {
	method, path, as string
	body             any // object: as JSON; string: as it is
	header           map[string]string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request and holds the answer against the specification.
func (s *site) do(t testing.TB, r request) answer {
	t.Helper()
	req := s.request(t, r)
	response, err := s.server.Client().Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	a := answer{response.StatusCode, response.Header, body}
	s.hold(t, req, a)
	return a
}

func (s *site) request(t testing.TB, r request) *http.Request {
	t.Helper()
	var body io.Reader
	switch content := r.body.(type) {
	case object:
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(text)
	case string:
		body = strings.NewReader(content)
	case io.Reader:
		body = content
	}
	req, err := http.NewRequestWithContext(t.Context(), r.method, s.server.URL+r.path, body)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.as != "" {
		token, ok := s.tokens[r.as]
		if !ok {
			t.Fatalf("%s is not signed in", r.as)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	return req
}

// hold checks an answer against the specification: its status must be listed for the operation, its headers and
// body as described there. Every answer has the headers that every answer must have.
func (s *site) hold(t testing.TB, req *http.Request, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy":         "no-referrer",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s %s: header %s is %q", req.Method, req.URL.Path, name, got)
		}
	}
	if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Weir-Request") == "" || a.header.Get("Content-Language") == "" {
		t.Errorf("%s %s: headers %v", req.Method, req.URL.Path, a.header)
	}
	if a.status >= 400 {
		a.problem(t)
	}
	route, params, err := s.router.FindRoute(req)
	if err != nil {
		if a.status != 404 && a.status != 405 {
			t.Errorf("%s %s: %d for what is not in the specification", req.Method, req.URL.Path, a.status)
		}
		return
	}
	s.note(route.Operation.OperationID, a.status)
	if route.Operation.Responses.Status(a.status) == nil {
		t.Errorf("%s: status %d is not in the specification: %s", route.Operation.OperationID, a.status, a.body)
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		t.Errorf("%s %d: %v", route.Operation.OperationID, a.status, err)
	}
}

func (s *site) note(operation string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[operation] == nil {
		s.seen[operation] = map[int]bool{}
	}
	s.seen[operation][status] = true
}

// problem checks that an answer is a problem document that shows nothing of what went wrong inside.
func (a answer) problem(t testing.TB) map[string]any {
	t.Helper()
	if kind := a.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("status %d with content type %q: %s", a.status, kind, a.body)
		return nil
	}
	for _, inside := range []string{gatewaytest.Secret, "220202199001011234", "goroutine", ".go:", "sql:", "SELECT", "/tmp"} {
		if bytes.Contains(a.body, []byte(inside)) {
			t.Errorf("a problem shows %q: %s", inside, a.body)
		}
	}
	var document map[string]any
	if err := json.Unmarshal(a.body, &document); err != nil {
		t.Errorf("problem: %v: %s", err, a.body)
	}
	if document["status"] != float64(a.status) || document["instance"] != "urn:weir:request:"+a.header.Get("Weir-Request") {
		t.Errorf("status %d, request %s, but %s", a.status, a.header.Get("Weir-Request"), a.body)
	}
	return document
}

// want checks status and, of a problem, the code.
func (a answer) want(t testing.TB, status int, code string) answer {
	t.Helper()
	got := ""
	if a.status >= 400 {
		got = a.text("code")
	}
	if a.status != status || got != code {
		t.Errorf("got %d %q, want %d %q: %s", a.status, got, status, code, a.body)
	}
	return a
}

// text is a member of a JSON object.
func (a answer) text(member string) string {
	value, err := a.member(member)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(value)
}

// object is a member that is an object.
func (a answer) object(t testing.TB, name string) map[string]any {
	t.Helper()
	value, err := a.member(name)
	inside, ok := value.(map[string]any)
	if err != nil || !ok {
		t.Errorf("no object %s: %s", name, a.body)
	}
	return inside
}

func (a answer) member(name string) (any, error) {
	var document map[string]any
	if err := json.Unmarshal(a.body, &document); err != nil {
		return nil, err
	}
	value, ok := document[name]
	if !ok {
		return nil, errors.New("no " + name)
	}
	return value, nil
}

// list is a member of a JSON object that is a list.
func (a answer) list(t testing.TB, member string) []map[string]any {
	t.Helper()
	var document map[string]json.RawMessage
	var items []map[string]any
	if err := errors.Join(json.Unmarshal(a.body, &document), json.Unmarshal(document[member], &items)); err != nil {
		t.Fatalf("%s: %v: %s", member, err, a.body)
	}
	return items
}
