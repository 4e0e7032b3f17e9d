package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"weir/audit"
	"weir/internal/problem"
	"weir/sandbox"
)

type vaultCommand struct {
	Status vaultStatusCommand `cmd:"" help:"List the sealed files and the master key of each, while the platform is stopped."`
	Check  vaultCheckCommand  `cmd:"" help:"Read every sealed file to its end, while the platform is stopped."`
	Rotate vaultRotateCommand `cmd:"" help:"Change the master key, while the platform is stopped."`
	Reseal vaultResealCommand `cmd:"" help:"Encrypt a data set anew under a new key, while the platform is stopped."`
	Bind   vaultBindCommand   `cmd:"" help:"Join this store and this vault, though they do not know each other or the store is older."`
	Clear  vaultClearCommand  `cmd:"" help:"Remove for good what was moved aside because the store does not know it."`
}

// safe is the vault of a platform that is stopped, with what is needed to act on it.
type safe struct {
	settings
	platform *assembly
	vault    *sandbox.Vault
	tables   *sandbox.Workspaces
}

// withVault opens the vault of a platform that is stopped. Whoever can do this holds the platform's files, so nobody is
// asked for permission; what is done stands on the log.
func withVault(ctx context.Context, t *terminal, file string, do func(safe) error) (err error) {
	s, err := readSettings(file, t.environ())
	if err != nil {
		return err
	}
	unlock, err := alone(s)
	if err != nil {
		return err
	}
	defer unlock()
	a, db, err := foundation(ctx, s, s.address(s.Listen))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close(context.WithoutCancel(ctx))) }()
	worker, err := sandbox.FindWorker()
	if err != nil {
		return problem.New("cli.no-worker").Because(err)
	}
	vault, err := openVault(ctx, s, db, worker)
	if err != nil {
		return err
	}
	tables, err := sandbox.OpenWorkspaces(ctx, filepath.Join(s.Data, workspacesFolder), vault)
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(vault.Aside(), tables.Aside()) {
		t.note("Moved aside, since the store does not know it: %s", name)
	}
	return do(safe{s, a, vault, tables})
}

// recorded does something that goes onto the log before and after. facts of the outcome come from do.
func (a *assembly) recorded(ctx context.Context, event audit.Event, do func() (audit.Facts, error)) error {
	kind := event.Kind
	event.Kind = kind + ".intent"
	announced, err := a.log.Append(ctx, event)
	if err != nil {
		return err
	}
	facts, failed := do()
	outcome := audit.Facts{"intent": audit.Number(announced.Index), "outcome": audit.Word("done")}
	if failed != nil {
		outcome["outcome"], outcome["code"] = audit.Word("failed"), audit.Code(failed)
	}
	maps.Copy(outcome, facts)
	_, err = a.log.Append(context.WithoutCancel(ctx), audit.Event{Kind: kind + ".outcome", Object: event.Object, Facts: outcome})
	return errors.Join(failed, err)
}

type vaultStatusCommand struct {
	settingsFlag `embed:""`
	printing     `embed:""`
}

// Run lists the keys. It tells nothing that opens any of them.
func (c *vaultStatusCommand) Run(ctx context.Context, t *terminal) error {
	return withVault(ctx, t, c.File, func(s safe) error {
		keys, err := s.vault.Keys(ctx)
		if err != nil {
			return err
		}
		shown := table{head: []string{t.text("Key of"), t.text("Master key"), t.text("Made")}}
		for _, k := range keys {
			shown.add(k.Purpose, k.Master, local(k.MadeAt))
		}
		return errors.Join(c.list(t, keys, shown), s.stray(ctx, t))
	})
}

type vaultCheckCommand struct {
	settingsFlag `embed:""`
}

// Run reads everything.
func (c *vaultCheckCommand) Run(ctx context.Context, t *terminal) error {
	return withVault(ctx, t, c.File, func(s safe) error {
		if err := s.stray(ctx, t); err != nil {
			return err
		}
		sets, err := s.vault.Check(ctx)
		if err != nil {
			return err
		}
		tables, err := s.tables.Check(ctx)
		if err != nil {
			return err
		}
		t.say("Whole: %d files of data sets, %d tables of workspaces.", sets, tables)
		return nil
	})
}

type vaultRotateCommand struct {
	settingsFlag `embed:""`
}

// Run wraps every key by a new master key. Where the master key is a file, the new one is made and put first in it, and
// when all is done the old ones leave it: whatever happens in between, the file opens the vault. Where it is brought in
// the environment, whoever brings it puts the new one first. Where a program keeps it, its key of today wraps.
func (c *vaultRotateCommand) Run(ctx context.Context, t *terminal) error {
	s, err := readSettings(c.File, t.environ())
	if err != nil {
		return err
	}
	fresh := ""
	if s.Vault.Key == "" && s.Vault.Program == "" {
		unlock, err := alone(s) // before its file is touched
		if err != nil {
			return err
		}
		fresh = sandbox.NewMasterKey()
		err = addMaster(s.masterFile(), fresh)
		unlock()
		if err != nil {
			return problem.New("cli.no-master").Because(err)
		}
	}
	return withVault(ctx, t, c.File, func(s safe) error {
		var changed int
		err := s.platform.recorded(ctx, audit.Event{Kind: "vault.rotate", Object: audit.Word("vault")}, func() (audit.Facts, error) {
			var err error
			changed, err = s.vault.RewrapKeys(ctx)
			return audit.Facts{"keys": audit.Number(changed)}, err
		})
		if err != nil {
			return err
		}
		if fresh != "" {
			if err := writeMaster(s.masterFile(), fresh+"\n"); err != nil {
				return problem.New("cli.no-master").Because(err)
			}
		}
		t.say("%d keys were wrapped by the new master key. The old one opens nothing of this vault any more.", changed)
		return nil
	})
}

type vaultResealCommand struct {
	settingsFlag `embed:""`
	Name         string `arg:"" help:"The data set."`
}

// Run seals every version of a data set anew.
func (c *vaultResealCommand) Run(ctx context.Context, t *terminal) error {
	return withVault(ctx, t, c.File, func(s safe) error {
		var versions int
		known, err := s.vault.Versions(ctx, c.Name, "") // before an odd name gets onto the log
		if err != nil {
			return err
		}
		if len(known) == 0 {
			return problem.New("sandbox.unknown-dataset", "name", c.Name)
		}
		event := audit.Event{Kind: "vault.reseal", Object: audit.Format("dataset/%s", audit.Registered(known[0].Name))}
		err = s.platform.recorded(ctx, event, func() (audit.Facts, error) {
			var err error
			versions, err = s.vault.Reseal(ctx, c.Name)
			return audit.Facts{"versions": audit.Number(versions)}, err
		})
		if err != nil {
			return err
		}
		t.say("%d versions of %s were encrypted anew.", versions, c.Name)
		return nil
	})
}
