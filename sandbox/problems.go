package sandbox

import (
	_ "embed" // the messages
	"unicode"

	"weir/internal/problem"
)

//go:embed problems.yaml
var messages []byte

var _ = problem.Register(messages)

// plain shortens a name that a person gave to what a message may hold: one line, 64 characters.
func plain(name string) string {
	var kept []rune
	for _, r := range name {
		if len(kept) == 64 {
			break
		}
		if unicode.IsPrint(r) {
			kept = append(kept, r)
		}
	}
	return string(kept)
}
