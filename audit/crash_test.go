package audit_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"golang.org/x/sys/unix"

	"weir/audit"
	"weir/internal/store"
	"weir/internal/store/storetest"
)

// child is what the test program does when it is started as a child of itself.
type child struct {
	Task   string // "append": until killed, printing each acknowledged index; "inspect": print what is found; "change": append with a change
	Call   int    // "change": before which call of the database the process kills itself
	Source string
	Keys   string
	Image  string // a file system to mount first, on the folder of Source
	Hasty  bool   // synchronous=NORMAL
}

const childVariable = "WEIR_AUDIT_TEST_CHILD"

func TestMain(m *testing.M) {
	task := os.Getenv(childVariable)
	if task == "" {
		os.Exit(m.Run())
	}
	var c child
	err := json.Unmarshal([]byte(task), &c)
	if err == nil {
		err = c.run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (c child) run(ctx context.Context) error {
	if c.Image != "" {
		// Nothing is written back in the background while the test lasts: what the device has, it was told to keep.
		mount := exec.Command("mount", "-o", "loop,commit=600", c.Image, filepath.Dir(c.Source))
		if out, err := mount.CombinedOutput(); err != nil {
			return fmt.Errorf("mount: %w: %s", err, out)
		}
	}
	db, err := c.open(ctx)
	if err != nil {
		return err
	}
	key, err := audit.LoadKey(c.Keys, origin)
	if err != nil {
		return err
	}
	if c.Task == "inspect" {
		return inspect(ctx, db, key)
	}
	opts := audit.Options{Origin: origin, Key: key}
	if c.Task == "change" {
		return c.change(ctx, db, opts)
	}
	if c.Hasty {
		opts = audit.Undurable(opts)
	}
	log, err := audit.Open(ctx, db, opts)
	if err != nil {
		return err
	}
	var output sync.Mutex
	for w := range 3 {
		go func() {
			for i := 0; ; i++ {
				r, err := log.Append(ctx, event(w+i))
				if err != nil {
					panic(err)
				}
				output.Lock()
				fmt.Println(r.Index)
				output.Unlock()
			}
		}()
	}
	select {} // until killed
}

func (c child) open(ctx context.Context) (*bun.DB, error) {
	if !c.Hasty {
		return store.Open(ctx, c.Source)
	}
	raw, err := sql.Open("sqlite3", "file:"+c.Source+"?_txlock=immediate&_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=10000")
	if err != nil {
		return nil, err
	}
	return bun.NewDB(raw, sqlitedialect.New()), nil
}

// findings is what a child that inspects a log prints.
type findings struct {
	Entries int64
	Faults  []string
	Error   string
}

func inspect(ctx context.Context, db *bun.DB, key audit.Key) error {
	policy, err := audit.Trust(origin, key.Public)
	if err != nil {
		return err
	}
	report, err := audit.Verify(ctx, db, audit.VerifyOptions{Policy: policy})
	found := findings{Entries: report.Entries}
	if err != nil {
		found = findings{Error: err.Error()}
	}
	for _, fault := range report.Faults {
		found.Faults = append(found.Faults, fault.String())
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// start starts this test program as a child. With an image it gets a mount namespace of its own, so that nothing
// stays mounted whatever becomes of it.
func (c child) start(t *testing.T) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	task, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+string(task))
	cmd.Stderr = t.Output()
	if c.Image != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

// acknowledged reads n acknowledged indexes, or all that come before the end.
func acknowledged(t *testing.T, out *bufio.Reader, n int) []int64 {
	t.Helper()
	var indexes []int64
	for n < 0 || len(indexes) < n {
		line, err := out.ReadString('\n')
		if err == io.EOF && n < 0 {
			return indexes // a line that was cut off was not told to anybody
		}
		if err != nil {
			t.Fatalf("the child ended after %d acknowledgements: %v", len(indexes), err)
		}
		index, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, index)
	}
	return indexes
}

func TestKilledProcessLosesNothing(t *testing.T) {
	storetest.EachSource(t, func(t *testing.T, source string) {
		keys := t.TempDir()
		total := int64(0)
		for range 3 {
			cmd, out := child{Task: "append", Source: source, Keys: keys}.start(t)
			indexes := acknowledged(t, out, 100)
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			indexes = append(indexes, acknowledged(t, out, -1)...)
			cmd.Wait()
			if first := slices.Min(indexes); first < total {
				t.Fatalf("index %d was acknowledged, and the log had %d entries before", first, total)
			}
			key, err := audit.LoadKey(keys, origin)
			if err != nil {
				t.Fatal(err)
			}
			report := sound(t, storetest.Open(t, source), audit.Options{Origin: origin, Key: key})
			if last := slices.Max(indexes); last >= report.Entries {
				t.Fatalf("entry %d was acknowledged, and the log has %d", last, report.Entries)
			}
			total = report.Entries
		}
	})
}

// TestPowerLoss takes away the power between two acknowledgements: it copies the image of the file system on which
// a process is appending, as the device has it at that moment, without what the kernel still keeps in memory, and
// looks at the log in the copy. With synchronous=FULL every acknowledged entry is there. The control with NORMAL,
// which passes every test that only kills processes, must lose some, or this test could not have failed.
//
// The device is taken to keep what it was given; one that loses its own cache although it was flushed is not simulated.
func TestPowerLoss(t *testing.T) {
	needLoopDevices(t)
	for _, c := range []struct {
		name  string
		hasty bool
	}{{"synchronous=FULL", false}, {"control: synchronous=NORMAL", true}} {
		t.Run(c.name, func(t *testing.T) {
			acknowledged, found := losePower(t, c.hasty)
			last := slices.Max(acknowledged)
			t.Logf("acknowledged up to entry %d, found %d entries %s %q", last, found.Entries, found.Error, found.Faults)
			lost := found.Error != "" || len(found.Faults) > 0 || found.Entries <= last
			if lost && !c.hasty {
				t.Error("acknowledged entries are lost")
			}
			if !lost && c.hasty {
				t.Error("the control lost nothing: this test proves nothing")
			}
		})
	}
}

func losePower(t *testing.T, hasty bool) ([]int64, findings) {
	t.Helper()
	dir, keys := t.TempDir(), t.TempDir()
	image, copied := filepath.Join(dir, "disk"), filepath.Join(dir, "disk-after")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	source := filepath.Join(t.TempDir(), "weir.sqlite")
	cmd, out := child{Task: "append", Source: source, Keys: keys, Image: image, Hasty: hasty}.start(t)
	indexes := acknowledged(t, out, 300)

	// The process stands still while the copy is made, so that the copy is of one moment.
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the child does not stop: %v, %v", status, err)
	}
	content, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	indexes = append(indexes, acknowledged(t, out, -1)...)
	cmd.Wait()

	inspector, answer := child{Task: "inspect", Source: source, Keys: keys, Image: copied}.start(t)
	var found findings
	if err := json.NewDecoder(answer).Decode(&found); err != nil {
		t.Fatal(err)
	}
	inspector.Wait()
	return indexes, found
}

func needLoopDevices(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: power loss needs root, to mount the image of a file system")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("NOT TESTED: power loss needs loop devices: %v", err)
	}
	for _, program := range []string{"mount", "mkfs.ext4"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED: power loss needs %s: %v", program, err)
		}
	}
}
