package sandbox

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Nodes that share workspaces do not get into each other's way: one that starts leaves alone what another is about to
// keep, and one that deletes waits for it, and deletes that too.
func TestWorkspacesOfTwoNodes(t *testing.T) {
	v := withPeople(t)
	workspaces(t, v)
	reached, goOn := make(chan bool), make(chan bool)
	v.step = func(name string) error {
		if name == "enter table" { // the file has its name, and the store does not know of it
			reached <- true
			<-goOn
		}
		return nil
	}
	kept := make(chan error, 1)
	session := keeping(t, v)
	go func() {
		_, err := session.Keep(t.Context(), Query{SQL: "SELECT 7 AS x"}, Keeping{Owner: OfGrant("g-1"), Name: "t", Quota: quota})
		kept <- err
	}()
	<-reached
	other, err := OpenVault(t.Context(), v.dir, v.db, worker, master)
	if err != nil {
		t.Fatal(err)
	}
	w := workspaces(t, other)
	hurried, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := w.Delete(hurried, OfGrant("g-1")); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, unix.EAGAIN) {
		t.Errorf("deleted while another node keeps a table: %v", err)
	}
	if gone, err := w.Delete(t.Context(), OfGrant("g-2")); err != nil || len(gone) > 0 {
		t.Errorf("another grant's workspace waits: %v", err)
	}
	type deletion struct {
		gone []Kept
		err  error
	}
	deleted := make(chan deletion, 1)
	go func() {
		gone, err := w.Delete(t.Context(), OfGrant("g-1"))
		deleted <- deletion{gone, err}
	}()
	close(goOn)
	if err := <-kept; err != nil {
		t.Fatal(cause(err))
	}
	select {
	case d := <-deleted:
		if d.err != nil || len(d.gone) != 1 || d.gone[0].Name != "t" {
			t.Errorf("deleted %v, %v", d.gone, d.err)
		}
	case <-time.After(lockPatience):
		t.Fatal("it waits for nobody")
	}
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 2 || left[0].Name() != locksFile || left[1].Name() != boundFile {
		t.Errorf("left are %v, %v", left, err)
	}
	if grants, err := w.Grants(t.Context()); err != nil || len(grants) != 0 {
		t.Errorf("grants with tables: %v, %v", grants, err)
	}
}
