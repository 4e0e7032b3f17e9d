package guard_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// engineLibrary is the objects of the engine's static library that hold the names of its enumerations. No function of
// the engine tells them, so they are read where they stand: the library keeps, for each enumeration, a table of
// numbers and pointers to names, duckdb::Get…Values()::values.
type engineLibrary struct{ objects []*elf.File }

func openEngineLibrary(t testing.TB) *engineLibrary {
	t.Helper()
	module := "github.com/duckdb/duckdb-go-bindings/lib/linux-" + runtime.GOARCH
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "libduckdb_static.a"))
	if err != nil {
		t.Fatal(err)
	}
	l := &engineLibrary{}
	for member := range members(t, archive) {
		if !bytes.Contains(member, []byte("GetLogicalOperatorTypeValues")) {
			continue
		}
		object, err := elf.NewFile(bytes.NewReader(member))
		if err != nil {
			t.Fatal(err)
		}
		l.objects = append(l.objects, object)
	}
	return l
}

// members walks a Unix archive: before each member stands a header of 60 bytes, with its size in decimal.
func members(t testing.TB, archive []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		r := bytes.NewReader(archive[len("!<arch>\n"):])
		header := make([]byte, 60)
		for {
			if _, err := io.ReadFull(r, header); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			size, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			at := int64(len(archive)) - int64(r.Len())
			if bytes.HasPrefix(archive[at:], []byte(elf.ELFMAG)) && !yield(archive[at:at+size]) {
				return
			}
			if _, err := r.Seek(size+size%2, io.SeekCurrent); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// enumeration gives the names of one of the engine's enumerations, as its plans write them.
func (l *engineLibrary) enumeration(t testing.TB, name string) []string {
	t.Helper()
	function := "Get" + name + "Values"
	symbol := fmt.Sprintf("_ZZN6duckdb%d%sEvE6values", len(function), function)
	for _, object := range l.objects {
		symbols, err := object.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range symbols {
			if s.Name == symbol {
				return namesIn(t, object, symbols, s)
			}
		}
	}
	t.Fatalf("the engine has no enumeration %s", name)
	return nil
}

const (
	relocation = 24 // bytes of an Elf64_Rela: place, symbol and type, addend
	entry      = 16 // bytes of an entry of a table: a number, and a pointer to a name
)

// namesIn follows the pointers of a table. As long as nothing was linked they are relocations.
func namesIn(t testing.TB, object *elf.File, symbols []elf.Symbol, table elf.Symbol) []string {
	t.Helper()
	var names []string
	for _, section := range object.Sections {
		if section.Type != elf.SHT_RELA || elf.SectionIndex(section.Info) != table.Section {
			continue
		}
		content, err := section.Data()
		if err != nil {
			t.Fatal(err)
		}
		for r := content; len(r) >= relocation; r = r[relocation:] {
			at, info, addend := binary.LittleEndian.Uint64(r), binary.LittleEndian.Uint64(r[8:]), binary.LittleEndian.Uint64(r[16:])
			if at < table.Value || at >= table.Value+table.Size {
				continue
			}
			target := symbols[info>>32-1]
			text, err := object.Sections[target.Section].Data()
			if err != nil {
				t.Fatal(err)
			}
			name, _, ended := bytes.Cut(text[target.Value+addend:], []byte{0})
			if !ended {
				t.Fatal("a name has no end")
			}
			names = append(names, string(name))
		}
	}
	if uint64(len(names)) != table.Size/entry {
		t.Fatalf("%s: %d names in %d entries", table.Name, len(names), table.Size/entry)
	}
	return names
}
