package audit_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/uptrace/bun"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

const origin = "weir.test/audit"

// options are those of a log with a key made for the test.
func options(t testing.TB) audit.Options {
	t.Helper()
	key, err := audit.LoadKey(t.TempDir(), origin)
	if err != nil {
		t.Fatal(err)
	}
	return audit.Options{Origin: origin, Key: key}
}

func open(t testing.TB, db *bun.DB, opts audit.Options) *audit.Log {
	t.Helper()
	log, err := audit.Open(t.Context(), db, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

func policy(t testing.TB, opts audit.Options) torchwood.Policy {
	t.Helper()
	keys := []string{opts.Key.Public}
	for _, key := range opts.Also {
		keys = append(keys, key.Public)
	}
	p, err := audit.Trust(opts.Origin, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func appendN(t testing.TB, log *audit.Log, n int) []audit.Receipt {
	t.Helper()
	var receipts []audit.Receipt
	for i := range n {
		r, err := log.Append(t.Context(), event(i))
		if err != nil {
			t.Fatal(err)
		}
		receipts = append(receipts, r)
	}
	return receipts
}

func event(i int) audit.Event {
	return audit.Event{
		Kind: "job.intent", Actor: fmt.Sprintf("分析员%d", i%3), Grant: audit.Registered("grant/1"), Job: audit.Registered(fmt.Sprintf("job/%d", i)), Object: audit.Registered("dataset/sales"),
		Facts: audit.Facts{"sha256": audit.Number(i), "mode": audit.Word("<exact>")}, Payload: fmt.Appendf(nil, "SELECT %d", i),
	}
}

// sound verifies and requires that nothing is wrong.
func sound(t testing.TB, db *bun.DB, opts audit.Options, kept ...[]byte) audit.Report {
	t.Helper()
	report, err := audit.Verify(t.Context(), db, audit.VerifyOptions{Policy: policy(t, opts), Kept: kept})
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range report.Faults {
		t.Errorf("fault: %s", fault)
	}
	return report
}

func TestAppendGivesReceiptsThatAForeignClientVerifies(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		opts := options(t)
		log := open(t, db, opts)
		for i, r := range appendN(t, log, 20) {
			if r.Index != int64(i) {
				t.Fatalf("entry %d has index %d", i, r.Index)
			}
			if err := torchwood.VerifyProof(policy(t, opts), tlog.RecordHash(r.Leaf), r.Proof()); err != nil {
				t.Errorf("receipt %d: %v", i, err)
			}
			other := append([]byte{}, r.Leaf...)
			other[len(other)/2] ^= 1
			if err := torchwood.VerifyProof(policy(t, opts), tlog.RecordHash(other), r.Proof()); err == nil {
				t.Errorf("receipt %d proves another leaf too", i)
			}
			later, err := log.Inclusion(t.Context(), r.Index)
			if err != nil || string(later.Leaf) != string(r.Leaf) || !later.Time.Equal(r.Time) {
				t.Errorf("inclusion of %d: %+v, %v", i, later, err)
			}
		}
		if report := sound(t, db, opts); report.Entries != 20 || report.Checkpoints != 21 {
			t.Errorf("report: %+v", report)
		}
	})
}

func TestPersonsAndPayloadsAreNotInTheTree(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	log := open(t, db, options(t))
	r, err := log.Append(t.Context(), audit.Event{Kind: "job.intent", Actor: "zhang.wei", Payload: []byte("SELECT 'secret'"), Grant: audit.Registered("g7")})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"zhang.wei": false, "secret": false, "g7": true, "job.intent": true} {
		if strings.Contains(string(r.Leaf), text) != want {
			t.Errorf("the leaf holds %q: %v, want %v", text, !want, want)
		}
	}
	again, err := log.Append(t.Context(), audit.Event{Kind: "job.intent", Actor: "zhang.wei", Payload: []byte("SELECT 'secret'"), Grant: audit.Registered("g7")})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(r.Leaf), ",") {
		if hash, ok := strings.CutPrefix(part, `"actor":`); ok && strings.Contains(string(again.Leaf), hash) {
			t.Error("two entries of one person can be told to be one person's")
		}
	}
}

