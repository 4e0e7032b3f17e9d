package span

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// world is a table of units with categorical columns, as groupings see it.
type world struct {
	space   *Space
	columns [][]int32
	width   []int32
	atom    []int32 // of each unit
	random  *rand.Rand
	search  search
	judged  int // cells
	refused int
	asked   int // groupings
}

func newWorld(tb testing.TB, k, units int) *world {
	s, err := New(k, DefaultLimits)
	if err != nil {
		tb.Fatal(err)
	}
	w := &world{space: s, width: []int32{2, 3, 4, 5, 6, 7, 8, 10, 12, 20, 40, 60}, random: rand.New(rand.NewPCG(3, 4)), atom: make([]int32, units)}
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
	s.Add(units)
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
	groups = make([]int32, len(w.atom))
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

// release judges a grouping's cells, and gives the time that only judging took.
func (w *world) release(groups []int32, sizes []int) (judging time.Duration) {
	w.asked++
	cells := w.refine(groups, len(sizes))
	start := processorTime()
	for g, cell := range cells {
		if sizes[g] < w.space.k {
			continue
		}
		w.judged++
		if v, _ := w.space.Judge(w.asked, cell); v != Safe && v != Known {
			w.refused++
		}
	}
	return processorTime() - start
}

// processorTime is what this process used, whatever else the machine does.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// refine splits the atoms by the groups and gives the groups as cells.
func (w *world) refine(groups []int32, n int) [][]Entry {
	type piece struct{ atom, group int32 }
	count := map[piece]int{}
	for u, g := range groups {
		count[piece{w.atom[u], g}]++
	}
	pieces := make([]piece, 0, len(count))
	for p := range count {
		pieces = append(pieces, p)
	}
	slices.SortFunc(pieces, func(a, b piece) int { return int(a.atom-b.atom)*(n+2) + int(a.group-b.group) })
	number := map[piece]int32{}
	cells := make([][]Entry, n)
	for i, p := range pieces {
		at := int(p.atom)
		if i > 0 && pieces[i-1].atom == p.atom {
			at = w.space.Split(at, count[p])
		}
		number[p] = int32(at)
		if p.group >= 0 {
			cells[p.group] = append(cells[p.group], Entry{at, 1})
		}
	}
	for u, g := range groups {
		w.atom[u] = number[piece{w.atom[u], g}]
	}
	return cells
}

// search is what stands beside: it looks for combinations of three cells with coefficients of one, in fingerprints of 256 parts,
// by an index on bands of parts. It knows nothing of longer combinations.
type search struct {
	cells []*[256]uint64
	bands [10]map[uint64][]int
}

func (s *search) band(i int, f *[256]uint64) (sum uint64) {
	for _, v := range f[i*25 : (i+1)*25] {
		sum = (sum ^ v) * 0x9e3779b97f4a7c15
		sum ^= sum >> 29
	}
	return sum
}

func (s *search) add(f *[256]uint64) {
	for i := range s.bands {
		if s.bands[i] == nil {
			s.bands[i] = map[uint64][]int{}
		}
		b := s.band(i, f)
		s.bands[i][b] = append(s.bands[i][b], len(s.cells))
	}
	s.cells = append(s.cells, f)
}

func (s *search) finds(z *[256]uint64) (found bool) {
	near := func(v *[256]uint64) {
		for i := range s.bands {
			for _, at := range s.bands[i][s.band(i, v)] {
				n := 0
				for part, x := range s.cells[at] {
					if x != v[part] {
						n++
					}
				}
				found = found || n > 0 && n < 10
			}
		}
	}
	near(z)
	for _, x := range s.cells {
		var a, b, c [256]uint64
		for i := range z {
			a[i], b[i], c[i] = z[i]-x[i], z[i]+x[i], x[i]-z[i]
		}
		near(&a)
		near(&b)
		near(&c)
	}
	return found
}

// prints makes the fingerprints of a grouping for the search.
func prints(groups []int32, sizes []int) []*[256]uint64 {
	list := make([]*[256]uint64, len(sizes))
	for i := range list {
		list[i] = new([256]uint64)
	}
	for u, g := range groups {
		if g >= 0 {
			h := (uint64(u) + 1) * 0x9e3779b97f4a7c15
			h = (h ^ h>>32) * 0xd6e8feb86659fd93
			list[g][h>>56] += h & (1<<56 - 1)
		}
	}
	return list
}

// BenchmarkJudge releases groupings of a million units until so many cells were asked for, and measures the groupings after that.
// Beside it stands the search for three cells over as many.
func BenchmarkJudge(b *testing.B) {
	w := newWorld(b, 10, 1_000_000)
	for _, cells := range []int{1_000, 3_000, 10_000} {
		b.Run(fmt.Sprintf("cells=%d", cells), func(b *testing.B) {
			var growing time.Duration
			before := w.judged
			for w.judged < cells {
				groups, sizes := w.grouping()
				if len(sizes) > 400 && w.judged+len(sizes) > cells+200 {
					continue // or one grouping would be most of the history
				}
				growing += w.release(groups, sizes)
				for i, f := range prints(groups, sizes) {
					if sizes[i] >= 10 {
						w.search.add(f)
					}
				}
			}
			if n := w.judged - before; n > 0 {
				b.Logf("to %d cells: %.2f ms of processor a cell", w.judged, float64(growing.Milliseconds())/float64(n))
			}
			var judging, searching time.Duration
			judged, searched := 0, 0
			for b.Loop() {
				groups, sizes := w.grouping()
				if len(sizes) > 400 {
					continue
				}
				at := w.judged
				judging += w.release(groups, sizes)
				judged += w.judged - at
				list := prints(groups, sizes)
				start := processorTime()
				for _, f := range list[:min(len(list), 3)] {
					w.search.finds(f)
					searched++
				}
				searching += processorTime() - start
			}
			var memory runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&memory)
			b.ReportMetric(float64(judging.Microseconds())/1000/float64(max(judged, 1)), "cpu-ms/cell")
			b.ReportMetric(float64(searching.Microseconds())/1000/float64(max(searched, 1)), "cpu-ms/cell-three")
			b.ReportMetric(float64(w.space.Rank()), "rank")
			b.ReportMetric(float64(w.space.Atoms()), "atoms")
			b.ReportMetric(float64(w.space.Sets()), "sets")
			b.ReportMetric(float64(w.space.Entries()*8)/(1<<20), "MiB-triangles")
			b.ReportMetric(float64(w.space.values*8)/(1<<20), "MiB-cells")
			b.ReportMetric(float64(w.refused)/float64(w.judged)*100, "%withheld")
		})
	}
}
