package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/store"
	"weir/policy"
	"weir/sandbox/seal"
	"weir/sandbox/wire"
)

// A task is what a process of its own does for a test: this program, started with WEIR_TEST_TASK.
var tasks = map[string]func(ctx context.Context, arguments []string) error{
	"change": changeUntilKilled, "fuse": withOpenFUSE, "read": takeInAndRead, "shown": mountThenRun, "unmount": unmountWhileWaiting,
}

// runTask does a task and gives the exit status.
func runTask(name string) int {
	worker = os.Getenv("WEIR_WORKER")
	if err := tasks[name](context.Background(), strings.Fields(os.Getenv("WEIR_TEST_ARGUMENTS"))); err != nil {
		fmt.Println(cause(err))
		return 1
	}
	return 0
}

// task describes a process that does a task. It is this program, where anybody may run it.
func task(t *testing.T, name string, arguments ...string) *exec.Cmd {
	t.Helper()
	return taskOf(program(t), name, arguments...)
}

func taskOf(program, name string, arguments ...string) *exec.Cmd {
	cmd := exec.Command(program)
	cmd.Env = []string{"WEIR_TEST_TASK=" + name, "WEIR_TEST_ARGUMENTS=" + strings.Join(arguments, " "), "WEIR_WORKER=" + worker}
	return cmd
}

