package account_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"weir/export/account"
	"weir/internal/problem"
	"weir/internal/store/storetest"
)

// world is a book beside a log, which here is a list.
type world struct {
	t    *testing.T
	db   *bun.DB
	book *account.Book
	log  []account.Entry
	next int64
}

func newWorld(t *testing.T, db *bun.DB) *world {
	t.Helper()
	w := &world{t: t, db: db}
	w.restart()
	return w
}

// opened is a world whose accounts are open.
func opened(t *testing.T, db *bun.DB, each int64) *world {
	t.Helper()
	w := newWorld(t, db)
	if err := w.write(account.KindOpened, account.OpenedFacts(each), func(ctx context.Context, tx bun.Tx, index int64) error {
		return w.book.Begin(ctx, tx, each, index)
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) restart() (differed bool) {
	w.t.Helper()
	var err error
	if w.book, err = account.Open(w.t.Context(), w.db); err != nil {
		w.t.Fatal(err)
	}
	if differed, err = w.book.Replay(w.t.Context(), w.read); err != nil {
		w.t.Fatal(err)
	}
	return differed
}

// read gives two entries at a time.
func (w *world) read(_ context.Context, from int64) ([]account.Entry, error) {
	for i, e := range w.log {
		if e.Index >= from {
			return w.log[i:min(i+2, len(w.log))], nil
		}
	}
	return nil, nil
}

// write makes a change and its entry, or neither. Other entries of the log lie between.
func (w *world) write(kind string, facts map[string]string, do func(context.Context, bun.Tx, int64) error) error {
	index := w.next
	err := w.db.RunInTx(w.t.Context(), nil, func(ctx context.Context, tx bun.Tx) error { return do(ctx, tx, index) })
	if err == nil {
		w.log = append(w.log, account.Entry{Index: index, Kind: kind, Facts: facts})
		w.next += 3
	}
	return err
}

func (w *world) spend(operator string, share int64, charges ...account.Charge) error {
	facts, err := account.ChargedFacts(operator, charges)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.write(account.KindCharged, facts, func(ctx context.Context, tx bun.Tx, index int64) error {
		return w.book.Spend(ctx, tx, operator, share, charges, index)
	})
}

func (w *world) set(act account.Act) error {
	return w.write(account.KindSet, act.Facts(), func(ctx context.Context, tx bun.Tx, index int64) error {
		return w.book.Set(ctx, tx, act, index)
	})
}

func (w *world) balances() []account.Balance {
	w.t.Helper()
	out, err := w.book.Balances(w.t.Context(), "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) left(operator, domain string, share int64) [2]int64 {
	w.t.Helper()
	own, all, err := w.book.Left(w.t.Context(), operator, domain, share)
	if err != nil {
		w.t.Fatal(err)
	}
	return [2]int64{own, all}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return problem.Of(err).Code
}

func rho(domain string, amount float64) account.Charge {
	return account.Charge{Domain: domain, Rho: account.Rho(amount)}
}

func TestSpend(t *testing.T) {
	type step struct {
		operator string
		share    float64
		charges  []account.Charge
		code     string
		says     string
	}
	tests := []struct {
		name  string
		steps []step
		left  map[string][2]float64 // of operator a with share 1: its own, everybody's
	}{
		{"one question", []step{{"a", 1, []account.Charge{rho("person", 0.25)}, "", ""}}, map[string][2]float64{"person": {0.75, 2.31}, "firm": {1, 2.56}}},
		{"to the last billionth", []step{
			{"a", 1, []account.Charge{rho("person", 1)}, "", ""},
			{"a", 1, []account.Charge{{Domain: "person", Rho: 1}}, "export.share-spent", "person: 0.000000001 > 0"},
		}, map[string][2]float64{"person": {0, 1.56}}},
		{"everybody's account holds against each share", []step{
			{"a", 1, []account.Charge{rho("person", 1)}, "", ""},
			{"b", 1, []account.Charge{rho("person", 1)}, "", ""},
			{"c", 1, []account.Charge{rho("person", 0.57)}, "export.account-spent", "person: 0.57 > 0.56"},
			{"c", 1, []account.Charge{rho("person", 0.56)}, "", ""},
		}, map[string][2]float64{"person": {0, 0}}},
		{"a smaller share", []step{
			{"a", 0.25, []account.Charge{rho("person", 0.3)}, "export.share-spent", "person: 0.3 > 0.25"},
			{"a", 0.25, []account.Charge{rho("person", 0.25)}, "", ""},
			{"a", 0.2, []account.Charge{rho("person", 0.01)}, "export.share-spent", "person: 0.01 > 0"},
		}, map[string][2]float64{"person": {0.75, 2.31}}},
		{"all domains or none", []step{
			{"a", 1, []account.Charge{rho("person", 0.9)}, "", ""},
			{"a", 1, []account.Charge{rho("firm", 0.1), rho("person", 0.2)}, "export.share-spent", "person: 0.2 > 0.1"},
			{"a", 1, []account.Charge{rho("firm", 1.5), rho("person", 0.2)}, "export.share-spent", "firm: 1.5 > 1; person: 0.2 > 0.1"},
			{"a", 1, []account.Charge{rho("firm", 0.1), rho("person", 0.1)}, "", ""},
		}, map[string][2]float64{"person": {0, 1.56}, "firm": {0.9, 2.46}}},
		{"charges to one domain add up", []step{
			{"a", 1, []account.Charge{rho("person", 0.6), rho("person", 0.6)}, "export.share-spent", "person: 1.2 > 1"},
			{"a", 1, []account.Charge{rho("person", 0.6), rho("person", 0.4)}, "", ""},
		}, map[string][2]float64{"person": {0, 1.56}}},
		{"more than can be counted", []step{
			{"a", 1, []account.Charge{rho("person", 1e300), rho("person", math.Inf(1)), rho("person", math.NaN())}, "export.account-spent", "person: "},
		}, map[string][2]float64{"person": {1, 2.56}}},
		{"delta has a limit too", []step{
			{"a", 1, []account.Charge{{Domain: "person", Rho: 1, Delta: account.DomainDelta}}, "", ""},
			{"b", 1, []account.Charge{{Domain: "person", Rho: 1, Delta: 1}}, "export.account-spent", "person: δ 0.000000000000001 > 0"},
			{"b", 1, []account.Charge{{Domain: "person", Rho: 1}}, "", ""},
		}, map[string][2]float64{"person": {1 - 1e-9, 2.56 - 2e-9}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *bun.DB) {
				w := opened(t, db, account.DomainRho)
				for i, s := range tt.steps {
					before := w.balances()
					err := w.spend(s.operator, account.Rho(s.share), s.charges...)
					if code(err) != s.code || err != nil && !strings.Contains(err.Error(), s.says) {
						t.Fatalf("step %d: %v, want %s %s", i, err, s.code, s.says)
					}
					if err != nil && !cmp.Equal(before, w.balances()) {
						t.Errorf("step %d was refused and charged: %s", i, cmp.Diff(before, w.balances()))
					}
				}
				for domain, want := range tt.left {
					got := w.left("a", domain, account.OperatorRho)
					if want := [2]int64{account.Rho(want[0]), account.Rho(want[1])}; got != want {
						t.Errorf("%s: %v left, want %v", domain, got, want)
					}
				}
				if w.restart() {
					t.Error("the accounts are not what the log says")
				}
			})
		})
	}
}

func TestWhatIsNoCharge(t *testing.T) {
	w := opened(t, storetest.Open(t, storetest.SQLite(t)), account.DomainRho)
	for name, charges := range map[string][]account.Charge{
		"nothing": nil, "no domain": {{Rho: 1}}, "no amount": {{Domain: "person"}}, "a refund": {{Domain: "person", Rho: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.write(account.KindCharged, nil, func(ctx context.Context, tx bun.Tx, index int64) error {
				return w.book.Spend(ctx, tx, "a", account.OperatorRho, charges, index)
			})
			if err == nil {
				t.Error("charged")
			}
		})
	}
	if err := w.write(account.KindCharged, nil, func(ctx context.Context, tx bun.Tx, index int64) error {
		return w.book.Spend(ctx, tx, "", account.OperatorRho, []account.Charge{{Domain: "person", Rho: 1}}, index)
	}); err == nil {
		t.Error("charged nobody")
	}
}

func TestAmountsAreRoundedUp(t *testing.T) {
	for rho, want := range map[float64]int64{0: 0, 1e-12: 1, 1: account.Nano, 0.1000000001: 100_000_001, -1: math.MaxInt64 / 4} {
		if got := account.Rho(rho); got != want {
			t.Errorf("Rho(%v) is %d, want %d", rho, got, want)
		}
	}
	if got := account.Delta(1e-9); got < 1_000_000 || got > 1_000_001 {
		t.Errorf("Delta(1e-9) is %d", got)
	}
}

func TestActsOfAnAuthority(t *testing.T) {
	day := func(text string) time.Time {
		at, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	w := opened(t, storetest.Open(t, storetest.SQLite(t)), account.DomainRho)
	if err := w.spend("a", account.OperatorRho, rho("person", 1)); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		act  account.Act
		code string
		left [2]int64
	}{
		{"less than is left", account.Act{Domain: "person", Left: account.Rho(0.5), At: day("2026-12-01")}, "", [2]int64{0, account.Rho(0.5)}},
		{"a refill", account.Act{Domain: "person", Left: account.Rho(2), At: day("2026-12-02")}, "", [2]int64{account.Rho(1), account.Rho(2)}},
		{"one more a day before a year is over", account.Act{Domain: "person", Left: account.Rho(2.5), At: day("2027-12-01")}, "export.account-yearly", [2]int64{account.Rho(1), account.Rho(2)}},
		{"less at any time", account.Act{Domain: "person", Left: account.Rho(0.1), At: day("2027-12-01")}, "", [2]int64{account.Rho(0.1), account.Rho(0.1)}},
		{"a year later", account.Act{Domain: "person", Left: account.Rho(2.5), At: day("2027-12-02")}, "", [2]int64{account.Rho(1), account.Rho(2.5)}},
		{"more than an act can allow", account.Act{Domain: "person", Left: account.Rho(10.1), At: day("2030-01-01")}, "export.account-limit", [2]int64{account.Rho(1), account.Rho(2.5)}},
		{"less than nothing", account.Act{Domain: "person", Left: -1, At: day("2030-01-01")}, "export.account-limit", [2]int64{account.Rho(1), account.Rho(2.5)}},
		{"nothing", account.Act{Domain: "person", Left: 0, At: day("2030-01-01")}, "", [2]int64{0, 0}},
	}
	for _, s := range steps {
		if err := w.set(s.act); code(err) != s.code {
			t.Fatalf("%s: %v, want %s", s.name, err, s.code)
		}
		if got := w.left("a", "person", account.OperatorRho); got != s.left {
			t.Errorf("%s: %v left, want %v", s.name, got, s.left)
		}
	}
	want := []account.Balance{{
		Domain: "person", Spent: account.Rho(1), Refills: 2, Refilled: day("2027-12-02"),
		Shares: []account.Share{{Operator: "a", Spent: 0, Total: account.Rho(1)}},
	}}
	if got := w.balances(); !cmp.Equal(got, want) {
		t.Errorf("lifetime sums: %s", cmp.Diff(want, got))
	}
	if w.restart() {
		t.Error("the accounts are not what the log says")
	}
}

// TestClosedAccounts: what was answered before there were accounts stays spent, in each domain, until an act sets it.
func TestClosedAccounts(t *testing.T) {
	w := opened(t, storetest.Open(t, storetest.SQLite(t)), 0)
	charge := account.Charge{Domain: "person", Rho: 1}
	if err := w.spend("a", account.OperatorRho, charge); code(err) != "export.account-spent" {
		t.Errorf("a closed account paid: %v", err)
	}
	if err := w.set(account.Act{Domain: "person", Left: account.DomainRho, At: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := w.spend("a", account.OperatorRho, charge); err != nil {
		t.Errorf("after the act: %v", err)
	}
	if err := w.spend("a", account.OperatorRho, account.Charge{Domain: "firm", Rho: 1}); code(err) != "export.account-spent" {
		t.Errorf("another closed account paid: %v", err)
	}
}

// TestAnOperatorSeesItsOwnShare, and what is left for everybody.
func TestAnOperatorSeesItsOwnShare(t *testing.T) {
	w := opened(t, storetest.Open(t, storetest.SQLite(t)), account.DomainRho)
	for _, operator := range []string{"a", "b"} {
		if err := w.spend(operator, account.OperatorRho, rho("person", 0.5)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := w.book.Balances(t.Context(), "b", []string{"firm", "person"})
	want := []account.Balance{
		{Domain: "firm", Left: account.DomainRho},
		{Domain: "person", Left: account.Rho(1.56), Spent: account.Rho(1), Shares: []account.Share{{Operator: "b", Spent: account.Rho(0.5), Total: account.Rho(0.5)}}},
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v %s", err, cmp.Diff(want, got))
	}
}

func TestNothingIsAnsweredBeforeReplay(t *testing.T) {
	w := opened(t, storetest.Open(t, storetest.SQLite(t)), account.DomainRho)
	var err error
	if w.book, err = account.Open(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	_, _, left := w.book.Left(t.Context(), "a", "person", account.OperatorRho)
	_, balances := w.book.Balances(t.Context(), "", nil)
	for name, err := range map[string]error{
		"left": left, "balances": balances, "spend": w.spend("a", account.OperatorRho, rho("person", 0.1)),
		"set": w.set(account.Act{Domain: "person", Left: 1, At: time.Unix(1, 0)}),
	} {
		if code(err) != "export.account-behind" {
			t.Errorf("%s: %v", name, err)
		}
	}
	lost := errors.New("lost")
	if _, err := w.book.Replay(t.Context(), func(context.Context, int64) ([]account.Entry, error) { return nil, lost }); !errors.Is(err, lost) {
		t.Errorf("replay: %v", err)
	}
	if _, err := w.book.Balances(t.Context(), "", nil); code(err) != "export.account-behind" {
		t.Errorf("after a replay that failed: %v", err)
	}
}

// TestTablesThatWereChanged are what the log says again after a start, and a log that was set back is refused.
func TestTablesThatWereChanged(t *testing.T) {
	changes := []string{
		"UPDATE account_domains SET spent = 0", "UPDATE account_domains SET most = most + 1", "DELETE FROM account_domains",
		"UPDATE account_shares SET spent = 0, total = 0", "DELETE FROM account_shares", "UPDATE account_state SET opening = opening + 1",
		"UPDATE account_state SET position = 0", "DELETE FROM account_state", "INSERT INTO account_shares VALUES ('b', 'person', 0, 1, 1)",
	}
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		w := opened(t, db, account.DomainRho)
		if err := w.spend("a", account.OperatorRho, rho("person", 0.5), account.Charge{Domain: "firm", Rho: 7, Delta: 8}); err != nil {
			t.Fatal(err)
		}
		want := w.balances()
		for _, change := range changes {
			if _, err := db.ExecContext(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if !w.restart() {
				t.Errorf("%s: not noticed", change)
			}
			if got := w.balances(); !cmp.Equal(got, want) {
				t.Errorf("%s: %s", change, cmp.Diff(want, got))
			}
			if w.restart() {
				t.Errorf("%s: not mended", change)
			}
		}
		w.log = w.log[:1]
		if _, err := w.book.Replay(t.Context(), w.read); err == nil {
			t.Error("a log that was set back was taken")
		}
	})
}

func TestEntriesThatSayNothing(t *testing.T) {
	good := map[string]string{"operator": "a", "rho": `{"person":"0.5"}`}
	tests := []struct {
		name  string
		entry account.Entry
	}{
		{"another kind", account.Entry{Kind: "job.intent", Facts: good}},
		{"no operator", account.Entry{Kind: account.KindCharged, Facts: map[string]string{"rho": `{"person":"0.5"}`}}},
		{"no charge", account.Entry{Kind: account.KindCharged, Facts: map[string]string{"operator": "a"}}},
		{"a refund", account.Entry{Kind: account.KindCharged, Facts: map[string]string{"operator": "a", "rho": `{"person":"-0.5"}`}}},
		{"no number", account.Entry{Kind: account.KindCharged, Facts: map[string]string{"operator": "a", "rho": `{"person":"0x1"}`}}},
		{"too many digits", account.Entry{Kind: account.KindCharged, Facts: map[string]string{"operator": "a", "rho": `{"person":"0.0000000001"}`}}},
		{"a delta of nothing", account.Entry{Kind: account.KindCharged, Facts: map[string]string{"operator": "a", "rho": `{"person":"1"}`, "delta": `{"firm":"1"}`}}},
		{"no time", account.Entry{Kind: account.KindSet, Facts: map[string]string{"domain": "person", "left": "1"}}},
		{"opened twice", account.Entry{Kind: account.KindOpened, Facts: account.OpenedFacts(1)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := opened(t, storetest.Open(t, storetest.SQLite(t)), account.DomainRho)
			tt.entry.Index = w.next
			w.log = append(w.log, tt.entry)
			if _, err := w.book.Replay(t.Context(), w.read); err == nil {
				t.Error("it was taken")
			}
		})
	}
	w := newWorld(t, storetest.Open(t, storetest.SQLite(t)))
	w.log = []account.Entry{{Kind: account.KindCharged, Facts: good}}
	if _, err := w.book.Replay(t.Context(), w.read); err == nil {
		t.Error("a charge to accounts that were never opened was taken")
	}
}

func TestAccountsOpenOnce(t *testing.T) {
	w := opened(t, storetest.Open(t, storetest.SQLite(t)), account.DomainRho)
	err := w.write(account.KindOpened, account.OpenedFacts(0), func(ctx context.Context, tx bun.Tx, index int64) error {
		return w.book.Begin(ctx, tx, 0, index)
	})
	if !errors.Is(err, account.ErrOpened) {
		t.Errorf("opened again: %v", err)
	}
}

var errCrash = errors.New("crash")

// TestTheAccountsAreAFoldOfTheLog charges at random, loses transactions on the way, restarts, puts tables back to what
// they were before, and compares with a count of its own.
func TestTheAccountsAreAFoldOfTheLog(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		random := rand.New(rand.NewPCG(11, 8))
		w := opened(t, db, account.DomainRho)
		spent := map[string]int64{}
		domains, operators := []string{"person", "firm", "household"}, []string{"a", "b", "c", "d"}
		refused := 0
		for i := range 150 {
			var charges []account.Charge
			for range 1 + random.IntN(3) {
				charges = append(charges, account.Charge{
					Domain: domains[random.IntN(len(domains))], Rho: 1 + random.Int64N(account.Nano/12), Delta: random.Int64N(1000),
				})
			}
			operator := operators[random.IntN(len(operators))]
			switch random.IntN(10) {
			case 0: // the transaction is lost after the charge
				before := w.balances()
				err := w.write("", nil, func(ctx context.Context, tx bun.Tx, index int64) error {
					return errors.Join(w.book.Spend(ctx, tx, operator, account.OperatorRho, charges, index), errCrash)
				})
				if !errors.Is(err, errCrash) || !cmp.Equal(before, w.balances()) {
					t.Fatalf("a lost charge: %v", err)
				}
			case 1:
				if w.restart() {
					t.Fatalf("step %d: the accounts are not what the log says", i)
				}
			case 2:
				if err := w.set(account.Act{Domain: domains[random.IntN(3)], Left: random.Int64N(3 * account.Nano), At: time.Unix(int64(i)*40*24*3600, 0)}); err != nil && code(err) != "export.account-yearly" {
					t.Fatal(err)
				}
			case 3: // the tables are those of yesterday
				if _, err := db.ExecContext(t.Context(), "UPDATE account_domains SET spent = spent / 2"); err != nil {
					t.Fatal(err)
				}
				w.restart()
			default:
				switch err := w.spend(operator, account.OperatorRho, charges...); code(err) {
				case "":
					for _, c := range charges {
						spent[c.Domain] += c.Rho
					}
				case "export.account-spent", "export.share-spent":
					refused++
				default:
					t.Fatal(err)
				}
			}
		}
		for _, b := range w.balances() {
			if b.Spent != spent[b.Domain] {
				t.Errorf("%s: %d spent, want %d", b.Domain, b.Spent, spent[b.Domain])
			}
		}
		if refused == 0 || len(w.log) < 50 {
			t.Errorf("%d refusals, %d entries: the test says little", refused, len(w.log))
		}
	})
}
