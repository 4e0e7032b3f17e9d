package worker

import (
	"errors"
	"io"
	"testing"
)

// counted gives so many rows, always in the same slice, and then ends.
type counted struct {
	rows, given int
	end         error
	values      []any
}

func (c *counted) next() ([]any, error) {
	if c.given++; c.given > c.rows {
		return nil, c.end
	}
	c.values = append(c.values[:0], c.given)
	return c.values, nil
}

func (c *counted) line() int64     { return int64(10 * c.given) }
func (c *counted) undeclared() int { return 7 }

func TestAheadGivesTheSame(t *testing.T) {
	for _, end := range []error{io.EOF, errors.New("fault")} {
		for _, rows := range []int{0, 1, batchRows - 1, batchRows, batchRows + 1, 5 * batchRows} {
			a := readAhead(&counted{rows: rows, end: end})
			for i := 1; i <= rows; i++ {
				values, err := a.next()
				if err != nil || values[0] != i || a.line() != int64(10*i) {
					t.Fatalf("row %d of %d: %v %v in line %d", i, rows, values, err, a.line())
				}
			}
			for range 2 {
				if _, err := a.next(); err != end || a.line() != int64(10*(rows+1)) {
					t.Fatalf("after %d rows: %v in line %d", rows, err, a.line())
				}
			}
			if a.undeclared() != 7 {
				t.Error("undeclared columns are forgotten")
			}
		}
	}
}
