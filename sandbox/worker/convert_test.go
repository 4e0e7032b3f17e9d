package worker

import (
	"fmt"
	"math/big"
	"testing"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"pgregory.net/rapid"

	"weir/sandbox/wire"
)

// The quick way to read a decimal must agree with exact arithmetic, on the value and on what is refused.
func TestDecimalsAgreeWithExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 38).Draw(t, "width")
		scale := rapid.IntRange(0, width).Draw(t, "scale")
		text := rapid.StringMatching(`[+-]?[0-9]{0,12}\.?[0-9]{0,6}`).Draw(t, "text")
		typed, canonical, fault := convertDecimal(wire.IntakeColumn{Type: fmt.Sprintf("DECIMAL(%d,%d)", width, scale)})(text)

		exact, ok := new(big.Rat).SetString(text)
		fits := ok && decimalForm.MatchString(text)
		if fits {
			scaled := new(big.Rat).Mul(exact, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
			fits = scaled.IsInt() && len(new(big.Int).Abs(scaled.Num()).String()) <= width
		}
		if fits != (fault == "") {
			t.Fatalf("%q as DECIMAL(%d,%d): %q", text, width, scale, fault)
		}
		if !fits {
			return
		}
		back, _ := new(big.Rat).SetString(canonical)
		if back.Cmp(exact) != 0 {
			t.Fatalf("%q became %q", text, canonical)
		}
		if again := decimal(typed.(duckdb.Decimal)); again != canonical {
			t.Fatalf("%q is appended as %s and hashed as %s", text, again, canonical)
		}
	})
}

func TestKeysThatAreTheSame(t *testing.T) {
	cases := []struct {
		a, b string
		same bool
	}{
		{"11010119900307432x", "11010119900307432X", true},
		{"１１０１", "1101", true},
		{" 1101\t", "1101", true},
		{"　张三", "张三", true},
		{"张三", "张叁", false},
		{"1101", "01101", false},
		{"a b", "ab", false},
	}
	for _, c := range cases {
		if got := normalize(c.a) == normalize(c.b); got != c.same {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
	for _, empty := range []string{"", " ", "\t\n", "　"} {
		if normalize(empty) != "" {
			t.Errorf("%q is a key", empty)
		}
	}
}
