package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weir/sandbox/wire"
)

// rounds are how often each way is timed; in each round all of them are, one after the other, so that what else the
// machine does falls on all alike.
const rounds = 25

// BenchmarkJob is a job's process from its start to its end, with the engine and one query over a hundred thousand
// numbers: without any layer, with each alone (and those that it cannot be had without), with all, and as a job has them,
// which then takes the file system away too. The peer is the one without any. Files that are shown to it are not in this;
// BenchmarkSealedScan has them.
func BenchmarkJob(b *testing.B) {
	program := buildTrial(b)
	type way struct {
		name   string
		layers Layers
		sealed bool
		group  Share
		took   []time.Duration
	}
	ways := []*way{{name: "none"}}
	for _, l := range AllLayers() {
		w := &way{name: l.String(), layers: Alone(l)}
		if l == Landlock { // the engine does not open where files that it looks for are there and refused, only where they are not
			w.name, w.layers = "Landlock, in an own root", w.layers|Alone(Root)
		}
		ways = append(ways, w)
	}
	ways = append(ways, &way{name: "all", layers: Whole}, &way{name: "all, sealed", layers: Whole, sealed: true},
		&way{name: "all, sealed, control group", layers: Whole, sealed: true, group: share})
	for b.Loop() {
		continue // what is timed is the rounds
	}
	for range rounds {
		for _, w := range ways {
			took, err := trialJob(program, w.layers, w.sealed, w.group)
			if err != nil {
				b.Fatalf("%s: %v", w.name, err)
			}
			w.took = append(w.took, took)
		}
	}
	median := func(w *way) float64 {
		slices.Sort(w.took)
		return float64(w.took[len(w.took)/2]) / float64(time.Millisecond)
	}
	fmt.Printf("%-28s %8s %8s %8s\n", "a job's process, ms", "p50", "least", "p50 more")
	for _, w := range ways {
		p50 := median(w)
		fmt.Printf("%-28s %8.1f %8.1f %+8.1f\n", w.name, p50, float64(w.took[0])/float64(time.Millisecond), p50-median(ways[0]))
	}
	last := ways[len(ways)-2]
	b.ReportMetric(median(last), "p50-ms")
	b.ReportMetric(median(ways[0]), "peer-p50-ms")
	b.ReportMetric(median(last)/median(ways[0]), "confined/peer")
	b.ReportMetric(0, "ns/op")
}

func buildTrial(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "trial")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", "-s -w -linkmode external -extldflags -static", "-o", program, "./testdata/trial")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return program
}

// trialJob starts a worker, asks it and ends it.
func trialJob(program string, layers Layers, sealed bool, share Share) (took time.Duration, err error) {
	begin := time.Now()
	requestsRead, requestsWrite, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	repliesRead, repliesWrite, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer repliesRead.Close()
	limits := Limits{AddressSpace: 4 << 30, CPU: 60, FileSize: 1 << 20, Files: 128}
	cell := Cell{Mode: wire.ModeJob, Limits: limits, Layers: layers}
	if layers.Has(Root) && !sealed { // one that is not sealed is one that may make files
		cell.Scratch = 1 << 20
	}
	cmd, err := CommandTrial(program, cell, []*os.File{requestsRead, repliesWrite})
	if err != nil {
		return 0, err
	}
	group, err := NewGroup(share)
	if err == nil {
		err = Start(cmd, group)
	}
	requestsRead.Close()
	repliesWrite.Close()
	if err != nil {
		return 0, err
	}
	for _, request := range []wire.Request{
		{Open: &wire.Open{Memory: 1 << 30, Threads: 1, Rows: 1000, Bytes: 1 << 20, Keeps: !sealed}},
		{Attach: &wire.Attach{Files: []wire.File{}}},
		{Query: &wire.Query{SQL: "SELECT i % 10 AS g, sum(hash(i) % 1000)::BIGINT FROM range(100000) t(i) GROUP BY 1"}},
	} {
		var reply wire.Reply
		err = errors.Join(err, wire.Send(requestsWrite, request, wire.MaxRequest), wire.Receive(repliesRead, &reply, 1<<20))
		if err == nil && reply.Failure != nil {
			err = errors.New(reply.Failure.Class)
		}
		if err != nil {
			cmd.Process.Kill()
			break
		}
	}
	requestsWrite.Close()
	if ended := cmd.Wait(); ended != nil {
		err = errors.Join(err, ended, NotEntered(cmd.ProcessState))
	}
	return time.Since(begin), errors.Join(err, group.Remove())
}
