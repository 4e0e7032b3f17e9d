package sandbox

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"golang.org/x/sys/unix"
)

// aliasBomb is a text of aliases of aliases, each of which is ten of the one before.
func aliasBomb(levels int) string {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < levels; i++ {
		n := strconv.Itoa(i)
		before := "*a" + strconv.Itoa(i-1)
		text += "a" + n + ": &a" + n + " [" + strings.Repeat(before+", ", 9) + before + "]\n"
	}
	return text
}

func TestBoundedYAML(t *testing.T) {
	cases := []struct {
		name, text string
		ok         bool
		line       int
	}{
		{"a heading", "name: t\nprovider: Bureau\nfile: t.csv\n", true, 0},
		{"a mark of the order of bytes", "\uFEFFname: t\n", true, 0},
		{"aliases of aliases", aliasBomb(8), false, 1},
		{"an anchor that nobody uses", "name: &a t\n", false, 1},
		{"an alias without an anchor", "name: *a\n", false, 1},
		{"an ampersand in a text", "name: t\nprovider: R & D *x\n", true, 0},
		{"a tag", "name: t\nfile: !!binary aGk=\n", false, 2},
		{"an exclamation mark in a text", "name: t\nprovider: Go!\n", true, 0},
		{"a merge key", "name: t\n<<: {file: x}\n", false, 2},
		{"a directive", "%YAML 1.2\n---\nname: t\n", false, 1},
		{"a second document", "name: t\n---\nname: u\n", false, 2},
		{"a key of several words", "? [a, b]\n: c\n", false, 1},
		{"brackets eight deep", "x: " + strings.Repeat("[", 8) + strings.Repeat("]", 8), true, 0},
		{"brackets nine deep", "x: " + strings.Repeat("[", 9) + strings.Repeat("]", 9), false, 1},
		{"lists nine deep", "x:\n" + strings.Repeat("- ", 9) + "a\n", false, 2},
		{"a list of nine", "x:\n" + strings.Repeat("- a\n", 9), true, 0},
		{"indented too far", "x:\n" + strings.Repeat(" ", 65) + "y: 1\n", false, 2},
		{"as long as may be", "name: t\n#" + strings.Repeat("x", MaxManifest-9), true, 0},
		{"longer", "name: t\n#" + strings.Repeat("x", MaxManifest-8), false, 0},
		{"too many words", "x: [" + strings.Repeat("1,", maxTokens/2) + "1]", false, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var head Heading
			err := decodeYAML([]byte(c.text), &head)
			var fault *yamlFault
			switch {
			case c.ok && err != nil:
				t.Fatal(err)
			case !c.ok && !errors.As(err, &fault):
				t.Fatalf("read as %+v, %v", head, err)
			case !c.ok && fault.at.Line != c.line:
				t.Errorf("at line %d: %v", fault.at.Line, err)
			}
		})
	}
}

// FuzzManifest holds the time that a manifest takes to its size, whatever is in it. It counts the processor time of this
// thread, so other work on the machine does not matter.
func FuzzManifest(f *testing.F) {
	for _, seed := range []string{
		"name: t\ncolumns:\n  - {name: c0, type: int, class: quasi}\n", "[", "{", "- ", "? ", "a: {", "k: 1\n", "\"", "'", "|\n x\n", "-\n", "#\n",
		":", "a: b\n ", "&a ", "*a ", "!", "\t", "a:\n a:\n  a:\n   - b\n", "\\", "%", "---\n", "é: 中\n", "\r", "1e9: .nan\n", "x: >-\n  y\n",
	} {
		f.Add(seed, uint16(1))
		f.Add(seed, uint16(60_000))
	}
	f.Add(aliasBomb(8), uint16(1))
	f.Fuzz(func(t *testing.T, part string, times uint16) {
		if part == "" {
			return
		}
		text := strings.Repeat(part, min(int(times), MaxManifest/len(part)))
		if len(text) > MaxManifest {
			text = text[:MaxManifest]
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		before := processorTime(t)
		var m manifest
		_ = decodeYAML([]byte(text), &m, yaml.Strict())
		if took, most := processorTime(t)-before, 100*time.Millisecond+time.Duration(len(text))*20*time.Microsecond; took > most {
			t.Errorf("%d bytes took %v: %.60q", len(text), took, text)
		}
	})
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
