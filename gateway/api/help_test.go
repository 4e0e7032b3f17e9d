package api_test

import (
	"strconv"
	"sync/atomic"
	"testing"
)

// keys numbers idempotency keys.
var keys atomic.Int64

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
