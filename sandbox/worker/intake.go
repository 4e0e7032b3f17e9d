package worker

import "weir/sandbox/wire"

func newIntake() handler {
	return func(wire.Request) (wire.Reply, int64) { return failed(errProtocol), smallReply }
}
