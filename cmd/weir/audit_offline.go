package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weir/audit"
	"weir/internal/problem"
	"weir/internal/store"
)

// offline verifies the store itself. Nothing of the platform has to run, and nothing that it says is believed.
func (a *auditVerifyCommand) offline(ctx context.Context, t *terminal) (err error) {
	environ := t.environ()
	if a.Data != "" {
		environ = append(environ, "WEIR_DATA="+a.Data)
	}
	s, err := readSettings(a.File, environ)
	if err != nil {
		return err
	}
	options, err := a.believe(s)
	if err != nil {
		return err
	}
	if s.Store == filepath.Join(s.Data, storeFile) {
		// Opening an embedded store that is not there would make an empty one.
		if _, err := os.Stat(s.Store); err != nil {
			return problem.New("cli.no-store").Because(err)
		}
	}
	db, err := store.Open(ctx, s.Store)
	if err != nil {
		return unreachable(err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	report, err := audit.Verify(ctx, db, options)
	if err != nil {
		return err
	}
	findings := make([]finding, len(report.Faults))
	for i, f := range report.Faults {
		findings[i] = finding{f.Place, f.Problem}
	}
	return t.verdict(report.OK(), report.Entries, base64.StdEncoding.EncodeToString(report.Root[:]), findings)
}

// believe says whose signature counts: that of the key that was named, else of the platform's own.
func (a *auditVerifyCommand) believe(s settings) (audit.VerifyOptions, error) {
	public := a.Trust
	if public == "" {
		folder := filepath.Join(s.Data, keysFolder)
		if _, err := os.Stat(filepath.Join(folder, auditKey)); err != nil {
			return audit.VerifyOptions{}, problem.New("cli.no-store").Because(err)
		}
		key, err := audit.LoadKey(folder, s.Origin)
		if err != nil {
			return audit.VerifyOptions{}, err
		}
		public = key.Public
	}
	trusted, err := audit.Trust(s.Origin, public)
	if err != nil {
		return audit.VerifyOptions{}, problem.New("cli.bad-trust").Because(err)
	}
	options := audit.VerifyOptions{Policy: trusted}
	for _, path := range a.Kept {
		note, err := os.ReadFile(path)
		if err != nil {
			return audit.VerifyOptions{}, problem.New("cli.no-file").Because(fmt.Errorf("kept checkpoint: %w", err))
		}
		options.Kept = append(options.Kept, note)
	}
	return options, nil
}
