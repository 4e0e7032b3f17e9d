package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"weir/audit"
	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/gateway/identity"
	"weir/internal/store/storetest"
	"weir/policy"
)

// faulty is a log on which every append fails from a number on, counted from 0.
type faulty struct {
	gateway.Recorder
	from int
	n    int
}

var errPowerCut = errors.New("the disk is gone: " + gatewaytest.Secret)

func (f *faulty) Append(ctx context.Context, event audit.Event) (audit.Receipt, error) {
	f.n++
	if f.n > f.from {
		return audit.Receipt{}, errPowerCut
	}
	return f.Recorder.Append(ctx, event)
}

// scene is one act, with how to see from outside whether it was done.
type scene struct {
	name    string
	as, not string // a person who may, and one who may not
	refused string // the code that the latter gets
	setUp   func(t *testing.T, p *gatewaytest.Platform) (id string)
	do      func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, id string) (shown any, err error)
	done    func(t *testing.T, p *gatewaytest.Platform, id string) bool // nil for what only shows something
}

func grantState(want policy.GrantState) func(*testing.T, *gatewaytest.Platform, string) bool {
	return func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
		g, err := p.Policy.Grant(t.Context(), gatewaytest.Person("authority"), p.Grant.ID)
		if err != nil {
			t.Fatal(err)
		}
		return g.State == want
	}
}

func waiting(t *testing.T, p *gatewaytest.Platform) string {
	return wait(t, p.Jobs, submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Wait).ID).ID
}

func today() gateway.Days {
	day := time.Now().UTC().Format(time.DateOnly)
	return gateway.Days{From: day, To: day}
}

