package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// leaf is an entry as the tree holds it. It is written as one line of JSON: the fields in this order, empty ones
// left out, facts sorted by name, time in RFC 3339 with nanoseconds where there are any, in UTC, hashes in base64. There is one
// way to write a leaf; any other bytes are refused when it is read.
type leaf struct {
	Version int               `json:"v"`
	Time    string            `json:"at"`
	Kind    string            `json:"kind"`
	Actor   []byte            `json:"actor,omitempty"` // commitment
	Grant   string            `json:"grant,omitempty"`
	Job     string            `json:"job,omitempty"`
	Object  string            `json:"object,omitempty"`
	Facts   map[string]string `json:"facts,omitempty"`
	Payload []byte            `json:"payload,omitempty"` // commitment
}

const leafVersion = 1

// maxLeaf is what an entry bundle of c2sp.org/tlog-tiles can hold, in bytes.
const maxLeaf = 1<<16 - 1

const kindErased = "entry.erased"

func entryName(index int64) string { return fmt.Sprintf("entry/%d", index) }

var (
	kindPattern = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$`)
	factPattern = regexp.MustCompile(`^[a-z][a-z0-9_.-]*$`)
)

// check refuses what could not be written in the one way, or not be found again, or not be held by both databases.
func (e Event) check() error {
	if len(e.Kind) > 64 || !kindPattern.MatchString(e.Kind) {
		return errors.New("audit event: the kind is not of the form job.intent")
	}
	for field, value := range map[string]string{"actor": e.Actor, "grant": e.Grant.text, "job": e.Job.text, "object": e.Object.text} {
		if len(value) > 512 || !plain(value) {
			return fmt.Errorf("audit event %s: the %s is too long or holds control characters", e.Kind, field)
		}
	}
	for name, value := range e.Facts {
		if len(name) > 64 || !factPattern.MatchString(name) || !utf8.ValidString(value.text) {
			return fmt.Errorf("audit event %s: a fact has a name or a value that cannot be written", e.Kind)
		}
	}
	if len(e.Payload) > MaxPayload {
		return fmt.Errorf("audit event %s: the payload has %d bytes, more than %d", e.Kind, len(e.Payload), MaxPayload)
	}
	// The longest time and both commitments, so that the sequencer cannot meet a leaf that is too long.
	longest := e.leaf(time.Unix(0, 1<<62+1))
	longest.Actor, longest.Payload = make([]byte, sha256.Size), make([]byte, sha256.Size)
	text, err := longest.encode()
	if err != nil {
		return err
	}
	if len(text) > maxLeaf {
		return fmt.Errorf("audit event %s: the entry has %d bytes, more than %d", e.Kind, len(text), maxLeaf)
	}
	return nil
}

func plain(s string) bool { return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0 }

func (e Event) leaf(at time.Time) leaf {
	return leaf{
		Version: leafVersion, Time: at.UTC().Format(time.RFC3339Nano), Kind: e.Kind,
		Grant: e.Grant.text, Job: e.Job.text, Object: e.Object.text, Facts: e.Facts.texts(),
	}
}

// seal writes an event as the entry at an index. The private row is nil when there is nothing private.
func (e Event) seal(index int64, at time.Time) (entryRow, *privateRow, error) {
	l := e.leaf(at)
	var private *privateRow
	if e.Actor != "" || len(e.Payload) > 0 {
		private = &privateRow{Index: index}
	}
	if e.Actor != "" {
		private.Actor, private.ActorSalt = &e.Actor, salt()
		l.Actor = commit("actor", private.ActorSalt, []byte(e.Actor))
	}
	if len(e.Payload) > 0 {
		private.Payload, private.PayloadSalt = e.Payload, salt()
		l.Payload = commit("payload", private.PayloadSalt, e.Payload)
	}
	text, err := l.encode()
	if err != nil {
		return entryRow{}, nil, err
	}
	row := entryRow{Index: index, At: at.UnixNano(), Kind: e.Kind, Grant: l.Grant, Job: l.Job, Object: l.Object, Leaf: text}
	return row, private, nil
}

func salt() []byte {
	s := make([]byte, 32)
	rand.Read(s) // never fails, by its documentation
	return s
}

// commit hides a value and binds to it: without the salt nothing can be guessed from the hash, not even a name
// from a short list; with it there is only one value that fits.
func commit(label string, salt, value []byte) []byte {
	mac := hmac.New(sha256.New, salt)
	io.WriteString(mac, "weir audit "+label+"\x00")
	mac.Write(value)
	return mac.Sum(nil)
}

func (l leaf) encode() ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(l); err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

func decode(text []byte) (leaf, error) {
	var l leaf
	if err := json.Unmarshal(text, &l); err != nil {
		return l, errors.New("leaf is not JSON of an entry")
	}
	if l.Version != leafVersion {
		return l, fmt.Errorf("leaf has version %d, which is unknown", l.Version)
	}
	again, err := l.encode()
	if err != nil || !bytes.Equal(text, again) {
		return l, errors.New("leaf is not written in the canonical way")
	}
	return l, nil
}

// contradictions lists what does not fit between a leaf, the columns copied from it and its private row. Whether
// a missing private row was erased properly is not for this function to know: gone says that it is missing.
func (row entryRow) contradictions(private *privateRow) (l leaf, wrong []string, gone bool) {
	l, err := decode(row.Leaf)
	if err != nil {
		return l, []string{err.Error()}, false
	}
	at, err := time.Parse(time.RFC3339Nano, l.Time)
	if err != nil || at.UTC().Format(time.RFC3339Nano) != l.Time {
		wrong = append(wrong, "leaf has a malformed time")
	}
	copies := []struct {
		name string
		same bool
	}{
		{"time", at.UnixNano() == row.At}, {"kind", l.Kind == row.Kind}, {"grant", l.Grant == row.Grant},
		{"job", l.Job == row.Job}, {"object", l.Object == row.Object},
	}
	for _, c := range copies {
		if !c.same {
			wrong = append(wrong, c.name+" does not match its leaf")
		}
	}
	hasPrivate := l.Actor != nil || l.Payload != nil
	if private == nil {
		return l, wrong, hasPrivate
	}
	var actor []byte
	if private.Actor != nil {
		actor = []byte(*private.Actor)
	}
	wrong = append(wrong, opened("actor", l.Actor, private.ActorSalt, actor)...)
	wrong = append(wrong, opened("payload", l.Payload, private.PayloadSalt, private.Payload)...)
	if !hasPrivate {
		wrong = append(wrong, "has private data that its leaf does not know of")
	}
	return l, wrong, false
}

func opened(label string, commitment, salt, value []byte) []string {
	if commitment == nil && salt == nil && value == nil {
		return nil
	}
	if !hmac.Equal(commitment, commit(label, salt, value)) {
		return []string{label + " does not match its hash"}
	}
	return nil
}
