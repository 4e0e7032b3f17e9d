package identity

import (
	"encoding/json"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// Where, below the issuer, others find what they need to verify our tokens.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	JWKSPath      = "/.well-known/jwks.json"
)

// JWKS serves the public keys whose tokens are good now (RFC 7517). Whoever verifies by them alone does not learn
// of sign-outs before the token expires.
func (i *Identity) JWKS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		keys, err := i.keys.current()
		if err != nil {
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
		for _, k := range keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: "EdDSA", Use: "sig"})
		}
		serve(w, "application/jwk-set+json", set)
	})
}

// Discovery serves the document by which an OpenID verifier finds the keys (OpenID Connect Discovery 1.0,
// section 3). There is no authorization endpoint: people sign in through the platform's own API.
func (i *Identity) Discovery() http.Handler {
	document := map[string]any{
		"issuer":                                i.options.Issuer,
		"jwks_uri":                              i.options.Issuer + JWKSPath,
		"response_types_supported":              []string{"none"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"EdDSA"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { serve(w, "application/json", document) })
}

func serve(w http.ResponseWriter, kind string, document any) {
	text, err := json.Marshal(document)
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=60")
	// A client that went away is the only way in which writing fails, and nobody is left to be told.
	_, _ = w.Write(text)
}
