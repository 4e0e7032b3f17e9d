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
	return func(request wire.Request) (wire.Reply, int64) {
		switch {
		case e == nil && request.Open != nil:
			var err error
			if e, err = start(ctx, *request.Open, func(e *engine) error { return attach(ctx, e, say) }); err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{}, smallReply
		case e != nil && request.Keep != nil && e.open.Keeps:
			kept, body, err := e.keep(ctx, *request.Keep)
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{Kept: kept, Body: body}, smallReply
		case e != nil && request.Query != nil:
			table, err := e.query(ctx, *request.Query)
			if err != nil {
				return failed(err), smallReply
			}
			return wire.Reply{Table: table}, e.open.Bytes
		}
		return failed(errProtocol), smallReply
	}
}

func attach(ctx context.Context, e *engine, say func(wire.Reply)) (err error) {
	if e.raw, err = connectionOf(e.conn); err != nil {
		return err
	}
	e.say = say
	if err := e.run(ctx, estimating...); err != nil {
		return err
	}
	for _, file := range e.open.Files {
		if err := e.run(ctx, fmt.Sprintf("ATTACH %s AS %s (READ_ONLY)", literal(file.Path), quote(file.Alias))); err != nil {
			return err
		}
	}
	return nil
}
