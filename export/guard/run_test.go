package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/policy"
	"weir/sandbox"
)

// What the guard writes of open data and constants must be what the engine makes of the text: the same values, whatever
// it takes to write them.
func TestWrittenLikeAsked(t *testing.T) {
	p := newPlanner(t, schemaOf(t, "testdata/schema.yaml"))
	for sql, want := range map[string]string{
		`SELECT list_transform([1, 2], lambda x, i: x * 10 + i)`:                           `[11,22]`,
		`SELECT list_reduce([1, 2, 3], lambda a, b: a * 10 + b)`:                           "123",
		`SELECT list_reduce([1, 2], lambda a, b, i: a * 10 + b + i, 7)`:                    "724",
		`SELECT list_filter([5, 6, 7], lambda x, i: i <> 2)`:                               `[5,7]`,
		`SELECT list_transform([1, 2], lambda x: list_transform([x, 5], lambda y: y - x))`: `[[0,4],[0,3]]`,
		`SELECT [x + k FOR x IN [1, 2, 3] IF x > 1] FROM (VALUES (10)) v(k)`:               `[12,13]`,
		`SELECT [1, 2, 3][2:]`:                           `[2,3]`,
		`SELECT [1, 2, 3][:2]`:                           `[1,2]`,
		`SELECT [1, 2, 3, 4][1:4:2]`:                     `[1,3]`,
		`SELECT list_reverse([1, 2, 3])`:                 `[3,2,1]`,
		`SELECT 'abcd'[2:3]`:                             "bc",
		`SELECT {'a': 1, 'b': [2]}`:                      `{"a":1,"b":[2]}`,
		`SELECT struct_insert({'a': 1}, b := 2).b`:       "2",
		`SELECT MAP {'k': 1, 'l': 2}`:                    `{"k":1,"l":2}`,
		`SELECT MAP {7: 'x'}[7]`:                         "x",
		`SELECT union_extract(union_value(k := 5), 'k')`: "5",
		`SELECT quantile_disc(x, 0.25 ORDER BY x DESC) FROM (VALUES (1), (2), (3), (4)) v(x)`:                               "4",
		`SELECT quantile_cont(x, [0.5, 1]) FROM (VALUES (1), (2), (3)) v(x)`:                                                `[2,3]`,
		`SELECT list_aggregate([1, 2, 3], 'quantile_disc', 0.5)`:                                                            "2",
		`SELECT list_aggregate(['a', 'b'], 'string_agg', '-')`:                                                              "a-b",
		`SELECT string_agg(x, '/' ORDER BY x DESC) FROM (VALUES ('a'), ('b')) v(x)`:                                         "b/a",
		`SELECT string_agg(x, '/') OVER (ORDER BY x) FROM (VALUES ('a'), ('b')) v(x)`:                                       "a a/b",
		`SELECT fill(x) OVER (ORDER BY i) FROM (VALUES (1, 10), (2, NULL), (3, 30)) v(i, x)`:                                "10 20 30",
		`SELECT DISTINCT ON (k) x FROM (VALUES ('a', 2), ('a', 1), ('b', 5)) v(k, x) ORDER BY k, x`:                         "1 5",
		`SELECT a.x + b.y FROM (VALUES (1), (2)) a(x) POSITIONAL JOIN (VALUES (10), (20)) b(y)`:                             "11 22",
		`SELECT b.y FROM (VALUES (3), (7)) a(x) ASOF JOIN (VALUES (1), (5), (9)) b(y) ON a.x >= b.y ORDER BY 1`:             "1 5",
		`SELECT count(*), count(x), count(y) FROM (VALUES (1), (2)) a(x) FULL JOIN (VALUES (2), (3), (4)) b(y) ON x = y`:    "4|2|3",
		`WITH RECURSIVE r(n, f) AS (SELECT 1, 1 UNION ALL SELECT n + 1, f * (n + 1) FROM r WHERE n < 5) SELECT f FROM r`:    "1 2 6 24 120",
		`WITH RECURSIVE r(n) AS (SELECT 0 UNION SELECT (n + 2) % 6 FROM r) SELECT n FROM r ORDER BY 1`:                      "0 2 4",
		`WITH RECURSIVE r(k, v) USING KEY (k) AS (SELECT 1, 1 UNION SELECT k, v + 1 FROM r WHERE v < 3) SELECT k, v FROM r`: "1|3",
		`SELECT unnest([1, 2]), unnest(['a', 'b', 'c'])`:                                                                    "1|a 2|b <nil>|c",
		`SELECT x, u FROM (VALUES ('a b'), ('c')) v(x), unnest(string_split(x, ' ')) t(u) ORDER BY 1, 2`:                    "a b|a a b|b c|c",
		`SELECT u FROM unnest(['x', 'y']) t(u)`:                                                                             "x y",
		`SELECT d::DATE FROM range(DATE '2026-01-31', DATE '2026-04-01', INTERVAL 1 MONTH) t(d)`:                            "2026-01-31 2026-02-28 2026-03-28",
		`SELECT k, v FROM (SELECT 1 AS a, 2 AS b) UNPIVOT (v FOR k IN (a, b))`:                                              "a|1 b|2",
		`SELECT * FROM (PIVOT (SELECT 'r' AS g, 'x' AS k, 3 AS v) ON k IN ('x', 'y') USING sum(v) GROUP BY g)`:              "r|3|<nil>",
		`SELECT x FROM (VALUES (1), (2), (3)) v(x) WHERE x >= ALL (SELECT 2)`:                                               "2 3",
		`SELECT x FROM (VALUES (1), (2)) v(x) WHERE x < ANY (SELECT 2)`:                                                     "1",
		`SELECT x FROM (VALUES (1), (2), (3), (4)) v(x) ORDER BY x DESC LIMIT 50%`:                                          "4 3",
		`SELECT '{"a": {"b": 5}}'::JSON->'a'->>'b', json_extract_string('{"a": 1}', '$.a'), to_json({'x': 1})`:              `5|1|{"x":1}`,
		`(SELECT unnest([1, 1, 2]) EXCEPT ALL SELECT 1) ORDER BY 1`:                                                         "1 2",
		`SELECT 'b' COLLATE NOCASE = 'B', 'x'::ENUM ('x', 'y')::VARCHAR, '10:20'::TIME`:                                     "true|x|10:20:00",
		`SELECT row_number() OVER (ORDER BY x), x FROM (VALUES (5), (4)) v(x) QUALIFY row_number() OVER (ORDER BY x) = 1`:   "1|4",
		// Wide enough that nothing overflows, where the engine fails.
		`SELECT x * y, x + x, -x - y, -z FROM (VALUES (2147483647, 3, -2147483648)) v(x, y, z)`:                                           "6442450941|4294967294|-2147483650|2147483648",
		`SELECT sum(x * 1000), max(x * x), median(x * 100) FROM (VALUES (32767::SMALLINT)) v(x)`:                                          "32767000|1073676289|3.2767e+06",
		`SELECT x * y, x * x * x FROM (VALUES (9223372036854775807, 9)) v(x, y)`:                                                          "83010348331692982263|<nil>",
		`SELECT x * y, x + y FROM (VALUES (1234567890.12::DECIMAL(12,2), 99999999.99::DECIMAL(12,2))) v(x, y)`:                            "123456788999654321.0988|1334567890.11",
		`SELECT x + y FROM (VALUES (9999999999999999.99::DECIMAL(18,2), 9999999999999999.99::DECIMAL(18,2))) v(x, y)`:                     "19999999999999999.98",
		`SELECT CASE WHEN x > 1 THEN x * x ELSE 5 END, coalesce(x * x, 0), greatest(x * x, 1) FROM (VALUES (100000)) v(x)`:                "10000000000|10000000000|10000000000",
		`SELECT DATE '2026-01-01' + x * 2, repeat('a', x * 1), x * 3 / 2, (x * 5) // 2, (x * 5) % 3 FROM (VALUES (3)) v(x)`:               "2026-01-07|aaa|4.5|7|0",
		`SELECT sum(x) + sum(y), 100 * sum(x) / sum(y), sum(d) * 2 FROM (VALUES (1, 4, 1.25)) v(x, y, d)`:                                 "5|25|2.50",
		`SELECT x * 1.5, x::DECIMAL(5,2), (x * 100000)::INTEGER FROM (VALUES (200000)) v(x)`:                                              "300000.0|200000.00|20000000000",
		`SELECT split_part('a/b/c', '/', 2), translate('abc', 'ab', 'xy'), date_part('month', age(DATE '2026-05-02', DATE '2026-02-01'))`: "b|xyc|3",
	} {
		t.Run(sql, func(t *testing.T) {
			program, err := p.check(t.Context(), sql, policy.Exact)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.process.Finish(t.Context(), sandbox.Query{SQL: program.Final.SQL})
			if err != nil {
				p.close()
				t.Fatalf("%v\n%s", err, program.Final.SQL)
			}
			if text := tableText(got); text != want {
				t.Errorf("%s, want %s\n%s", text, want, program.Final.SQL)
			}
		})
	}
}

// tableText writes a table on one line: rows apart by spaces, values by strokes.
func tableText(table sandbox.Table) string {
	var rows []string
	for _, row := range table.Rows {
		var values []string
		for _, v := range row {
			values = append(values, fmt.Sprint(v))
		}
		rows = append(rows, strings.Join(values, "|"))
	}
	return strings.Join(rows, " ")
}
