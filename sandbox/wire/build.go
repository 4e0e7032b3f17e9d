package wire

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
)

// Build says which build a program is of. The platform and its workers belong to one build: each knows what the
// other means by a message only then.
type Build struct {
	Words    string `json:"words"`    // a hash of this package as it was compiled, which says what the messages mean
	Revision string `json:"revision"` // of the source; empty where it was built without one
}

// revision is set by the linker, as `make build` has it.
var revision string

//go:embed *.go
var source embed.FS

// ThisBuild is the build of the program that asks.
func ThisBuild() Build {
	hash := sha256.New()
	files, _ := fs.Glob(source, "*.go") // the pattern is well-formed
	for _, name := range files {
		text, _ := source.ReadFile(name) // it was embedded
		hash.Write(text)
	}
	return Build{hex.EncodeToString(hash.Sum(nil)), revision}
}

// Same reports whether two programs are of one build. Where one of them does not know its revision, as in tests, the
// messages decide.
func (b Build) Same(other Build) bool {
	return b.Words == other.Words && (b.Revision == "" || other.Revision == "" || b.Revision == other.Revision)
}
