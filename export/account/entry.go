package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The kinds of entries that make up the accounts.
const (
	KindOpened  = "account.opened"
	KindCharged = "account.charged"
	KindSet     = "account.set"
)

// Kinds are all of them.
var Kinds = []string{KindOpened, KindCharged, KindSet}

// Entry is an entry of the log that belongs to the accounts.
type Entry struct {
	Index int64
	Kind  string
	Facts map[string]string
}

// OpenedFacts are what the log says of accounts that are opened.
func OpenedFacts(each int64) map[string]string { return map[string]string{"each": decimal(each, Nano)} }

// ChargedFacts are what the log says of a charge.
func ChargedFacts(operator string, charges []Charge) (map[string]string, error) {
	charges, err := merged(charges)
	if err != nil {
		return nil, err
	}
	rho, delta := map[string]string{}, map[string]string{}
	for _, c := range charges {
		rho[c.Domain] = decimal(c.Rho, Nano)
		if c.Delta > 0 {
			delta[c.Domain] = decimal(c.Delta, Femto)
		}
	}
	facts := map[string]string{"operator": operator}
	for name, amounts := range map[string]map[string]string{"rho": rho, "delta": delta} {
		if len(amounts) == 0 {
			continue
		}
		text, err := json.Marshal(amounts)
		if err != nil {
			return nil, fmt.Errorf("account: %w", err)
		}
		facts[name] = string(text)
	}
	return facts, nil
}

// Facts are what the log says of an act. Its reason stands in the payload.
func (a Act) Facts() map[string]string {
	return map[string]string{"domain": a.Domain, "left": decimal(a.Left, Nano), "at": a.At.UTC().Format(time.RFC3339)}
}

// apply does to the fold what an entry says.
func (f *fold) apply(e Entry) error {
	err := f.read(e)
	if err != nil {
		return fmt.Errorf("account: entry %d (%s): %w", e.Index, e.Kind, err)
	}
	return nil
}

func (f *fold) read(e Entry) error {
	switch e.Kind {
	case KindOpened:
		each, err := amount(e.Facts["each"], Nano)
		if err != nil {
			return err
		}
		return f.open(e.Index, each)
	case KindCharged:
		charges, err := charges(e.Facts)
		if err != nil {
			return err
		}
		return f.charge(e.Index, e.Facts["operator"], charges)
	case KindSet:
		left, err := amount(e.Facts["left"], Nano)
		if err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339, e.Facts["at"])
		if err != nil || e.Facts["domain"] == "" {
			return errors.New("not an act")
		}
		return f.set(e.Index, Act{Domain: e.Facts["domain"], Left: left, At: at})
	}
	return errors.New("no entry of an account")
}

// charges reads what ChargedFacts wrote.
func charges(facts map[string]string) ([]Charge, error) {
	rho, delta := map[string]string{}, map[string]string{}
	if err := json.Unmarshal([]byte(facts["rho"]), &rho); err != nil || len(rho) == 0 || facts["operator"] == "" {
		return nil, errors.New("not a charge")
	}
	if text, ok := facts["delta"]; ok {
		if err := json.Unmarshal([]byte(text), &delta); err != nil {
			return nil, errors.New("not a charge")
		}
	}
	var out []Charge
	for domain, value := range rho {
		c := Charge{Domain: domain}
		var err error
		if c.Rho, err = amount(value, Nano); err != nil {
			return nil, err
		}
		if value, ok := delta[domain]; ok {
			if c.Delta, err = amount(value, Femto); err != nil {
				return nil, err
			}
		}
		delete(delta, domain)
		out = append(out, c)
	}
	if len(delta) > 0 {
		return nil, errors.New("not a charge")
	}
	return merged(out)
}

// decimal writes an amount that is counted in parts of a unit, exactly.
func decimal(n int64, unit int64) string {
	digits := len(strconv.FormatInt(unit, 10)) - 1
	text := fmt.Sprintf("%d.%0*d", n/unit, digits, n%unit)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// amount reads what decimal wrote, and nothing else.
func amount(text string, unit int64) (int64, error) {
	digits := len(strconv.FormatInt(unit, 10)) - 1
	whole, part, _ := strings.Cut(text, ".")
	if len(part) > digits {
		return 0, fmt.Errorf("%q is no amount", text)
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", digits-len(part)), 10, 64)
	if err != nil || n < 0 || decimal(n, unit) != text {
		return 0, fmt.Errorf("%q is no amount", text)
	}
	return n, nil
}

// Replay compares the accounts with the log and, where they differ, makes them what the log says; differed reports
// it. read gives the log's entries of Kinds from an index on, the first of them first, and none when there are no more. Only
// after Replay do the accounts answer.
//
// It fails if the accounts hold what is not on the log: then the log was set back, and what was spent is not known.
func (b *Book) Replay(ctx context.Context, read func(ctx context.Context, from int64) ([]Entry, error)) (differed bool, err error) {
	f := newFold()
	catchUp := func(ctx context.Context) error {
		for {
			entries, err := read(ctx, f.state.Position+1)
			if err != nil || len(entries) == 0 {
				return err
			}
			for _, e := range entries {
				if err := f.apply(e); err != nil {
					return err
				}
			}
		}
	}
	if err := catchUp(ctx); err != nil {
		return false, err
	}
	if differed, err = b.adopt(ctx, f, catchUp); err == nil {
		b.ready.Store(true)
	}
	return differed, err
}
