package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"weir/gateway"
	"weir/gateway/api"
	"weir/gateway/api/client"
	"weir/gateway/gatewaytest"
	"weir/policy"
)

func TestTheLanguageOfAnAnswer(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct{ accept, want, title string }{
		{"", "zh", "未登录"},
		{"zh-CN", "zh", "未登录"},
		{"zh-Hant-TW", "zh", "未登录"},
		{"en", "en", "Not signed in"},
		{"en-GB, zh;q=0.5", "en", "Not signed in"},
		{"zh;q=0.5, en;q=0.4", "zh", "未登录"},
		{"fr", "zh", "未登录"},
		{"fr, en;q=0.1", "en", "Not signed in"},
		{"*", "zh", "未登录"},
		{";;;q=,", "zh", "未登录"},
		{strings.Repeat("en-", 5000), "zh", "未登录"},
	} {
		header := map[string]string{}
		if c.accept != "" {
			header["Accept-Language"] = c.accept
		}
		got := s.do(t, request{method: "GET", path: "/api/v1/session", header: header})
		if got.header.Get("Content-Language") != c.want || got.text("title") != c.title {
			t.Errorf("%.40q: %s, %s", c.accept, got.header.Get("Content-Language"), got.text("title"))
		}
	}
}

func TestAJobsProblemSpeaksTheReadersLanguage(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "analyst")
	path := "/api/v1/jobs/" + s.submit(t, "analyst", gatewaytest.Deny).text("id")
	texts := map[string]bool{}
	for _, lang := range []string{"zh", "en"} {
		header := map[string]string{"Accept-Language": lang}
		job := s.do(t, request{method: "GET", path: path, as: "analyst", header: header})
		document, _ := job.member("problem")
		result := s.do(t, request{method: "GET", path: path + "/result", as: "analyst", header: header})
		if detail := document.(map[string]any)["detail"]; detail != result.text("detail") {
			t.Errorf("job %q, result %q", detail, result.text("detail"))
		}
		texts[result.text("detail")] = true
	}
	if len(texts) != 2 {
		t.Errorf("got %v", texts)
	}
}

func TestRateOfAnAddress(t *testing.T) {
	s := newSite(t, func(d *api.Deps) { d.Limits.PerAddress, d.Limits.AddressBurst = 1e-9, 1 })
	s.do(t, request{method: "GET", path: "/livez"}).want(t, 200, "")
	s.each(func(method, path string, _ *openapi3.Operation) {
		got := s.do(t, request{method: method, path: example(path)}).want(t, 429, "api.too-many-requests")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", method, path)
		}
		// Whoever claims to come from elsewhere is not believed.
		s.do(t, request{method: method, path: example(path), header: map[string]string{"X-Forwarded-For": "192.0.2.7", "X-Real-Ip": "192.0.2.8"}}).
			want(t, 429, "api.too-many-requests")
	})
}

func TestRateOfAnAddressBehindATrustedProxy(t *testing.T) {
	s := newSite(t, func(d *api.Deps) {
		d.Limits.PerAddress, d.Limits.AddressBurst, d.Limits.Remembered = 1e-9, 1, 2
		d.TrustedProxies = []string{"127.0.0.1", "::1"}
	})
	from := func(address string) answer {
		return s.do(t, request{method: "GET", path: "/livez", header: map[string]string{"X-Forwarded-For": address}})
	}
	from("192.0.2.1").want(t, 200, "")
	from("192.0.2.1").want(t, 429, "api.too-many-requests")
	from("2001:db8::1").want(t, 200, "")
	from("2001:db8::ffff").want(t, 429, "api.too-many-requests") // the same household
	from("2001:db8:0:1::1").want(t, 200, "")                     // another; the one longest not seen is forgotten
	from("2001:db8:0:1::1").want(t, 429, "api.too-many-requests")
	from("192.0.2.1").want(t, 200, "")
}

