package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
	"weir/sandbox/sealfs"
)

// stage is where a worker hands over the device of the mount on which files are shown to it. It mounts in a mount namespace
// of its own; from then on what it reads is answered here. Both have a socket for that.
type stage struct {
	ours   *net.UnixConn
	theirs *os.File
}

// newStage prepares for a device. Where none is wanted it does nothing, and the worker has no mount.
func newStage(wanted bool) (*stage, error) {
	if !wanted {
		return &stage{}, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("show files: %w", err)
	}
	ours := os.NewFile(uintptr(pair[0]), "device")
	defer ours.Close()
	s := &stage{theirs: os.NewFile(uintptr(pair[1]), "device")}
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("show files: %w", err), s.theirs.Close())
	}
	s.ours = conn.(*net.UnixConn)
	return s, nil
}

// enter gives the worker its end, after the descriptors that it keeps: it is closed when the worker starts anew.
func (s *stage) enter(cell *isolate.Cell, files []*os.File) []*os.File {
	if s.ours == nil {
		return files
	}
	cell.Device = 3 + len(files)
	return append(files, s.theirs)
}

func (s *stage) close() error {
	if s.ours == nil {
		return nil
	}
	return errors.Join(s.ours.Close(), s.theirs.Close())
}

// receive waits for the device. A worker that ends without handing one over gives the reason.
func (s *stage) receive(p *process) error {
	if s.ours == nil {
		return nil
	}
	s.theirs.Close()
	defer s.ours.Close()
	err := s.ours.SetReadDeadline(time.Now().Add(handOverWall))
	if err == nil {
		p.device, err = receiveDevice(s.ours)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.kill(errHandOver)
	}
	if err != nil {
		return p.ended(err)
	}
	return nil
}

// show begins to answer for files, which the worker finds as isolate.Inside(0), … Nothing was asked for before, and nothing
// else can be shown to it later.
func (p *process) show(files []sealfs.File) (err error) {
	for i := range files {
		files[i].Name = strconv.Itoa(i)
	}
	device := p.takeDevice()
	if device == nil {
		return errNoDevice
	}
	p.shown, err = sealfs.Serve(device, files, func(name string, why error) { p.found(name, why) })
	return err
}

// takeDevice gives the device to one caller.
func (p *process) takeDevice() *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	device := p.device
	p.device = nil
	return device
}

// receiveDevice takes one descriptor from the worker. It ends when the worker does.
func receiveDevice(from *net.UnixConn) (*os.File, error) {
	word, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := from.ReadMsgUnix(word, rights)
	if err != nil {
		return nil, fmt.Errorf("show files: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(errNoDevice, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(errNoDevice, err)
	}
	return os.NewFile(uintptr(fds[0]), "fuse"), nil
}

// handOverWall is the time in which a worker must have handed its device over, which takes it milliseconds.
const handOverWall = 30 * time.Second

var (
	errHandOver = errors.New("killed: its device was not handed over in time")
	errNoDevice = errors.New("the worker handed over no device")
)

// found notes the first file that turned out to be broken, and ends the process: no result may come of it.
func (p *process) found(name string, why error) {
	p.mu.Lock()
	if p.broken == "" {
		p.broken = name
	}
	p.mu.Unlock()
	p.kill(fmt.Errorf("shown file %s: %w", name, why))
}

// brokenFile gives the place among the shown files of the first that turned out to be broken.
func (p *process) brokenFile() (place int, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	place, err := strconv.Atoi(p.broken)
	return place, err == nil
}
