// Command trial is weir-worker, but for one thing: it may have fewer layers than all. It is for measuring what they cost.
package main

import (
	"os"

	"weir/sandbox/isolate"
	"weir/sandbox/worker"
)

func main() {
	mode, err := isolate.EnterTrial(worker.LastDescriptor)
	if err != nil {
		os.Exit(isolate.Status(err))
	}
	os.Exit(worker.Main(mode))
}
