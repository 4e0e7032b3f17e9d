package gateway_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"weir/audit"
	privacy "weir/export/account"
	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
	"weir/policy"
)

var perPerson = []privacy.Charge{{Domain: "person", Rho: privacy.Rho(0.8)}}

func payer(operator string) gateway.Payer {
	return gateway.Payer{Job: "job/1", Grant: "g", Operator: operator, Share: 1}
}

// again opens the budget as a process does that starts on the platform's store.
func again(t *testing.T, p *gatewaytest.Platform, log gateway.BudgetLog) (*gateway.Budget, error) {
	t.Helper()
	book, err := privacy.Open(t.Context(), p.DB)
	if err != nil {
		t.Fatal(err)
	}
	return gateway.OpenBudget(t.Context(), book, log, p.Queue.Noised, time.Now)
}

func leftOf(t *testing.T, b *gateway.Budget, operator string) [2]float64 {
	t.Helper()
	own, all, err := b.Left(t.Context(), payer(operator), "person")
	if err != nil {
		t.Fatal(err)
	}
	return [2]float64{own, all}
}

// TestAChargeIsOnTheLog: of ten operators that want 0.8 at once, three are served, and the log says which.
func TestAChargeIsOnTheLog(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *bun.DB) {
		p := gatewaytest.New(t, db, gateway.JobOptions{})
		errs := make([]error, 10)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() {
				errs[i] = p.Budget.Charge(context.Background(), payer("operator"+string(rune('a'+i))), perPerson)
			})
		}
		wait.Wait()
		served := map[string]bool{}
		for i, err := range errs {
			if err == nil {
				served["operator"+string(rune('a'+i))] = true
			} else if codeOf(err) != "export.account-spent" || !errors.Is(err, audit.ErrNotLogged) {
				t.Errorf("%v", err)
			}
		}
		records, err := p.Log.Search(t.Context(), audit.Filter{Kind: privacy.KindCharged})
		if err != nil || len(records) != 3 || len(served) != 3 {
			t.Fatalf("%d served, %d on the log (%v)", len(served), len(records), err)
		}
		for _, r := range records {
			if !served[r.Facts["operator"]] || r.Facts["rho"] != `{"person":"0.8"}` || r.Job != "job/1" {
				t.Errorf("on the log: %+v", r)
			}
		}
		if _, err := again(t, p, p.Log); err != nil {
			t.Error(err)
		}
		if kinds := p.Kinds(t); strings.Contains(strings.Join(kinds, " "), "account.corrected") {
			t.Errorf("the accounts are not what the log says: %v", kinds)
		}
	})
}

