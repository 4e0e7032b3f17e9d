// Package problem is the one kind of error that a person ever reads.
//
// A problem has a stable code, a place in the analyst's text where there is one, and a message in Chinese and
// English that says what was wrong and what to do instead. Each room keeps its messages in a catalogue file of
// its own (problems.yaml) and registers it here.
//
// A problem must never carry data, the engine's own error text, a path or a host name: its arguments are names
// from a schema, codes and limits. What went wrong inside travels as the wrapped cause, which only the operation
// log reads; nothing in this package prints it.
package problem

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
)

// Lang is a language in which a person reads Weir.
type Lang string

// The languages in which every message exists.
const (
	Chinese Lang = "zh"
	English Lang = "en"
)

// Text is one message in one language.
type Text struct {
	Title  string `yaml:"title"`  // what kind of thing went wrong, the same for every occurrence
	Detail string `yaml:"detail"` // this occurrence; {name} stands for an argument, [[…]] is left out where one in it is not known
	Help   string `yaml:"help"`   // what to do instead
}

// Entry is one code of a catalogue.
type Entry struct {
	Status  int    `yaml:"status"` // HTTP status
	English Text   `yaml:"en"`
	Chinese Text   `yaml:"zh"`
	Example string `yaml:"example"` // SQL that gets this code, where it is a refusal of SQL
	Instead string `yaml:"instead"` // the nearest SQL that would pass
	Mode    string `yaml:"mode"`    // the mode of the grant under which, where it is not the same in all
	Yields  bool   `yaml:"yields"`  // where the cause is the machine's, that is what a person is told instead
}

// Position is a place in the analyst's text, counted from 1. The zero value means "no place".
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Problem is an error for a person.
type Problem struct {
	Code  string
	At    Position
	args  map[string]string
	said  map[Lang]map[string]string // arguments that are said in a language
	why   error
	wait  time.Duration
	parts []Part
}

// Part is one of several faults that are told at once, and how often it is there.
type Part struct {
	Problem *Problem
	Times   int64
}

var (
	mu        sync.RWMutex
	catalogue = map[string]Entry{}
)

// Register adds a room's catalogue. It panics on a message that lacks a language or a status, because a person
// would otherwise meet the hole; it is called from package variables, so a test run finds it.
func Register(text []byte) bool {
	entries := map[string]Entry{}
	if err := yaml.UnmarshalWithOptions(text, &entries, yaml.Strict()); err != nil {
		panic("problem catalogue: " + err.Error())
	}
	mu.Lock()
	defer mu.Unlock()
	for code, e := range entries {
		if _, twice := catalogue[code]; twice {
			panic("problem code registered twice: " + code)
		}
		for _, t := range []Text{e.English, e.Chinese} {
			if t.Title == "" || t.Detail == "" || t.Help == "" || e.Status < 400 {
				panic("problem code without status, title, detail or help in both languages: " + code)
			}
		}
		catalogue[code] = e
	}
	return true
}

// New makes a problem. args are pairs: a placeholder's name and its value. An unknown code is a mistake of ours
// and panics.
func New(code string, args ...string) *Problem {
	mu.RLock()
	_, known := catalogue[code]
	mu.RUnlock()
	if !known {
		panic("problem code without a message: " + code)
	}
	if len(args)%2 != 0 {
		panic("problem arguments are pairs: " + code)
	}
	p := &Problem{Code: code, args: make(map[string]string, len(args)/2)}
	for i := 0; i < len(args); i += 2 {
		p.args[args[i]] = args[i+1]
	}
	return p
}

// Because attaches the cause, for the operation log only.
func (p *Problem) Because(cause error) *Problem { p.why = cause; return p }

// After says how long to wait until trying again can succeed, where that is known.
func (p *Problem) After(wait time.Duration) *Problem { p.wait = wait; return p }

// Wait is what After said; 0 where it is not known.
func (p *Problem) Wait() time.Duration { return p.wait }

// Say gives an argument that reads differently in each language.
func (p *Problem) Say(name, english, chinese string) *Problem {
	if p.said == nil {
		p.said = map[Lang]map[string]string{English: {}, Chinese: {}}
	}
	p.said[English][name], p.said[Chinese][name] = english, chinese
	return p
}

