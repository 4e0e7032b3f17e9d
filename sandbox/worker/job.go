package worker

import (
	"context"
	"fmt"

	"weir/sandbox/wire"
)

// smallReply is the most bytes of a reply that holds no result.
const smallReply = 64 << 10

// newJob serves a process that holds data: it attaches the granted files and runs the platform's own SQL. While a query
// runs, it says how far it is.
func newJob(say func(wire.Reply)) handler {
	ctx := context.Background()
	var e *engine
	attached := false
	return func(request wire.Request) (wire.Reply, int64) {
		switch {
		case e == nil && request.Open != nil:
			var err error
			if e, err = openEngine(ctx, *request.Open); err == nil {
				err = e.measure(ctx, say)
			}
			if err == nil {
				err = e.learn()
			}
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{}, smallReply
		case e != nil && !attached && request.Attach != nil:
			if err := e.attach(ctx, request.Attach.Files); err != nil {
				return failed(err), smallReply
			}
			attached = true
			return wire.Reply{}, smallReply
		case attached && request.Keep != nil && e.open.Keeps:
			kept, body, err := e.keep(ctx, *request.Keep)
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{Kept: kept, Body: body}, smallReply
		case attached && request.Query != nil:
			table, err := e.query(ctx, *request.Query)
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{Table: table}, e.open.Bytes
		}
		return failed(errProtocol), smallReply
	}
}

// measure has the engine estimate how far it is.
func (e *engine) measure(ctx context.Context, say func(wire.Reply)) (err error) {
	if e.raw, err = connectionOf(e.conn); err != nil {
		return err
	}
	e.say = say
	return e.run(ctx, estimating...)
}

// attach opens the files, which is the last that the engine needs the file system for, and shuts it.
func (e *engine) attach(ctx context.Context, files []wire.File) error {
	for _, file := range files {
		if err := e.run(ctx, fmt.Sprintf("ATTACH %s AS %s (READ_ONLY)", literal(file.Path), quote(file.Alias))); err != nil {
			return err
		}
	}
	return e.shut(ctx)
}