// TestAProxyThatIsNotNamed holds that nobody signs in through a proxy that would be taken for the one client.
func TestAProxyThatIsNotNamed(t *testing.T) {
	through := func(s *site, header string) answer {
		return s.do(t, request{
			method: "POST", path: "/api/v1/session", header: map[string]string{header: "192.0.2.1"},
			body: object{"account": "analyst", "password": gatewaytest.Password},
		})
	}
	s := newSite(t, nil)
	s.Admit(t, "analyst")
	for _, header := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded"} {
		through(s, header).want(t, 400, "api.proxy-unknown")
	}
	named := newSite(t, func(d *api.Deps) { d.TrustedProxies = []string{"127.0.0.0/8", "::1"} })
	named.Admit(t, "analyst")
	through(named, "X-Forwarded-For").want(t, 200, "")
}

// TestRetryAfterTellsTheTruth holds that the header is what the message says.
func TestRetryAfterTellsTheTruth(t *testing.T) {
	s := newSite(t, nil)
	s.Admit(t, "analyst")
	guess := func() answer {
		return s.do(t, request{method: "POST", path: "/api/v1/session", body: object{"account": "analyst", "password": "a wrong one"}})
	}
	for range 5 {
		guess().want(t, 401, "identity.sign-in-failed")
	}
	if got := guess().want(t, 429, "identity.too-many-attempts").header.Get("Retry-After"); got != "30" && got != "29" {
		t.Errorf("Retry-After: %s", got)
	}
}

func TestRateOfAnAccount(t *testing.T) {
	s := newSite(t, func(d *api.Deps) { d.Limits.PerAccount, d.Limits.AccountBurst = 1e-9, 2 })
	s.signIn(t, "analyst", "colleague")
	get := func(as string) answer { return s.do(t, request{method: "GET", path: "/api/v1/session", as: as}) }
	get("analyst").want(t, 200, "")
	get("analyst").want(t, 200, "")
	get("analyst").want(t, 429, "api.too-many-requests")
	get("colleague").want(t, 200, "")
}

func TestADatabaseThatIsGone(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "authority")
	if err := s.DB.Close(); err != nil {
		t.Fatal(err)
	}
	s.each(func(method, path string, operation *openapi3.Operation) {
		if operation.Security == nil {
			s.do(t, request{method: method, path: example(path), as: "authority"}).want(t, 500, "internal")
		}
	})
	in := object{"account": "authority", "password": gatewaytest.Password}
	s.do(t, request{method: "POST", path: "/api/v1/session", body: in}).want(t, 500, "internal")
	s.do(t, request{method: "POST", path: "/api/v1/session/refresh", body: object{"refresh_token": "x"}}).want(t, 500, "internal")
}

// stream reads the events of a job, and holds the answer against the specification when it ends.
// state waits for an event with a state.
// explosive panics with what must not be shown, or answers what cannot be encoded.
type explosive struct{ value any }

func (e explosive) Explain(context.Context, policy.Principal, gateway.Request) (any, error) {
	if e.value == nil {
		panic(gatewaytest.Secret)
	}
	return e.value, nil
}

func TestAPanicIsAProblemAndItsTextIsNowhere(t *testing.T) {
	for _, explain := range []explosive{{nil}, {func() {}}} {
		s := newSite(t, func(d *api.Deps) { d.Explain = explain })
		s.signIn(t, "analyst")
		query := object{"grant": s.Grant.ID, "sql": "SELECT '" + gatewaytest.Secret + "'"}
		s.do(t, request{method: "POST", path: "/api/v1/explain", as: "analyst", body: query}).want(t, 500, "internal")
		s.do(t, request{method: "GET", path: "/livez"}).want(t, 200, "")
		if s.logs.FilterMessage("panic").Len()+s.logs.FilterMessage("request failed").Len() == 0 {
			t.Error("nothing is in the operation log")
		}
		s.unlogged(t, gatewaytest.Secret)
	}
}

// unlogged fails if a text is in the operation log.
func (s *site) unlogged(t *testing.T, texts ...string) {
	t.Helper()
	for _, line := range s.logs.All() {
		whole := fmt.Sprint(line.Message, line.ContextMap())
		for _, text := range texts {
			if strings.Contains(whole, text) {
				t.Errorf("the operation log holds %q: %s", text, whole)
			}
		}
	}
}

