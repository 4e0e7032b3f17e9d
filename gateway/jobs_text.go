package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// jobSecrets are two keys that are made of the platform's secret for jobs, so that neither says anything about the
// other.
type jobSecrets struct {
	prints []byte      // of requests
	texts  cipher.AEAD // for texts that wait
}

func newJobSecrets(secret []byte) (jobSecrets, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "weir: text of a queued job", 32)
	if err != nil {
		return jobSecrets{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return jobSecrets{}, err
	}
	texts, err := cipher.NewGCMWithRandomNonce(block)
	return jobSecrets{prints: secret, texts: texts}, err
}

// fingerprint tells whether two requests are the same. It is keyed, because the text of a query can hold what one
// must not be able to find by guessing.
func (s jobSecrets) fingerprint(parts ...string) string {
	mac := hmac.New(sha256.New, s.prints)
	for _, part := range parts {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// seal hides a text that waits. The row that it belongs to is part of it: nobody can have another's text run under
// their own grant by changing the table.
func (s jobSecrets) seal(job Job, sql string) []byte {
	return s.texts.Seal(nil, nil, []byte(sql), boundTo(job))
}

// open gives the text again. It fails for any other row, and after the secret was changed.
func (s jobSecrets) open(job Job, sealed []byte) (string, error) {
	sql, err := s.texts.Open(nil, nil, sealed, boundTo(job))
	if err != nil {
		return "", fmt.Errorf("text of job %s: %w", job.ID, err)
	}
	return string(sql), nil
}

func boundTo(job Job) []byte {
	return fmt.Appendf(nil, "%q %q %q %q", job.ID, job.Owner, job.Operator, job.Grant)
}
