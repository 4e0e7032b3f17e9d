package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/internal/store"
	"weir/internal/store/storetest"
	"weir/policy"
	"weir/sandbox"
)

// questionsInAll are asked by as many clients as there are, of the platform and of its peer; by each at least two.
const questionsInAll = 64

// BenchmarkClients is how many jobs a second a platform does for 1, 8 and 64 people who ask at once, each the next question
// when they have the answer to the last: real processes, HTTP, SQLite, the log and the history, perturbed. An error ends it. The
// peer is the same query in plain SQL, asked by as many at once of a bare worker each: a confined process that is started, attaches
// the sealed file, answers and ends.
func BenchmarkClients(b *testing.B) {
	data := filepath.Join(b.TempDir(), "var")
	node := newStormNode(b, "WEIR_DATA="+data)
	s := &storm{nodes: []*stormNode{node}, data: data, source: filepath.Join(data, storeFile)}
	node.start(b)
	s.begin(b, stormAnalysts, stormAccounts/4)
	s.calm.Store(true)
	bare := newBareWorkers(b)
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(clients), func(b *testing.B) {
			each := max(2, questionsInAll/clients)
			for b.Loop() {
				continue // what is timed is below, once and beside its peer
			}
			platform := timed(clients, each, func(client int) { s.analysts[client].ask(stormQueries[0]) })
			peer := timed(clients, each, func(int) { bare.ask(b) })
			b.ReportMetric(platform.rate(), "jobs/s")
			b.ReportMetric(peer.rate(), "peer/s")
			b.ReportMetric(platform.rate()/peer.rate(), "job/peer")
			b.ReportMetric(platform.ms(0.5), "p50-ms")
			b.ReportMetric(platform.ms(0.99), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
	node.stop(b)
}

// timing is how long each of many took, and all together.
type timing struct {
	whole time.Duration
	each  []time.Duration
}

func (t timing) rate() float64 { return float64(len(t.each)) / t.whole.Seconds() }

func (t timing) ms(quantile float64) float64 {
	return float64(t.each[min(int(quantile*float64(len(t.each))), len(t.each)-1)]) / float64(time.Millisecond)
}

// timed has clients do something at once, each so many times in turn.
func timed(clients, times int, do func(client int)) timing {
	took := make([][]time.Duration, clients)
	var group sync.WaitGroup
	begin := time.Now()
	for client := range clients {
		group.Go(func() {
			for range times {
				asked := time.Now()
				do(client)
				took[client] = append(took[client], time.Since(asked))
			}
		})
	}
	group.Wait()
	t := timing{whole: time.Since(begin), each: slices.Concat(took...)}
	slices.Sort(t.each)
	return t
}

// bareWorkers are the peer: the same data and the same engine, confined, and nothing of the platform.
type bareWorkers struct {
	workers *sandbox.Workers
	data    []policy.Dataset
}

func newBareWorkers(b *testing.B) bareWorkers {
	b.Helper()
	worker := filepath.Join(filepath.Dir(build(b)), "weir-worker")
	db, err := store.Open(b.Context(), storetest.SQLite(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	vault, err := sandbox.OpenVault(b.Context(), filepath.Join(b.TempDir(), "vault"), db, worker, sandbox.MemoryMaster())
	if err != nil {
		b.Fatal(err)
	}
	taken, err := vault.Import(b.Context(), residents(b, b.TempDir(), 3000))
	if err != nil {
		b.Fatal(err)
	}
	return bareWorkers{sandbox.NewWorkers(worker, vault, sandbox.DefaultLimits), []policy.Dataset{taken}}
}

func (w bareWorkers) ask(b *testing.B) {
	session, err := w.workers.Start(b.Context(), "peer", w.data)
	if err != nil {
		b.Error(err)
		return
	}
	defer session.Close()
	if _, err := session.Query(b.Context(), sandbox.Query{SQL: `SELECT district, count(*) FROM "ds_residents"."main"."data" GROUP BY district`}); err != nil {
		b.Error(err)
	}
}
