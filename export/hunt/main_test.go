package hunt

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// worker is the real child, built once.
var worker string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if worker = os.Getenv("WEIR_WORKER"); worker != "" { // linking one takes longer than the tests
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "weir-worker-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	worker = filepath.Join(dir, "weir-worker")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static -Wl,--no-warnings"`, "-o", worker, "weir/cmd/weir-worker")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build weir-worker: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
