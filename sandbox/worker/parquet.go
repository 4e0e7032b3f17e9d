package worker

import (
	"context"
	"database/sql"
	"io"
	"slices"
	"strings"

	"weir/sandbox/isolate"
	"weir/sandbox/wire"
)

// inputPath is where the platform shows the provider's file.
var inputPath = isolate.Inside(0)

// stretch is how many rows of a Parquet file are in memory at once.
const stretch = 100_000

// parquetSource reads a Parquet file with the engine's own reader, a stretch of rows at a time.
type parquetSource struct {
	ctx     context.Context
	conn    *sql.Conn
	query   string
	rows    *sql.Rows
	from    int64
	total   int64
	given   int64
	extra   int
	values  []any
	targets []any
}

func openParquet(ctx context.Context, conn *sql.Conn, request wire.Intake) (source, error) {
	s := &parquetSource{ctx: ctx, conn: conn, values: make([]any, len(request.Columns))}
	read := "read_parquet(" + literal(inputPath) + ", file_row_number = true)"
	names, err := s.names(read)
	if err != nil {
		return nil, bad("unreadable")
	}
	var list []string
	for i, c := range request.Columns {
		if !slices.Contains(names, c.Name) {
			return nil, &badFile{wire.BadFile{Kind: missingColumn, Column: c.Name}}
		}
		list = append(list, quote(c.Name))
		s.targets = append(s.targets, &s.values[i])
	}
	s.extra = len(names) - 1 - len(request.Columns)
	if err := s.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+read).Scan(&s.total); err != nil {
		return nil, bad("unreadable")
	}
	s.query = "SELECT " + strings.Join(list, ", ") + " FROM " + read +
		" WHERE file_row_number >= ? AND file_row_number < ? ORDER BY file_row_number"
	return s, nil
}

func (s *parquetSource) names(read string) ([]string, error) {
	rows, err := s.conn.QueryContext(s.ctx, "SELECT * FROM "+read+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return rows.Columns()
}

func (s *parquetSource) next() ([]any, error) {
	for s.rows == nil || !s.rows.Next() {
		if s.rows != nil {
			if s.rows.Err() != nil || s.rows.Close() != nil {
				return nil, bad("unreadable")
			}
			s.from += stretch
		}
		if s.from >= s.total {
			if s.given != s.total {
				return nil, bad("unreadable")
			}
			return nil, io.EOF
		}
		var err error
		if s.rows, err = s.conn.QueryContext(s.ctx, s.query, s.from, s.from+stretch); err != nil {
			return nil, bad("unreadable")
		}
	}
	s.given++
	if err := s.rows.Scan(s.targets...); err != nil {
		return nil, bad("unreadable")
	}
	return s.values, nil
}

func (s *parquetSource) line() int64     { return 0 }
func (s *parquetSource) undeclared() int { return s.extra }