func decided(state string) func(*testing.T, *gatewaytest.Platform, string) bool {
	return func(t *testing.T, p *gatewaytest.Platform, id string) bool {
		offer, err := p.Queue.Show(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return offer.State == state
	}
}

func nothing(*testing.T, *gatewaytest.Platform) string { return "" }

// waitingVersion has a provider hand in a version that waits for a review.
func waitingVersion(t *testing.T, p *gatewaytest.Platform) string {
	p.Catalogue.Waits = true
	if _, err := p.Catalogue.Receive(t.Context(), nil, strings.NewReader("kind\n")); err != nil {
		t.Fatal(err)
	}
	return "trees"
}

func decision(name string, state policy.VersionState) policy.VersionDecision {
	return policy.VersionDecision{Dataset: name, Version: 1, State: state, Reason: "reason of 李四"}
}

func versionState(want policy.VersionState) func(*testing.T, *gatewaytest.Platform, string) bool {
	return func(t *testing.T, p *gatewaytest.Platform, id string) bool {
		versions, err := p.Catalogue.Versions(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		return versions[0].State == want
	}
}

var scenes = []scene{
	{"create grant", "authority", "operator", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, _ string) (any, error) {
			g := p.Grant
			g.ID, g.State, g.Title = "", "", "another"
			made, err := a.CreateGrant(ctx, who, g)
			return made.ID, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			all, err := p.Policy.Grants(t.Context(), gatewaytest.Person("authority"), "harbour")
			if err != nil {
				t.Fatal(err)
			}
			return len(all) == 2
		}},
	{"suspend grant", "authority", "operator", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, _ string) (any, error) {
			g, err := a.SuspendGrant(ctx, who, p.Grant.ID, "reason of 李四")
			return g.ID, err
		}, grantState(policy.GrantSuspended)},
	{"terminate grant", "authority", "supervisor", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, _ string) (any, error) {
			g, err := a.TerminateGrant(ctx, who, p.Grant.ID, "reason of 李四")
			return g.ID, err
		}, grantState(policy.GrantTerminated)},
	{"restore grant", "authority", "operator", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string {
			if err := p.Policy.Suspend(t.Context(), gatewaytest.Person("authority"), p.Grant.ID, "x"); err != nil {
				t.Fatal(err)
			}
			return ""
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, _ string) (any, error) {
			g, err := a.RestoreGrant(ctx, who, p.Grant.ID, "reason of 李四")
			return g.ID, err
		}, grantState(policy.GrantActive)},
	{"approve release", "officer", "authority", "policy.forbidden", waiting,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.ApproveRelease(ctx, who, id, "reason of 李四")
		}, decided("released")},
	{"refuse release", "officer", "operator", "policy.forbidden", waiting,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.RefuseRelease(ctx, who, id, "reason of 李四")
		}, decided("refused")},
	{"show release", "officer", "authority", "policy.forbidden", waiting,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			offer, err := a.ShowRelease(ctx, who, id)
			return offer.ID, err
		}, nil},
	{"import data set", "provider", "authority", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			d, err := a.ImportDataset(ctx, who, gateway.Upload{
				Manifest: []byte("name: trees\nprovider: registry\nfile: trees.csv\n"),
				File:     func() (io.Reader, error) { return strings.NewReader("kind\n"), nil },
			})
			return d.Name, err
		},
		func(_ *testing.T, p *gatewaytest.Platform, _ string) bool { return p.Catalogue.Files["trees"] != "" }},
	{"approve version", "authority", "provider", "policy.forbidden", waitingVersion,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.DecideVersion(ctx, who, decision(id, policy.VersionApproved))
		}, versionState(policy.VersionApproved)},
	{"refuse version", "authority", "officer", "policy.forbidden", waitingVersion,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.DecideVersion(ctx, who, decision(id, policy.VersionRefused))
		}, versionState(policy.VersionRefused)},
	{"withdraw version", "provider", "supervisor", "policy.forbidden", waitingVersion,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.DecideVersion(ctx, who, decision(id, policy.VersionWithdrawn))
		}, versionState(policy.VersionWithdrawn)},
	{"create account", "operator", "analyst", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			made, err := a.CreateAccount(ctx, who, identity.Account{
				Name: "zhangsan", DisplayName: "张三", Organisation: "harbour", Roles: []policy.Role{policy.Analyst},
			}, "reason of 李四")
			return made.First, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool { return account(t, p, "zhangsan") != nil }},
	{"propose account", "authority", "officer", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			made, err := a.CreateAccount(ctx, who, identity.Account{
				Name: "zhangsan", DisplayName: "张三", Organisation: "review", Roles: []policy.Role{policy.Officer},
			}, "reason of 李四")
			return made.First, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			waiting, err := p.Identity.Proposals(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(waiting) == 1 && account(t, p, "zhangsan") == nil
		}},
	{"confirm account", "second", "authority", "policy.own-account",
		func(t *testing.T, p *gatewaytest.Platform) string { return proposed(t, p) },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			made, err := a.ConfirmProposal(ctx, who, id)
			return made.First, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool { return account(t, p, "zhangsan") != nil }},
	{"refuse account", "authority", "officer", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string { return proposed(t, p) },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.RefuseProposal(ctx, who, id, "reason of 李四")
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			waiting, err := p.Identity.Proposals(t.Context())
			return err == nil && len(waiting) == 0
		}},
	{"list proposals", "authority", "officer", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string { return proposed(t, p) },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			list, err := a.ListProposals(ctx, who)
			return len(list), err
		}, nil},
	{"enable account", "operator", "authority", "policy.account-operator",
		func(t *testing.T, p *gatewaytest.Platform) string {
			p.Admit(t, "colleague")
			if err := p.Identity.DisableAccount(t.Context(), "colleague"); err != nil {
				t.Fatal(err)
			}
			return "colleague"
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			_, err := a.EnableAccount(ctx, who, id, "reason of 李四")
			return "", err
		},
		func(t *testing.T, p *gatewaytest.Platform, id string) bool { return !account(t, p, id).Disabled }},
	{"reset account", "operator", "authority", "policy.account-operator",
		func(t *testing.T, p *gatewaytest.Platform) string { p.Admit(t, "colleague"); return "colleague" },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			made, err := a.ResetAccount(ctx, who, id, "reason of 李四")
			return made.First, err
		},
		func(t *testing.T, p *gatewaytest.Platform, id string) bool { return account(t, p, id).First }},
	{"change roles", "authority", "operator", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string {
			p.Admit(t, "maintainer")
			_, err := p.Policy.ChangeOrganisation(t.Context(), gatewaytest.Person("authority"), "works",
				policy.OrganisationChange{Add: []policy.Capacity{policy.CapacityProvider}, Reason: "x"})
			if err != nil {
				t.Fatal(err)
			}
			return "maintainer"
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			_, err := a.SetRoles(ctx, who, id, []policy.Role{policy.Provider}, "reason of 李四")
			return "", err
		},
		func(t *testing.T, p *gatewaytest.Platform, id string) bool {
			return slices.Equal(account(t, p, id).Roles, []policy.Role{policy.Provider})
		}},
	{"admit organisation", "authority", "maintainer", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			made, err := a.AdmitOrganisation(ctx, who, policy.NewOrganisation{Name: "quay", Capacities: []policy.Capacity{policy.CapacityProvider}, Reason: "reason of 李四"})
			return made.ID, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			_, err := p.Policy.Organisation(t.Context(), "Quay")
			return err == nil
		}},
	{"change organisation", "authority", "supervisor", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string { p.Admit(t, "maintainer"); return "works" },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			made, err := a.ChangeOrganisation(ctx, who, id, policy.OrganisationChange{Into: "bureau", Reason: "reason of 李四"})
			return made.ID, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			return account(t, p, "maintainer").Organisation == "bureau"
		}},
	{"disable account", "authority", "analyst", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string { p.Admit(t, "colleague"); return "colleague" },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.DisableAccount(ctx, who, id, "reason of 李四")
		},
		func(t *testing.T, p *gatewaytest.Platform, id string) bool { return account(t, p, id).Disabled }},
	{"unlock account", "maintainer", "analyst", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string {
			p.Admit(t, "colleague")
			for range 6 {
				_, _, err := p.Identity.SignIn(t.Context(), identity.Credentials{Name: "colleague", Password: "wrong", From: "192.0.2.1"})
				if err == nil {
					t.Fatal("a wrong password was taken")
				}
			}
			return "colleague"
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.UnlockAccount(ctx, who, id)
		},
		func(t *testing.T, p *gatewaytest.Platform, id string) bool {
			_, _, err := p.Identity.SignIn(t.Context(), identity.Credentials{Name: id, Password: gatewaytest.Password, From: "192.0.2.1"})
			return err == nil
		}},
	{"list accounts", "authority", "analyst", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string { p.Admit(t, "colleague"); return "" },
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			list, err := a.ListAccounts(ctx, who)
			return len(list), err
		}, nil},
	{"cancel job", "analyst", "officer", "gateway.job-unknown",
		func(t *testing.T, p *gatewaytest.Platform) string {
			job := submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Block)
			receive(t, p.Flow.Started)
			return job.ID
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			job, err := a.CancelJob(ctx, who, id)
			return job.ID, err
		},
		func(t *testing.T, p *gatewaytest.Platform, id string) bool {
			job, err := p.Jobs.Find(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return job.State == gateway.JobCancelled
		}},
	{"usage", "operator", "analyst", "policy.forbidden", waiting,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			list, err := a.Usage(ctx, who, today())
			return len(list), err
		}, nil},
	{"usage of each job", "supervisor", "operator", "policy.forbidden", waiting,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			list, err := a.JobUsage(ctx, who, today())
			return len(list), err
		}, nil},
	{"budgets", "supervisor", "maintainer", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			list, err := a.Budgets(ctx, who, "")
			return len(list), err
		}, nil},
	{"hold grant", "supervisor", "officer", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, _ string) (any, error) {
			g, err := a.HoldGrant(ctx, who, p.Grant.ID, "reason of 李四")
			return g.ID, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			_, held, err := p.Policy.End(t.Context(), gatewaytest.Person("authority"), p.Grant.ID)
			if err != nil {
				t.Fatal(err)
			}
			return held
		}},
	{"lift grant", "authority", "maintainer", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string {
			if err := p.Policy.Hold(t.Context(), gatewaytest.Person("supervisor"), p.Grant.ID, "x"); err != nil {
				t.Fatal(err)
			}
			return ""
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, p *gatewaytest.Platform, _ string) (any, error) {
			g, err := a.LiftGrant(ctx, who, p.Grant.ID, "reason of 李四")
			return g.ID, err
		},
		func(t *testing.T, p *gatewaytest.Platform, _ string) bool {
			_, held, err := p.Policy.End(t.Context(), gatewaytest.Person("authority"), p.Grant.ID)
			if err != nil {
				t.Fatal(err)
			}
			return !held
		}},
	{"erase entry", "authority", "supervisor", "policy.forbidden", written("analyst"),
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, id string) (any, error) {
			return "", a.EraseEntry(ctx, who, entryOf(id), "reason of 李四")
		}, erased},
	{"search log", "supervisor", "maintainer", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			list, err := a.SearchLog(ctx, who, audit.Filter{})
			return len(list), err
		}, nil},
	{"verify log", "maintainer", "analyst", "policy.forbidden", nothing,
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			report, err := a.VerifyLog(ctx, who)
			return len(report.Checkpoint), err
		}, nil},
	{"read entries", "authority", "operator", "policy.forbidden",
		func(t *testing.T, p *gatewaytest.Platform) string {
			if _, err := p.Log.Append(t.Context(), audit.Event{Kind: "test.entry"}); err != nil {
				t.Fatal(err)
			}
			return ""
		},
		func(ctx context.Context, a *gateway.Acts, who policy.Principal, _ *gatewaytest.Platform, _ string) (any, error) {
			tile, err := a.Tile(ctx, who, tlog.Tile{H: 8, L: -1, N: 0, W: 1})
			return len(tile), err
		}, nil},
}

