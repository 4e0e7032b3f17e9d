package export

import (
	"encoding/json"
	"testing"
)

// TestTwoDigits: a bound is shown with two digits and never made smaller by that.
func TestTwoDigits(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 6: "6", 0.057: "0.057", 5.0001: "5.1", 6.9: "6.9", 12.01: "13", 99.5: "100", 590000: "590000", 123456789012: "130000000000"} {
		if got := twoDigits(f); got != json.Number(want) {
			t.Errorf("%v is shown as %v, want %s", f, got, want)
		}
	}
}
