package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"weir/gateway/api"
	"weir/gateway/gatewaytest"
)

// serve serves a handler until the test ends or stop is called, which returns what Serve did.
func serve(t *testing.T, handler http.Handler, server api.Server) (address string, stop func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener, server.Log = listener, zap.NewNop()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, handler, server) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			return errors.New("it does not stop")
		}
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String(), stop
}

// certificate writes a new certificate for 127.0.0.1 and gives it back.
func certificate(t *testing.T, certFile, keyFile string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "weir.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err := errors.Join(err,
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTLSAndItsRenewal(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	first := certificate(t, certFile, keyFile)
	s := newSite(t, func(d *api.Deps) { d.Secure = true })
	later := time.Now().Add(-time.Minute)
	if err := errors.Join(os.Chtimes(certFile, later, later), os.Chtimes(keyFile, later, later)); err != nil {
		t.Fatal(err)
	}
	pair, err := api.NewKeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := pair.Now(t); !got.Equal(first) {
		t.Error("another certificate than the one in the file")
	}
	second := certificate(t, certFile, keyFile)
	if got := pair.Now(t); !got.Equal(second) {
		t.Error("a new certificate was not taken")
	}
	if err := os.WriteFile(keyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := pair.Now(t); !got.Equal(second) {
		t.Error("a broken key replaced a good certificate")
	}

	third := certificate(t, certFile, keyFile)
	address, _ := serve(t, s.handler, api.Server{Certificate: certFile, Key: keyFile})
	roots := x509.NewCertPool()
	roots.AddCert(third)
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: version, MaxVersion: version}}
		response, err := (&http.Client{Transport: transport}).Get("https://" + address + "/livez")
		if (err == nil) != (version >= tls.VersionTLS12) {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			response.Body.Close()
			if response.Header.Get("Strict-Transport-Security") == "" || response.ProtoMajor != 2 {
				t.Errorf("%s: %s %v", tls.VersionName(version), response.Proto, response.Header)
			}
		}
		transport.CloseIdleConnections()
	}
}

func TestServeRefusesACertificateThatIsNotThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = api.Serve(t.Context(), http.NotFoundHandler(), api.Server{Listener: listener, Log: zap.NewNop(), Certificate: "nothing.crt", Key: "nothing.key"})
	if err == nil {
		t.Error("it served")
	}
	if err := api.Serve(t.Context(), http.NotFoundHandler(), api.Server{}); err == nil {
		t.Error("it served without a listener")
	}
}

func TestStoppingLetsRequestsEndAndEndsStreams(t *testing.T) {
	s := newSite(t, nil)
	s.signIn(t, "analyst")
	address, stop := serve(t, s.handler, api.Server{})
	s.server.URL = "http://" + address
	job := s.submitAtOnce(t, "analyst", gatewaytest.Block)
	events, _ := s.stream(t, "analyst", job, "")
	next(t, events)

	// A submission that waits for its job is under way when the platform stops.
	<-s.Flow.Started
	body := object{"grant": s.Grant.ID, "sql": gatewaytest.Block}
	req := s.request(t, request{method: "POST", path: "/api/v1/jobs?wait=30", as: "analyst", body: body, header: map[string]string{"Idempotency-Key": "key-while-stopping"}})
	type outcome struct {
		status int
		err    error
	}
	waiting := make(chan outcome, 1)
	go func() {
		response, err := http.DefaultClient.Do(req)
		if err != nil {
			waiting <- outcome{err: err}
			return
		}
		_, err = io.Copy(io.Discard, response.Body)
		waiting <- outcome{response.StatusCode, errors.Join(err, response.Body.Close())}
	}()
	<-s.Flow.Started
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for range events { // the stream ends although its job does not
	}
	s.Flow.Open()
	if got := <-waiting; got.status != 200 || got.err != nil {
		t.Errorf("the request under way: %+v", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestASlowClientIsCutOff(t *testing.T) {
	address, _ := serve(t, http.NotFoundHandler(), api.Server{HeaderTime: 50 * time.Millisecond})
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nX: ")); err != nil {
		t.Fatal(err)
	}
	if err := connection.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil || strings.Contains(string(answer), "200") {
		t.Errorf("%q, %v", answer, err)
	}
}
