package api_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"weir/gateway/gatewaytest"
)

// TestEveryOperation goes through every operation of the specification, each allow beside its nearest deny, holds
// every answer against it, and fails if an operation or one of its successes was left out.
func TestEveryOperation(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, everybody...)
	t.Run("platform", s.testPlatform)
	t.Run("session", s.testSession)
	t.Run("accounts", s.testAccounts)
	t.Run("second person", s.testSecondPerson)
	t.Run("organisations", s.testOrganisations)
	t.Run("datasets", s.testDatasets)
	t.Run("grants", s.testGrants)
	t.Run("jobs", s.testJobs)
	t.Run("budgets", s.testBudgets)
	t.Run("usage", s.testUsage)
	t.Run("releases", s.testReleases)
	t.Run("log", s.testLog)
	t.Run("without token", s.testWithoutToken)
	t.Run("bad parameters", s.testBadParameters)
	t.Run("bad bodies", s.testBadBodies)

	for name, operation := range operations(s.document) {
		for status := range operation.Responses.Map() {
			if strings.HasPrefix(status, "2") && !s.seen[name][atoi(t, status)] {
				t.Errorf("%s: status %s was never seen", name, status)
			}
		}
	}
}

func operations(document *openapi3.T) map[string]*openapi3.Operation {
	all := map[string]*openapi3.Operation{}
	for _, path := range document.Paths.Map() {
		for _, operation := range path.Operations() {
			all[operation.OperationID] = operation
		}
	}
	return all
}

// example makes a path of an operation, with an acceptable value for each parameter.
func example(path string) string {
	return strings.NewReplacer("{account}", "nobody", "{domain}", "nobody", "{dataset}", "nothing", "{version}", "1", "{grant}", "nothing", "{job}", "nothing",
		"{release}", "nothing", "{proposal}", "nothing", "{index}", "0", "{path:.+}", "0/000.p/1").Replace(path)
}

// each calls a function with every operation, in order.
func (s *site) each(run func(method, path string, operation *openapi3.Operation)) {
	paths := s.document.Paths.Map()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		methods := paths[path].Operations()
		for _, method := range slices.Sorted(maps.Keys(methods)) {
			run(method, path, methods[method])
		}
	}
}

func (s *site) testWithoutToken(t *testing.T) {
	open := []string{"getSpecification", "getLive", "getReady", "getDiscovery", "getKeys", "signIn", "refreshSession"}
	s.each(func(method, path string, operation *openapi3.Operation) {
		if operation.Security != nil && len(*operation.Security) == 0 {
			if !slices.Contains(open, operation.OperationID) {
				t.Errorf("%s is open to strangers", operation.OperationID)
			}
			return
		}
		for _, header := range []map[string]string{nil, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}} {
			s.do(t, request{method: method, path: example(path), header: header}).want(t, 401, "api.no-token")
		}
		got := s.do(t, request{method: method, path: example(path), header: map[string]string{"Authorization": "Bearer a.b.c"}})
		if operation.OperationID == "getMetrics" { // where a token is optional, a bad one counts as none
			got.want(t, 401, "api.no-token")
		} else {
			got.want(t, 401, "identity.token-invalid")
		}
		if got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no challenge", operation.OperationID)
		}
	})
}

func (s *site) testBadParameters(t *testing.T) {
	s.each(func(method, path string, operation *openapi3.Operation) {
		if strings.Contains(path, "{") && !strings.Contains(path, "{path") {
			bad := path[:strings.Index(path, "{")] + "%21" + path[strings.Index(path, "}")+1:]
			got := s.do(t, request{method: method, path: bad, as: "authority"}).want(t, 400, "api.request-invalid")
			if !strings.Contains(got.text("detail"), "path ") {
				t.Errorf("%s: %s", operation.OperationID, got.body)
			}
		}
		for _, p := range operation.Parameters {
			if p.Value.In != "query" || p.Value.Schema.Value.Type.Is("string") && p.Value.Schema.Value.Pattern == "" && p.Value.Schema.Value.Format == "" {
				continue
			}
			s.do(t, request{method: method, path: example(path) + "?" + p.Value.Name + "=%21", as: "authority"}).want(t, 400, "api.request-invalid")
		}
	})
	query := object{"grant": s.Grant.ID, "sql": gatewaytest.Release}
	for _, key := range []string{"", "short", "with space", "a\tb", strings.Repeat("k", 129), "schlüssel-1"} {
		header := map[string]string{"Idempotency-Key": key}
		if key == "" {
			header = nil
		}
		s.do(t, request{method: "POST", path: "/api/v1/jobs", as: "analyst", body: query, header: header}).want(t, 400, "api.request-invalid")
	}
	for _, wait := range []string{"-1", "61", "1.5", "x", "1&wait=2"} {
		s.do(t, request{method: "POST", path: "/api/v1/jobs?wait=" + wait, as: "analyst", body: query,
			header: map[string]string{"Idempotency-Key": "key-bad-wait"}}).want(t, 400, "api.request-invalid")
	}
}

func (s *site) testBadBodies(t *testing.T) {
	header := map[string]string{"Idempotency-Key": "key-bad-body"}
	s.each(func(method, path string, operation *openapi3.Operation) {
		if operation.RequestBody == nil {
			if method != http.MethodGet {
				s.do(t, request{method: method, path: example(path), as: "authority", header: header, body: object{"a": 1}}).
					want(t, 400, "api.request-invalid")
			}
			return
		}
		if operation.RequestBody.Value.Content.Get("application/json") == nil {
			return // uploads have a test of their own
		}
		send := func(body string) answer {
			return s.do(t, request{method: method, path: example(path), as: "authority", header: header, body: body})
		}
		for _, body := range []string{"", "{", "[]", "null", `"x"`, `{"surprise":1}`, "{}", `{"reason":1,"grant":1,"account":1}`, "\xff\xfe"} {
			send(body).want(t, 400, "api.request-invalid")
		}
		send(`{"reason":"`+strings.Repeat("x", 600<<10)+`"}`).want(t, 413, "api.body-too-large")
		chunked := struct{ *strings.Reader }{strings.NewReader(`{"reason":"` + strings.Repeat("x", 600<<10) + `"}`)}
		s.do(t, request{method: method, path: example(path), as: "authority", header: header, body: chunked}).want(t, 413, "api.body-too-large")
		s.do(t, request{method: method, path: example(path), as: "authority", body: "a=b",
			header: map[string]string{"Idempotency-Key": "key-bad-body", "Content-Type": "application/x-www-form-urlencoded"}}).
			want(t, 415, "api.content-type")
	})
	// Members are told apart by case, and none may be added.
	in := func(body string) answer { return s.do(t, request{method: "POST", path: "/api/v1/session", body: body}) }
	in(`{"account":"analyst","password":"x","Password":"`+gatewaytest.Password+`"}`).want(t, 400, "api.json-name-twice")
	in(`{"account":"analyst","PASSWORD":"`+gatewaytest.Password+`"}`).want(t, 400, "api.request-invalid")
}
