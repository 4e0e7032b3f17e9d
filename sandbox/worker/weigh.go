package worker

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"

	"weir/sandbox/wire"
)

// rowsAtOnce is about how many rows are grouped by their unit at a time, so that any number fits into memory.
const rowsAtOnce = 4_000_000

// weighUnits finds for each unit key how many rows a unit has at most, and how much of each measure. No part of one unit
// in any figure is greater, which spares most figures the way over single units.
func weighUnits(ctx context.Context, conn *sql.Conn, request wire.Intake, rows int64) ([]wire.TakenUnit, error) {
	found := make([]wire.TakenUnit, len(request.Units))
	for i := range found {
		most, err := inParts(ctx, conn, i, rows, []string{"count(*)"})
		if err != nil {
			return nil, err
		}
		found[i].Most = int64(most[0])
		var names, sizes []string
		for _, c := range request.Columns {
			if c.Total {
				names = append(names, c.Name)
				sizes = append(sizes, fmt.Sprintf("COALESCE(sum(abs(CAST(%s AS DOUBLE))), 0)", quote(c.Name)))
			}
		}
		if len(sizes) == 0 {
			continue
		}
		totals, err := inParts(ctx, conn, i, rows, sizes)
		if err != nil {
			return nil, err
		}
		found[i].Totals = map[string]float64{}
		for j, name := range names {
			if total := totals[j] * roundedUp; !math.IsInf(total, 0) && !math.IsNaN(total) {
				found[i].Totals[name] = total
			}
		}
	}
	return found, nil
}

// fullColumns lists those of the measures that no row leaves out or has a zero in.
func fullColumns(ctx context.Context, conn *sql.Conn, request wire.Intake) (full []string, err error) {
	for _, c := range request.Columns {
		if !c.Total {
			continue
		}
		var every bool
		query := fmt.Sprintf("SELECT count(*) FILTER (WHERE %s <> 0) = count(*) FROM data", quote(c.Name))
		if err := conn.QueryRowContext(ctx, query).Scan(&every); err != nil {
			return nil, err
		}
		if every {
			full = append(full, c.Name)
		}
	}
	return full, nil
}

// roundedUp keeps a total of rounded numbers from being less than the true one.
const roundedUp = 1 + 1e-9

// inParts gives the greatest of each figure that any unit of key i has. Units are hashes, so a remainder parts them
// evenly.
func inParts(ctx context.Context, conn *sql.Conn, i int, rows int64, figures []string) ([]float64, error) {
	parts := rows/rowsAtOnce + 1
	var inner, outer []string
	for j, figure := range figures {
		inner = append(inner, fmt.Sprintf("%s AS f%d", figure, j))
		outer = append(outer, fmt.Sprintf("CAST(COALESCE(max(f%d), 0) AS DOUBLE)", j))
	}
	query := fmt.Sprintf("SELECT %[1]s FROM (SELECT %[2]s FROM data WHERE __unit_%[3]d %% %[4]d = ? GROUP BY __unit_%[3]d)",
		strings.Join(outer, ", "), strings.Join(inner, ", "), i, parts)
	greatest, part := make([]float64, len(figures)), make([]float64, len(figures))
	targets := make([]any, len(figures))
	for j := range part {
		targets[j] = &part[j]
	}
	for p := range parts {
		if err := conn.QueryRowContext(ctx, query, p).Scan(targets...); err != nil {
			return nil, err
		}
		for j, value := range part {
			greatest[j] = math.Max(greatest[j], value)
		}
	}
	return greatest, nil
}