// Place attaches a place in the analyst's text.
func (p *Problem) Place(at Position) *Problem { p.At = at; return p }

// With attaches the faults that this problem sums up. They follow its detail, each on a line of its own.
func (p *Problem) With(parts ...Part) *Problem { p.parts = parts; return p }

// Unwrap gives the cause to errors.Is and to the operation log.
func (p *Problem) Unwrap() error { return p.why }

// Error is the English message. It never includes the cause.
func (p *Problem) Error() string {
	t := p.In(English)
	return fmt.Sprintf("%s: %s %s", p.Code, t.Detail, t.Help)
}

// Status is the HTTP status that belongs to the code.
func (p *Problem) Status() int { return lookup(p.Code).Status }

// In gives the message in a language, with its arguments and its place filled in.
func (p *Problem) In(lang Lang) Text {
	e := lookup(p.Code)
	t := e.English
	place := fmt.Sprintf("Line %d, column %d: ", p.At.Line, p.At.Column)
	if lang != Chinese {
		lang = English
	} else {
		t = e.Chinese
		place = fmt.Sprintf("第 %d 行第 %d 列：", p.At.Line, p.At.Column)
	}
	t.Title, t.Detail, t.Help = p.fill(lang, t.Title), p.fill(lang, t.Detail), p.fill(lang, t.Help)
	if p.At.Line > 0 {
		t.Detail = place + t.Detail
	}
	for _, part := range p.parts {
		t.Detail += "\n- " + part.Problem.In(lang).Detail
		if part.Times > 1 {
			t.Detail += fmt.Sprintf(" (× %d)", part.Times)
		}
	}
	return t
}

// clause is a part of a message that is only said where each argument in it is known: [[ Did you mean {nearest}?]].
var clause = regexp.MustCompile(`\[\[(.*?)\]\]`)

var placeholder = regexp.MustCompile(`\{(\w+)\}`)

// fill puts the arguments into a message. They are put in once, so braces and brackets in an argument stay as they are.
func (p *Problem) fill(lang Lang, message string) string {
	argument := func(name string) (string, bool) {
		if said, ok := p.said[lang][name]; ok {
			return said, true
		}
		value, ok := p.args[name]
		return value, ok
	}
	message = clause.ReplaceAllStringFunc(message, func(whole string) string {
		inside := whole[2 : len(whole)-2]
		for _, named := range placeholder.FindAllStringSubmatch(inside, -1) {
			if value, _ := argument(named[1]); value == "" {
				return ""
			}
		}
		return inside
	})
	return placeholder.ReplaceAllStringFunc(message, func(braced string) string {
		if value, known := argument(braced[1 : len(braced)-1]); known {
			return value
		}
		return braced
	})
}

// Of finds the problem in an error. Any other error becomes "internal", which says nothing about itself, unless it comes
// of something about the machine that has words of its own.
func Of(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) && !lookup(p.Code).Yields {
		return p
	}
	mu.RLock()
	tell := machine
	mu.RUnlock()
	if code := tell(err); code != "" {
		return New(code).Because(err)
	}
	if p != nil {
		return p
	}
	return New("internal").Because(err)
}

// machine finds what is wrong with the machine in an error.
var machine = func(error) (code string) { return "" }

// Recognise has Of ask for the code of what is wrong with the machine, such as a full disk; an empty one is nothing. It is
// called from package variables of whoever knows the machine's errors.
func Recognise(code func(error) string) bool {
	mu.Lock()
	defer mu.Unlock()
	machine = code
	return true
}

// Type is the URI of a kind of problem (RFC 9457, section 3.1.1). It names the page docs/errors/CODE.md and is not
// meant to be fetched: a platform may stand where nothing else can be reached.
func Type(code string) string { return "urn:weir:problem:" + code }

// Codes lists every registered code in order, with its entry: for the documentation and the tests.
func Codes() ([]string, map[string]Entry) {
	mu.RLock()
	defer mu.RUnlock()
	all := maps.Clone(catalogue)
	return slices.Sorted(maps.Keys(all)), all
}

func lookup(code string) Entry {
	mu.RLock()
	defer mu.RUnlock()
	return catalogue[code]
}
