package sandbox

import (
	"errors"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func itoa(i int) string { return strconv.Itoa(i) }

// mustBeGone fails if a process of the child's group is left, or its control group.
func mustBeGone(t *testing.T, p *process) {
	t.Helper()
	if err := unix.Kill(-p.cmd.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process group %d is still there: %v", p.cmd.Process.Pid, err)
	}
	if p.left != nil {
		t.Errorf("it was not accounted for, or its control group is still there: %v", p.left)
	}
}
