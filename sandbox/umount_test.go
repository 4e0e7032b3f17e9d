package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/sandbox/sealfs"
)

// A file system that was mounted when workers started is gone when it is unmounted, though they still wait: a disk that
// somebody takes out then holds what was written to it.
func TestWaitingWorkersKeepNoFileSystem(t *testing.T) {
	cmd := task(t, "unmount", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// unmountWhileWaiting mounts a file system whose end can be seen, has workers of both kinds start, and unmounts it. The
// kernel ends the connection of a FUSE file system when nothing holds it any more.
func unmountWhileWaiting(ctx context.Context, arguments []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	var places []string
	var ends []<-chan struct{}
	// One stands below the root, the other below /dev, where a worker's own devices come from.
	for _, place := range []string{filepath.Join(arguments[0], "disk"), "/dev/shm"} {
		if err := os.MkdirAll(place, 0o700); err != nil {
			return err
		}
		ended, err := mountVisibly(place)
		if err != nil {
			return err
		}
		places, ends = append(places, place), append(ends, ended)
	}
	vault, err := openIn(ctx, arguments[0], taskKeys...)
	if err != nil {
		return err
	}
	planner := NewPlanner(worker, DefaultLimits).KeepWarm(1)
	defer planner.Close()
	workers := NewWorkers(worker, vault, DefaultLimits).KeepWarm(1)
	defer workers.Close()
	planner.warm.filler.Wait()
	workers.warm.filler.Wait()
	for i, place := range places {
		if err := unix.Unmount(place, 0); err != nil {
			return fmt.Errorf("unmount: %w", err)
		}
		select {
		case <-ends[i]:
		case <-time.After(20 * time.Second):
			return errors.New(place + " is still in use by a worker that waits")
		}
	}
	return nil
}

func mountVisibly(place string) (ended <-chan struct{}, err error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	if err := unix.Mount("weir", place, "fuse", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return sealfs.Serve(os.NewFile(uintptr(fd), "fuse"), nil, func(string, error) {})
}
