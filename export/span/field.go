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

// reduce takes a number below 2^63.
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
