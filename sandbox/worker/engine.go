package worker

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"weir/sandbox/isolate"
	"weir/sandbox/wire"
)

// engine is a connection to an in-memory database that is closed to the outside.
type engine struct {
	db   *sql.DB
	conn *sql.Conn
	open wire.Open

	raw mapping.Connection
	say func(wire.Reply) // while a query runs; nil where nobody asks how far it is
}

// openEngine opens the engine. It must be shut before it is given anything of a person's or of the data, after what needs the
// file system: that order is what makes the settings hold.
func openEngine(ctx context.Context, o wire.Open) (*engine, error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	e := &engine{db: db, conn: conn, open: o}
	return e, errors.Join(e.run(ctx, extensionsOff...), e.run(ctx, limits(o.Memory, o.Threads)...))
}

// another opens a second connection to the same database, with settings of its own. Those of the database hold for both.
func (e *engine) another(ctx context.Context, settings ...string) (*engine, error) {
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	a := &engine{db: e.db, conn: conn, open: e.open}
	return a, a.run(ctx, settings...)
}

// shut closes every way out of the engine: the engine's lock comes last of its settings, and then the kernel takes the
// file system away. A job that keeps tables goes on finding its own memory for files, as an intake does, and nothing
// else by any path.
func (e *engine) shut(ctx context.Context) error {
	if e.open.Keeps {
		return e.run(ctx, shutBut(isolate.InsideFolder)...)
	}
	if err := e.run(ctx, shut...); err != nil {
		return err
	}
	return isolate.Seal()
}

var extensionsOff = []string{
	"SET autoinstall_known_extensions = false",
	"SET autoload_known_extensions = false",
	"SET allow_community_extensions = false",
	"SET allow_persistent_secrets = false",
	"SET temp_directory = ''",
	"SET max_temp_directory_size = '0B'",
	utc,
}

// utc is a setting of a connection.
const utc = "SET TimeZone = 'UTC'"

// shut closes the engine for good. External access alone leaves an attached database's own file readable by
// read_blob and its log writable by COPY; without the local file system they are not.
var shut = []string{
	"SET enable_external_access = false",
	"SET disabled_filesystems = 'LocalFileSystem'",
	"SET lock_configuration = true",
}

// shutBut closes the engine but for files in one folder.
func shutBut(folder string) []string {
	return []string{
		fmt.Sprintf("SET allowed_directories = [%s]", literal(folder+"/")),
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	}
}

func limits(memory int64, threads int) []string {
	return []string{
		fmt.Sprintf("SET memory_limit = '%dB'", memory),
		fmt.Sprintf("SET threads = %d", threads),
	}
}

func (e *engine) run(ctx context.Context, statements ...string) error {
	for _, statement := range statements {
		if _, err := e.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// query loads the tables, runs the SQL and reads its result.
func (e *engine) query(ctx context.Context, q wire.Query) (*wire.Table, error) {
	for _, table := range q.Tables {
		if err := e.load(ctx, table); err != nil {
			return nil, err
		}
	}
	defer e.report()()
	rows, err := e.conn.QueryContext(ctx, q.SQL)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return read(rows, e.open.Rows, e.open.Bytes)
}

// staging is the table in which values wait, as text, to be cast to their types by the engine.
const staging = "__staging"

// load makes a temporary table. Every value travels as text and is cast once, so that the engine alone decides
// what a text means in a type.
func (e *engine) load(ctx context.Context, named wire.Named) error {
	if err := named.Table.Check(); err != nil || len(named.Table.Columns) == 0 {
		return errEncoding
	}
	var raw, cast []string
	for i, c := range named.Table.Columns {
		raw = append(raw, fmt.Sprintf("c%d VARCHAR", i))
		cast = append(cast, fmt.Sprintf("CAST(c%d AS %s) AS %s", i, c.Type, quote(c.Name)))
	}
	if err := e.run(ctx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s (%s)", staging, strings.Join(raw, ", "))); err != nil {
		return err
	}
	if err := e.conn.Raw(func(conn any) error { return fill(conn.(*duckdb.Conn), named.Table) }); err != nil {
		return err
	}
	return e.run(ctx,
		fmt.Sprintf("CREATE OR REPLACE TEMP TABLE %s AS SELECT %s FROM temp.main.%s",
			quote(named.Name), strings.Join(cast, ", "), staging),
		"DROP TABLE temp.main."+staging)
}

// quote makes an identifier of any text.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
