package main

import (
	"encoding/json"
	"strings"
	"testing"

	"weir/internal/problem"
)

// An officer reads with which releases a cell would single somebody out, and whether anything could not be decided on.
func TestOfferTellsOfHistory(t *testing.T) {
	term := testTerminal(t, problem.Chinese)
	if said := withheld(term.terminal, map[string]int{"E6": 2, "E1": 1, "other": 3}); said != "最少主体 1, 差分 2, other 3" {
		t.Errorf("said %q", said)
	}
	const shared, usedUp = "would single out fewer units", "too much was released before"
	for _, c := range []struct {
		check             string
		together, decided bool
	}{
		{`{"release": "r1", "cells": 3, "withheld": {}}`, false, false},
		{`{"release": "r1", "cells": 3, "withheld": {"E6": 1}, "together": ["job-7", "job-9"]}`, true, false},
		{`{"release": "r1", "cells": 3, "withheld": {"E6": 1}, "used_up": true}`, false, true},
	} {
		var o offer
		if err := json.Unmarshal([]byte(`{"id": "job-10", "checks": [`+c.check+`], "columns": [], "rows": []}`), &o); err != nil {
			t.Fatal(err)
		}
		term := testTerminal(t, problem.English)
		if err := o.print(term.terminal); err != nil {
			t.Fatal(err)
		}
		text := term.out.String() + term.err.String()
		if strings.Contains(text, shared) != c.together || strings.Contains(text, "job-7, job-9") != c.together || strings.Contains(text, usedUp) != c.decided {
			t.Errorf("%s is told as\n%s", c.check, text)
		}
	}
}
