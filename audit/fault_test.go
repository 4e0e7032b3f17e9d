package audit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

var errInjected = errors.New("injected fault")

// How an operation of the database fails.
const (
	refuse  = "refused"          // not carried out
	late    = "done but refused" // carried out, and reported as failed: the commit whose answer is lost
	broken  = "connection lost"  // not carried out, and the connection is gone
	dead    = "database gone"    // like refused, and all after it too
	stopped = "gone after it"    // carried out and reported as failed, and all after it is refused
	killed  = "process killed"   // the process ends before it is carried out
)

// saboteur makes the n-th operation of a database fail.
type saboteur struct {
	mu        sync.Mutex
	armed     bool
	mode      string
	countdown int
	hit       bool
}

func (s *saboteur) arm(mode string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.mode, s.countdown, s.hit = true, mode, n, false
}

func (s *saboteur) disarm() (hit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	return s.hit
}

// strike decides the fate of an operation: whether it is carried out, and whether it is reported as failed.
func (s *saboteur) strike() (do, fail, cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		return true, false, false
	}
	s.countdown--
	if s.countdown == -1 || s.countdown < -1 && (s.mode == dead || s.mode == stopped) {
		first := !s.hit
		s.hit = true
		if s.mode == killed {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return s.mode == late || s.mode == stopped && first, true, s.mode == broken
	}
	return true, false, false
}

// operation runs one operation of a connection under the saboteur.
func operation[T any](c *faultyConn, run func() (T, error)) (T, error) {
	var none T
	do, fail, cut := c.saboteur.strike()
	if cut {
		c.Conn.Close()
		c.lost = true
	}
	if c.lost {
		return none, errInjected
	}
	if !do {
		return none, errInjected
	}
	result, err := run()
	if fail {
		if closer, ok := any(result).(interface{ Close() error }); ok && err == nil {
			closer.Close()
		}
		return none, errInjected
	}
	return result, err
}

type faultyConnector struct {
	real     driver.Driver
	source   string
	saboteur *saboteur
}

func (c *faultyConnector) Driver() driver.Driver { return c.real }

func (c *faultyConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.real.Open(c.source)
	if err != nil {
		return nil, err
	}
	return &faultyConn{Conn: conn, saboteur: c.saboteur}, nil
}

// faultyConn passes on what database/sql and bun use of both drivers.
type faultyConn struct {
	driver.Conn
	saboteur *saboteur
	lost     bool
}

func (c *faultyConn) Close() error {
	if c.lost {
		return nil
	}
	return c.Conn.Close()
}

func (c *faultyConn) IsValid() bool { return !c.lost }

func (c *faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := operation(c, func() (driver.Tx, error) { return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts) })
	if err != nil {
		// A transaction that began although it was reported as failed must not live on in the connection.
		c.Conn.Close()
		c.lost = true
		return nil, err
	}
	return &faultyTx{tx, c}, nil
}

func (c *faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return operation(c, func() (driver.Result, error) { return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args) })
}

func (c *faultyConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return operation(c, func() (driver.Rows, error) { return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args) })
}

type faultyTx struct {
	driver.Tx
	conn *faultyConn
}

func (t *faultyTx) Commit() error {
	_, err := operation(t.conn, func() (any, error) { return nil, t.Tx.Commit() })
	if errors.Is(err, errInjected) && !t.conn.lost {
		// database/sql takes the transaction to be over; one that is not must not live on in the connection.
		t.Tx.Rollback()
		t.conn.Conn.Close()
		t.conn.lost = true
	}
	return err
}

func (t *faultyTx) Rollback() error {
	if t.conn.lost {
		return driver.ErrBadConn
	}
	return t.Tx.Rollback()
}

// sabotaged opens a source through a saboteur.
func sabotaged(t *testing.T, source string) (*bun.DB, *saboteur) {
	t.Helper()
	db, s := sabotage(storetest.Open(t, source), source)
	t.Cleanup(func() { db.Close() })
	return db, s
}

// sabotage opens the source of a database once more, through a saboteur.
func sabotage(plain *bun.DB, source string) (*bun.DB, *saboteur) {
	if !strings.HasPrefix(source, "postgres") {
		source = "file:" + source + "?_txlock=immediate&_journal_mode=WAL&_synchronous=FULL&_busy_timeout=10000"
	}
	s := &saboteur{}
	raw := sql.OpenDB(&faultyConnector{real: plain.DB.Driver(), source: source, saboteur: s})
	return bun.NewDB(raw, plain.Dialect()), s
}

