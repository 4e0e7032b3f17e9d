package api_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/gateway/api"
	"weir/gateway/gatewaytest"
)

func (s *site) stream(t *testing.T, as, job, after string) (events <-chan string, header http.Header) {
	t.Helper()
	headers := map[string]string{}
	if after != "" {
		headers["Last-Event-ID"] = after
	}
	req := s.request(t, request{method: "GET", path: "/api/v1/jobs/" + job + "/events", as: as, header: headers})
	response, err := s.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != 200 || response.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("got %d %v", response.StatusCode, response.Header)
	}
	out := make(chan string, 100)
	go func() {
		defer close(out)
		lines := bufio.NewScanner(response.Body)
		var event []string
		for lines.Scan() {
			if lines.Text() != "" {
				event = append(event, lines.Text())
				continue
			}
			out <- strings.Join(event, "\n")
			event = nil
		}
	}()
	return out, response.Header
}

func state(t *testing.T, events <-chan string, number int, want string) {
	t.Helper()
	event := next(t, events)
	if !strings.HasPrefix(event, fmt.Sprintf("id: %d\nevent: state\ndata: {", number)) || !strings.Contains(event, `"state":"`+want+`"`) {
		t.Errorf("got %q, want %d %s", event, number, want)
	}
}

func next(t *testing.T, events <-chan string) string {
	t.Helper()
	select {
	case event, ok := <-events:
		if !ok {
			return "end"
		}
		return event
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
		return ""
	}
}

func TestEventsComeAsTheyHappen(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "analyst", "officer")
	job := s.submitAtOnce(t, "analyst", gatewaytest.Block)
	<-s.Flow.Started
	events, _ := s.stream(t, "analyst", job, "")
	if got := next(t, events); got != "retry: 2000" {
		t.Errorf("got %q", got)
	}
	state(t, events, 1, "queued")
	state(t, events, 2, "running")
	s.Flow.Open()
	state(t, events, 3, "released")
	if got := next(t, events); got != "end" {
		t.Errorf("after the final state: %q", got)
	}
	events, _ = s.stream(t, "analyst", job, "2")
	next(t, events)
	state(t, events, 3, "released")
	events, _ = s.stream(t, "analyst", job, "3")
	next(t, events)
	if got := next(t, events); got != "end" {
		t.Errorf("after the last event: %q", got)
	}

	// Waiting is not the end: an officer decides.
	job = s.submit(t, "analyst", gatewaytest.Wait).text("id")
	events, _ = s.stream(t, "analyst", job, "2")
	next(t, events)
	state(t, events, 3, "waiting")
	s.do(t, request{method: "POST", path: "/api/v1/releases/" + job + "/approve", as: "officer", body: object{"reason": "无个人信息"}}).want(t, 204, "")
	state(t, events, 4, "released")
	if got := next(t, events); got != "end" {
		t.Errorf("after the final state: %q", got)
	}
}

func (s *site) submitAtOnce(t *testing.T, as, sql string) string {
	t.Helper()
	return s.do(t, request{
		method: "POST", path: "/api/v1/jobs", as: as, body: object{"grant": s.Grant.ID, "sql": sql},
		header: map[string]string{"Idempotency-Key": fmt.Sprintf("test-key-%d", keys.Add(1))},
	}).want(t, 202, "").text("id")
}

func TestStreamsBreatheAndEnd(t *testing.T) {
	s := newSite(t, func(d *api.Deps) {
		d.Limits.Heartbeat, d.Limits.StreamLife = time.Millisecond, 200*time.Millisecond
		d.Limits.Streams, d.Limits.AccountStream = 2, 1
	})
	s.signIn(t, "analyst", "operator", "supervisor")
	job := s.submitAtOnce(t, "analyst", gatewaytest.Block)
	path := "/api/v1/jobs/" + job + "/events"
	events, _ := s.stream(t, "analyst", job, "2")
	next(t, events)
	if got := next(t, events); got != ": alive" && !strings.Contains(got, "running") {
		t.Errorf("got %q", got)
	}
	s.do(t, request{method: "GET", path: path, as: "analyst"}).want(t, 429, "api.too-many-streams")
	others, _ := s.stream(t, "operator", job, "")
	s.do(t, request{method: "GET", path: path, as: "supervisor"}).want(t, 503, "api.busy")
	for range events { // until it has lived long enough
	}
	for range others {
	}
	again, _ := s.stream(t, "analyst", job, "")
	next(t, again)
}

func TestAListenerWhoIsSignedOutHearsNothingMore(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "analyst")
	job := s.submitAtOnce(t, "analyst", gatewaytest.Block)
	s.do(t, request{method: "DELETE", path: "/api/v1/session", as: "analyst"}).want(t, 204, "")
	s.do(t, request{method: "GET", path: "/api/v1/jobs/" + job + "/events", as: "analyst"}).want(t, 401, "identity.session-ended")
}
