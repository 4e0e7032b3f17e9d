package worker

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/sandbox/wire"
)

// newJobEngine opens an engine as a job has it.
func newJobEngine(t *testing.T, memory int64, threads int) *engine {
	t.Helper()
	e, err := openEngine(t.Context(), wire.Open{Memory: memory, Threads: threads, Rows: 1 << 20, Bytes: 1 << 30})
	if err == nil {
		err = e.measure(t.Context(), func(wire.Reply) {})
	}
	if err == nil {
		err = e.learn()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.conn.Close() })
	return e
}

// texts reads a query's rows, of which every value is text or NULL.
func texts(t *testing.T, e *engine, sql string) (all []string) {
	t.Helper()
	rows, err := e.conn.QueryContext(context.Background(), sql)
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		row, targets := make([]*string, len(names)), make([]any, len(names))
		for i := range row {
			targets[i] = &row[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		line := ""
		for _, v := range row {
			if v == nil {
				line += "NULL;"
			} else {
				line += *v + ";"
			}
		}
		all = append(all, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// spelled writes the fingerprint of one group in words of the engine: what the aggregate must give.
const spelled = `SELECT g, string_agg(part || '=' || p, ' ' ORDER BY part) FROM (
	SELECT g, h & (%d - 1) AS part, sum(%s((h >> 32) + 1) * %s) AS p FROM rows WHERE h IS NOT NULL AND %s GROUP BY ALL) GROUP BY g ORDER BY g`

// words writes a blob, as hexadecimal digits, in the same words.
func words(t *testing.T, line string) string {
	t.Helper()
	group, digits, _ := strings.Cut(strings.TrimSuffix(line, ";"), ";")
	if digits == "NULL" {
		return group + ";NULL;"
	}
	var blob []byte
	if _, err := fmt.Sscanf(digits, "%x", &blob); err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for part, first := uint64(0), true; len(blob) > 0; first = false {
		step, n := binary.Uvarint(blob)
		sum, m := binary.Uvarint(blob[n:])
		if n <= 0 || m <= 0 || step == 0 && !first || sum == 0 {
			t.Fatalf("group %s: the blob is not in its form", group)
		}
		part += step
		blob = blob[n+m:]
		pairs = append(pairs, fmt.Sprintf("%d=%d", part, sum))
	}
	return group + ";" + strings.Join(pairs, " ") + ";"
}

// The aggregate gives what the engine itself computes in many words, for groups of few and of many parts, with
// conditions, distinct units, rows that count several times or not at all, and whatever the order and the threads are.
func TestFingerprintEqualsTheEngine(t *testing.T) {
	for _, data := range []struct {
		name   string
		groups string // by row i
		rows   int
	}{
		{"one group", "0", 120_000}, {"a few", "i % 7", 100_000}, {"of every size", "floor(1 / (1e-5 + (hash(i, 9) % 10007) / 10007))", 60_000},
		{"many", "hash(i) % 20000", 60_000}, {"nearly everybody apart", "i % 15000", 30_000},
	} {
		t.Run(data.name, func(t *testing.T) {
			var first []string
			for _, threads := range []int{1, 2, 4} {
				e := newJobEngine(t, 2<<30, threads)
				create := fmt.Sprintf(`CREATE TABLE rows AS SELECT %s AS g, CASE WHEN i %% 50 <> 3 THEN hash(i // 3, 5) END AS h, i %% 4 AS n, i %% 5 <> 0 AS f FROM range(%d) r(i) ORDER BY %s`,
					data.groups, data.rows, map[int]string{1: "i", 2: "hash(i)", 4: "i DESC"}[threads])
				if err := e.run(t.Context(), create); err != nil {
					t.Fatal(err)
				}
				var all []string
				for _, c := range []struct{ distinct, times, where string }{{"", "1", "TRUE"}, {"", "1", "f"}, {"", "n", "n > 0"}, {"DISTINCT ", "1", "f"}} {
					sql := fmt.Sprintf("SELECT g, hex(%s(%sh, CAST(%s AS UBIGINT)) FILTER (WHERE %s)) AS b FROM rows GROUP BY g HAVING b IS NOT NULL ORDER BY g",
						wire.Fingerprint, c.distinct, c.times, c.where)
					want := texts(t, e, fmt.Sprintf(spelled, wire.FingerprintParts, c.distinct, c.times, c.where))
					got := texts(t, e, sql)
					all = append(all, got...)
					if len(got) != len(want) || len(got) == 0 {
						t.Fatalf("%v: %d groups, want %d", c, len(got), len(want))
					}
					for i := range got {
						if words(t, got[i]) != want[i] {
							t.Fatalf("%v, %d threads: group %d is not what the engine says", c, threads, i)
						}
					}
				}
				if first == nil {
					first = all
				}
				if strings.Join(all, "\n") != strings.Join(first, "\n") {
					t.Errorf("%d threads say something else", threads)
				}
				if n := heldByFingerprints(); n != 0 {
					t.Errorf("%d bytes were not given back", n)
				}
			}
		})
	}
}

// Of no rows there is no fingerprint, with groups and without; and a sum that needs more than 64 bits is an error.
func TestFingerprintAtItsEnds(t *testing.T) {
	e := newJobEngine(t, 1<<30, 2)
	for sql, want := range map[string]string{
		"SELECT hex(weir_fingerprint(1::UBIGINT, 1::UBIGINT)) FROM range(0)":                                            "NULL;",
		"SELECT hex(weir_fingerprint(1::UBIGINT, 1::UBIGINT)) FROM range(0) GROUP BY range":                             "",
		"SELECT hex(weir_fingerprint(NULL::UBIGINT, 1::UBIGINT)), hex(weir_fingerprint(7::UBIGINT, NULL::UBIGINT))":     "NULL;NULL;",
		"SELECT hex(weir_fingerprint(7::UBIGINT, 0::UBIGINT)), hex(weir_fingerprint(0::UBIGINT, 1::UBIGINT))":           "NULL;0001;",
		"SELECT hex(weir_fingerprint(32767::UBIGINT, 300::UBIGINT)), hex(weir_fingerprint(32768::UBIGINT, 1::UBIGINT))": "FFFF01AC02;0001;",
		"SELECT hex(weir_fingerprint(18446744073709551615::UBIGINT, 4294967295::UBIGINT))":                              "FFFF0180808080F0FFFFFFFF01;",
	} {
		if got := strings.Join(texts(t, e, sql), "\n"); got != want {
			t.Errorf("%s: %v, want %s", sql, got, want)
		}
	}
	for _, sql := range []string{
		"SELECT weir_fingerprint(18446744073709551615::UBIGINT, 18446744073709551615::UBIGINT)",
		"SELECT weir_fingerprint(18446744073709551615::UBIGINT, (4294967295 - i % 2)::UBIGINT) FROM range(3) r(i)",
	} {
		if err := e.run(t.Context(), sql); err == nil || class(err) != "invalid input" {
			t.Errorf("%s: %v", sql, err)
		}
		if n := heldByFingerprints(); n != 0 {
			t.Errorf("%s: %d bytes were not given back", sql, n)
		}
	}
}

// Fingerprints for which there is no memory are given up, which is told, and the others are right. Everything is given
// back, also where the query is interrupted.
func TestFingerprintsGiveBack(t *testing.T) {
	bomb := "SELECT i %% %d AS g, weir_fingerprint(hash(i), 1::UBIGINT) AS b FROM range(2000000) r(i) GROUP BY g"
	for _, groups := range []int{40, 1000, 100_000, 2_000_000} {
		e := newJobEngine(t, 16<<20, 2)
		if err := e.run(t.Context(), "SET memory_limit = '4GB'"); err != nil {
			t.Fatal(err)
		}
		counts := fmt.Sprintf("SELECT count(*), count(*) FILTER (WHERE octet_length(b) = 0) > 0, count(*) FILTER (WHERE b IS NULL) FROM ("+bomb+")", groups)
		if got := texts(t, e, counts); got[0] != fmt.Sprintf("%d;true;0;", groups) {
			t.Errorf("%d groups in 8 MB: %v", groups, got)
		}
		if n := heldByFingerprints(); n != 0 {
			t.Errorf("%d groups: %d bytes were not given back", groups, n)
		}
		if got := texts(t, e, "SELECT hex(weir_fingerprint(5::UBIGINT, 1::UBIGINT))"); len(got) != 1 || got[0] != "0501;" {
			t.Errorf("%d groups, and then: %v", groups, got)
		}
		each := fmt.Sprintf("SELECT g, CASE WHEN octet_length(b) > 0 THEN md5(b) END FROM ("+bomb+") WHERE g < 1000 ORDER BY g", groups)
		right := texts(t, newJobEngine(t, 4<<30, 2), each)
		for i, line := range texts(t, e, each) {
			if line != right[i] && !strings.HasSuffix(line, "NULL;") {
				t.Fatalf("%d groups: one that was not given up is wrong", groups)
			}
		}
	}
	e := newJobEngine(t, 4<<30, 2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.run(ctx, strings.Replace(fmt.Sprintf(bomb, 1000), "2000000", "4000000000", 1)) }()
	for heldByFingerprints() == 0 {
		select {
		case err := <-ended:
			t.Fatal("the query ended by itself", err)
		default:
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the query was not interrupted")
	}
	// The engine's other threads may still be at their last groups when the query has ended.
	for begin := time.Now(); heldByFingerprints() != 0; runtime.Gosched() {
		if time.Since(begin) > time.Minute {
			t.Fatalf("interrupted: %d bytes were not given back", heldByFingerprints())
		}
	}
}