// TestEveryOperationFailsOnce makes the operation 0, 1, 2 … of the database fail, until a round passes without meeting the fault.
// Whatever was acknowledged stands on the log, whatever was refused does not, and the log goes on.
func TestEveryOperationFailsOnce(t *testing.T) {
	for _, mode := range []string{refuse, late, broken, dead, stopped} {
		t.Run(mode, func(t *testing.T) {
			storetest.EachSource(t, func(t *testing.T, source string) {
				db, saboteur := sabotaged(t, source)
				opts := options(t)
				log := open(t, db, opts)
				run(t, db, createChanges)
				victim := appendN(t, log, 1)[0].Index
				states := map[string]error{} // by job
				answers := map[string]int{}
				// Three writers at once fall into batches as it happens, and a fault may miss the end of each; one
				// writer alone meets every operation in order.
				for n := 0; ; n++ {
					if n > 100 {
						t.Fatal("the fault is met again and again")
					}
					saboteur.arm(mode, n)
					alone := fmt.Sprintf("alone/%d", n)
					_, err := log.Append(t.Context(), audit.Event{Kind: "job.intent", Job: audit.Registered(alone), Actor: "x"})
					hit := saboteur.disarm()
					if states[alone] = err; err != nil {
						answers[problem.Of(err).Code]++
					}
					if !hit {
						break
					}
				}
				for n := 0; ; n++ {
					if n > 100 {
						t.Fatal("the fault is met again and again")
					}
					saboteur.arm(mode, n)
					round(log, n, states)
					_, erased := log.Erase(context.Background(), victim, "officer", "test")
					hit := saboteur.disarm()
					for i := range 3 {
						if state := states[job(n, i)]; state != nil {
							answers[problem.Of(state).Code]++
						}
					}
					if r, err := log.Append(t.Context(), audit.Event{Kind: "round.over", Payload: []byte("x")}); err != nil {
						t.Fatalf("after operation %d failed, the log does not go on: %v", n, errors.Unwrap(err))
					} else if erased == nil {
						victim = r.Index
					}
					agrees(t, log, states)
					together(t, log, db)
					sound(t, db, opts)
					if !hit {
						if n < 8 {
							t.Errorf("only %d operations were met", n)
						}
						break
					}
				}
				t.Logf("answers: %v", answers)
				if mode != late && answers["audit.not-logged"] == 0 || (mode == dead || mode == stopped) && answers["audit.uncertain"] == 0 {
					t.Errorf("the faults were not felt: %v", answers)
				}
			})
		})
	}
}

func job(n, i int) string { return fmt.Sprintf("job/%d-%d", n, i) }

func round(log *audit.Log, n int, states map[string]error) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	for i := range 3 {
		wait.Go(func() {
			event := audit.Event{Kind: "job.intent", Job: audit.Registered(job(n, i)), Actor: "x"}
			var err error
			switch i {
			case 0:
				_, err = log.Append(context.Background(), event)
			case 1:
				event.Facts = audit.Facts{"changes": audit.Word("yes")}
				_, err = log.AppendWith(context.Background(), event, insertChange(event.Job.String()))
			default:
				event.Facts = audit.Facts{"changes": audit.Word("yes")}
				_, err = log.AppendWith(context.Background(), event, decline(event.Job.String()))
			}
			mu.Lock()
			states[job(n, i)] = err
			mu.Unlock()
		})
	}
	wait.Wait()
}

func agrees(t *testing.T, log *audit.Log, states map[string]error) {
	t.Helper()
	records, err := log.Search(t.Context(), audit.Filter{Kind: "job.intent", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, r := range records {
		found[r.Job]++
	}
	for job, state := range states {
		switch n := found[job]; {
		case state == nil && n != 1:
			t.Errorf("%s was acknowledged and stands %d times on the log", job, n)
		case errors.Is(state, audit.ErrNotLogged) && n != 0:
			t.Errorf("%s was refused and stands %d times on the log", job, n)
		case n > 1:
			t.Errorf("%s stands %d times on the log", job, n)
		case state != nil && !errors.Is(state, audit.ErrNotLogged) && !errors.Is(state, audit.ErrUncertain):
			t.Errorf("%s: an answer that says nothing: %v", job, state)
		}
	}
}

func TestOpenRefusesADamagedEnd(t *testing.T) {
	for name, sql := range map[string]string{
		"checkpoint":  "DELETE FROM audit_checkpoints WHERE size = 3",
		"all of them": "DELETE FROM audit_checkpoints",
		"entry":       "DELETE FROM audit_entries WHERE idx = 2",
		"hash":        "DELETE FROM audit_hashes WHERE idx = 1", // on the edge of a tree of three
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				opts := options(t)
				log := open(t, db, opts)
				appendN(t, log, 3)
				unlock(t, db)
				run(t, db, sql)
				if _, err := audit.Open(t.Context(), db, opts); !errors.Is(err, audit.ErrDamaged) {
					t.Errorf("open: %v", err)
				}
			})
		})
	}
}

// A database that was set back under a running log, by a backup put in its place: going on would be another history.
func TestARunningLogRefusesADatabaseSetBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		log := open(t, db, opts)
		appendN(t, log, 3)
		unlock(t, db)
		run(t, db, "DELETE FROM audit_checkpoints WHERE size > 2")
		for _, table := range []string{"entries", "hashes", "private"} {
			run(t, db, "DELETE FROM audit_"+table+" WHERE idx >= 2")
		}
		if _, err := log.Append(t.Context(), event(4)); !errors.Is(err, audit.ErrDamaged) || !errors.Is(err, audit.ErrNotLogged) {
			t.Errorf("append: %v", err)
		}
	})
}

func TestOpenRefusesADatabaseThatDoesNotWaitForItsDisk(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		raw, err := sql.Open("sqlite3", "file:"+storetest.SQLite(t)+"?_synchronous=NORMAL&_journal_mode=WAL")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		db := bun.NewDB(raw, storetest.Open(t, storetest.SQLite(t)).Dialect())
		if _, err := audit.Open(t.Context(), db, options(t)); err == nil || !strings.Contains(err.Error(), "synchronous") {
			t.Errorf("opened: %v", err)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		db := storetest.Open(t, storetest.Postgres(t)+"&synchronous_commit=off")
		if _, err := audit.Open(t.Context(), db, options(t)); err == nil || !strings.Contains(err.Error(), "synchronous_commit") {
			t.Errorf("opened: %v", err)
		}
	})
}
