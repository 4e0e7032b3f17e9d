package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"weir/sandbox/sealfs"
)

// deviceFD is the descriptor on which a child hands over the device of its mount.
const deviceFD = 5

// stage shows the granted file to a child, as the platform does to a job.
type stage struct {
	ours    int
	theirs  *os.File
	granted *os.File
	gone    <-chan struct{}
}

func newStage(path string) (*stage, error) {
	granted, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, granted.Close())
	}
	return &stage{ours: pair[0], theirs: os.NewFile(uintptr(pair[1]), "device"), granted: granted}, nil
}

// show takes the device and begins to answer. A child that ended before had a layer missing, which its status tells.
func (s *stage) show() error {
	s.theirs.Close()
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(s.ours, make([]byte, 1), rights, 0)
	if n == 0 || err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return errors.Join(errors.New("no device"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	shown := sealfs.File{Name: "0", Content: io.NewSectionReader(s.granted, 0, 1<<20), Size: int64(len("granted"))}
	s.gone, err = sealfs.Serve(os.NewFile(uintptr(fds[0]), "fuse"), []sealfs.File{shown}, func(string, error) {})
	return err
}

func (s *stage) close() {
	s.theirs.Close()
	unix.Close(s.ours)
	if s.gone != nil {
		<-s.gone
	}
	s.granted.Close()
}
