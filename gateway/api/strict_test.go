package api

import (
	"strings"
	"testing"
	"time"

	"weir/internal/problem"
)

// TestOneMeaning: what readers of JSON understand differently is refused, and its nearest neighbour is not.
func TestOneMeaning(t *testing.T) {
	for text, want := range map[string]string{
		`{"grant": "g", "sql": "SELECT 1"}`:                    "",
		`{"grant": "g", "sql": "SELECT 1", "grant": "h"}`:      "api.json-name-twice",
		`{"grant": "g", "Grant": "h"}`:                         "api.json-name-twice",
		`{"gr\u0061nt": "g", "grant": "h"}`:                    "api.json-name-twice",
		`{"a": {"x": 1}, "b": {"x": 1}}`:                       "",
		`{"a": [{"x": 1}, {"x": 1}]}`:                          "",
		`{"a": [{"x": 1, "x": 2}]}`:                            "api.json-name-twice",
		`{"a": 1} `:                                            "",
		`{"a": 1} {"a": 2}`:                                    "api.json-trailing",
		`{"a": 1} x`:                                           "api.json-trailing",
		`{"a": "\u0000"}`:                                      "api.nul",
		`{"a\u0000": 1}`:                                       "api.nul",
		`{"a": ["\\u0000"]}`:                                   "",
		strings.Repeat("[", 32) + strings.Repeat("]", 32):      "",
		strings.Repeat("[", 40) + strings.Repeat("]", 40):      "api.json-deep",
		strings.Repeat(`{"a":`, 200_000):                       "api.json-deep",
		`{"a": `:                                               "", // no JSON: the specification refuses it
		"\xef\xbb\xbf{}":                                       "",
		`{"a": 1, "a"`:                                         "api.json-name-twice",
		`[1, 2`:                                                "",
		"{\"a\": \"\x00\"}":                                    "", // neither
		`"` + strings.Repeat("x", 100) + `"`:                   "",
		`{"n": 123456789012345678901234567890, "m": 1e400000}`: "",
	} {
		got := ""
		if err := oneMeaning([]byte(text)); err != nil {
			got = problem.Of(err).Code
		}
		if got != want {
			t.Errorf("%.60s: %q, want %q", text, got, want)
		}
	}
}

// TestDates: what the platform could not count is refused, and not taken for no date at all.
func TestDates(t *testing.T) {
	for text, ok := range map[string]bool{
		"2026-11-30T00:00:00Z": true, "2026-11-30T00:00:00+08:00": true, "1970-01-01T00:00:00Z": true, "2261-12-31T23:59:59Z": true,
		"0001-01-01T00:00:00Z": false, "1969-12-31T23:59:59Z": false, "2262-01-01T00:00:00Z": false, "9999-12-31T23:59:59Z": false,
		"2026-02-30T00:00:00Z": false, "2026-13-01T00:00:00Z": false, "2026-11-30": false, "": false,
	} {
		if err := dated(time.RFC3339Nano)(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
