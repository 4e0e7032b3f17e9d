package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"weir/gateway/api/client"
	"weir/internal/problem"
)

// defaultServer is where `weir serve` listens unless told otherwise.
const defaultServer = "http://127.0.0.1:8440"

const (
	refreshBefore = 30 * time.Second // an access token with less life than this is exchanged first
	maxAnswer     = 256 << 20        // bytes of an answer that are read
)

// dial prepares to speak to a platform, as nobody yet. A password or token must not travel in the clear, so a
// platform on another machine is spoken to over TLS or not at all.
func (c *commands) dial(t *terminal, server string, more ...client.ClientOption) (*client.Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, problem.New("cli.bad-server").Because(err)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, problem.New("cli.no-tls")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 10 * time.Minute // an intake answers when it has read the whole file
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		if transport.TLSClientConfig.RootCAs, err = trust(c.CA); err != nil {
			return nil, problem.New("cli.bad-ca").Because(err)
		}
	}
	doer := &http.Client{
		Transport: transport,
		// A redirection could carry a token to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	speak := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Accept-Language", string(t.lang))
		return nil
	}
	options := append([]client.ClientOption{client.WithHTTPClient(doer), client.WithRequestEditorFn(speak)}, more...)
	return client.NewClient(strings.TrimSuffix(server, "/"), options...)
}

func trust(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// loopback reports whether a host is this machine and cannot be another.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// platform prepares to speak to the platform as the person who is signed in, with a token that is still good.
func (c *commands) platform(ctx context.Context, t *terminal) (*client.Client, error) {
	s, err := c.session(ctx, t)
	if err != nil {
		return nil, err
	}
	return c.dial(t, s.Server, c.bearer(t, s))
}

// bearer gives each request a token that is still good: a query may be waited for longer than a token lives.
func (c *commands) bearer(t *terminal, s session) client.ClientOption {
	var mu sync.Mutex
	return client.WithRequestEditorFn(func(ctx context.Context, r *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Until(s.Expires) <= refreshBefore {
			fresh, err := c.renewed(ctx, t, s.Server, s.Account)
			if err != nil {
				return err
			}
			s = fresh
		}
		r.Header.Set("Authorization", "Bearer "+s.Access)
		return nil
	})
}

func bearer(token string) client.ClientOption {
	return client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	})
}

func (c *commands) session(ctx context.Context, t *terminal) (session, error) {
	return c.renewed(ctx, t, strings.TrimSuffix(c.Server, "/"), c.As)
}

// renewed gives the session of an account on a platform, the last used where they are empty, with a token that is still good.
func (c *commands) renewed(ctx context.Context, t *terminal, server, account string) (session, error) {
	w, err := openWallet(t.config)
	if err != nil {
		return session{}, err
	}
	defer w.close()
	s, ok := w.find(server, account)
	if !ok {
		return session{}, problem.New("cli.not-signed-in")
	}
	if time.Until(s.Expires) > refreshBefore {
		return s, nil
	}
	nobody, err := c.dial(t, s.Server)
	if err != nil {
		return session{}, err
	}
	fresh, err := answer[client.Session](nobody.RefreshSession(ctx, client.RefreshRequest{RefreshToken: s.Refresh}))
	var refused *refusal
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		return session{}, problem.New("cli.not-signed-in").Because(errors.Join(err, w.drop(s)))
	}
	if err != nil {
		return session{}, err
	}
	s = s.with(fresh)
	return s, w.put(s)
}

func (s session) with(fresh client.Session) session {
	s.Access, s.Refresh = fresh.AccessToken, fresh.RefreshToken
	s.Expires = time.Now().Add(time.Duration(fresh.ExpiresIn) * time.Second)
	return s
}

// answer reads what the platform said: a T, or a refusal. Numbers keep every digit.
func answer[T any](r *http.Response, err error) (T, error) {
	var got T
	body, err := answerBytes(r, err)
	if err != nil {
		return got, err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&got); err != nil {
		return got, problem.New("cli.strange-answer").Because(err)
	}
	return got, nil
}

// done reads an answer that has nothing to say but that it worked.
func done(r *http.Response, err error) error {
	_, err = answerBytes(r, err)
	return err
}

func answerBytes(r *http.Response, err error) ([]byte, error) {
	var ours *problem.Problem
	var refusedBefore *refusal
	if errors.As(err, &ours) || errors.As(err, &refusedBefore) { // the session could not be kept
		return nil, err
	}
	if err != nil {
		return nil, problem.New("cli.unreachable").Because(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, problem.New("cli.unreachable").Because(err)
	case len(body) > maxAnswer:
		return nil, problem.New("cli.strange-answer").Because(errors.New("the answer is too large"))
	case r.StatusCode >= 200 && r.StatusCode < 300:
		return body, nil
	}
	refused := &refusal{}
	if err := json.Unmarshal(body, &refused.Problem); err != nil || refused.Code == "" {
		return nil, problem.New("cli.strange-answer").Because(fmt.Errorf("status %d", r.StatusCode))
	}
	refused.Status = r.StatusCode
	return nil, refused
}
