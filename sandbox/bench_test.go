package sandbox

import "testing"

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

func BenchmarkJobStartToAnswer(b *testing.B) {
	v := withPeople(b)
	for b.Loop() {
		s := session(b, v, DefaultLimits)
		if _, err := s.Query(b.Context(), Query{SQL: `SELECT "select", count(*) FROM "ds_people"."main"."data" GROUP BY 1`}); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
