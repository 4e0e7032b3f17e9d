package sandbox

import (
	"context"
	"sync"
)

// pool keeps processes that wait for work. Each is handed out once and never comes back; another is started when one
// that was handed out, or started for want of one, has ended, so that starting does not compete with the job that
// is under way. What waits is blocked in a read and takes no processor time; it dies with the pool, and with the platform
// like every worker. What waits holds nothing yet, and what it is given goes through a pipe or a mount that it has anyway,
// so that waiting loosens nothing that confines it.
type pool struct {
	size   int
	start  func(context.Context) (*process, error)
	ctx    context.Context // the pool's life
	cancel context.CancelFunc
	filler sync.WaitGroup

	mu      sync.Mutex // guards what follows
	waiting []*process
	filling bool
	closed  bool
}

// newPool makes a pool and begins to fill it.
func newPool(size int, start func(context.Context) (*process, error)) *pool {
	l := &pool{size: size, start: start}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.fill()
	return l
}

// take hands out a process that waited, for the job of ctx. It gives nil where none does.
func (l *pool) take(ctx context.Context) *process {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.mu.Unlock()
			return nil
		}
		p := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		if p.handOver(ctx) {
			return p
		}
		p.close()
	}
}

// fill starts processes, one after the other and aside, until as many wait as should. Where one does not start, it
// gives up until it is called again: whoever needs one meanwhile starts it himself and gets the error.
func (l *pool) fill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filling || l.closed || len(l.waiting) >= l.size {
		return
	}
	l.filling = true
	l.filler.Go(func() {
		for l.add() {
		}
	})
}

// add starts one process and reports whether there is room for another.
func (l *pool) add() bool {
	p, err := l.start(l.ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.waiting = append(l.waiting, p)
	}
	l.filling = err == nil && !l.closed && len(l.waiting) < l.size
	return l.filling
}

// close ends what waits, and waits until it is gone.
func (l *pool) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.filler.Wait()
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for _, p := range waiting {
		p.close()
	}
}
