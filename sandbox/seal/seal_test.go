package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"weir/sandbox/seal"
)

// chunk is a sealed chunk of an age file.
const chunk = 64<<10 + 16

func content(size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func sealed(t testing.TB, plain []byte, k seal.Key, p seal.Purpose) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seal.Writer(&out, k, p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readAll reads a sealed file from its beginning.
func readAll(file []byte, k seal.Key, p seal.Purpose) ([]byte, error) {
	r, err := seal.Open(bytes.NewReader(file), int64(len(file)), k, p)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

func TestRoundTrip(t *testing.T) {
	key := seal.NewKey()
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			plain := content(size)
			file := sealed(t, plain, key, "a/1")
			got, err := readAll(file, key, "a/1")
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("read %d bytes, %v", len(got), err)
			}
			if size > 32 && bytes.Contains(file, plain[:32]) {
				t.Error("the content is in the clear")
			}
			r, err := seal.Open(bytes.NewReader(file), int64(len(file)), key, "a/1")
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				at := rand.IntN(size + 1)
				part := make([]byte, rand.IntN(size-at+1))
				if n, err := r.ReadAt(part, int64(at)); (err != nil && err != io.EOF) || n != len(part) || !bytes.Equal(part, plain[at:at+n]) {
					t.Fatalf("%d bytes at %d: %d, %v", len(part), at, n, err)
				}
			}
		})
	}
}

// What is not exactly the file that was sealed with this key for this purpose is refused, when it is opened or when
// the place is read, and never gives a byte.
func TestBroken(t *testing.T) {
	key, other := seal.NewKey(), seal.NewKey()
	plain := content(300_000)
	file := sealed(t, plain, key, "a/1")
	head := len(file) - 300_000 - 5*16
	place := func(b []byte, n int) []byte { return b[head+n*chunk : head+(n+1)*chunk] }
	cases := []struct {
		name  string
		key   seal.Key
		p     seal.Purpose
		spoil func([]byte) []byte
		late  bool // seen when the place is read
	}{
		{name: "another key", key: other, p: "a/1"},
		{name: "another name", key: key, p: "b/1"},
		{name: "another version", key: key, p: "a/2"},
		{name: "empty", key: key, p: "a/1", spoil: func([]byte) []byte { return nil }},
		{name: "a bit in the header", key: key, p: "a/1", spoil: func(b []byte) []byte { b[40] ^= 1; return b }},
		{name: "a byte short", key: key, p: "a/1", spoil: func(b []byte) []byte { return b[:len(b)-1] }},
		{name: "a byte long", key: key, p: "a/1", spoil: func(b []byte) []byte { return append(b, 0) }},
		{name: "a chunk short", key: key, p: "a/1", spoil: func(b []byte) []byte { return b[:head+4*chunk] }},
		{name: "a chunk twice", key: key, p: "a/1", spoil: func(b []byte) []byte { return slices.Insert(b, head, place(b, 0)...) }},
		{name: "a bit in the last chunk", key: key, p: "a/1", spoil: func(b []byte) []byte { b[len(b)-20] ^= 1; return b }},
		{name: "a bit in the first chunk", key: key, p: "a/1", late: true, spoil: func(b []byte) []byte { b[head] ^= 1; return b }},
		{name: "a bit in a tag", key: key, p: "a/1", late: true, spoil: func(b []byte) []byte { b[head+chunk-1] ^= 1; return b }},
		{name: "two chunks in each other's place", key: key, p: "a/1", late: true, spoil: func(b []byte) []byte {
			first := slices.Clone(place(b, 0))
			copy(place(b, 0), place(b, 1))
			copy(place(b, 1), first)
			return b
		}},
		{name: "a chunk of another file", key: key, p: "a/1", late: true, spoil: func(b []byte) []byte {
			copy(place(b, 0), place(sealed(t, plain, key, "a/1"), 0))
			return b
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spoilt := slices.Clone(file)
			if c.spoil != nil {
				spoilt = c.spoil(spoilt)
			}
			r, err := seal.Open(bytes.NewReader(spoilt), int64(len(spoilt)), c.key, c.p)
			if !c.late {
				if !errors.Is(err, seal.ErrBroken) {
					t.Errorf("opened: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			part := make([]byte, 100)
			if n, err := r.ReadAt(part, 10); !errors.Is(err, seal.ErrBroken) || n != 0 || !bytes.Equal(part, make([]byte, 100)) {
				t.Errorf("gave %d bytes, %v", n, err)
			}
			if n, err := r.ReadAt(part, 3*64<<10); n != 100 || err != nil { // a chunk beside it
				t.Errorf("gave %d bytes, %v", n, err)
			}
		})
	}
}

func TestMasters(t *testing.T) {
	old, fresh := seal.NewKey(), seal.NewKey()
	ctx, secret := context.Background(), []byte("a data key")
	wrapped, err := seal.Masters{old}.Wrap(ctx, secret, "a/1")
	if err != nil {
		t.Fatal(err)
	}
	both, id := seal.Masters{fresh, old}, seal.Masters{old}.KeyID()
	if got, err := both.Unwrap(ctx, id, wrapped, "a/1"); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%q, %v", got, err)
	}
	if both.KeyID() == id || both.KeyID() != (seal.Masters{fresh}).KeyID() {
		t.Error("the first key is not the one that is used")
	}
	if _, err := both.Unwrap(ctx, id, wrapped, "a/2"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("for another purpose: %v", err)
	}
	if _, err := (seal.Masters{fresh}).Unwrap(ctx, id, wrapped, "a/1"); !errors.Is(err, seal.ErrUnknownMaster) {
		t.Errorf("without the old key: %v", err)
	}
	wrapped[len(wrapped)-1] ^= 1
	if _, err := both.Unwrap(ctx, id, wrapped, "a/1"); !errors.Is(err, seal.ErrBroken) {
		t.Errorf("altered: %v", err)
	}
}

// A key is read as it is written, and does not show where it is printed by mistake.
func TestKeyText(t *testing.T) {
	key := seal.NewKey()
	if got, err := seal.ParseKey(key.Hex()); err != nil || got != key {
		t.Error(got, err)
	}
	for _, text := range []string{"", "00", key.Hex() + "00", strings.Repeat("g", 64)} {
		if _, err := seal.ParseKey(text); err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, format := range []string{"%v", "%s", "%#v", "%+v"} {
		if strings.Contains(fmt.Sprintf(format, key), key.Hex()[:16]) {
			t.Errorf("%s shows the key", format)
		}
	}
}
