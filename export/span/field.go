package span

import (
	"crypto/rand"
	"math/bits"
)

// field is the whole numbers modulo a prime of 31 bits. The prime is drawn anew for each Space and shown to nobody: a
// number that happens to be a multiple of it cannot be aimed at.
type field struct {
	p       uint64
	inverse uint64 // 2^64 / p, for reduction without division (Barrett)
}

func newField() (field, error) {
	p, err := rand.Prime(rand.Reader, 31)
	if err != nil {
		return field{}, err
	}
	return field{p.Uint64(), ^uint64(0) / p.Uint64()}, nil
}

// reduce takes any number: the quotient is one too small at most.
func (f field) reduce(x uint64) uint32 {
	q, _ := bits.Mul64(x, f.inverse)
	if x -= q * f.p; x >= f.p {
		x -= f.p
	}
	return uint32(x)
}

// less gives a - b·c.
func (f field) less(a, b, c uint32) uint32 {
	return f.reduce(uint64(a) + f.p*f.p - uint64(b)*uint64(c))
}

func (f field) times(a, b uint32) uint32 { return f.reduce(uint64(a) * uint64(b)) }

// minus is the number that is zero together with a.
func (f field) minus(a uint32) uint32 {
	if a == 0 {
		return 0
	}
	return uint32(f.p) - a
}

// over is the inverse, by Fermat's theorem.
func (f field) over(a uint32) uint32 {
	result := uint32(1)
	for e := f.p - 2; e > 0; e >>= 1 {
		if e&1 == 1 {
			result = f.times(result, a)
		}
		a = f.times(a, a)
	}
	return result
}

// total is a sum of products, which is reduced once at its end: four products have 64 bits together, and what is above 32 of
// them is added up apart. That holds for as many products as there are.
type total struct{ high, low uint64 }

func (t *total) add(s uint64) {
	t.high += s >> 32
	t.low += s & (1<<32 - 1)
}

func (f field) reduceTotal(t total) uint32 {
	return f.reduce(uint64(f.reduce(t.high))<<32 + t.low)
}

// product is the sum of a's values times b's. Nothing else takes as much time.
func (f field) product(a, b []uint32) uint32 {
	b = b[:len(a)]
	t, n := front(a, b)
	for ; n+4 <= len(a); n += 4 {
		x, y := a[n:n+4:n+4], b[n:n+4:n+4]
		t.add(uint64(x[0])*uint64(y[0]) + uint64(x[1])*uint64(y[1]) + uint64(x[2])*uint64(y[2]) + uint64(x[3])*uint64(y[3]))
	}
	for i := n; i < len(a); i++ {
		t.add(uint64(a[i]) * uint64(b[i]))
	}
	return f.reduceTotal(t)
}