// written puts an entry of somebody on the log, the first.
func written(actor string) func(*testing.T, *gatewaytest.Platform) string {
	return func(t *testing.T, p *gatewaytest.Platform) string {
		receipt, err := p.Log.Append(t.Context(), audit.Event{Kind: "test.entry", Actor: actor, Payload: []byte("of 李四")})
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(receipt.Index, 10)
	}
}

func entryOf(id string) int64 {
	index, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		panic(err)
	}
	return index
}

func erased(t *testing.T, p *gatewaytest.Platform, id string) bool {
	found, err := p.Log.Search(t.Context(), audit.Filter{After: entryOf(id), Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return found[0].Erased && found[0].Actor == "" && found[0].Payload == nil
}

// TestNobodyErasesTheirOwnTraces: the authority erases what others did, and what the platform did by itself.
func TestNobodyErasesTheirOwnTraces(t *testing.T) {
	for actor, want := range map[string]string{"authority": "policy.own-entry", "analyst": "", "": ""} {
		p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
		id := written(actor)(t, p)
		if err := p.Acts.EraseEntry(t.Context(), gatewaytest.Person("authority"), entryOf(id), "request of 李四"); codeOf(err) != want {
			t.Errorf("an entry of %q: %v", actor, err)
		}
		if erased(t, p, id) != (want == "") {
			t.Errorf("an entry of %q is erased: %v", actor, want != "")
		}
		if want == "" && !slices.Contains(p.Kinds(t), "entry.erased") {
			t.Errorf("on the log: %v", p.Kinds(t))
		}
		if err := p.Acts.EraseEntry(t.Context(), gatewaytest.Person("authority"), 1000, "x"); codeOf(err) != "audit.nothing-to-erase" {
			t.Errorf("an entry that is not there: %v", err)
		}
	}
}

// TestNoActWithoutTheLog fails the log at every append in turn, until the act succeeds.
func TestNoActWithoutTheLog(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			for working := 0; working < 3; working++ {
				p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
				id := s.setUp(t, p)
				acts := actsWith(t, p, &faulty{Recorder: p.Log, from: working})
				shown, err := s.do(t.Context(), acts, gatewaytest.Person(s.as), p, id)
				wasDone := s.done != nil && s.done(t, p, id)
				switch working {
				case 0: // it could not be announced
					if err == nil || wasDone || !zero(shown) {
						t.Errorf("without announcement: done %v, shown %v, %v", wasDone, shown, err)
					}
				case 1: // its outcome could not be logged
					if codeOf(err) != "gateway.outcome-not-logged" || !zero(shown) {
						t.Errorf("without outcome: shown %v, %v", shown, err)
					}
					if s.done != nil && !wasDone {
						t.Error("the act is tested with an outcome that it does not have")
					}
				default:
					if err != nil || s.done != nil && !wasDone || s.done == nil && zero(shown) {
						t.Errorf("with a log: done %v, shown %v, %v", wasDone, shown, err)
					}
					kinds := slices.DeleteFunc(p.Kinds(t), func(kind string) bool { return kind == "entry.erased" })
					if !strings.HasSuffix(kinds[len(kinds)-1], ".outcome") || !strings.HasSuffix(kinds[len(kinds)-2], ".intent") {
						t.Errorf("on the log: %v", kinds)
					}
					private(t, p)
				}
			}
		})
	}
}

