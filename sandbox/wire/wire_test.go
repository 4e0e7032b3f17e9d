package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTrip(t *testing.T) {
	in := Reply{Table: &Table{
		Columns: []Column{{Name: "名<&>", Type: "HUGEINT"}},
		Rows:    [][]any{{json.Number("170141183460469231731687303715884105727")}, {nil}, {true}, {"\x00\"\n"}},
	}}
	var pipe bytes.Buffer
	if err := Send(&pipe, in, 1<<10); err != nil {
		t.Fatal(err)
	}
	var out Reply
	if err := Receive(&pipe, &out, 1<<10); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
	if err := Receive(&pipe, &out, 1<<10); err != io.EOF {
		t.Errorf("after the last frame: %v", err)
	}
}

func TestLimits(t *testing.T) {
	message := Request{Bind: &Bind{SQL: strings.Repeat("x", 100)}}
	var pipe bytes.Buffer
	if err := Send(&pipe, message, 1<<10); err != nil {
		t.Fatal(err)
	}
	size := int64(pipe.Len() - 4)
	if err := Send(io.Discard, message, size-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("sent more than allowed: %v", err)
	}
	if err := Send(io.Discard, message, size); err != nil {
		t.Errorf("could not send what is allowed: %v", err)
	}
	frame := pipe.Bytes()
	var got Request
	if err := Receive(bytes.NewReader(frame), &got, size-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("received more than allowed: %v", err)
	}
	if err := Receive(bytes.NewReader(frame), &got, size); err != nil {
		t.Errorf("could not receive what is allowed: %v", err)
	}
}

func TestReceiveRefuses(t *testing.T) {
	framed := func(text string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
	}
	cases := map[string]string{
		"half a header":  "\x00\x00",
		"half a frame":   "\x00\x00\x00\x09{}",
		"empty frame":    framed(""),
		"no JSON":        framed("x"),
		"two values":     framed("{}{}"),
		"unknown field":  framed(`{"other":1}`),
		"wrong type":     framed(`{"bind":1}`),
		"only a claim":   "\x00\x0f\xff\xff",
		"nested unknown": framed(`{"bind":{"sql":"x","more":1}}`),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			var got Request
			if err := Receive(strings.NewReader(text), &got, 1<<20); err == nil || err == io.EOF {
				t.Errorf("got %v", err)
			}
		})
	}
	var got Request
	if err := Receive(strings.NewReader(framed("{}")), &got, 1<<20); err != nil {
		t.Errorf("the nearest that is allowed: %v", err)
	}
	for text, allowed := range map[string]bool{
		`[[1,"a",true,null],[2]]`: true, `[]`: true, `[[]]`: true, `null`: true,
		`[[[1]]]`: false, `[[{}]]`: false, `[1]`: false, `{}`: false, `[[1]`: false, `[[1],null]`: false, `[[1],2]`: false, `[[1,]]`: false, `"x"`: false,
	} {
		var got Reply
		err := Receive(strings.NewReader(framed(`{"table":{"columns":[],"rows":`+text+`}}`)), &got, 1<<20)
		if (err == nil) != allowed {
			t.Errorf("rows %s: %v, %v", text, got.Table, err)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		var got Reply
		if Receive(bytes.NewReader(frame), &got, 1<<16) == nil && got.Table != nil {
			got.Table.Check()
		}
	})
}
