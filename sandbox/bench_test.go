package sandbox

import "testing"

func BenchmarkPlannerStartToPlan(b *testing.B) {
	for b.Loop() {
		s, err := NewPlanner(worker, DefaultLimits).Start(b.Context(), schema)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Bind(b.Context(), "SELECT district, count(*) FROM residents GROUP BY district"); err != nil {
			b.Fatal(err)
		}
		s.Close()
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
