package span

import "golang.org/x/sys/cpu"

// products adds up the products of n numbers each, n a multiple of 16, as a total.
//
//go:noescape
func products(a, b *uint32, n int) (high, low uint64)

var vectors = cpu.X86.HasAVX2

// front adds up the products of as many values as the processor takes at once, and says how many these are.
func front(a, b []uint32) (t total, n int) {
	if n = len(a) &^ 15; n == 0 || !vectors {
		return t, 0
	}
	t.high, t.low = products(&a[0], &b[:n][0], n)
	return t, n
}
