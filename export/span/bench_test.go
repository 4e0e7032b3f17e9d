package span

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// world is a table of units with categorical columns, as groupings see it.
type world struct {
	space   *Space
	beside  *Space // the one set that tells which cells a cell is made of, for bounds on what was withheld
	columns [][]int32
	width   []int32
	random  *rand.Rand
	judged  int // cells
	refused int
	asked   int // groupings
}

func newWorld(tb testing.TB, k, units, parts int) *world {
	s, err := New(k, DefaultLimits)
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{space: s, width: []int32{2, 3, 4, 5, 6, 7, 8, 10, 12, 20, 40, 60}, random: rand.New(rand.NewPCG(3, 4))}
	for c, width := range w.width {
		column := make([]int32, units)
		for u := range column {
			x := w.random.Float64()
			x *= x // a few values are common
			if c > 0 && w.random.IntN(3) == 0 {
				x = float64(w.columns[c-1][u]) / float64(w.width[c-1])
			}
			column[u] = int32(x * float64(width))
		}
		w.columns = append(w.columns, column)
	}
	for range parts {
		s.Add(1)
	}
	w.beside = s.Copy(1, 0)
	return w
}

// grouping asks for the counts of one to three columns' groups, half of the time under a condition on another column.
func (w *world) grouping() (groups []int32, sizes []int) {
	by := w.random.Perm(len(w.width))[:1+w.random.IntN(3)]
	condition, value := -1, int32(0)
	if w.random.IntN(2) == 0 {
		condition = w.random.IntN(len(w.width))
		value = int32(w.random.IntN(int(w.width[condition])))
	}
	groups = make([]int32, len(w.columns[0]))
	names := map[int32]int32{}
	for u := range groups {
		groups[u] = -1
		if condition >= 0 && w.columns[condition][u] != value {
			continue
		}
		name := int32(0)
		for _, c := range by {
			name = name*64 + w.columns[c][u]
		}
		g, ok := names[name]
		if !ok {
			g = int32(len(sizes))
			names[name], sizes = g, append(sizes, 0)
		}
		groups[u] = g
		sizes[g]++
	}
	return groups, sizes
}

// release judges a grouping's cells, and gives the time that only judging took, and that of finding out what they are made of.
func (w *world) release(groups []int32, sizes []int) (judging, parting time.Duration) {
	w.asked++
	cells := w.fingerprints(groups, len(sizes))
	start := processorTime()
	w.space.Expect(cells)
	for g, cell := range cells {
		if sizes[g] < w.space.k {
			continue
		}
		w.judged++
		if v, _ := w.space.Judge(w.asked, cell); v != Safe && v != Known {
			w.refused++
		}
	}
	judging = processorTime() - start
	start = processorTime()
	w.beside.Expect(cells)
	for g, cell := range cells {
		if sizes[g] < w.space.k {
			continue
		}
		if _, follows, _ := w.beside.Parts(cell); !follows {
			w.beside.Know(w.asked, cell)
		}
	}
	return judging, processorTime() - start
}

// processorTime is what this process used, whatever else the machine does.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// fingerprints gives the groups as cells over the parts, as the platform has them: sums of a weight of each unit.
func (w *world) fingerprints(groups []int32, n int) [][]Entry {
	members := make([][]int32, n)
	for u, g := range groups {
		if g >= 0 {
			members[g] = append(members[g], int32(u))
		}
	}
	cells := make([][]Entry, n)
	sums := make([]uint64, w.space.Atoms())
	for g, units := range members {
		for _, u := range units {
			h := (uint64(u) + 1) * 0x9e3779b97f4a7c15
			h = (h ^ h>>32) * 0xd6e8feb86659fd93
			sums[int(h>>8)%len(sums)] += h>>32 + 1
		}
		for part, sum := range sums {
			if sum != 0 {
				cells[g] = append(cells[g], Entry{part, sum})
				sums[part] = 0
			}
		}
	}
	return cells
}

// BenchmarkJudge releases groupings of a million units until so many cells were judged, and says what the last hundred took. The
// units are divided into so many parts.
func BenchmarkJudge(b *testing.B) {
	for _, parts := range []int{1 << 15, 1 << 17} {
		for _, cells := range []int{1_000, 3_000, 10_000} {
			b.Run(fmt.Sprintf("parts=%d/cells=%d", parts, cells), func(b *testing.B) {
				for b.Loop() {
					judgeAll(b, newWorld(b, 10, 1_000_000, parts), cells)
				}
			})
		}
	}
}

func judgeAll(b *testing.B, w *world, cells int) {
	var all, last, parting time.Duration
	for w.judged < cells {
		groups, sizes := w.grouping()
		if len(sizes) > 400 {
			continue // or one grouping would be most of the history
		}
		before := w.judged
		took, parted := w.release(groups, sizes)
		all, parting = all+took, parting+parted
		last = took / time.Duration(max(1, w.judged-before))
	}
	b.ReportMetric(all.Seconds(), "cpu-s")
	b.ReportMetric(float64(all.Microseconds())/1000/float64(w.judged), "cpu-ms/cell")
	b.ReportMetric(float64(last.Microseconds())/1000, "cpu-ms/last-cell")
	b.ReportMetric(float64(parting.Microseconds())/1000/float64(w.judged), "parts-cpu-ms/cell")
	b.ReportMetric(float64(w.judged), "cells")
	b.ReportMetric(float64(w.space.Rank()), "rank")
	b.ReportMetric(float64(w.space.Sets()), "sets")
	b.ReportMetric(float64(w.space.Entries()*4)/(1<<20), "MiB-triangles")
	b.ReportMetric(float64(w.space.values*8)/(1<<20), "MiB-cells")
	b.ReportMetric(float64(w.refused)/float64(w.judged)*100, "%withheld")
	b.ReportMetric(0, "ns/op")
}
