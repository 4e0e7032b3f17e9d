package sandbox

import (
	"context"
	"io"
	"time"
)

// stream hands the bytes that follow a reply to keep: exactly as many as the reply announced, or keep sees an error.
// Any failure, also of keep, leaves the process dead.
func (p *process) stream(ctx context.Context, wall time.Duration, size int64, keep func(io.Reader) error) error {
	p.calls.Lock()
	defer p.calls.Unlock()
	timer := time.AfterFunc(wall, func() { p.kill(errWallClock) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { p.kill(context.Cause(ctx)) })()

	body := &body{from: p.replies, left: size}
	err := keep(body)
	switch {
	case body.failed != nil:
		return p.ended(body.failed)
	case err != nil:
		p.kill(err)
		return err
	case body.left > 0:
		p.kill(errProtocol)
		return errProtocol
	}
	return nil
}

// body is what follows a reply. It remembers that it was the worker that failed.
type body struct {
	from   io.Reader
	left   int64
	failed error
}

func (b *body) Read(into []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.from.Read(into[:min(int64(len(into)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		b.failed = err
	}
	return n, err
}

func (b *budget) stream(ctx context.Context, p *process, size int64, keep func(io.Reader) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	begin := time.Now()
	err := p.stream(ctx, b.left, size, keep)
	b.left -= time.Since(begin)
	return err
}