func TestTheOperationLogHoldsNoBodyTokenOrPath(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "analyst")
	s.submit(t, "analyst", gatewaytest.Deny)
	s.do(t, request{method: "GET", path: "/api/v1/log/entries?actor=zhangsan", as: "analyst"})
	s.do(t, request{method: "POST", path: "/api/v1/explain", as: "analyst", body: `{"sql":"zhangsan`})
	if s.logs.FilterMessage("request").Len() < 4 {
		t.Error("requests are not logged")
	}
	s.unlogged(t, gatewaytest.Password, s.tokens["analyst"], "SELECT", "zhangsan", gatewaytest.Secret)
}

func TestMetricsOnLoopback(t *testing.T) {
	s := newSite(t, func(d *api.Deps) { d.MetricsOnLoopback = true })
	get := func(header map[string]string) answer {
		return s.do(t, request{method: "GET", path: "/metrics", header: header})
	}
	get(nil).want(t, 200, "")
	for _, forwarded := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"} {
		get(map[string]string{forwarded: ""}).want(t, 401, "api.no-token")
	}
	// A method that somebody thinks up makes no new series.
	for _, method := range []string{"BREW", "PROPFIND", "X1"} {
		s.do(t, request{method: method, path: "/livez"})
	}
	if body := get(nil).body; bytes.Contains(body, []byte("BREW")) || !bytes.Contains(body, []byte(`method="other"`)) {
		t.Errorf("got %s", body)
	}
}

func TestAnUploadThatIsTooLargeOrBreaksOffLeavesNothing(t *testing.T) {
	s := newSite(t, func(d *api.Deps) { d.Limits.Upload = 64 << 10 })
	s.signIn(t, "provider")
	const manifest = "name: trees\nprovider: registry\nfile: trees.csv\n"
	body, header := upload(t, "manifest", manifest, "file", strings.Repeat("x", 70<<10))
	whole := body.Bytes()
	s.do(t, request{method: "POST", path: "/api/v1/datasets", as: "provider", body: bytes.NewReader(whole), header: header}).
		want(t, 413, "api.body-too-large")
	s.do(t, request{method: "POST", path: "/api/v1/datasets", as: "provider", body: struct{ io.Reader }{bytes.NewReader(whole)}, header: header}).
		want(t, 413, "api.body-too-large") // its length not said beforehand
	s.do(t, request{method: "POST", path: "/api/v1/datasets", as: "provider", body: bytes.NewReader(whole[:32<<10]), header: header}).
		want(t, 400, "api.upload-parts")
	s.Catalogue.Refuse = fmt.Errorf("row 40000: %s", gatewaytest.Secret)
	body, header = upload(t, "manifest", manifest, "file", "kind\n")
	s.do(t, request{method: "POST", path: "/api/v1/datasets", as: "provider", body: body, header: header}).want(t, 500, "internal")
	var outcomes []string
	for _, kind := range s.Kinds(t) {
		if strings.HasPrefix(kind, "dataset.import") {
			outcomes = append(outcomes, kind)
		}
	}
	want := []string{"dataset.import.intent", "dataset.import.outcome"}
	if !slices.Equal(outcomes, slices.Concat(want, want, want)) { // the first was refused by its length
		t.Errorf("on the log: %v", outcomes)
	}
}

func TestNothingThatIsSentEndsUpInAHeader(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "analyst")
	for _, path := range []string{
		"/api/v1/jobs/a%0d%0aSet-Cookie:%20x=1", "/api/v1/jobs/x/events%0d%0aX-Evil:%201", "/%0d%0aX-Evil:1",
		"/api/v1/datasets/%e5%a0%b0%0d%0aX-Evil:1", "/api/v1/jobs?before=%0d%0aX-Evil:1",
	} {
		got := s.do(t, request{method: "GET", path: path, as: "analyst", header: map[string]string{"Weir-Request": "mine", "X-Request-Id": "mine"}})
		if got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %d", path, got.status)
		}
		for name, values := range got.header {
			if name == "X-Evil" || name == "Set-Cookie" || slices.Contains(values, "mine") {
				t.Errorf("%s: header %s: %v", path, name, values)
			}
		}
	}
}

