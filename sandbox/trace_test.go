package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"weir/policy"
)

// TestTrace asks something that takes a while and holds what is told of it against what must be so.
func TestTrace(t *testing.T) {
	v := withPeople(t)
	d, err := v.Dataset(t.Context(), "people")
	if err != nil {
		t.Fatal(err)
	}
	size, err := os.Stat(filepath.Join(v.place(d.Name, d.Version), dataFile(1)))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var percents []int
	var used []Usage
	ctx := WithTrace(t.Context(), &Trace{
		Used:     func(u Usage) { mu.Lock(); defer mu.Unlock(); used = append(used, u) },
		Progress: func(p int) { mu.Lock(); defer mu.Unlock(); percents = append(percents, p) },
	})
	s, err := NewWorkers(worker, v, DefaultLimits).Start(ctx, "job", []policy.Dataset{d})
	if err != nil {
		t.Fatal(cause(err))
	}
	slow := `CREATE TEMP TABLE numbers AS SELECT i FROM range(4000000) AS r(i)`
	if _, err := s.Query(ctx, Query{SQL: slow}); err != nil {
		t.Fatal(cause(err))
	}
	slow = `SELECT count(*) FROM numbers, "ds_people"."main"."data" WHERE hash(i, income) = 7`
	if _, err := s.Query(ctx, Query{SQL: slow}); err != nil {
		t.Fatal(cause(err))
	}
	s.Close()
	s.Close()
	if len(percents) == 0 {
		t.Error("no progress was told")
	}
	for i, p := range percents {
		if p < 10 || p > 100 || p%10 != 0 || i > 0 && p == percents[i-1] {
			t.Errorf("progress %v", percents)
		}
	}
	if len(used) != 1 || used[0].CPU <= 0 || used[0].Wall < used[0].CPU/4 || used[0].PeakMemory <= 0 || used[0].Read < size.Size()/4 {
		t.Errorf("used %+v of a file of %d bytes", used, size.Size())
	}
	if quiet := TraceOf(context.Background()); quiet.Used != nil {
		t.Error("a context without a trace has one")
	}
	quiet := TraceOf(context.Background())
	quiet.used(Usage{})
	quiet.progress(1)
}
