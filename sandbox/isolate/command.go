package isolate

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Command describes a worker process: pipes and files become descriptors 3, 4, …; 0, 1 and 2 are /dev/null,
// since an engine can be made to print data there.
func Command(executable, mode string, limits Limits, files []*os.File) *exec.Cmd {
	cmd := exec.Command(executable, append([]string{mode}, limits.arguments()...)...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Start starts the process. The kernel sends the signal of Pdeathsig when the thread that made the process ends,
// so all are made by one thread that lives as long as the platform.
func Start(cmd *exec.Cmd) error {
	done := make(chan error)
	maker() <- func() { done <- cmd.Start() }
	return <-done
}

var maker = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})
