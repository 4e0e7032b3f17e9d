package worker

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"weir/sandbox/wire"
)

// quality finds what a provider may want to know of the rows that came in: how many have no value, how many different values
// there are, and how many rows are there twice.
func quality(ctx context.Context, conn *sql.Conn, request wire.Intake, taken *wire.Taken) error {
	var figures, names []string
	for _, c := range request.Columns {
		figures = append(figures, fmt.Sprintf("count(*) - count(%[1]s), approx_count_distinct(%[1]s)", quote(c.Name)))
		names = append(names, quote(c.Name))
	}
	taken.Quality = make([]wire.Quality, len(request.Columns))
	var targets []any
	for i := range taken.Quality {
		targets = append(targets, &taken.Quality[i].Empty, &taken.Quality[i].Distinct)
	}
	if err := conn.QueryRowContext(ctx, "SELECT "+strings.Join(figures, ", ")+" FROM data").Scan(targets...); err != nil {
		return err
	}
	parts := taken.Rows/rowsAtOnce + 1
	row := "hash(" + strings.Join(names, ", ") + ")"
	query := fmt.Sprintf("SELECT CAST(COALESCE(sum(n - 1), 0) AS BIGINT) FROM (SELECT count(*) AS n FROM data WHERE %[1]s %% %[2]d = ? GROUP BY %[1]s)", row, parts)
	for part := range parts {
		var more int64
		if err := conn.QueryRowContext(ctx, query, part).Scan(&more); err != nil {
			return err
		}
		taken.Duplicates += more
	}
	return nil
}
