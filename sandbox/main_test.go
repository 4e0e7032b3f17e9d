package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// worker is the real child, built once, or the one that WEIR_WORKER names.
var worker string

// testContext is for the process that TestPlatformDies kills, which has no test of its own.
var testContext = context.Background()

func TestMain(m *testing.M) {
	if executable := os.Getenv("WEIR_TEST_PLATFORM"); executable != "" {
		os.Exit(platform(executable))
	}
	if name := os.Getenv("WEIR_TEST_TASK"); name != "" {
		os.Exit(runTask(name))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if worker = os.Getenv("WEIR_WORKER"); worker != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "weir-worker-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // some tests are another user's
		panic(err)
	}
	worker = filepath.Join(dir, "weir-worker")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static -Wl,--no-warnings"`, "-o", worker, "weir/cmd/weir-worker")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Printf("build weir-worker: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
