// Package worker is the child side of the sandbox: it holds the engine, and it is what weir-worker runs.
//
// It has three modes, and a process has one of them for its whole life. The planner reads SQL that a person wrote
// and holds no data: only empty tables with the granted columns. The job holds the granted data sets, read-only,
// and runs SQL that the platform rendered; no person's text reaches it. The intake parses one provider's file.
//
// Every request and every reply is a frame of package wire. What the engine says about an error can hold values
// of the data, so it ends here: a reply carries one of the fixed words of class.go. Nothing in this package may
// print, log or open a connection.
package worker

import (
	"errors"
	"io"
	"os"

	"weir/sandbox/wire"
)

// LastDescriptor is the greatest descriptor that a worker may inherit, whatever its mode.
func LastDescriptor(string) int { return wire.ReplyFD }

// Main serves requests until the platform closes the pipe or something fails, and gives the exit status. A worker
// that failed once does nothing more: its engine may be in any state.
func Main(mode string) int {
	replies := os.NewFile(wire.ReplyFD, "replies")
	say := func(word wire.Reply) {
		if wire.Send(replies, word, smallReply) != nil {
			os.Exit(wire.EndProgress)
		}
	}
	handle := map[string]func() handler{
		wire.ModePlan: newPlanner, wire.ModeJob: func() handler { return newJob(say) }, wire.ModeIntake: newIntake,
	}[mode]
	if handle == nil {
		return wire.EndMode
	}
	serve := handle()
	for request := range receive(os.NewFile(wire.RequestFD, "requests")) {
		if request.Build != nil {
			build := wire.ThisBuild()
			if wire.Send(replies, wire.Reply{Build: &build}, smallReply) != nil || !build.Same(*request.Build) {
				return wire.EndBuild
			}
			continue
		}
		reply, limit := serve(request)
		err := wire.Send(replies, reply, limit)
		if errors.Is(err, wire.ErrTooLarge) {
			err = wire.Send(replies, failed(errResultTooLarge), limit)
		}
		if err != nil {
			return wire.EndReply
		}
		if reply.Body == nil {
			continue
		}
		if err := errors.Join(wire.Stream(replies, reply.Body, bodyLength(reply)), reply.Body.Close()); err != nil {
			return wire.EndBody
		}
	}
	return 0
}

// bodyLength is how many bytes a reply announces to follow it.
func bodyLength(reply wire.Reply) int64 {
	switch {
	case reply.Bound != nil:
		return reply.Bound.Bytes
	case reply.Kept != nil:
		return reply.Kept.Bytes
	}
	return reply.Taken.Bytes
}

// handler does one request and gives the most bytes that its reply may have.
type handler func(wire.Request) (reply wire.Reply, limit int64)

// receive reads ahead of the work, so that the process ends at once when the platform closes its side, even in
// the middle of a query.
func receive(from io.Reader) <-chan wire.Request {
	requests := make(chan wire.Request)
	go func() {
		for {
			var request wire.Request
			if err := wire.Receive(from, &request, wire.MaxRequest); err != nil {
				os.Exit(0)
			}
			requests <- request
		}
	}()
	return requests
}
