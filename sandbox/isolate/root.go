package isolate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// hostname is what a worker takes its machine for.
const hostname = "weir-worker"

// staging is where the new root is put together. It is the one folder that surely exists, since the first pass has
// used it, and it is covered in this mount namespace only.
const staging = "/proc"

// buildRoot makes a file system of its own the root: empty but for the granted files and, for a worker that may make
// files, a piece of memory for them. Everything else of the machine is unmounted, so there is no path to it.
func buildRoot(cell Cell) error {
	// Sources first: what is mounted next may cover them.
	var sources []source
	for i, path := range cell.Files {
		sources = append(sources, source{path: path, inside: Inside(i)})
	}
	device := -1
	if cell.Device != 0 {
		var err error
		if device, err = openAlone("/dev/fuse"); err != nil {
			return notShown(fmt.Errorf("open /dev/fuse: %w", err))
		}
		defer unix.Close(device)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for i := range sources {
		if err := sources[i].open(); err != nil {
			return fmt.Errorf("granted file %d: %w", i, err)
		}
	}
	if err := unix.Mount("weir", staging, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,size=64k"); err != nil {
		return fmt.Errorf("mount the root: %w", err)
	}
	for i, s := range sources {
		if err := s.attach(staging); err != nil {
			return fmt.Errorf("granted file %d: %w", i, err)
		}
	}
	if cell.Device != 0 {
		if err := show(staging+insideFiles, device, cell.Device); err != nil {
			return notShown(err)
		}
	}
	if cell.Scratch != 0 {
		if err := addMemory(staging+InsideFolder, cell.Scratch); err != nil {
			return fmt.Errorf("memory for files: %w", err)
		}
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, staging, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("make the root read-only: %w", err)
	}
	return changeRoot(staging)
}

// openOwn opens what a worker keeps: its program, and what stands for its input and output. Only a worker with mounts of
// its own can hold them apart from the root.
func openOwn(apart bool) (program, null int, err error) {
	if !apart {
		if program, err = unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0); err != nil {
			return -1, -1, err
		}
		null, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		return program, null, err
	}
	if program, err = alone("/proc/self/exe"); err != nil {
		return -1, -1, err
	}
	null, err = openAlone(os.DevNull)
	return program, null, err
}

// alone takes hold of a file in a mount that holds this file only.
//
// A worker keeps a few files of the machine open for as long as it lives: its program and its devices. Each keeps
// its mount. Had they been opened by their paths, that would be the old root or a part of it, and with it every
// mount below, since the kernel leaves the mounts of another user namespace joined when the old root is unmounted.
// A file system that was unmounted outside would then stay in use, unseen, until the last worker ended.
// Source: Linux, fs/namespace.c, disconnect_mount.
func alone(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open_tree: %w", err)
	}
	return fd, nil
}

// openAlone opens a device for reading and writing in a mount that holds this device only.
func openAlone(path string) (int, error) {
	place, err := alone(path)
	if err != nil {
		return -1, err
	}
	defer unix.Close(place)
	return unix.Open("/proc/self/fd/"+strconv.Itoa(place), unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// changeRoot makes a mount the root and lets go of the old one. Source: pivot_root(2), "pivot_root(".", ".")".
func changeRoot(to string) error {
	if err := unix.Chdir(to); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return unix.Chdir("/")
}

// show mounts what the platform shows, read-only, and hands the device of the mount over to it. The kernel wants the
// device opened by whom it is mounted by, so this is the worker's part; what is shown is the platform's.
// Source: Linux, Documentation/filesystems/fuse.rst.
func show(place string, device, socket int) error {
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", device)
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("weir", place, "fuse", flags, options); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(device), nil, 0); err != nil {
		return fmt.Errorf("hand over the device: %w", err)
	}
	return nil
}

// addMemory mounts a file system in memory with room for a few files.
func addMemory(place string, size int64) error {
	if err := os.Mkdir(place, 0o700); err != nil {
		return err
	}
	options := fmt.Sprintf("mode=0700,size=%d,nr_inodes=32", size)
	return unix.Mount("weir", place, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options)
}

// source is a file of the machine that the new root shows.
type source struct {
	path, inside string
	mount        int
}

// open takes hold of the file in a mount of its own, by a path without a symbolic link at its end.
func (s *source) open() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, s.path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	const attributes = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY
	s.mount = fd
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: attributes})
}

// attach shows it at its place in the new root.
func (s *source) attach(root string) error {
	place := root + s.inside
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(place, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o400)
	if err != nil {
		return err
	}
	f.Close()
	return unix.MoveMount(s.mount, "", unix.AT_FDCWD, place, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// verifyRoot checks that the root is a file system of ours that cannot be written to, without /proc.
func verifyRoot() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return err
	}
	if fs.Type != unix.TMPFS_MAGIC || fs.Flags&unix.ST_RDONLY == 0 {
		return errors.New("the root is not a read-only file system of its own")
	}
	for _, path := range []string{"/proc", "/dev", "/sys", "/etc"} {
		if err := unix.Access(path, unix.F_OK); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
			return errors.New("the root holds more than was granted")
		}
	}
	return nil
}
