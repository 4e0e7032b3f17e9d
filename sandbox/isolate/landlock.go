package isolate

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The versions of Landlock. Below the least, a process could shorten files that it may only read. Above, what the
// kernel knows more is used: TCP from 4, devices from 5, signals and abstract sockets from 6.
// Source: Linux, Documentation/userspace-api/landlock.rst.
const (
	LeastLandlock  = 3
	newestLandlock = 6
)

// LandlockVersion asks the kernel which version it has. An error means none.
func LandlockVersion() (int, error) {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(version), nil
}

// Every right of version 3, and the rights in the memory that a worker may make files in.
const (
	rights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	rightsInFolder = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// ruleset is the size of the attributes that each version knows; the kernel refuses more.
func ruleset(version int) (unix.LandlockRulesetAttr, uintptr) {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rights}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	if version >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		size += unsafe.Sizeof(attr.Scoped)
	}
	return attr, size
}

// landlock leaves the granted files to be read, the memory for files to be written to, and the program to be started once
// more.
func landlock(cell Cell, program int) error {
	version, err := LandlockVersion()
	if err != nil {
		return fmt.Errorf("the kernel has no Landlock: %w", err)
	}
	if version < LeastLandlock {
		return fmt.Errorf("the kernel has version %d of Landlock, %d is needed", version, LeastLandlock)
	}
	attr, size := ruleset(min(version, newestLandlock))
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("create ruleset: %w", errno)
	}
	rules := int(fd)
	defer unix.Close(rules)
	if err := allow(rules, program, unix.LANDLOCK_ACCESS_FS_EXECUTE|unix.LANDLOCK_ACCESS_FS_READ_FILE); err != nil {
		return err
	}
	for i, path := range cell.Files {
		if cell.Layers.Has(Root) {
			path = Inside(i)
		}
		if err := allowPath(rules, path, unix.LANDLOCK_ACCESS_FS_READ_FILE); err != nil {
			return fmt.Errorf("granted file %d: %w", i, err)
		}
	}
	if cell.Device != 0 {
		if err := allowPath(rules, insideFiles, unix.LANDLOCK_ACCESS_FS_READ_FILE); err != nil {
			return fmt.Errorf("shown files: %w", err)
		}
	}
	if cell.Scratch != 0 {
		if err := allowPath(rules, InsideFolder, rightsInFolder); err != nil {
			return fmt.Errorf("memory for files: %w", err)
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return fmt.Errorf("restrict: %w", errno)
	}
	return nil
}

func allowPath(rules int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return allow(rules, fd, access)
}

func allow(rules, fd int, access uint64) error {
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("add rule: %w", errno)
	}
	return nil
}

// verifyLandlock tries what the owner of the root may do unless Landlock refuses it.
func verifyLandlock() error {
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	if !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("the root can be listed: %w", errors.Join(err))
	}
	return nil
}
