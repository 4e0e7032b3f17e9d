package audit_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

const createChanges = "CREATE TABLE changes (job VARCHAR(40) PRIMARY KEY, entry BIGINT NOT NULL)"

var _ = problem.Register([]byte(`
test.declined:
  status: 409
  en: {title: "Declined", detail: "Declined.", help: "Nothing."}
  zh: {title: "不予办理", detail: "不予办理。", help: "无。"}
`))

// insertChange is a change that leaves a row which says to what entry it belongs.
func insertChange(job string) func(context.Context, bun.Tx, int64) error {
	return func(ctx context.Context, tx bun.Tx, index int64) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO changes VALUES (?, ?)", job, -1); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE changes SET entry = ? WHERE job = ?", index, job)
		return err
	}
}

// decline is a change that thinks better of it when it has written.
func decline(job string) func(context.Context, bun.Tx, int64) error {
	return func(ctx context.Context, tx bun.Tx, index int64) error {
		if err := insertChange(job)(ctx, tx, index); err != nil {
			return err
		}
		return problem.New("test.declined")
	}
}

// together requires that each change is beside its entry, and each entry with a change beside its change.
func together(t *testing.T, log *audit.Log, db *bun.DB) {
	t.Helper()
	var rows []struct {
		Job   string
		Entry int64
	}
	if err := db.NewRaw("SELECT job, entry FROM changes").Scan(t.Context(), &rows); err != nil {
		t.Fatal(err)
	}
	changes := map[string]int64{}
	for _, row := range rows {
		changes[row.Job] = row.Entry
	}
	records, err := log.Search(t.Context(), audit.Filter{Kind: "job.intent", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Facts["changes"] == "" {
			continue
		}
		if entry, ok := changes[r.Job]; !ok || entry != r.Index {
			t.Errorf("%s is entry %d and its change says %d (%v)", r.Job, r.Index, entry, ok)
		}
		delete(changes, r.Job)
	}
	for job := range changes {
		t.Errorf("%s was changed and is not on the log", job)
	}
}

func changing(job string) audit.Event {
	return audit.Event{Kind: "job.intent", Job: audit.Registered(job), Facts: audit.Facts{"changes": audit.Word("yes")}}
}

func TestAChangeAndItsEntryAreOne(t *testing.T) {
	tests := []struct {
		name string
		do   func(context.Context, bun.Tx, int64) error
		code string // of the error; "" if it succeeds
		rows int    // that are changed
	}{
		{"a change", insertChange("job"), "", 1},
		{"nothing to change", func(context.Context, bun.Tx, int64) error { return nil }, "", 0},
		{"declined", decline("job"), "test.declined", 0},
		{"an error that is no problem", func(ctx context.Context, tx bun.Tx, index int64) error {
			return errors.Join(insertChange("job")(ctx, tx, index), errInjected)
		}, "audit.not-logged", 0},
		{"a statement that fails", func(ctx context.Context, tx bun.Tx, index int64) error {
			return errors.Join(insertChange("job")(ctx, tx, index), insertChange("job")(ctx, tx, index))
		}, "audit.not-logged", 0},
		{"a panic", func(ctx context.Context, tx bun.Tx, index int64) error {
			panic(insertChange("job")(ctx, tx, index))
		}, "audit.not-logged", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				opts := options(t)
				log := open(t, db, opts)
				run(t, db, createChanges)
				appendN(t, log, 2)
				receipt, err := log.AppendWith(t.Context(), changing("job"), tt.do)
				switch {
				case tt.code == "" && (err != nil || receipt.Index != 2):
					t.Errorf("index %d, %v", receipt.Index, err)
				case tt.code != "" && (!errors.Is(err, audit.ErrNotLogged) || problem.Of(err).Code != tt.code || receipt.Leaf != nil):
					t.Errorf("%v, want %s", err, tt.code)
				}
				var rows int
				if err := db.NewRaw("SELECT count(*) FROM changes").Scan(t.Context(), &rows); err != nil {
					t.Fatal(err)
				}
				if rows != tt.rows {
					t.Errorf("%d rows are changed, want %d", rows, tt.rows)
				}
				appendN(t, log, 1)
				want := int64(4)
				if tt.code != "" {
					want = 3
				}
				if report := sound(t, db, opts); report.Entries != want {
					t.Errorf("%d entries, want %d", report.Entries, want)
				}
			})
		})
	}
}

