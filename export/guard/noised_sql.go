package guard

import (
	"fmt"
	"math"
	"strings"
)

// sql renders the query that brings the figures. Where a unit has one row, its row is what it adds. Elsewhere its rows
// are added up by group first, and what they come to in all groups together is scaled down to the cap.
func (q *noisedQuery) sql() string {
	by := numbered("g", len(q.groups))
	base := q.base()
	if len(by) == 0 && len(q.figures) == 0 { // as the coarsest grouping of a cube without figures: nothing is asked
		return ""
	}
	if q.single() || q.fixedRows() && len(q.in.keys) > 1 {
		list := append([]string{}, by...)
		for i, f := range q.figures {
			list = append(list, fmt.Sprintf("CAST(COALESCE(sum(%s), 0) AS HUGEINT) AS f%d", f.part, i))
		}
		return "WITH base AS (" + base + ") " + grouped(list, "base", by)
	}
	own := append(append([]string{}, by...), "u")
	list := append([]string{}, own...)
	for i, f := range q.figures {
		of := "sum"
		if f.units {
			of = "max"
		}
		list = append(list, fmt.Sprintf("CAST(%s(%s) AS HUGEINT) AS s%d", of, f.part, i))
	}
	bounded := append([]string{}, by...)
	outer := append([]string{}, by...)
	for i := range q.figures {
		bounded = append(bounded, fmt.Sprintf("%s AS s%d", q.cut(i, own), i))
		outer = append(outer, fmt.Sprintf("CAST(COALESCE(sum(s%d), 0) AS HUGEINT) AS f%d", i, i))
	}
	return "WITH base AS (" + base + "), parts AS (" + grouped(list, "base", own) + "), bounded AS (SELECT " + strings.Join(bounded, ", ") +
		" FROM parts) " + grouped(outer, "bounded", by)
}

// cut holds what a unit adds to a figure to its cap.
func (q *noisedQuery) cut(i int, own []string) string {
	f, s := q.figures[i], fmt.Sprintf("s%d", i)
	if f.units {
		if q.oneGroup() {
			return s
		}
		return fmt.Sprintf("CASE WHEN row_number() OVER (PARTITION BY u ORDER BY %s DESC, hash(%s), %s) <= %.0f THEN %s ELSE 0 END",
			s, strings.Join(own, ", "), strings.Join(own, ", "), math.Floor(q.out.Among), s)
	}
	most := math.Floor(f.Cap)
	if q.oneGroup() {
		return fmt.Sprintf("greatest(least(%s, %.0f), %.0f)", s, most, -most)
	}
	all := fmt.Sprintf("sum(abs(%s)) OVER (PARTITION BY u)", s)
	return fmt.Sprintf("CASE WHEN %s <= %.0f THEN %s ELSE CAST(trunc(CAST(%s AS DOUBLE) * %.0f / CAST(%s AS DOUBLE) * 0.999999999) AS HUGEINT) END",
		all, most, s, s, most, all)
}

// base brings of each row its groups, its unit, and what the figures are made of.
func (q *noisedQuery) base() string {
	var list []string
	for i, g := range q.groups {
		list = append(list, fmt.Sprintf("%s AS g%d", g.sql, i))
	}
	where := append([]string{}, q.in.where...)
	list = append(list, q.in.keys[0].sql+" AS u")
	var somebody []string
	for _, k := range q.in.keys {
		somebody = append(somebody, k.sql+" IS NOT NULL")
	}
	if q.in.keys[0].nullable || len(q.in.keys) > 1 || q.in.lonely {
		where = append(where, "("+strings.Join(somebody, " OR ")+")")
	}
	for i, a := range q.args {
		list = append(list, fmt.Sprintf("%s AS a%d", a, i))
	}
	sql := "SELECT " + strings.Join(list, ", ") + " FROM " + q.in.from
	if len(where) > 0 {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	return sql
}
