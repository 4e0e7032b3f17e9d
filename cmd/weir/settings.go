package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/goccy/go-yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"

	"weir/gateway"
	"weir/internal/problem"
)

// settings is what an installation decides. Nothing of it must be set: the defaults are a platform for one machine.
// A field is set in a YAML file, or as WEIR_ and its path in capitals (WEIR_TLS_CERT), which wins.
type settings struct {
	Data      string           `koanf:"data"`      // folder for keys, the vault and the embedded store
	Listen    string           `koanf:"listen"`    // address and port
	URL       string           `koanf:"url"`       // how people reach it; the issuer of its tokens
	Store     string           `koanf:"store"`     // postgres://…; the embedded store in Data when empty
	Origin    string           `koanf:"origin"`    // name of the log, worldwide and for ever
	TLS       tlsSettings      `koanf:"tls"`       // certificate and key in PEM files
	Plaintext bool             `koanf:"plaintext"` // listen beyond this machine without TLS
	Proxies   []string         `koanf:"proxies"`   // addresses or CIDR ranges whose X-Forwarded-For is believed, or "none"
	Metrics   metricsSettings  `koanf:"metrics"`   // figures for the maintainer
	Log       logSettings      `koanf:"log"`       // operation log
	Identity  identitySettings `koanf:"identity"`  // who else says who somebody is
	Jobs      jobSettings      `koanf:"jobs"`      // how many run, and how much they may take
	Vault     vaultSettings    `koanf:"vault"`     // what opens the data sets
	Kept      string           `koanf:"kept"`      // file with the newest checkpoint of the log, best on another disk
	Grants    grantSettings    `koanf:"grants"`    // what becomes of them
}

// grantSettings say what becomes of grants.
type grantSettings struct {
	Grace time.Duration `koanf:"grace"` // for which what was made under a grant is kept, closed, after its end; 720h
}

// grace is the one that holds.
func (s settings) grace() time.Duration { return cmp.Or(s.Grants.Grace, gateway.DefaultGrace) }

// vaultSettings say where the master key is. With none of them, it is a file among the platform's keys, which is made.
type vaultSettings struct {
	Master  string `koanf:"master"`  // file with it, 64 hexadecimal digits; older keys may stand in the lines after it
	Key     string `koanf:"key"`     // what would stand in that file, for WEIR_VAULT_KEY
	Program string `koanf:"program"` // program that keeps it, such as a KMS's client; what master or key hold only unwraps then
}

type tlsSettings struct {
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

type metricsSettings struct {
	Loopback bool `koanf:"loopback"` // the machine itself may read them without a token
}

type logSettings struct {
	Level string `koanf:"level"` // debug, info, warn or error
}

type identitySettings struct {
	External []providerSettings `koanf:"external"`
}

// providerSettings is an external OpenID provider whose subjects may be linked to accounts.
type providerSettings struct {
	Issuer   string `koanf:"issuer"`
	Audience string `koanf:"audience"`
	Claim    string `koanf:"claim"` // names a person there; "sub" when empty
	Keys     string `koanf:"keys"`  // file with its public keys (RFC 7517), where the network cannot reach it
}

// storeFile is the embedded store, in the data folder.
const storeFile = "weir.db"

var defaults = settings{
	Data:   "var",
	Listen: "127.0.0.1:8440",
	Origin: "weir.local/audit",
	Log:    logSettings{Level: "info"},
}

// personal are the WEIR_ variables that belong to a person's command line and not to the platform.
var personal = []string{"WEIR_SERVER", "WEIR_CA", "WEIR_LANG"}

// settingsFlag is the flag of every command that works on the platform's own files.
type settingsFlag struct {
	File string `short:"c" name:"settings" placeholder:"FILE" help:"The platform's settings (YAML)."`
}

// readSettings puts the settings together: the defaults, then the file, then the environment. A name that it does
// not know is an error: a mistyped tls.cert must not quietly mean that there is none.
func readSettings(path string, environ []string) (settings, error) {
	k := koanf.New(".")
	written, err := settingsIn(path)
	if err == nil {
		err = k.Load(confmap.Provider(written, "."), nil)
	}
	if err == nil {
		err = k.Load(env.Provider(".", env.Opt{
			Prefix:        "WEIR_",
			EnvironFunc:   func() []string { return environ },
			TransformFunc: variable,
		}), nil)
	}
	s := defaults
	if err == nil {
		err = k.UnmarshalWithConf("", &s, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
			Result: &s, TagName: "koanf", ErrorUnused: true, WeaklyTypedInput: true, DecodeHook: duration,
		}})
	}
	if err == nil {
		err = s.complete()
	}
	if err != nil {
		return settings{}, asSettingsProblem(err)
	}
	return s, nil
}

