package policy

import (
	"encoding/json"
	"errors"
	"unicode"
	"unicode/utf8"

	"weir/internal/problem"
)

// Title is what a data set or a column is called for people: the same for everybody, or in each language. In a manifest it
// is a text, or {zh: …, en: …}.
type Title struct {
	Chinese string
	English string
}

// Plain is a title that is the same in both languages.
func Plain(text string) Title { return Title{Chinese: text, English: text} }

// In gives the title in a language, and the other one where it is not given in that.
func (t Title) In(lang problem.Lang) string {
	if lang == problem.Chinese && t.Chinese != "" || t.English == "" {
		return t.Chinese
	}
	return t.English
}

// titleInFull is how a title in two languages is written.
type titleInFull struct {
	Chinese string `yaml:"zh,omitempty" json:"zh,omitempty"`
	English string `yaml:"en,omitempty" json:"en,omitempty"`
}

func (t Title) written() any {
	if t.Chinese == t.English {
		return t.Chinese
	}
	return titleInFull(t)
}

// titleLimit is how many characters a title may have.
const titleLimit = 500

var errTitle = errors.New("a title is a text of at most 500 characters on one line, or {zh: …, en: …}")

func (t *Title) read(decode func(any) error) error {
	var text string
	if err := decode(&text); err == nil {
		*t = Plain(text)
	} else {
		var full titleInFull
		if err := decode(&full); err != nil || full == (titleInFull{}) {
			return errTitle
		}
		*t = Title(full)
	}
	return nil
}

// check refuses what does not fit on a line. What was taken in before is read as it is.
func (t Title) check() error {
	for _, text := range []string{t.Chinese, t.English} {
		if utf8.RuneCountInString(text) > titleLimit {
			return errTitle
		}
		for _, r := range text {
			if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
				return errTitle
			}
		}
	}
	return nil
}

// UnmarshalYAML reads either form of a manifest's.
func (t *Title) UnmarshalYAML(decode func(any) error) error {
	if err := t.read(decode); err != nil {
		return err
	}
	return t.check()
}

// MarshalYAML writes the shorter one that says it.
func (t Title) MarshalYAML() (any, error) { return t.written(), nil }

// UnmarshalJSON reads either form.
func (t *Title) UnmarshalJSON(text []byte) error {
	return t.read(func(into any) error { return json.Unmarshal(text, into) })
}

// MarshalJSON writes the shorter one that says it.
func (t Title) MarshalJSON() ([]byte, error) { return json.Marshal(t.written()) }

// IsZero reports whether there is no title.
func (t Title) IsZero() bool { return t == Title{} }
