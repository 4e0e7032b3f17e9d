package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store"
	"weir/sandbox"
)

// What a query needs of the machine, at the least.
const (
	leastDisk        = 16 << 20        // bytes on the data folder's disk
	leastDescriptors = 64              // files that may still be opened
	mostApart        = 2 * time.Second // that a node's clock and the database's may differ
)

// lookedAt is how long an answer is good for: anybody may ask, and finding out writes to the disk.
const lookedAt = time.Second

// readiness tells whether the platform can take a query, and if not, why.
type readiness struct {
	folder string
	db     *bun.DB
	log    *audit.Log
	vault  *sandbox.Vault
	clock  func() time.Time

	mu   sync.Mutex
	at   time.Time
	last error
}

// ready asks again when the last answer is old.
func (r *readiness) ready(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.clock(); r.at.IsZero() || now.Sub(r.at) >= lookedAt || now.Before(r.at) {
		r.last = r.look(ctx)
		r.at = now
	}
	return r.last
}

func (r *readiness) look(ctx context.Context) error {
	for _, look := range []func(context.Context) error{r.descriptors, r.disk, r.store, r.vault.Sound, r.time} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *readiness) store(ctx context.Context) error {
	if err := r.db.PingContext(ctx); err != nil {
		return problem.New("platform.store-silent").Because(err)
	}
	_, err := r.log.Checkpoint(ctx)
	return err
}

// disk writes a file, which a disk that only says that it has room does not take.
func (r *readiness) disk(context.Context) error {
	var room unix.Statfs_t
	if err := unix.Statfs(r.folder, &room); err != nil {
		return badFolder(err)
	}
	if int64(room.Bavail)*room.Bsize < leastDisk {
		return problem.New("platform.disk-full")
	}
	f, err := os.CreateTemp(filepath.Join(r.folder, keysFolder), ".ready-*")
	if err != nil {
		return badFolder(err)
	}
	_, err = f.Write(make([]byte, 4<<10))
	return badFolder(errors.Join(err, f.Close(), os.Remove(f.Name())))
}

func (r *readiness) descriptors(context.Context) error {
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &most); err != nil {
		return err
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	if uint64(len(open))+leastDescriptors > most.Cur {
		return problem.New("platform.few-descriptors")
	}
	return nil
}

func (r *readiness) time(ctx context.Context) error { return sameTime(ctx, r.db, r.clock) }

// sameTime refuses a clock that differs from the database's. Nodes hold leases and tokens by their own clocks, and the
// database's is the one that all of them can see.
func sameTime(ctx context.Context, db *bun.DB, clock func() time.Time) error {
	apart, err := store.Apart(ctx, db, clock)
	if err != nil {
		return err
	}
	if apart.Abs() > mostApart {
		return problem.New("platform.clock", "apart", apart.Round(100*time.Millisecond).String(), "most", mostApart.String())
	}
	return nil
}

// badFolder gives what is wrong with the data folder its own words, unless it is its disk that has some.
func badFolder(err error) error {
	if err == nil || machineProblem(err) != "" {
		return err
	}
	return problem.New("platform.folder").Because(err)
}
