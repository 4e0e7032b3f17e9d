package main

import (
	"context"
	"errors"
	"path/filepath"

	"weir/audit"
	"weir/sandbox"
)

// stray tells what does not belong to the store and what the store lacks.
func (s safe) stray(ctx context.Context, t *terminal) error {
	missing, err := s.vault.Missing(ctx)
	if err != nil {
		return err
	}
	for _, name := range missing {
		t.say("MISSING: the file of %s", name)
	}
	for _, list := range []func() ([]sandbox.SetAside, error){s.vault.SetAside, s.tables.SetAside} {
		all, err := list()
		if err != nil {
			return err
		}
		for _, one := range all {
			t.say("Aside: %s, %d files, %d bytes. weir vault clear removes it.", one.Name, one.Files, one.Bytes)
		}
	}
	return nil
}

type vaultBindCommand struct {
	settingsFlag `embed:""`
	Reason       string `required:"" help:"Why they belong together; it stands on the log."`
}

// Run joins the store and the vault. It removes nothing: what the store does not know is moved aside, and what the vault
// lacks is told.
func (c *vaultBindCommand) Run(ctx context.Context, t *terminal) error {
	s, err := readSettings(c.File, t.environ())
	if err != nil {
		return err
	}
	if err := c.bind(ctx, s); err != nil {
		return err
	}
	return withVault(ctx, t, c.File, func(s safe) error {
		t.say("This store and this vault belong together now.")
		return s.stray(ctx, t)
	})
}

func (c *vaultBindCommand) bind(ctx context.Context, s settings) (err error) {
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
	event := audit.Event{Kind: "vault.bind", Object: audit.Word("vault"), Payload: []byte(c.Reason)}
	return a.recorded(ctx, event, func() (audit.Facts, error) {
		return nil, sandbox.Rebind(ctx, db, filepath.Join(s.Data, vaultFolder), filepath.Join(s.Data, workspacesFolder))
	})
}

type vaultClearCommand struct {
	settingsFlag `embed:""`
	Reason       string `required:"" help:"Why it may go; it stands on the log."`
}

// Run removes what was moved aside. It is the one command that removes what the store does not know.
func (c *vaultClearCommand) Run(ctx context.Context, t *terminal) error {
	return withVault(ctx, t, c.File, func(s safe) error {
		files := 0
		event := audit.Event{Kind: "vault.clear", Object: audit.Word("vault"), Payload: []byte(c.Reason)}
		err := s.platform.recorded(ctx, event, func() (audit.Facts, error) {
			sets, err := s.vault.Clear()
			tables, failed := s.tables.Clear()
			for _, one := range append(sets, tables...) {
				files += one.Files
			}
			return audit.Facts{"files": audit.Number(files)}, errors.Join(err, failed)
		})
		if err != nil {
			return err
		}
		t.say("%d files were removed for good.", files)
		return nil
	})
}
