package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// uploadPrefix begins the name of each upload's own directory.
const uploadPrefix = "upload-"

// spool makes a directory for one upload, which only the platform's user can read. It is held by a lock for as long
// as its process lives, so that tidySpool can tell it from one that a crash left behind.
func (a *Acts) spool() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp(a.Spool, uploadPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := hold(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// tidySpool removes the uploads of processes that are gone: they hold data in the clear.
func tidySpool(spool string) error {
	left, err := filepath.Glob(filepath.Join(spool, uploadPrefix+"*"))
	if err != nil {
		return fmt.Errorf("tidy spool: %w", err)
	}
	for _, dir := range left {
		lock, err := hold(dir)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
			continue // somebody is at work there, or has just finished
		}
		if err != nil {
			return fmt.Errorf("tidy spool: %w", err)
		}
		if err := errors.Join(os.RemoveAll(dir), lock.Close()); err != nil {
			return fmt.Errorf("tidy spool: %w", err)
		}
	}
	return nil
}

func hold(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
