package span

// line is a row or a column of a triangle. Where most of its values are zero, it holds the others and their places.
type line struct {
	values []uint32
	at     []int32 // nil: all values, in order
}

// sparse is how many times more values there must be than those that are not zero, for which places are needed too.
const sparse = 4

// newLine makes a line of values, which it copies.
func newLine(values []uint32) (l line) {
	n := 0
	for _, v := range values {
		if v != 0 {
			n++
		}
	}
	if n*sparse > len(values) {
		l.values = append(make([]uint32, 0, len(values)), values...)
		return l
	}
	l.values, l.at = make([]uint32, 0, n), make([]int32, 0, n)
	for i, v := range values {
		if v != 0 {
			l.values, l.at = append(l.values, v), append(l.at, int32(i))
		}
	}
	return l
}

// size is how many numbers of 4 bytes it holds.
func (l line) size() int { return len(l.values) + len(l.at) }

// times is the product with a vector.
func (l line) times(f field, x []uint32) uint32 {
	if l.at == nil {
		return f.product(l.values, x)
	}
	var t total
	for i, at := range l.at {
		t.add(uint64(l.values[i]) * uint64(x[at]))
	}
	return f.reduceTotal(t)
}

// less takes the line times so much from a vector.
func (l line) less(f field, times uint32, x []uint32) {
	if times == 0 {
		return
	}
	factor := uint64(f.minus(times))
	if l.at == nil {
		x = x[:len(l.values)]
		for i, v := range l.values {
			x[i] = f.reduce(uint64(x[i]) + factor*uint64(v))
		}
		return
	}
	for i, at := range l.at {
		x[at] = f.reduce(uint64(x[at]) + factor*uint64(l.values[i]))
	}
}

// lessFour takes four lines with all their values, each times so much, from a vector, with one reduction for the four.
func lessFour(f field, lines [4][]uint32, times [4]uint32, x []uint32) {
	a, b, c, d := lines[0][:len(x)], lines[1][:len(x)], lines[2][:len(x)], lines[3][:len(x)]
	s, t, u, v := uint64(f.minus(times[0])), uint64(f.minus(times[1])), uint64(f.minus(times[2])), uint64(f.minus(times[3]))
	for i := range x {
		x[i] = f.reduce(uint64(x[i]) + s*uint64(a[i]) + t*uint64(b[i]) + u*uint64(c[i]) + v*uint64(d[i]))
	}
}
