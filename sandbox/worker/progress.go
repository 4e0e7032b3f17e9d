package worker

import (
	"database/sql"
	"errors"
	"reflect"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"
	"github.com/duckdb/duckdb-go/v2/mapping"

	"weir/sandbox/wire"
)

// estimating makes the engine estimate how far a query is, without printing it.
var estimating = []string{"SET enable_progress_bar = true", "SET enable_progress_bar_print = false"}

// How often the engine is asked, and how finely it is said. The platform sees no more than it may tell.
const (
	progressEvery = 200 * time.Millisecond
	progressStep  = 10
)

var errNoConnection = errors.New("the driver's connection is not where it was")

// connectionOf finds the engine's own connection, which the driver keeps to itself, to ask how far its query is.
func connectionOf(conn *sql.Conn) (c mapping.Connection, err error) {
	err = conn.Raw(func(driver any) error {
		d, ok := driver.(*duckdb.Conn)
		if !ok {
			return errNoConnection
		}
		field := reflect.ValueOf(d).Elem().FieldByName("conn")
		if field.Type() != reflect.TypeFor[mapping.Connection]() {
			return errNoConnection
		}
		c.Ptr = field.FieldByName("Ptr").UnsafePointer()
		return nil
	})
	return c, err
}

// report says from time to time how far the query is that runs next, until stop is called. It grows with each word.
func (e *engine) report() (stop func()) {
	if e.say == nil {
		return func() {}
	}
	over, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		said := 0
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			estimate := mapping.QueryProgress(e.raw)
			share, _, _ := mapping.QueryProgressTypeMembers(&estimate)
			if percent := int(min(share, 100)) / progressStep * progressStep; percent > said {
				said = percent
				e.say(wire.Reply{Progress: percent})
			}
		}
	}()
	return func() { close(over); <-gone }
}
