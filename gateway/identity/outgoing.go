package identity

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/time/rate"
)

// guarded limits what a stranger can make us ask of a provider by sending tokens with unknown keys, and what the
// provider can make us read.
func guarded(client *http.Client, clock func() time.Time) *http.Client {
	limited := *client
	if limited.Timeout == 0 {
		limited.Timeout = 10 * time.Second
	}
	next := limited.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	limited.Transport = &outgoing{next: next, clock: clock, limit: rate.NewLimiter(rate.Every(5*time.Second), 6)}
	return &limited
}

type outgoing struct {
	next  http.RoundTripper
	clock func() time.Time
	limit *rate.Limiter
}

func (o *outgoing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%w: its address is not https", errUnreachable)
	}
	if !o.limit.AllowN(o.clock(), 1) {
		return nil, fmt.Errorf("%w: asked too often", errUnreachable)
	}
	answer, err := o.next.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("%w: it answered %d", errUnreachable, answer.StatusCode)
	}
	answer.Body = limitedBody{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}

type limitedBody struct {
	io.Reader
	io.Closer
}
