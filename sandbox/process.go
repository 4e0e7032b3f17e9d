package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
	"weir/sandbox/sealfs"
	"weir/sandbox/wire"
)

// Why a process was ended, for the operation log.
var (
	errWallClock = errors.New("killed: wall clock")
	errClosed    = errors.New("killed: closed")
	errProtocol  = errors.New("killed: malformed reply")
	errExhausted = errors.New("killed: the memory of its control group was used up")
)

// failure is what a worker said about a request that failed; only its class is a text that may be logged.
type failure struct{ wire.Failure }

func (f *failure) Error() string { return "worker: " + known(f.Class) }

// process is one worker. Calls on it come one after another; the first failure ends it.
type process struct {
	requests, replies *os.File
	cmd               *exec.Cmd
	group             *isolate.Group
	started           time.Time
	gone              chan struct{} // closed when the process has been waited for
	stop              func() bool   // forgets the context that it was started with
	trace             *Trace        // of that context, or of the job that it was handed to
	told              sync.Once     // what it took

	calls sync.Mutex // held while a call is under way

	shown <-chan struct{} // closed when what was shown to it is gone; nil: nothing was

	mu      sync.Mutex // guards what follows
	reaped  bool
	why     error    // the first reason for which it was killed
	broken  string   // the first file shown to it that turned out to be broken
	account *os.File // of what it has read; nil: it could not be opened
	read    int64    // as of the last look at the account
	device  *os.File // on which it is to be shown files, until it is
	usage   Usage
	left    error // why it could not be accounted for, or what of it could not be removed
}

// spawn starts a worker. It dies when ctx ends, and with the platform. It finds the shown files as isolate.Inside(0), …
func spawn(ctx context.Context, executable string, cell isolate.Cell, shown ...sealfs.File) (*process, error) {
	p, err := launch(ctx, executable, cell, len(shown) > 0)
	if err != nil || len(shown) == 0 {
		return p, err
	}
	if err := p.show(shown); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// launch is spawn for a worker to which files are shown later, if any.
func launch(ctx context.Context, executable string, cell isolate.Cell, shows bool) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	requestsRead, requestsWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	repliesRead, repliesWrite, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requestsRead.Close(), requestsWrite.Close())
	}
	files := []*os.File{requestsRead, repliesWrite}
	stage, err := newStage(shows)
	if err != nil {
		return nil, errors.Join(err, requestsRead.Close(), requestsWrite.Close(), repliesRead.Close(), repliesWrite.Close())
	}
	files = stage.enter(&cell, files)
	p := &process{requests: requestsWrite, replies: repliesRead, started: time.Now(), gone: make(chan struct{}), trace: TraceOf(ctx)}
	if p.cmd, err = isolate.Command(executable, cell, files); err == nil {
		p.group, err = isolate.NewGroup(cell.Limits.Group)
	}
	if err == nil {
		err = isolate.Start(p.cmd, p.group)
	}
	requestsRead.Close()
	repliesWrite.Close()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start worker: %w", err), stage.close(), requestsWrite.Close(), repliesRead.Close(), p.group.Remove())
	}
	p.account, p.left = openAccount(p.cmd.Process.Pid)
	go p.reap()
	p.stop = context.AfterFunc(ctx, func() { p.kill(context.Cause(ctx)) })
	if err := stage.receive(p); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// reap waits for the end of the process and then ends what else is in its group. The process is collected only
// after that, so that its number cannot belong to another group in between.
func (p *process) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	p.sample()
	if p.account != nil {
		p.account.Close()
	}
	p.cmd.Wait() // the status says nothing that p.why does not
	if p.why == nil && p.group.Exhausted() {
		p.why = errExhausted
	}
	p.left = errors.Join(p.left, p.group.Remove())
	p.reaped = true
	state := p.cmd.ProcessState
	p.usage = Usage{CPU: state.UserTime() + state.SystemTime(), Wall: time.Since(p.started), Read: p.read}
	if r, ok := state.SysUsage().(*syscall.Rusage); ok {
		p.usage.PeakMemory = r.Maxrss << 10
	}
	close(p.gone)
}

