// Command weir-worker is the child of weir that reads what must not be trusted: a person's SQL, a provider's
// file, and data. It is the only program that links the engine, and it holds no key, no store and no network.
// It is started by weir, never by a person.
package main

import (
	"os"

	"weir/sandbox/isolate"
	"weir/sandbox/worker"
)

func main() {
	mode, err := isolate.Enter(worker.LastDescriptor)
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n") // for whoever tries it by hand; the platform reads the status
		os.Exit(isolate.Status(err))
	}
	os.Exit(worker.Main(mode))
}
