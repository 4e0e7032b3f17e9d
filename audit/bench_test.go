package audit_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/internal/store/storetest"
)

// BenchmarkAppend appends events of a usual size with one writer and with 64. Its peer is what the same database
// does at best without a log: one row of the same size, inserted and committed by itself.
func BenchmarkAppend(b *testing.B) {
	for _, source := range []struct {
		name string
		make func(testing.TB) string
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d-writers", source.name, writers), func(b *testing.B) {
				log := open(b, storetest.Open(b, source.make(b)), options(b))
				measure(b, writers, func(i int) error {
					_, err := log.Append(context.Background(), event(i))
					return err
				})
			})
			b.Run(fmt.Sprintf("%s/%d-writers-peer-insert-and-commit", source.name, writers), func(b *testing.B) {
				db := storetest.Open(b, source.make(b))
				if _, err := db.ExecContext(b.Context(), "CREATE TABLE peer (id BIGINT PRIMARY KEY, entry TEXT)"); err != nil {
					b.Fatal(err)
				}
				insert, err := db.PrepareContext(b.Context(), "INSERT INTO peer VALUES ($1, $2)")
				if err != nil {
					b.Fatal(err)
				}
				entry := fmt.Sprintf("%400d", 0)
				measure(b, writers, func(i int) error {
					_, err := insert.Exec(i, entry)
					return err
				})
			})
		}
	}
}

// BenchmarkAppendWith appends events with a change of the store beside each. Its peer does the same in two transactions.
func BenchmarkAppendWith(b *testing.B) {
	change := func(ctx context.Context, tx bun.Tx, i int64) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO changes VALUES (?, ?)", fmt.Sprint(i), i)
		return err
	}
	for _, source := range []struct {
		name string
		make func(testing.TB) string
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		for _, writers := range []int{1, 64} {
			for _, together := range []bool{true, false} {
				name := fmt.Sprintf("%s/%d-writers", source.name, writers)
				if !together {
					name += "-peer-append-and-transaction"
				}
				b.Run(name, func(b *testing.B) {
					db := storetest.Open(b, source.make(b))
					log := open(b, db, options(b))
					if _, err := db.ExecContext(b.Context(), createChanges); err != nil {
						b.Fatal(err)
					}
					measure(b, writers, func(i int) error {
						if together {
							_, err := log.AppendWith(context.Background(), event(i), change)
							return err
						}
						if _, err := log.Append(context.Background(), event(i)); err != nil {
							return err
						}
						return db.RunInTx(context.Background(), nil, func(ctx context.Context, tx bun.Tx) error {
							return change(ctx, tx, int64(i))
						})
					})
				})
			}
		}
	}
}

// measure shares b.N operations among writers and reports how many a second there were and how long each took.
func measure(b *testing.B, writers int, operation func(i int) error) {
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wait sync.WaitGroup
	b.ResetTimer()
	for range writers {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				start := time.Now()
				if err := operation(i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(start)
			}
		})
	}
	wait.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(took[b.N/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[b.N*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric(0, "ns/op") // says nothing with several writers
}

// BenchmarkVerify verifies a log of 20 000 entries, 64 writers' batches.
func BenchmarkVerify(b *testing.B) {
	db, opts := storetest.Open(b, storetest.SQLite(b)), options(b)
	const entries = 20_000
	log := open(b, db, opts)
	fill(b, log, entries)
	for b.Loop() {
		if report, err := audit.Verify(b.Context(), db, audit.VerifyOptions{Policy: policy(b, opts)}); err != nil || !report.OK() {
			b.Fatal(report, err)
		}
	}
	b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "entries/s")
}
