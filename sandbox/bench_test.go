package sandbox

import (
	"testing"

	"weir/policy"
)

// BenchmarkPlannerStartToPlan is what a job waits for its plan: with a planner that is started for it, and with one
// that was waiting.
func BenchmarkPlannerStartToPlan(b *testing.B) {
	for name, waiting := range map[string]int{"cold": 0, "warm": 2} {
		b.Run(name, func(b *testing.B) {
			planner := NewPlanner(worker, DefaultLimits).KeepWarm(waiting)
			defer planner.Close()
			for b.Loop() {
				b.StopTimer()
				planner.warm.filler.Wait()
				b.StartTimer()
				s, err := planner.Start(b.Context(), schema)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Bind(b.Context(), "SELECT district, count(*) FROM residents GROUP BY district"); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Close()
				b.StartTimer()
			}
		})
	}
}

func BenchmarkBind(b *testing.B) {
	s := plan(b, DefaultLimits)
	for b.Loop() {
		if _, err := s.Bind(b.Context(), "SELECT district, count(*) FROM residents GROUP BY district"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJobStartToAnswer is what a job waits for its first answer: with a process that is started for it, and with one
// that was waiting.
func BenchmarkJobStartToAnswer(b *testing.B) {
	v := withPeople(b)
	d, err := v.Dataset(b.Context(), "people")
	if err != nil {
		b.Fatal(err)
	}
	for name, waiting := range map[string]int{"cold": 0, "warm": 2} {
		b.Run(name, func(b *testing.B) {
			workers := NewWorkers(worker, v, DefaultLimits).KeepWarm(waiting)
			defer workers.Close()
			for b.Loop() {
				b.StopTimer()
				workers.warm.filler.Wait()
				b.StartTimer()
				s, err := workers.Start(b.Context(), "job", []policy.Dataset{d})
				if err != nil {
					b.Fatal(cause(err))
				}
				if _, err := s.Query(b.Context(), Query{SQL: `SELECT "select", count(*) FROM "ds_people"."main"."data" GROUP BY 1`}); err != nil {
					b.Fatal(cause(err))
				}
				b.StopTimer()
				s.Close()
				b.StartTimer()
			}
		})
	}
}
