package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

//go:embed rego
var embedded embed.FS

// bundleLimit bounds a file of a bundle, in bytes, before it is unpacked into memory.
const bundleLimit = 1 << 20

// SignedBundle names rules that replace the embedded ones: a bundle of Open Policy Agent, signed with ECDSA over
// P-256 and SHA-256 (ES256, RFC 7518 section 3.4; the tool signs no Ed25519). What the key says in the bundle is
// not believed: the key and its name come from here.
type SignedBundle struct {
	File  string // the bundle, .tar.gz
	Key   []byte // the public key, PEM (PKIX)
	KeyID string // its name
	Scope string // what the signature must be made for; may be empty
}

// rules gives the modules of the embedded policy, or of a bundle whose signature holds.
func rules(signed *SignedBundle) (map[string]*ast.Module, error) {
	if signed != nil {
		return signed.open()
	}
	modules := map[string]*ast.Module{}
	err := fs.WalkDir(embedded, "rego", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".rego") || strings.HasSuffix(name, "_test.rego") {
			return err
		}
		text, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		modules[name], err = ast.ParseModuleWithOpts(name, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("embedded policy: %w", err)
	}
	return modules, nil
}

// open reads a bundle. It takes rules only: data would be facts that nobody looked up for this decision, and
// compiled code would be rules that nobody can read.
func (s *SignedBundle) open() (map[string]*ast.Module, error) {
	if s.KeyID == "" {
		return nil, errors.New("policy bundle: a key needs a name")
	}
	if err := checkKey(s.Key); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(s.File)
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	keys := map[string]*bundle.KeyConfig{s.KeyID: {Key: string(s.Key), Algorithm: "ES256", Scope: s.Scope}}
	read, err := bundle.NewReader(bytes.NewReader(content)).
		WithBundleVerificationConfig(bundle.NewVerificationConfig(keys, s.KeyID, s.Scope, nil)).
		WithSizeLimitBytes(bundleLimit).
		WithRegoVersion(ast.RegoV1).
		Read()
	if err != nil {
		return nil, fmt.Errorf("policy bundle: %w", err)
	}
	if len(read.Data) > 0 || len(read.WasmModules) > 0 || len(read.PlanModules) > 0 {
		return nil, errors.New("policy bundle: it holds something other than rules")
	}
	modules := map[string]*ast.Module{}
	for _, m := range read.Modules {
		modules[m.Path] = m.Parsed
	}
	return modules, nil
}

// checkKey accepts a public ECDSA key on P-256 and nothing else; a private key has no place in this configuration.
func checkKey(text []byte) error {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("policy bundle: the key is not one public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("policy bundle: %w", err)
	}
	if key, ok := parsed.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return errors.New("policy bundle: the key is not ECDSA on P-256")
	}
	return nil
}