func TestManyWritersOnTwoLogsDoNotForkTheTree(t *testing.T) {
	storetest.EachSource(t, func(t *testing.T, source string) {
		opts := options(t)
		db := storetest.Open(t, source)
		logs := []*audit.Log{open(t, db, opts), open(t, storetest.Open(t, source), opts)}
		const writers, each = 16, 15
		var wait sync.WaitGroup
		var mu sync.Mutex
		receipts := map[int64]audit.Receipt{}
		for w := range writers {
			wait.Go(func() {
				for i := range each {
					r, err := logs[w%2].Append(context.Background(), event(w*each+i))
					mu.Lock()
					if _, twice := receipts[r.Index]; err != nil || twice {
						t.Errorf("append: index %d twice: %v, %v", r.Index, twice, err)
					}
					receipts[r.Index] = r
					mu.Unlock()
				}
			})
		}
		wait.Wait()
		var kept [][]byte
		for i, r := range receipts {
			kept = append(kept, r.Checkpoint)
			if err := torchwood.VerifyProof(policy(t, opts), tlog.RecordHash(r.Leaf), r.Proof()); err != nil {
				t.Errorf("receipt %d: %v", i, err)
			}
		}
		if report := sound(t, db, opts, kept...); report.Entries != writers*each {
			t.Errorf("%d entries, want %d", report.Entries, writers*each)
		}
	})
}

func TestTimeIsTheLogsClock(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	opts := options(t)
	moments := []time.Time{
		time.Date(2026, 11, 21, 8, 0, 0, 0, time.FixedZone("CST", 8*3600)),
		time.Date(2026, 11, 21, 0, 0, 0, 1, time.UTC),
		time.Date(2026, 11, 20, 0, 0, 0, 120000000, time.UTC), // clocks are set back
	}
	next := 0
	opts.Clock = func() time.Time { next++; return moments[next-1] }
	log := open(t, db, opts)
	for i, r := range appendN(t, log, len(moments)) {
		if !r.Time.Equal(moments[i]) {
			t.Errorf("entry %d has time %v, want %v", i, r.Time, moments[i])
		}
	}
	sound(t, db, opts)
}

func TestRefusedEvents(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	opts := options(t)
	log := open(t, db, opts)
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct {
		event audit.Event
		taken bool
	}{
		"kind":                         {audit.Event{Kind: "job.intent"}, true},
		"kind missing":                 {audit.Event{}, false},
		"kind without a dot":           {audit.Event{Kind: "job"}, false},
		"kind in capitals":             {audit.Event{Kind: "Job.intent"}, false},
		"erasure":                      {audit.Event{Kind: "entry.erased", Object: audit.Registered("entry/0")}, false},
		"actor with NUL":               {audit.Event{Kind: "a.b", Actor: "x\x00"}, false},
		"actor with a newline":         {audit.Event{Kind: "a.b", Actor: "x\n"}, false},
		"object not UTF-8":             {audit.Event{Kind: "a.b", Object: audit.Registered("\xff")}, false},
		"object of 512":                {audit.Event{Kind: "a.b", Object: audit.Registered(long(512))}, true},
		"object of 513":                {audit.Event{Kind: "a.b", Object: audit.Registered(long(513))}, false},
		"fact name":                    {audit.Event{Kind: "a.b", Facts: audit.Facts{"A b": audit.Registered("")}}, false},
		"fact not UTF-8":               {audit.Event{Kind: "a.b", Facts: audit.Facts{"a": audit.Registered("\xff")}}, false},
		"fact with what JSON escapes":  {audit.Event{Kind: "a.b", Facts: audit.Facts{"a": audit.Registered("\u2028<&>\x00\"?'")}}, true},
		"facts that just fit":          {audit.Event{Kind: "a.b", Actor: "x", Payload: []byte("x"), Facts: audit.Facts{"a": audit.Registered(long(65000))}}, true},
		"facts that do not":            {audit.Event{Kind: "a.b", Facts: audit.Facts{"a": audit.Registered(long(65536))}}, false},
		"payload of a megabyte":        {audit.Event{Kind: "a.b", Payload: make([]byte, audit.MaxPayload)}, true},
		"payload of a megabyte and 1 ": {audit.Event{Kind: "a.b", Payload: make([]byte, audit.MaxPayload+1)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := log.Append(t.Context(), c.event)
			if c.taken != (err == nil) {
				t.Fatalf("taken: %v, want %v: %v", err == nil, c.taken, errors.Unwrap(err))
			}
			if err != nil && (!errors.Is(err, audit.ErrNotLogged) || problem.Of(err).Code != "audit.not-logged") {
				t.Errorf("the refusal is %v", err)
			}
		})
	}
	sound(t, db, opts)
}

