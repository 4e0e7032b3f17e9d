// Command weir is the platform and its command line.
//
// Purpose. `weir serve` runs the platform; every other command is a person's way to it over its interface, or, for
// a maintainer on the same machine, to its files. Each command is a file; what the platform is put together from
// stands in wire.go.
//
// Trust boundary. The command line trusts the person who runs it with that person's own session, and nobody else:
// what a server answers is printed with control characters removed, and a password or token goes to no server that
// it is not meant for.
//
// It must never link the engine, print a token or password, or decide anything that the platform decides.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], stdio())
	stop()
	os.Exit(code)
}
