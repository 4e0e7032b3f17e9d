package api

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"go.uber.org/zap"
)

// KeyPair lets a test look at the certificate without waiting for the next look at its files.
type KeyPair struct{ *keyPair }

// NewKeyPair reads a certificate.
func NewKeyPair(certificate, key string) (KeyPair, error) {
	p, err := newKeyPair(certificate, key, zap.NewNop())
	return KeyPair{p}, err
}

// Now is the certificate that the next connection gets, when the files are due to be looked at.
func (p KeyPair) Now(t *testing.T) *x509.Certificate {
	t.Helper()
	p.looked = time.Time{}
	pair, err := p.get(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}