func TestCancelledBeforeItsTurnIsNotLogged(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	opts := options(t)
	entered, proceed := make(chan struct{}), make(chan struct{})
	opts.Clock = func() time.Time { entered <- struct{}{}; <-proceed; return time.Now() }
	log := open(t, db, opts)

	ctx, cancel := context.WithCancel(t.Context())
	taken := make(chan error)
	go func() {
		_, err := log.Append(ctx, audit.Event{Kind: "a.taken"})
		taken <- err
	}()
	<-entered // the sequencer holds the first event; the second must wait
	waiting := make(chan error)
	other, withdraw := context.WithCancel(t.Context())
	go func() {
		_, err := log.Append(other, audit.Event{Kind: "a.waiting"})
		waiting <- err
	}()
	withdraw()
	if err := <-waiting; !errors.Is(err, audit.ErrNotLogged) || !errors.Is(err, context.Canceled) {
		t.Errorf("withdrawn: %v", err)
	}
	cancel() // too late for the first
	close(proceed)
	if err := <-taken; err != nil {
		t.Errorf("an event that was taken is reported as %v", err)
	}
	if _, err := log.Append(ctx, audit.Event{Kind: "a.late"}); !errors.Is(err, audit.ErrNotLogged) {
		t.Errorf("with a context that is over: %v", err)
	}
	if report := sound(t, db, opts); report.Entries != 1 {
		t.Errorf("%d entries, want the one that was taken", report.Entries)
	}
}

func TestCloseAnswersEverybody(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	opts := options(t)
	log, err := audit.Open(t.Context(), db, opts)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	var mu sync.Mutex
	logged := int64(0)
	for i := range 32 {
		wait.Go(func() {
			_, err := log.Append(context.Background(), event(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				logged++
			} else if !errors.Is(err, audit.ErrNotLogged) {
				t.Error(err)
			}
		})
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if _, err := log.Append(t.Context(), event(0)); !errors.Is(err, audit.ErrNotLogged) {
		t.Errorf("after Close: %v", err)
	}
	if report := sound(t, db, opts); report.Entries != logged {
		t.Errorf("%d entries, %d acknowledged", report.Entries, logged)
	}
}

func TestSeveralSignatures(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	opts := options(t)
	secret, public, err := note.GenerateKey(rand.Reader, "second.test/key")
	if err != nil {
		t.Fatal(err)
	}
	signer, err1 := note.NewSigner(secret)
	verifier, err2 := note.NewVerifier(public)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	opts.Also = []audit.Key{{Signer: signer, Verifier: verifier, Public: public}}
	log := open(t, db, opts)
	appendN(t, log, 3)
	sound(t, db, opts)
	checkpoint, err := log.Checkpoint(t.Context())
	if err != nil || strings.Count(string(checkpoint), "\n— ") != 2 {
		t.Errorf("checkpoint with two keys: %v\n%s", err, checkpoint)
	}
}
