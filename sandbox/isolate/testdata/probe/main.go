// Command probe enters as a worker does and says what it finds. As `probe verify` it is the platform's side.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "verify" {
		self, err := os.Executable()
		if err == nil {
			err = isolate.Verify(self)
		}
		fmt.Println(err)
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "elsewhere" {
		go enter() // on another thread: main is locked to the first
		select {}
	}
	mode := enter()
	said := os.NewFile(3, "replies")
	switch mode {
	case "eat":
		said.WriteString("eating")
		eat()
	case "threads":
		said.WriteString("multiplying")
		multiply()
	default:
		said.WriteString(report())
	}
}

func enter() (mode string) {
	mode, err := isolate.Enter(func(string) int { return 3 })
	if err != nil {
		os.Exit(isolate.Status(err))
	}
	return mode
}

// eat takes memory, and uses it, until something stops it.
func eat() {
	var eaten [][]byte
	for {
		bite := make([]byte, 1<<20)
		for i := 0; i < len(bite); i += 4096 {
			bite[i] = 1
		}
		eaten = append(eaten, bite)
	}
}

// multiply makes threads, each of which is kept, until something stops it.
func multiply() {
	for {
		made := make(chan bool)
		go func() {
			runtime.LockOSThread()
			made <- true
			select {}
		}()
		<-made
	}
}

// report says what there is to see inside, one line for each thing.
func report() string {
	granted, _ := os.ReadFile(isolate.Inside(0))
	written := os.WriteFile(isolate.InsideFolder+"/made", []byte("x"), 0o600)
	var name unix.Utsname
	unix.Uname(&name)
	dir, _ := os.Getwd()
	lines := []string{
		"granted " + string(granted),
		fmt.Sprint("written ", written),
		fmt.Sprint("pid ", os.Getpid(), " uid ", os.Getuid()),
		"host " + unix.ByteSliceToString(name.Nodename[:]),
		"in " + dir,
		fmt.Sprint("environment ", len(os.Environ())),
	}
	if err := isolate.Seal(); err != nil {
		lines = append(lines, err.Error())
	}
	_, err := os.ReadFile(isolate.Inside(0))
	return strings.Join(append(lines, fmt.Sprint("sealed ", err)), "\n")
}