func TestNoActWithoutPermission(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
			id := s.setUp(t, p)
			shown, err := s.do(t.Context(), p.Acts, gatewaytest.Person(s.not), p, id)
			if codeOf(err) != s.refused || !zero(shown) || s.done != nil && s.done(t, p, id) {
				t.Errorf("shown %v, %v", shown, err)
			}
			if kinds := p.Kinds(t); !strings.HasSuffix(kinds[len(kinds)-1], ".refused") {
				t.Errorf("on the log: %v", kinds)
			}
		})
	}
}

// private fails if the tree itself names a person or holds what one wrote: that could never be erased.
func private(t *testing.T, p *gatewaytest.Platform) {
	t.Helper()
	for i := range p.Kinds(t) {
		receipt, err := p.Log.Inclusion(t.Context(), int64(i))
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"zhangsan", "张", "李四", "colleague", gatewaytest.Password} {
			if bytes.Contains(receipt.Leaf, []byte(text)) {
				t.Errorf("the log holds %q for ever: %s", text, receipt.Leaf)
			}
		}
	}
}

func TestSuspendingAGrantStopsItsJobsAtOnce(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	running := submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Block)
	receive(t, p.Flow.Started)
	gone, done := context.WithCancel(t.Context())
	go func() { // whoever asked goes away; the suspension goes on
		receive(t, p.Flow.Ended)
		done()
	}()
	g, err := p.Acts.SuspendGrant(gone, gatewaytest.Person("authority"), p.Grant.ID, "年度评估")
	if err != nil || g.State != policy.GrantSuspended {
		t.Fatalf("%+v, %v", g, err)
	}
	<-gone.Done()
	if job := wait(t, p.Jobs, running.ID); job.State != gateway.JobDenied || codeOf(job.Problem) != "gateway.grant-closed" {
		t.Errorf("the running job: %+v", job)
	}
	next := wait(t, p.Jobs, submit(t, p.Jobs, gatewaytest.Person("analyst"), p.Grant.ID, gatewaytest.Release).ID)
	if next.State != gateway.JobDenied || codeOf(next.Problem) != "policy.grant-suspended" {
		t.Errorf("the next job: %+v", next)
	}
}