// TestNoChargeWithoutTheLog: a charge that is not on the log is none.
func TestNoChargeWithoutTheLog(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	b, err := again(t, p, deafLog{p.Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Charge(t.Context(), payer("harbour"), perPerson); !errors.Is(err, errPowerCut) {
		t.Errorf("charged: %v", err)
	}
	if got := leftOf(t, p.Budget, "harbour"); got != [2]float64{1, 2.56} {
		t.Errorf("left: %v", got)
	}
}

// deafLog makes the change of an entry and loses both.
type deafLog struct{ *audit.Log }

func (l deafLog) AppendWith(ctx context.Context, event audit.Event, do func(context.Context, bun.Tx, int64) error) (audit.Receipt, error) {
	return l.Log.AppendWith(ctx, event, func(ctx context.Context, tx bun.Tx, index int64) error {
		return errors.Join(do(ctx, tx, index), errPowerCut)
	})
}

// TestAccountsAfterAStart are those of the log, whatever became of their tables.
func TestAccountsAfterAStart(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	if err := p.Budget.Charge(t.Context(), payer("harbour"), perPerson); err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{"UPDATE account_domains SET spent = 0", "DELETE FROM account_state"} {
		if _, err := p.DB.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		b, err := again(t, p, p.Log)
		if err != nil {
			t.Fatal(err)
		}
		if got := leftOf(t, b, "harbour"); got[0] > 0.2+1e-9 || got[1] != 1.76 {
			t.Errorf("%s: left %v", change, got)
		}
		if kinds := p.Kinds(t); kinds[len(kinds)-1] != "account.corrected" {
			t.Errorf("%s is not on the log: %v", change, kinds)
		}
	}
}

// TestAStoreThatAnsweredBefore opens with closed accounts, beside a fresh one that opens with full ones.
func TestAStoreThatAnsweredBefore(t *testing.T) {
	for _, mode := range []policy.Mode{"", policy.Exact, policy.Perturbed, policy.Private} {
		t.Run(string(mode), func(t *testing.T) {
			p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
			if mode != "" {
				if _, err := p.DB.ExecContext(t.Context(), `INSERT INTO export_releases
					(id, grant_id, operator, subject, mode, state, sql, literals, checks, cells, result, asked_at)
					VALUES ('1', 'g', 'harbour', 'a', ?, 'released', '', '', '', 1, '', '2026-11-01')`, mode); err != nil {
					t.Fatal(err)
				}
			}
			other := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{}) // whose accounts are not open
			for _, table := range []string{"account_state", "audit_entries", "audit_hashes", "audit_private", "audit_checkpoints"} {
				unlocked(t, other.DB, table)
			}
			key, err := audit.LoadKey(t.TempDir(), "weir.test/audit")
			if err != nil {
				t.Fatal(err)
			}
			log, err := audit.Open(t.Context(), other.DB, audit.Options{Origin: "weir.test/audit", Key: key})
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			other.Queue = p.Queue
			b, err := again(t, other, log)
			if err != nil {
				t.Fatal(err)
			}
			want := [2]float64{1, 2.56}
			if mode == policy.Perturbed || mode == policy.Private {
				want = [2]float64{}
			}
			if got := leftOf(t, b, "harbour"); got != want {
				t.Errorf("left: %v, want %v", got, want)
			}
		})
	}
}

// unlocked empties a table whatever forbids it.
func unlocked(t *testing.T, db *bun.DB, table string) {
	t.Helper()
	var triggers []string
	if err := db.NewRaw("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", table).Scan(t.Context(), &triggers); err != nil {
		t.Fatal(err)
	}
	for _, name := range triggers {
		if _, err := db.ExecContext(t.Context(), "DROP TRIGGER ?", bun.Ident(name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM ?", bun.Ident(table)); err != nil {
		t.Fatal(err)
	}
}

// TestAnActOfTheAuthority is one entry, with its reason where it can be erased.
func TestAnActOfTheAuthority(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	if err := p.Budget.Charge(t.Context(), payer("harbour"), perPerson); err != nil {
		t.Fatal(err)
	}
	refusals := []struct {
		name, who, domain string
		left              float64
		reason, code      string
	}{
		{"not the authority", "officer", "person", 2.56, "a new year", "policy.forbidden"},
		{"no reason", "authority", "person", 2.56, "", "policy.reason-needed"},
		{"nobody's domain", "authority", "persons", 2.56, "a new year", "gateway.no-such-domain"},
		{"less than nothing", "authority", "person", -1, "a new year", "export.account-limit"},
		{"without end", "authority", "person", 1e9, "a new year", "export.account-limit"},
	}
	for _, r := range refusals {
		if _, err := p.Acts.SetBudget(t.Context(), gatewaytest.Person(r.who), r.domain, r.left, r.reason); codeOf(err) != r.code {
			t.Errorf("%s: %v, want %s", r.name, err, r.code)
		}
	}
	if got := leftOf(t, p.Budget, "canal"); got != [2]float64{1, 1.76} {
		t.Errorf("after refusals: %v left", got)
	}
	got, err := p.Acts.SetBudget(t.Context(), gatewaytest.Person("authority"), "person", 2.56, "议定新年度")
	if err != nil || got.Left != privacy.DomainRho || got.Spent != privacy.Rho(0.8) || got.Refills != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	records, err := p.Log.Search(t.Context(), audit.Filter{Kind: privacy.KindSet})
	if err != nil || len(records) != 1 || records[0].Actor != "authority" || string(records[0].Payload) != "议定新年度" || records[0].Facts["left"] != "2.56" {
		t.Errorf("on the log: %+v, %v", records, err)
	}
	if got := leftOf(t, p.Budget, "harbour"); got != [2]float64{1, 2.56} {
		t.Errorf("after a refill: %v left", got)
	}
	if _, err := p.Acts.SetBudget(t.Context(), gatewaytest.Person("authority"), "person", 3, "once more"); codeOf(err) != "export.account-yearly" {
		t.Errorf("again within a year: %v", err)
	}
	p.Pass(366 * 24 * time.Hour)
	if _, err := p.Acts.SetBudget(t.Context(), gatewaytest.Person("authority"), "person", 3, "a year later"); err != nil {
		t.Errorf("a year later: %v", err)
	}
}
