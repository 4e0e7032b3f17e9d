package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Trace is told what the processes that are started with its context do. Each function may be nil, must return at
// once, and may be called by several at a time.
type Trace struct {
	Used     func(Usage)       // what a process took, when it is closed
	Progress func(percent int) // of a query, as the engine estimates it: it grows from 1 to 100
}

type traceKey struct{}

// WithTrace gives a context whose processes are traced.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf gives the trace of a context; where there is none, one that nobody hears.
func TraceOf(ctx context.Context) *Trace {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		return t
	}
	return &Trace{}
}

func (t *Trace) used(u Usage) {
	if t.Used != nil {
		t.Used(u)
	}
}

func (t *Trace) progress(percent int) {
	if t.Progress != nil {
		t.Progress(percent)
	}
}

// openAccount opens the kernel's account of a process, which only root may do once it has ended.
func openAccount(pid int) (*os.File, error) {
	account, err := os.Open(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return nil, fmt.Errorf("read what a process has read: %w", err)
	}
	return account, nil
}

// readBytes tells what a process has read so far, in bytes, from whatever file, cached or not. Of one that has ended and was
// not waited for the kernel tells it to root only. Source: proc_pid_io(5).
func readBytes(account *os.File) (int64, error) {
	text, err := io.ReadAll(io.NewSectionReader(account, 0, 4096))
	if err != nil {
		return 0, fmt.Errorf("read what a process has read: %w", err)
	}
	for line := range bytes.Lines(text) {
		if count, ok := bytes.CutPrefix(line, []byte("rchar: ")); ok {
			return strconv.ParseInt(string(bytes.TrimSpace(count)), 10, 64)
		}
	}
	return 0, fmt.Errorf("read what a process has read: no count")
}