// handOver gives a process that waited to the job of ctx: it dies when that ends, and its time counts from now. It
// reports false where the process had ended while it waited.
func (p *process) handOver(ctx context.Context) bool {
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped || p.why != nil {
		return false
	}
	p.started, p.trace = time.Now(), TraceOf(ctx)
	p.stop = context.AfterFunc(ctx, func() { p.kill(context.Cause(ctx)) })
	return true
}

// kill ends the process and its group. The first reason stands.
func (p *process) kill(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil {
		p.why = why
	}
	if !p.reaped {
		p.sample()
		unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	}
}

// sample looks at the account, which for an ordinary user ends with the process: what a process read after the last look before
// it ended by itself is not counted then. p.mu is held.
func (p *process) sample() {
	if p.account == nil {
		return
	}
	if read, err := readBytes(p.account); err == nil {
		p.read = read
	}
}

// close ends the process, waits until it is gone, and tells what it took. It may be called again.
func (p *process) close() Usage {
	p.stop()
	p.kill(errClosed)
	<-p.gone
	p.requests.Close()
	p.replies.Close()
	if device := p.takeDevice(); device != nil {
		device.Close()
	}
	if p.shown != nil {
		<-p.shown
	}
	p.told.Do(func() { p.trace.used(p.usage) })
	return p.usage
}

// call sends a request and waits for its reply of at most limit bytes. Any failure, also one that the worker
// reports, leaves the process dead, unless the worker found fault with a text only.
func (p *process) call(ctx context.Context, wall time.Duration, request wire.Request, limit int64) (wire.Reply, error) {
	p.calls.Lock()
	defer p.calls.Unlock()
	timer := time.AfterFunc(wall, func() { p.kill(errWallClock) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { p.kill(context.Cause(ctx)) })()

	var reply wire.Reply
	err := wire.Send(p.requests, request, wire.MaxRequest)
	if err == nil {
		reply, err = p.reply(limit)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
			p.kill(errProtocol)
		}
		return wire.Reply{}, p.ended(err)
	}
	p.mu.Lock()
	if !p.reaped {
		p.sample()
	}
	p.mu.Unlock()
	if reply.Failure != nil {
		fault := &failure{*reply.Failure}
		if fault.Text == nil {
			p.kill(fault)
		}
		return wire.Reply{}, fault
	}
	return reply, nil
}

// reply waits for a reply. Before it, the worker may say how far it is: each time farther, so not without end.
func (p *process) reply(limit int64) (reply wire.Reply, err error) {
	for percent := 0; ; percent = reply.Progress {
		reply = wire.Reply{}
		if err := wire.Receive(p.replies, &reply, limit); err != nil || reply.Progress == 0 {
			return reply, err
		}
		if reply.Progress <= percent || reply.Progress > 100 {
			return reply, errProtocol
		}
		p.trace.progress(reply.Progress)
	}
}

// ended ends the process and gives the reason why nothing came from it: what killed it, or how it ended by itself.
func (p *process) ended(err error) error {
	p.kill(nil)
	<-p.gone
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why != nil {
		return p.why
	}
	if why := isolate.NotEntered(p.cmd.ProcessState); why != nil {
		return why
	}
	if said := wire.Ends[p.cmd.ProcessState.ExitCode()]; said != "" {
		err = errors.Join(errors.New(said), err)
	}
	return errors.Join(fmt.Errorf("%w: %w", isolate.Ended(p.cmd.ProcessState), err), p.left)
}

// known lets a class through that this side knows, and no other word of the worker's.
func known(class string) string {
	for _, word := range wire.Classes {
		if word == class {
			return class
		}
	}
	return "unknown class"
}