// program copies this program to where other users may run it.
func program(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-test-") // and not T.TempDir, which only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	path := filepath.Join(dir, "task")
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, self)
	if err := errors.Join(err, to.Close(), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

// openIn opens the vault of a folder by itself.
func openIn(ctx context.Context, dir string, masters ...seal.Key) (*Vault, error) {
	db, err := store.Open(ctx, filepath.Join(dir, "weir.db"))
	if err != nil {
		return nil, err
	}
	return OpenVault(ctx, filepath.Join(dir, "vault"), db, worker, seal.Masters(masters))
}

// taskKeys are the master keys of the vaults that tasks change.
var taskKeys = []seal.Key{{1}, {2}}

// changeUntilKilled changes a vault and is killed before the n-th step: a folder, what to do, and n.
func changeUntilKilled(ctx context.Context, arguments []string) error {
	masters := taskKeys[:1]
	if arguments[1] == "rewrap" {
		masters = []seal.Key{taskKeys[1], taskKeys[0]}
	}
	v, err := openIn(ctx, arguments[0], masters...)
	if err != nil {
		return err
	}
	w, err := OpenWorkspaces(ctx, filepath.Join(arguments[0], "workspaces"), v)
	if err != nil {
		return err
	}
	n := 0
	v.step = func(string) error {
		if fmt.Sprint(n) == arguments[2] {
			unix.Kill(unix.Getpid(), unix.SIGKILL)
			select {}
		}
		n++
		return nil
	}
	switch arguments[1] {
	case "import":
		_, err = v.Import(ctx, "testdata/people.yaml")
	case "reseal":
		_, err = v.Reseal(ctx, "people")
	case "rewrap":
		_, err = v.RewrapKeys(ctx)
	case "keep":
		var s *Session
		if s, err = NewWorkers(worker, v, DefaultLimits).StartKeeping(ctx, "job", room, nil); err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Keep(ctx, Query{SQL: "SELECT 1 AS x"}, Keeping{Owner: OfGrant("g-1"), Name: "t", Quota: quota})
	case "delete":
		_, err = w.Delete(ctx, OfGrant("g-1"))
	}
	return err
}

// A process that changes the vault is killed before each of its steps in turn. What is there afterwards is the old
// state or the new one, whole, and nothing else.
func TestKilledAtEachStep(t *testing.T) {
	dir := t.TempDir()
	change := program(t)
	v, err := openIn(t.Context(), dir, taskKeys[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Import(t.Context(), "testdata/people.yaml"); err != nil {
		t.Fatal(cause(err))
	}
	v.db.Close()
	for _, what := range []string{"import", "reseal", "keep", "delete", "rewrap"} {
		t.Run(what, func(t *testing.T) {
			for n := 0; ; n++ {
				out, err := taskOf(change, "change", dir, what, fmt.Sprint(n)).CombinedOutput()
				var exit *exec.ExitError
				killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
				if err != nil && !killed {
					t.Fatalf("step %d: %v\n%s", n, err, out)
				}
				mustBeWhole(t, dir)
				if !killed {
					if n < 2 {
						t.Errorf("only %d steps", n)
					}
					break
				}
			}
		})
	}
}

// mustBeWhole opens what a killed process left with both keys and reads all of it.
func mustBeWhole(t *testing.T, dir string) {
	t.Helper()
	v, err := openIn(t.Context(), dir, taskKeys...)
	if err != nil {
		t.Fatal(cause(err))
	}
	defer v.db.Close()
	w, err := OpenWorkspaces(t.Context(), filepath.Join(dir, "workspaces"), v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Check(t.Context()); err != nil {
		t.Error(cause(err))
	}
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := 1 // the data set's folder
	for _, row := range rows {
		want += 2
		if _, err := os.Stat(filepath.Join(v.place(row.Name, row.Version), dataFile(row.Sealing))); err != nil {
			t.Error(err)
		}
	}
	if found := left(t, v); len(found) != want {
		t.Errorf("left %q", found)
	}
	kept, err := w.List(t.Context(), OfGrant("g-1"))
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, w, kept...)
	for _, k := range kept {
		if file, err := v.openKept(t.Context(), k); err != nil {
			t.Error(cause(err))
		} else {
			file.Close()
		}
	}
}

// shownScript is script for a worker that is shown a file: it mounts as it should, and is taken over then.
func shownScript(t *testing.T, program, text string) string {
	t.Helper()
	dir := t.TempDir()
	body := filepath.Join(dir, "body")
	if err := errors.Join(os.WriteFile(body, []byte(text), 0o600), os.Mkdir(filepath.Join(dir, "mount"), 0o700)); err != nil {
		t.Fatal(err)
	}
	return script(t, fmt.Sprintf("export WEIR_TEST_TASK=shown WEIR_TEST_ARGUMENTS='%s %s'\nexec %s\n", filepath.Join(dir, "mount"), body, program))
}

// mountThenRun mounts what the platform shows at a place, hands the device over and becomes a shell that runs a script.
func mountThenRun(_ context.Context, arguments []string) error {
	const socket = wire.ReplyFD + 1
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device)
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("weir", arguments[0], "fuse", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, options),
		unix.Sendmsg(socket, []byte{0}, unix.UnixRights(device), nil, 0),
		unix.Close(socket),
	); err != nil {
		return err
	}
	return syscall.Exec("/bin/sh", []string{"sh", arguments[1]}, []string{"PATH=/usr/bin:/bin"})
}

// nobody is an ordinary user that every Debian machine has.
const nobody = 65534

// An ordinary user takes in, keeps and reads sealed data as root does.
func TestOrdinaryUser(t *testing.T) {
	dir, err := os.MkdirTemp("", "weir-ordinary-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := task(t, "read", dir)
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"people.csv", "people.yaml"} {
			content, err := os.ReadFile(filepath.Join("testdata", name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), content, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		cmd = task(t, "fuse", dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// withOpenFUSE makes /dev/fuse what udev would make it, for itself only, and goes on as an ordinary user. It has a
// mount namespace of its own.
func withOpenFUSE(_ context.Context, arguments []string) error {
	node := filepath.Join(arguments[0], "fuse")
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))),
		os.Chmod(node, 0o666),
		unix.Mount(node, "/dev/fuse", "", unix.MS_BIND, ""),
	); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := taskOf(self, "read", arguments...)
	cmd.Dir = arguments[0]
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// takeInAndRead goes the whole way in a folder that holds people.yaml.
func takeInAndRead(ctx context.Context, arguments []string) error {
	manifest := "testdata/people.yaml"
	if _, err := os.Stat("people.yaml"); err == nil {
		manifest = "people.yaml"
	}
	v, err := openIn(ctx, arguments[0], taskKeys...)
	if err != nil {
		return err
	}
	if _, err := OpenWorkspaces(ctx, filepath.Join(arguments[0], "workspaces"), v); err != nil {
		return err
	}
	if err := CheckConfinement(worker); err != nil {
		return err
	}
	d, err := v.Import(ctx, manifest)
	if err != nil {
		return err
	}
	s, err := NewWorkers(worker, v, DefaultLimits).StartKeeping(ctx, "job", room, []policy.Dataset{d})
	if err != nil {
		return err
	}
	defer s.Close()
	kept, err := s.Keep(ctx, Query{SQL: `SELECT income FROM "ds_people"."main"."data"`}, Keeping{Owner: OfGrant("g-1"), Name: "t", Quota: quota})
	if err != nil {
		return err
	}
	workers := NewWorkers(worker, v, DefaultLimits).KeepWarm(1)
	defer workers.Close()
	workers.warm.filler.Wait()
	reader, err := workers.Start(ctx, "job", []policy.Dataset{d}, kept)
	if err != nil {
		return err
	}
	defer reader.Close()
	got, err := reader.Query(ctx, Query{SQL: `SELECT (SELECT count(*) FROM kept_t.main.data) + (SELECT count(*) FROM "ds_people"."main"."data")`})
	if err != nil {
		return err
	}
	if n := fmt.Sprint(got.Rows[0][0]); n != "400" {
		return fmt.Errorf("counted %s as user %d", n, os.Geteuid())
	}
	if used := reader.Close(); used.Read == 0 || reader.process.left != nil {
		return fmt.Errorf("accounted %+v: %w", used, reader.process.left)
	}
	return nil
}
