package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/export/guard"
	"weir/policy"
	"weir/sandbox"
)

// BenchmarkPlanning times what a query costs before any data are touched: binding by the planner's engine, and the
// guard's check of the plan, for queries of up to ten joins over people and their events. The peer is the binding alone,
// which whoever answers SQL must do. On a busy machine the fastest twentieth says more than the median.
func BenchmarkPlanning(b *testing.B) {
	schema := benchSchema()
	planning, err := sandbox.NewPlanner(realWorker(b), sandbox.DefaultLimits).Start(b.Context(), schema)
	if err != nil {
		b.Fatal(err)
	}
	defer planning.Close()
	for _, joins := range []int{0, 1, 5, 10} {
		sql := joinsOf(joins)
		for _, mode := range []policy.Mode{policy.Perturbed, policy.Exact} {
			b.Run(fmt.Sprintf("joins=%d/%s", joins, mode), func(b *testing.B) {
				var bind, check, both []time.Duration
				for b.Loop() {
					begin := time.Now()
					bound, err := planning.Bind(b.Context(), sql)
					if err != nil {
						b.Fatal(err)
					}
					between := time.Now()
					program, err := guard.Check(sql, bound, schema, policy.DefaultRules, mode)
					if err != nil {
						b.Fatal(err)
					}
					end := time.Now()
					if len(program.Releases) != 1 {
						b.Fatalf("%d guarded aggregations", len(program.Releases))
					}
					bind, check, both = append(bind, between.Sub(begin)), append(check, end.Sub(between)), append(both, end.Sub(begin))
				}
				b.ReportMetric(ms(quantile(both, 0.05)), "p5-ms")
				b.ReportMetric(ms(quantile(both, 0.5)), "p50-ms")
				b.ReportMetric(ms(quantile(both, 0.99)), "p99-ms")
				b.ReportMetric(ms(quantile(bind, 0.05)), "bind-p5-ms")
				b.ReportMetric(ms(quantile(check, 0.05)), "check-p5-ms")
				b.ReportMetric(ms(quantile(bind, 0.5)), "bind-p50-ms")
				b.ReportMetric(ms(quantile(check, 0.5)), "check-p50-ms")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// benchSchema has people, with one row each, and events, of whom a person has many.
func benchSchema() []policy.Dataset {
	columns := []policy.Column{
		{Name: "id", Type: "VARCHAR", Class: policy.Identifier}, {Name: "district", Type: "VARCHAR", Class: policy.Quasi},
		{Name: "kind", Type: "VARCHAR", Class: policy.Quasi}, {Name: "amount", Type: "INTEGER", Class: policy.Measure},
	}
	people := policy.Dataset{Name: "people", Columns: columns, Units: []policy.Unit{{Domain: "person", Key: "id", Unique: true, Most: 1}}}
	events := policy.Dataset{Name: "events", Columns: columns, Units: []policy.Unit{{Domain: "person", Key: "id", Most: 10, Totals: map[string]float64{"amount": 1000}}}}
	return []policy.Dataset{people, events}
}

// joinsOf is a query over events joined to people so many times, with conditions and three figures.
func joinsOf(joins int) string {
	var from, where strings.Builder
	from.WriteString("events e")
	where.WriteString("e.amount > 3")
	for i := range joins {
		fmt.Fprintf(&from, " JOIN people p%d ON e.id = p%d.id", i, i)
		fmt.Fprintf(&where, " AND p%d.kind <> 'k%d'", i, i)
	}
	return fmt.Sprintf("SELECT e.district, upper(e.kind) AS k, count(*), sum(2 * e.amount + 1), avg(e.amount) FROM %s WHERE %s GROUP BY ALL ORDER BY 3 DESC", &from, &where)
}