// settingsIn is what a settings file says; nothing where there is none.
func settingsIn(path string) (written map[string]any, err error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return written, yaml.Unmarshal(text, &written)
}

// duration reads a time with its unit. A bare number would be nanoseconds, which nobody means: a limit of ten
// minutes that becomes ten nanoseconds stops every job.
func duration(from, to reflect.Type, value any) (any, error) {
	if to != reflect.TypeFor[time.Duration]() {
		return value, nil
	}
	text, isText := value.(string)
	if !isText {
		return nil, fmt.Errorf("%v has no unit: write 90s, 10m or 2h", value)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no time with a unit: write 90s, 10m or 2h", text)
	}
	return d, nil
}

func asSettingsProblem(err error) error {
	var known *problem.Problem
	if errors.As(err, &known) {
		return err
	}
	return problem.New("cli.bad-settings").Because(err)
}

func variable(name, value string) (string, any) {
	if slices.Contains(personal, name) {
		return "", nil
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "WEIR_")), "_", "."), value
}

// complete fills in what follows from other settings, and refuses what would be unsafe.
func (s *settings) complete() error {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		return errors.New("tls.cert and tls.key go together")
	}
	if !s.secure() && !s.Plaintext && !loopback(host) {
		return problem.New("cli.open-door")
	}
	if s.Data, err = filepath.Abs(s.Data); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if s.Vault.Program != "" && !filepath.IsAbs(s.Vault.Program) {
		return errors.New("vault.program: not an absolute path")
	}
	if s.Store == "" {
		s.Store = filepath.Join(s.Data, storeFile)
	}
	if s.Grants.Grace < 0 {
		return errors.New("grants.grace: less than zero")
	}
	if _, err := s.Jobs.options(); err != nil {
		return err
	}
	s.URL = strings.TrimSuffix(s.URL, "/")
	if s.URL != "" {
		if u, err := url.Parse(s.URL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return errors.New("url: not the address of a platform")
		}
	}
	return s.nameProxies(host)
}

// noProxy says in proxies that nothing stands in front.
const noProxy = "none"

// nameProxies demands to be told which proxy stands in front, where something does TLS for the platform: it would be
// taken for the one client that everybody is. A proxy that the settings do not betray is found when it forwards a
// sign-in, which is refused.
func (s *settings) nameProxies(host string) error {
	if slices.Equal(s.Proxies, []string{noProxy}) {
		s.Proxies = nil
		return nil
	}
	if slices.Contains(s.Proxies, noProxy) {
		return errors.New("proxies: none beside an address")
	}
	inFront := !s.secure() && (s.Plaintext && !loopback(host) || strings.HasPrefix(s.URL, "https:"))
	if inFront && len(s.Proxies) == 0 {
		return problem.New("cli.proxy-unnamed")
	}
	return nil
}

// address is how people reach a platform that listens at an address.
func (s *settings) address(listening string) string {
	if s.URL != "" {
		return s.URL
	}
	scheme := "http"
	if s.secure() {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return scheme + "://" + listening
	}
	return scheme + "://" + net.JoinHostPort(reachable(host), port)
}

func (s *settings) secure() bool { return s.TLS.Cert != "" }

// reachable names this machine for a platform that listens on all of its addresses.
func reachable(host string) string {
	if host == "" || host == "0.0.0.0" || host == "::" {
		if name, err := os.Hostname(); err == nil {
			return name
		}
		return "localhost"
	}
	return host
}
