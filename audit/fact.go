package audit

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/problem"
)

// Fact is a text that may stand in the tree, in clear and for ever: it was made or checked by the platform.
//
// What somebody typed is no fact. It can name a person, and the tree never forgets; it belongs into the payload, which
// can be erased. So a Fact is only made by the functions of this file, and none of them but Registered takes a text
// that a caller could have chosen.
type Fact struct{ text string }

// Facts are facts by name.
type Facts map[string]Fact

// constant is a text that stands in our own code: nothing but a constant expression converts to it outside of this
// package.
type constant string

// Word is a word of our own.
func Word(word constant) Fact { return Fact{string(word)} }

// Number is a count, a limit or a place.
func Number[N ~int | ~int32 | ~int64](n N) Fact { return Fact{strconv.FormatInt(int64(n), 10)} }

// Code is the code of a failure, which stands in a catalogue of messages.
func Code(failure error) Fact { return Fact{problem.Of(failure).Code} }

// OneOf is a word out of a closed list. Any other is not written down.
func OneOf[T ~string](word T, list ...T) Fact {
	if !slices.Contains(list, word) {
		return Fact{"unknown"}
	}
	return Fact{string(word)}
}

// Day is a date.
func Day(t time.Time) Fact { return Fact{t.Format(time.DateOnly)} }

var hexadecimal = regexp.MustCompile(`^[0-9a-f]{32,128}$`)

// Digest is a cryptographic hash, in hexadecimal digits.
func Digest(digest string) Fact {
	if !hexadecimal.MatchString(digest) {
		return Fact{"unknown"}
	}
	return Fact{digest}
}

// Registered is the name of something that was found in a register of the platform under exactly this name. It is the
// one function that believes its caller: testdata/registered.txt lists every call of it with its reason, and a test
// fails on any other.
func Registered(name string) Fact { return Fact{name} }

// Format puts facts together. Its verbs are all %s.
func Format(format constant, facts ...Fact) Fact {
	texts := make([]any, len(facts))
	for i, fact := range facts {
		texts[i] = fact.text
	}
	return Fact{fmt.Sprintf(string(format), texts...)}
}

// List puts facts one after the other, sorted.
func List(facts ...Fact) Fact {
	texts := make([]string, len(facts))
	for i, fact := range facts {
		texts[i] = fact.text
	}
	slices.Sort(texts)
	return Fact{strings.Join(texts, ",")}
}

func (f Fact) String() string { return f.text }

// texts are facts as a leaf holds them.
func (f Facts) texts() map[string]string {
	if len(f) == 0 {
		return nil
	}
	texts := make(map[string]string, len(f))
	for name, fact := range f {
		texts[name] = fact.text
	}
	return texts
}
