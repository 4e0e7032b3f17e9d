// Package sealfs shows files to one worker through the kernel's FUSE, so that it reads by a path what lies on no
// disk in the clear.
//
// The trust boundary is the mount: the worker made it in a mount namespace of its own and handed over its device, so
// nobody else on the machine has a path to what it shows. The kernel stands between: what arrives here is a request of
// its own for a place of a file, whatever the worker does. Files are fixed when it begins to answer, are read and never
// written, and the kernel keeps what was read for as long as the worker lives. The package must never decide what
// is shown, and knows neither keys nor data sets.
package sealfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// File is what the mount shows under a name.
type File struct {
	Name    string
	Content io.ReaderAt
	Size    int64
}

// largestRead is the most bytes that the kernel asks for at once. The engine reads blocks of 256 KiB.
const largestRead = 256 << 10

// forever is longer than any worker lives: nothing that a mount shows changes.
const forever = 24 * time.Hour

// Serve answers for a mount until it is gone, which it is when its worker has ended. It takes the device over. A
// file that cannot be read is reported to fault, besides the error that the reader sees; fault may be called
// from several goroutines.
func Serve(device *os.File, files []File, fault func(file string, err error)) (done <-chan struct{}, err error) {
	if err := checkDevice(device); err != nil {
		return nil, errors.Join(err, device.Close())
	}
	root := &folder{}
	options := &fs.Options{
		MountOptions: fuse.MountOptions{
			Name: "weir", MaxWrite: largestRead, MaxReadAhead: largestRead, DisableXAttrs: true,
			Logger: log.New(io.Discard, "", 0), // it would print names and places
		},
		RootStableAttr: &fs.StableAttr{Mode: fuse.S_IFDIR},
		EntryTimeout:   ptr(forever), AttrTimeout: ptr(forever), NegativeTimeout: ptr(forever),
		OnAdd: func(ctx context.Context) {
			for _, f := range files {
				root.AddChild(f.Name, root.NewPersistentInode(ctx, &node{File: f, fault: fault}, fs.StableAttr{Mode: fuse.S_IFREG}), false)
			}
		},
	}
	fd, err := unix.FcntlInt(device.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err = errors.Join(err, device.Close()); err != nil {
		return nil, fmt.Errorf("show files: %w", err)
	}
	// The library closes the descriptor when the mount is gone, or when it could not begin.
	server, err := fuse.NewServer(fs.NewNodeFS(root, options), fmt.Sprintf("/dev/fd/%d", fd), &options.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("show files: %w", err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		server.Serve()
	}()
	return gone, nil
}

func ptr[T any](v T) *T { return &v }

// fuseDevice is the number of /dev/fuse. Source: Linux, Documentation/admin-guide/devices.txt.
var fuseDevice = unix.Mkdev(10, 229)

func checkDevice(device *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFCHR || stat.Rdev != fuseDevice {
		return errors.New("what was handed over is no FUSE device")
	}
	return nil
}

// folder is the root of the mount. It can be looked into by name only.
type folder struct{ fs.Inode }

// Readdir keeps the names to those who know them.
func (*folder) Readdir(context.Context) (fs.DirStream, syscall.Errno) { return nil, syscall.EACCES }

// node is one file.
type node struct {
	fs.Inode
	File
	fault func(string, error)
}

// Getattr tells the length, and that the file may only be read.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = 0o400, uint64(n.Size)
	return 0
}

// Open allows reading. The kernel may keep what it has read, since it does not change.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&unix.O_ACCMODE != unix.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read gives what stands at a place, or an error and nothing.
func (n *node) Read(_ context.Context, _ fs.FileHandle, into []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	if at >= n.Size { // the kernel reads ahead
		return fuse.ReadResultData(nil), 0
	}
	into = into[:min(int64(len(into)), n.Size-at)]
	count, err := n.Content.ReadAt(into, at)
	if count < len(into) { // also where it was cut off meanwhile
		n.fault(n.Name, err)
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(into), 0
}