func TestHSTSOnlyWherePeopleComeOverTLS(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := newSite(t, func(d *api.Deps) { d.Secure = secure })
		got := s.do(t, request{method: "GET", path: "/livez"})
		if (got.header.Get("Strict-Transport-Security") != "") != secure || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("secure %v: %v", secure, got.header)
		}
	}
}

func TestNewRefusesMissingParts(t *testing.T) {
	s := newSite(t, nil)
	if _, err := api.New(api.Deps{Identity: s.Identity}); err == nil {
		t.Error("an interface without most of its parts")
	}
}

// TestTheGeneratedClient takes one query through with the client that the command line uses.
func TestTheGeneratedClient(t *testing.T) {
	s := newSite(t, nil)
	s.Admit(t, "analyst")
	open, err := client.NewClientWithResponses(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	in, err := open.SignInWithResponse(t.Context(), client.Credentials{Account: "analyst", Password: gatewaytest.Password})
	if err != nil || in.JSON200 == nil {
		t.Fatalf("%v: %s", err, in.Body)
	}
	c, err := client.NewClientWithResponses(s.server.URL, client.WithRequestEditorFn(func(_ context.Context, req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+in.JSON200.AccessToken)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	wait := 30
	submitted, err := c.SubmitJobWithResponse(t.Context(), &client.SubmitJobParams{IdempotencyKey: "key-of-the-client", Wait: &wait},
		client.Query{Grant: s.Grant.ID, SQL: gatewaytest.Release})
	if err != nil || submitted.JSON200 == nil {
		t.Fatalf("%v: %s", err, submitted.Body)
	}
	result, err := c.GetResultWithResponse(t.Context(), submitted.JSON200.ID, nil)
	if err != nil || result.JSON200 == nil || result.JSON200.State != client.ReleasedStateReleased || len(*result.JSON200.Rows) != 1 {
		t.Fatalf("%v: %s", err, result.Body)
	}
	missing, err := c.GetJobWithResponse(t.Context(), "nothing")
	if err != nil || missing.ApplicationProblemJSON404 == nil || missing.ApplicationProblemJSON404.Code != "gateway.job-unknown" {
		t.Fatalf("%v: %s", err, missing.Body)
	}
}

// untouchable is a body that nobody may read.
type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.ErrUnexpectedEOF
}

func TestNoByteOfAStrangersBodyIsRead(t *testing.T) {
	s := newSite(t, nil)
	s.each(func(method, path string, operation *openapi3.Operation) {
		if operation.Security != nil || operation.RequestBody == nil {
			return
		}
		for media := range operation.RequestBody.Value.Content {
			req := httptest.NewRequest(method, example(path), untouchable{t})
			req.Header.Set("Content-Type", media)
			recorder := httptest.NewRecorder()
			s.handler.ServeHTTP(recorder, req)
			if recorder.Code != 401 {
				t.Errorf("%s: %d", operation.OperationID, recorder.Code)
			}
		}
	})
}

// gated explains once it is let.
type gated struct{ begun, gate chan struct{} }

func (g gated) Explain(context.Context, policy.Principal, gateway.Request) (any, error) {
	g.begun <- struct{}{}
	<-g.gate
	return map[string]any{}, nil
}

func TestExplanationsTakeTurns(t *testing.T) {
	g := gated{make(chan struct{}, 2), make(chan struct{})}
	s := newSite(t, func(d *api.Deps) { d.Explain, d.Limits.Explain = g, 1 })
	s.signIn(t, "analyst")
	query := object{"grant": s.Grant.ID, "sql": gatewaytest.Release}
	answers := make(chan answer, 2)
	for range 2 {
		go func() {
			answers <- s.do(t, request{method: "POST", path: "/api/v1/explain", as: "analyst", body: query})
		}()
	}
	<-g.begun
	select {
	case <-g.begun:
		t.Error("two at once")
	default:
	}
	g.gate <- struct{}{} // the second begins only when the first has ended
	(<-answers).want(t, 200, "")
	<-g.begun
	g.gate <- struct{}{}
	(<-answers).want(t, 200, "")
}
