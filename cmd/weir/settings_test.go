package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/internal/problem"
)

func TestSettingsComeFromDefaultsFileAndEnvironment(t *testing.T) {
	for _, c := range []struct {
		name    string
		file    string
		environ []string
		want    func(*settings)
	}{
		{"nothing set", "", nil, func(*settings) {}},
		{"the file wins over the defaults", "data: /srv/weir\nlog: {level: warn}", nil, func(s *settings) {
			s.Data, s.Store, s.Log.Level = "/srv/weir", "/srv/weir/weir.db", "warn"
		}},
		{"the environment wins over the file", "log: {level: warn}", []string{"WEIR_LOG_LEVEL=error", "HOME=/root"}, func(s *settings) {
			s.Log.Level = "error"
		}},
		{"what belongs to a person's commands is not the platform's", "", []string{"WEIR_SERVER=https://weir.example.org", "WEIR_LANG=zh"}, func(*settings) {}},
		{"a database for several nodes", "store: postgres://db.example.org/weir", nil, func(s *settings) {
			s.Store = "postgres://db.example.org/weir"
		}},
		{"TLS", "listen: 0.0.0.0:443\nurl: https://weir.example.org/\ntls: {cert: a.pem, key: b.pem}", nil, func(s *settings) {
			s.Listen, s.URL, s.TLS = "0.0.0.0:443", "https://weir.example.org", tlsSettings{"a.pem", "b.pem"}
		}},
		{"TLS done by something in front", "listen: 10.0.0.1:80\nurl: https://weir.example.org\nplaintext: true\nproxies: [none]", nil, func(s *settings) {
			s.Listen, s.URL, s.Plaintext = "10.0.0.1:80", "https://weir.example.org", true
		}},
		{"a proxy that is named", "listen: 10.0.0.1:80\nplaintext: true\nproxies: [10.0.0.5]", nil, func(s *settings) {
			s.Listen, s.Plaintext, s.Proxies = "10.0.0.1:80", true, []string{"10.0.0.5"}
		}},
		{"an external provider", "identity: {external: [{issuer: https://id.example.org, audience: weir}]}", nil, func(s *settings) {
			s.Identity.External = []providerSettings{{Issuer: "https://id.example.org", Audience: "weir"}}
		}},
		{"a master key elsewhere", "vault: {program: /opt/kms/weir}", nil, func(s *settings) { s.Vault.Program = "/opt/kms/weir" }},
		{"jobs", "jobs: {workers: 4, timeout: 90s, lease: 10s, operator: {running: 2, cpu: 2h}, operators: [{name: op-housing, read: 1000}]}",
			[]string{"WEIR_JOBS_RETENTION=48h", "WEIR_JOBS_PLATFORM_QUEUED=50"}, func(s *settings) {
				s.Jobs = jobSettings{
					Workers: 4, Timeout: 90 * time.Second, Lease: 10 * time.Second, Retention: 48 * time.Hour, Platform: allowanceSettings{Queued: 50},
					Operator:  allowanceSettings{Running: 2, CPU: 2 * time.Hour},
					Operators: []operatorAllowance{{"op-housing", allowanceSettings{Read: 1000}}},
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			want := defaults
			want.Data, want.Store = filepath.Join(here, "var"), filepath.Join(here, "var/weir.db")
			c.want(&want)
			got, err := readSettings(settingsFile(t, c.file), c.environ)
			if err != nil {
				t.Fatal(err, errors.Unwrap(err))
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(operatorAllowance{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddressIsHowPeopleReachIt(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		settings  settings
		listening string
		want      string
	}{
		{settings{}, "127.0.0.1:8440", "http://127.0.0.1:8440"},
		{settings{}, "[::1]:8440", "http://[::1]:8440"},
		{settings{TLS: tlsSettings{"a", "b"}}, "0.0.0.0:443", "https://" + name + ":443"},
		{settings{TLS: tlsSettings{"a", "b"}}, "[::]:443", "https://" + name + ":443"},
		{settings{URL: "https://weir.example.org"}, "127.0.0.1:8440", "https://weir.example.org"},
	} {
		if got := c.settings.address(c.listening); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestTheSamplesAreTaken(t *testing.T) {
	samples := filepath.Join(root, "deploy/sample")
	s, err := readSettings(filepath.Join(samples, "weir.yaml"), nil)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if !s.secure() || s.address("") != "https://weir.example.org" || s.Origin != "weir.example.org/audit" {
		t.Errorf("the sample settings mean %+v", s)
	}
	if _, err := readGrant(filepath.Join(samples, "grant.yaml")); err != nil {
		t.Error(err)
	}
}

func TestSettingsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		file    string
		environ []string
		code    string
	}{
		{"a name that is unknown", "tls: {crt: a.pem}", nil, "cli.bad-settings"},
		{"an unknown name in the environment", "", []string{"WEIR_TLS_CRT=a.pem"}, "cli.bad-settings"},
		{"a certificate without a key", "tls: {cert: a.pem}", nil, "cli.bad-settings"},
		{"a value of the wrong kind", "plaintext: perhaps", nil, "cli.bad-settings"},
		{"a program that is found anywhere", "vault: {program: kms}", nil, "cli.bad-settings"},
		{"no port", "listen: 127.0.0.1", nil, "cli.bad-settings"},
		{"an address that is none", "url: weir", nil, "cli.bad-settings"},
		{"an unknown name among the limits", "jobs: {operators: [{name: o, runing: 1}]}", nil, "cli.bad-settings"},
		{"a limit without a name", "jobs: {operators: [{running: 1}]}", nil, "cli.bad-settings"},
		{"two limits of one operator", "jobs: {operators: [{name: o, running: 1}, {name: o, queued: 1}]}", nil, "cli.bad-settings"},
		{"a time without a unit", "jobs: {timeout: 10}", nil, "cli.bad-settings"},
		{"a time without a unit of one operator", "jobs: {operators: [{name: o, cpu: 3600}]}", nil, "cli.bad-settings"},
		{"a time with a point and without a unit", "jobs: {lease: 1.5}", nil, "cli.bad-settings"},
		{"a time without a unit in the environment", "", []string{"WEIR_JOBS_TIMEOUT=10"}, "cli.bad-settings"},
		{"a name twice", "jobs: {timeout: 10m}\njobs: {timeout: 20m}", nil, "cli.bad-settings"},
		{"no YAML", "a: b: c", nil, "cli.bad-settings"},
		{"beyond this machine without TLS", "listen: 0.0.0.0:8440", nil, "cli.open-door"},
		{"everywhere without TLS", "listen: ':8440'", nil, "cli.open-door"},
		{"TLS done by something in front that is not named", "listen: 10.0.0.1:80\nplaintext: true", nil, "cli.proxy-unnamed"},
		{"reached by https without a certificate", "url: https://weir.example.org", nil, "cli.proxy-unnamed"},
		{"no proxy and one", "proxies: [none, 10.0.0.1]", nil, "cli.bad-settings"},
		{"a name that may be another machine's", "listen: weir.example.org:8440", nil, "cli.open-door"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := readSettings(settingsFile(t, c.file), c.environ)
			if err == nil || problem.Of(err).Code != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
	t.Run("a file that is not there", func(t *testing.T) {
		if _, err := readSettings(filepath.Join(t.TempDir(), "none.yaml"), nil); err == nil || problem.Of(err).Code != "cli.bad-settings" {
			t.Errorf("got %v", err)
		}
	})
}

func settingsFile(t *testing.T, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
