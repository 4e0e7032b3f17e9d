package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"weir/sandbox/isolate"
	"weir/sandbox/wire"
)

// The database in which a kept table is made, and where it lies. It is in the worker's own memory and on no disk.
const (
	keeping  = "__kept"
	keptFile = isolate.InsideFolder + "/kept"
)

// keep makes a table of a query's result in a database of its own, and gives what it is and its bytes. The database is
// gone from the engine and from the memory for files when it returns; only the reader holds it.
func (e *engine) keep(ctx context.Context, k wire.Keep) (_ *wire.Kept, _ io.ReadCloser, err error) {
	defer func() {
		if err != nil && full() {
			err = errNoRoom
		}
	}()
	for _, table := range k.Query.Tables {
		if err := e.load(ctx, table); err != nil {
			return nil, nil, err
		}
	}
	if err := e.run(ctx, fmt.Sprintf("ATTACH %s AS %s", literal(keptFile), quote(keeping)),
		fmt.Sprintf("CREATE TABLE %s.main.data AS %s", quote(keeping), k.Query.SQL)); err != nil {
		return nil, nil, err
	}
	kept, err := e.account(ctx, k.Units)
	if err != nil {
		return nil, nil, err
	}
	if err := e.run(ctx, "CHECKPOINT "+quote(keeping), "DETACH "+quote(keeping)); err != nil {
		return nil, nil, err
	}
	body, size, err := takeOut(keptFile)
	if err != nil {
		return nil, nil, err
	}
	kept.Bytes = size
	return kept, body, nil
}

// account tells what the table holds, without a value of it.
func (e *engine) account(ctx context.Context, units []string) (*wire.Kept, error) {
	kept := &wire.Kept{MostRows: []int64{}}
	table := quote(keeping) + ".main.data"
	rows, err := e.conn.QueryContext(ctx,
		"SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ? ORDER BY column_index", keeping)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c wire.Column
		if err := rows.Scan(&c.Name, &c.Type); err != nil {
			return nil, err
		}
		kept.Columns = append(kept.Columns, c)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if err := e.conn.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&kept.Rows); err != nil {
		return nil, err
	}
	for _, unit := range units {
		var most int64
		query := fmt.Sprintf("SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM %s GROUP BY %s)", table, quote(unit))
		if err := e.conn.QueryRowContext(ctx, query).Scan(&most); err != nil {
			return nil, err
		}
		kept.MostRows = append(kept.MostRows, most)
	}
	return kept, nil
}

// takeOut opens a finished file and removes its name, so that its memory is free as soon as it has been read.
func takeOut(path string) (io.ReadCloser, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil {
		err = unix.Unlink(path)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// full reports whether the memory for files has run out.
func full() bool {
	var fs unix.Statfs_t
	return unix.Statfs(isolate.InsideFolder, &fs) == nil && fs.Bavail*uint64(fs.Bsize) < leastRoom
}

// leastRoom is less than the engine writes at once.
const leastRoom = 512 << 10
