package noise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/bits"
)

// never bounds every loop that ends by chance. With true randomness a loop gets there less than once in e^1000
// draws, so what ends it is a broken source.
const never = 1024

var errBroken = errors.New("noise: the source of randomness repeats itself")

// coins are the random bits of one draw. After an error they give zeros; whoever asked looks at err in the end.
type coins struct {
	source io.Reader
	buffer [128]byte
	left   int
	err    error

	digits, whole, rest, num, den big.Int // room for numbers of one coin
}

func (c *coins) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// word is 64 fair bits.
func (c *coins) word() uint64 {
	if c.err != nil {
		return 0
	}
	if c.left == 0 {
		if _, err := io.ReadFull(c.source, c.buffer[:]); err != nil {
			c.fail(fmt.Errorf("noise: read randomness: %w", err))
			return 0
		}
		c.left = len(c.buffer)
	}
	c.left -= 8
	return binary.LittleEndian.Uint64(c.buffer[c.left:])
}

// below is uniform on 0 … n-1.
func (c *coins) below(n uint64) uint64 {
	mask := uint64(1)<<bits.Len64(n-1) - 1
	for range never {
		if x := c.word() & mask; x < n {
			return x
		}
	}
	c.fail(errBroken)
	return 0
}

// less is true with probability num/den, for num < den. It compares the binary digits of a uniform U in [0, 1) with
// those of num/den, 64 at a time, until they differ: U < num/den has exactly that probability.
func (c *coins) less(num, den uint64) bool {
	for range never {
		var digits uint64
		digits, num = bits.Div64(num, 0, den)
		if u := c.word(); u != digits {
			return u < digits
		}
		if num == 0 {
			return false // U starts with all the digits of num/den, so it is not less
		}
	}
	c.fail(errBroken)
	return false
}

// lessBig is less for large numbers. It overwrites num.
func (c *coins) lessBig(num, den *big.Int) bool {
	for range never {
		num.Lsh(num, 64)
		c.digits.QuoRem(num, den, num)
		if u, digits := c.word(), c.digits.Uint64(); u != digits {
			return u < digits
		}
		if num.Sign() == 0 {
			return false
		}
	}
	c.fail(errBroken)
	return false
}

// exp is true with probability exp(-num/den), for num <= den < 2^53 (CKS20, algorithm 1). Let the coins of
// probability γ/1, γ/2, γ/3, … be thrown until one fails, the K-th. P(K > k) = γ^k/k!, so P(K odd) is the series
// of exp(-γ).
func (c *coins) exp(num, den uint64) bool {
	for k := uint64(1); k <= never; k++ {
		if num == den && k == 1 {
			continue // certain
		}
		if !c.less(num, den*k) {
			return k%2 == 1
		}
	}
	c.fail(errBroken)
	return false
}

// expBig is exp for any num/den >= 0: exp(-γ) is exp(-1) for each whole one in γ, and exp of what is left.
func (c *coins) expBig(num, den *big.Int) bool {
	c.whole.QuoRem(num, den, &c.rest)
	wholes := uint64(never) // or more
	if c.whole.IsUint64() {
		wholes = min(never, c.whole.Uint64())
	}
	for range wholes {
		if !c.exp(1, 1) {
			return false
		}
	}
	if wholes == never {
		c.fail(errBroken)
		return false
	}
	c.den.SetInt64(0)
	for k := 1; k <= never; k++ {
		c.den.Add(&c.den, den) // den·k
		if !c.lessBig(c.num.Set(&c.rest), &c.den) {
			return k%2 == 1
		}
	}
	c.fail(errBroken)
	return false
}