// TestAnErrorThatAChangeHides: PostgreSQL carries out nothing after a statement that failed. The change is dropped, and the
// others of its batch are not.
func TestAnErrorThatAChangeHides(t *testing.T) {
	db, opts := storetest.Open(t, storetest.Postgres(t)), options(t)
	log := open(t, db, opts)
	run(t, db, createChanges)
	_, err := log.AppendWith(t.Context(), changing("job"), func(ctx context.Context, tx bun.Tx, index int64) error {
		insertChange("job")(ctx, tx, index)
		insertChange("job")(ctx, tx, index)
		return nil
	})
	if !errors.Is(err, audit.ErrNotLogged) {
		t.Errorf("%v", err)
	}
	appendN(t, log, 1)
	together(t, log, db)
}

// TestABatchGoesOnWithoutWhatIsDeclined fills a batch: while the first change runs, the others gather.
func TestABatchGoesOnWithoutWhatIsDeclined(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		log := open(t, db, opts)
		run(t, db, createChanges)
		const n = 40
		errs := make([]error, n)
		var wait sync.WaitGroup
		for i := range n {
			wait.Go(func() {
				name := job(i, 0)
				do := insertChange(name)
				if i%2 == 1 {
					do = decline(name)
				}
				_, errs[i] = log.AppendWith(context.Background(), changing(name), do)
			})
		}
		wait.Wait()
		for i, err := range errs {
			if declined := errors.Is(err, audit.ErrNotLogged) && problem.Of(err).Code == "test.declined"; (err != nil) != (i%2 == 1) || err != nil && !declined {
				t.Errorf("%d: %v", i, err)
			}
		}
		together(t, log, db)
		report := sound(t, db, opts)
		if report.Entries != n/2 {
			t.Errorf("%d entries, want %d", report.Entries, n/2)
		}
	})
}

// change opens the log and appends with a change, unless it is killed before.
func (c child) change(ctx context.Context, db *bun.DB, opts audit.Options) error {
	db, saboteur := sabotage(db, c.Source)
	log, err := audit.Open(ctx, db, opts)
	if err != nil {
		return err
	}
	saboteur.arm(killed, c.Call)
	_, err = log.AppendWith(ctx, changing("job/"+strconv.Itoa(c.Call)), insertChange("job/"+strconv.Itoa(c.Call)))
	saboteur.disarm()
	fmt.Println("done")
	return err
}

// TestKilledBetweenStatementsLeavesBothOrNeither kills a process before its call 0, 1, 2 … of the database.
func TestKilledBetweenStatementsLeavesBothOrNeither(t *testing.T) {
	storetest.EachSource(t, func(t *testing.T, source string) {
		keys := t.TempDir()
		key, err := audit.LoadKey(keys, origin)
		if err != nil {
			t.Fatal(err)
		}
		db, opts := storetest.Open(t, source), audit.Options{Origin: origin, Key: key}
		log := open(t, db, opts)
		run(t, db, createChanges)
		for call := 0; ; call++ {
			if call > 50 {
				t.Fatal("the process is killed again and again")
			}
			cmd, out := child{Task: "change", Source: source, Keys: keys, Call: call}.start(t)
			line, _ := out.ReadString('\n')
			err := cmd.Wait()
			together(t, log, db)
			sound(t, db, opts)
			if line == "done\n" {
				if err != nil || call < 6 {
					t.Errorf("the process met %d calls, and ended with %v", call, err)
				}
				return
			}
		}
	})
}
