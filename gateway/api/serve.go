package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Server says where and how to listen.
type Server struct {
	Listener    net.Listener  // required
	Certificate string        // path of a PEM file with the certificate chain; empty: no TLS
	Key         string        // path of the PEM file with its key
	Grace       time.Duration // for requests to end when the platform stops; default 20 s
	HeaderTime  time.Duration // that a client has to send its headers; default 10 s
	Log         *zap.Logger   // required
}

// The times that a client has. A handler that needs more, for an upload or a stream, says so for its own connection.
const (
	readTime   = 30 * time.Second
	answerTime = 100 * time.Second // a submission may wait a minute for its job
	idleTime   = 2 * time.Minute
	headerSize = 32 << 10
)

// Serve answers until ctx ends, then lets the requests that are under way come to their end. Event streams are
// ended at once: their clients connect again.
func Serve(ctx context.Context, handler http.Handler, server Server) error {
	if server.Listener == nil || server.Log == nil {
		return errors.New("serve without a listener or a log")
	}
	or(&server.Grace, 20*time.Second)
	or(&server.HeaderTime, 10*time.Second)
	requests, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	h := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: server.HeaderTime,
		ReadTimeout:       readTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerSize,
		BaseContext:       func(net.Listener) context.Context { return withStop(requests, ctx) },
		ErrorLog:          zap.NewStdLog(server.Log.Named("http")),
	}
	run := func() error { return h.Serve(server.Listener) }
	if server.Certificate != "" {
		pair, err := newKeyPair(server.Certificate, server.Key, server.Log)
		if err != nil {
			return err
		}
		h.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
		run = func() error { return h.ServeTLS(server.Listener, "", "") }
	}
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), server.Grace)
	defer done()
	if err := h.Shutdown(patience); err != nil {
		hangUp()
		return errors.Join(fmt.Errorf("stop serving: %w", err), h.Close())
	}
	return nil
}

type stopKey struct{}

// withStop lets a request know when the platform stops, without being cut off by it.
func withStop(requests, platform context.Context) context.Context {
	return context.WithValue(requests, stopKey{}, platform.Done())
}

// stopping is closed when the platform stops. It is nil, and so never ready, where nobody said so.
func stopping(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return stop
}

// keyPair is a certificate whose files are read again when they change, so that it can be renewed without a stop.
type keyPair struct {
	certificate, key string
	log              *zap.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   [2]time.Time // when the files were last changed
	looked  time.Time
}

// lookAgain is how often the files are looked at, at most.
const lookAgain = 10 * time.Second

func newKeyPair(certificate, key string, log *zap.Logger) (*keyPair, error) {
	p := &keyPair{certificate: certificate, key: key, log: log}
	stamp, err := p.changed()
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := p.load(stamp); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	p.looked = time.Now()
	return p, nil
}

// get is called for each connection. Files that cannot be read leave the certificate as it was, with a word in the
// operation log.
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookAgain {
		p.looked = now
		p.renew()
	}
	return p.current, nil
}

func (p *keyPair) renew() {
	stamp, err := p.changed()
	if err == nil && stamp != p.stamp {
		err = p.load(stamp)
	}
	if err != nil {
		p.log.Error("the certificate could not be renewed", zap.Error(err))
	}
}

func (p *keyPair) changed() (stamp [2]time.Time, err error) {
	for i, path := range []string{p.certificate, p.key} {
		info, err := os.Stat(path)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}

func (p *keyPair) load(stamp [2]time.Time) error {
	pair, err := tls.LoadX509KeyPair(p.certificate, p.key)
	if err != nil {
		return err
	}
	p.current, p.stamp = &pair, stamp
	return nil
}
