package sandbox

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/problem"
)

// columns makes columns of texts "name TYPE".
func columns(texts ...string) []Column {
	var list []Column
	for _, text := range texts {
		name, typeName, _ := strings.Cut(text, " ")
		list = append(list, Column{Name: name, Type: typeName})
	}
	return list
}

func number(s string) json.Number { return json.Number(s) }

// Every type that a cell can have must come back from the engine as it went in.
func TestFinishKeepsValues(t *testing.T) {
	in := Table{
		Columns: columns("b BOOLEAN", "i INTEGER", "h HUGEINT", "d DECIMAL(38,10)", "e DECIMAL(12,2)", "f DOUBLE",
			"s VARCHAR", "名 DATE", "ts TIMESTAMP", `q"q UBIGINT`, "l VARCHAR[]", "v INTERVAL"),
		Rows: [][]any{
			{true, number("-1"), number("170141183460469231731687303715884105727"),
				number("-1234567890123456789012345678.0123456789"), number("0.05"), number("0.1"), "汉字 \"'\n", "2026-11-21",
				"2026-11-21T01:02:03.5", number("18446744073709551615"), `["a","b c"]`, "1 months -2 days 3 microseconds"},
			{nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil},
			{false, number("0"), number("-1"), number("0.0000000000"), number("-7.10"), number("1e+300"), "", "0001-01-01",
				"1970-01-01T00:00:00", number("0"), `[]`, "0 months 0 days 0 microseconds"},
		},
	}
	s := plan(t, DefaultLimits)
	out, err := s.Finish(t.Context(), Query{SQL: `SELECT * FROM "cells"`, Tables: []Named{{Name: "cells", Table: in}}})
	if err != nil {
		t.Fatal(err, "cause:", problem.Of(err).Unwrap())
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
}

func TestFinishReplacesAndComputes(t *testing.T) {
	s := plan(t, DefaultLimits)
	if _, err := s.Bind(t.Context(), "SELECT count(*) FROM residents"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"1", "2"} {
		cells := Named{Name: "cells", Table: Table{Columns: columns("n BIGINT"), Rows: [][]any{{number(n)}}}}
		out, err := s.Finish(t.Context(), Query{SQL: `SELECT n * 10 AS m, 'inf'::DOUBLE AS f, 'infinity'::DATE AS d FROM cells`, Tables: []Named{cells}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]any{{number(n + "0"), nil, nil}}, out.Rows); diff != "" {
			t.Error(diff)
		}
	}
	out, err := s.Finish(t.Context(), Query{SQL: `SELECT TIMESTAMP '2024-03-02 01:00' - TIMESTAMP '2024-03-01' AS i,
		'00000000-0000-0000-0000-00000000002a'::UUID AS u, {'a': [1.50, NULL]} AS s, TIME '01:02:03.5' AS t, TIMESTAMPTZ '2024-03-02 01:00:00+08' AS z`})
	want := [][]any{{"0 months 1 days 3600000000 microseconds", "00000000-0000-0000-0000-00000000002a", `{"a":[1.50,null]}`, "01:02:03.5", "2024-03-01T17:00:00Z"}}
	if diff := cmp.Diff(want, out.Rows); err != nil || diff != "" {
		t.Error(cause(err), diff)
	}
	out, err = s.Finish(t.Context(), Query{SQL: `SELECT 1 AS one WHERE false`})
	if err != nil || out.Rows == nil || len(out.Rows) != 0 || len(out.Columns) != 1 {
		t.Errorf("an empty result: %v %v", out, err)
	}
}
