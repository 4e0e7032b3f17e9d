package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"weir/gateway/gatewaytest"
)

// BenchmarkRequest measures what the interface itself costs, beside a bare handler of the standard library: everything
// from the socket's end to the answer, with the token verified and the request held to the specification.
func BenchmarkRequest(b *testing.B) {
	s := newSite(b, nil)
	s.signIn(b, "analyst")
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) })
	query := fmt.Sprintf(`{"grant":%q,"sql":%q}`, s.Grant.ID, gatewaytest.Release)
	for _, c := range []struct {
		name         string
		handler      http.Handler
		method, path string
		body         string
	}{
		{"bare", bare, "GET", "/livez", ""},
		{"open", s.handler, "GET", "/livez", ""},
		{"token", s.handler, "GET", "/api/v1/session", ""},
		{"explain", s.handler, "POST", "/api/v1/explain", query},
		{"job", s.handler, "POST", "/api/v1/jobs?wait=60", query},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				req := httptest.NewRequest(c.method, c.path, bytes.NewReader([]byte(c.body)))
				req.Header.Set("Authorization", "Bearer "+s.tokens["analyst"])
				if c.body != "" {
					req.Header.Set("Content-Type", "application/json")
				}
				if c.name == "job" {
					req.Header.Set("Idempotency-Key", fmt.Sprintf("bench-key-%d", keys.Add(1)))
				}
				recorder := httptest.NewRecorder()
				c.handler.ServeHTTP(recorder, req)
				if recorder.Code != 200 {
					b.Fatalf("%d %s", recorder.Code, recorder.Body)
				}
				select {
				case <-s.Flow.Started:
				default:
				}
			}
		})
	}
}