func TestSigningInIsOnTheLogOrDoesNotHappen(t *testing.T) {
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	p.Admit(t, "analyst")
	tokens, err := actsWith(t, p, &faulty{Recorder: p.Log}).SignIn(t.Context(), identity.Credentials{Name: "analyst", Password: gatewaytest.Password, From: "192.0.2.1"})
	if err == nil || tokens != (identity.Tokens{}) {
		t.Errorf("tokens %v, %v", tokens, err)
	}
	open, err := p.DB.NewSelect().Table("identity_sessions").Where("ended_at = 0").Count(t.Context())
	if err != nil || open != 0 {
		t.Errorf("%d sessions are open, %v", open, err)
	}
	if tokens, err = p.Acts.SignIn(t.Context(), identity.Credentials{Name: "analyst", Password: gatewaytest.Password, From: "192.0.2.1"}); err != nil || tokens.Access == "" {
		t.Fatalf("%v", err)
	}
	who, err := p.Identity.Verify(t.Context(), tokens.Access)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Acts.SignOut(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Identity.Verify(t.Context(), tokens.Access); codeOf(err) != "identity.session-ended" {
		t.Errorf("after signing out: %v", err)
	}
	// A password typed into the field for names is written nowhere; a name that somebody has is.
	for name, actor := range map[string]string{gatewaytest.Password: "", "analyst": "analyst"} {
		if _, err := p.Acts.SignIn(t.Context(), identity.Credentials{Name: name, Password: "wrong", From: "192.0.2.1"}); codeOf(err) != "identity.sign-in-failed" {
			t.Errorf("got %v", err)
		}
		records, err := p.Log.Search(t.Context(), audit.Filter{Kind: "session.refused"})
		if err != nil || records[len(records)-1].Actor != actor {
			t.Errorf("got %+v, %v", records, err)
		}
	}
	if kinds := p.Kinds(t); !slices.Equal(kinds, []string{"account.opened", "session.begun", "session.ended", "session.refused", "session.refused"}) {
		t.Errorf("on the log: %v", kinds)
	}
	private(t, p)
}

func TestNewActsRefusesMissingParts(t *testing.T) {
	if _, err := gateway.NewActs(gateway.ActsParts{}); err == nil {
		t.Error("acts without parts")
	}
}

func actsWith(t *testing.T, p *gatewaytest.Platform, record gateway.Recorder) *gateway.Acts {
	t.Helper()
	parts := p.Acts.ActsParts
	parts.Record = record
	acts, err := gateway.NewActs(parts)
	if err != nil {
		t.Fatal(err)
	}
	return acts
}

func account(t *testing.T, p *gatewaytest.Platform, name string) *identity.Account {
	t.Helper()
	all, err := p.Identity.Accounts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a identity.Account) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// proposed is an officer's account that waits for a second person.
func proposed(t *testing.T, p *gatewaytest.Platform) string {
	t.Helper()
	made, err := p.Acts.CreateAccount(t.Context(), gatewaytest.Person("authority"), identity.Account{
		Name: "zhangsan", DisplayName: "张三", Organisation: "review", Roles: []policy.Role{policy.Officer},
	}, "reason of 李四")
	if err != nil {
		t.Fatal(err)
	}
	return made.Proposal.ID
}

func zero(shown any) bool { return shown == "" || shown == 0 }
