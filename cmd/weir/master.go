package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/uptrace/bun"

	"weir/internal/problem"
	"weir/sandbox"
)

// masterFile is where the master key is unless the settings name another place: beside the vault and not in it.
const masterFile = "master.key"

// openVault opens the vault with its master key.
func openVault(ctx context.Context, s settings, db *bun.DB, worker string) (*sandbox.Vault, error) {
	master, err := openMaster(ctx, s, db)
	if err != nil {
		return nil, err
	}
	return sandbox.OpenVault(ctx, filepath.Join(s.Data, vaultFolder), db, worker, master)
}

// openMaster finds the master key where the settings say. Where a program keeps it, keys that are also named only unwrap.
// Only where nothing is said and the vault has no keys yet is one made.
func openMaster(ctx context.Context, s settings, db *bun.DB) (sandbox.Master, error) {
	if s.Vault.Program == "" {
		return readMasters(ctx, s, db)
	}
	var earlier sandbox.Master
	if s.Vault.Key != "" || s.Vault.Master != "" {
		var err error
		if earlier, err = readMasters(ctx, s, db); err != nil {
			return nil, err
		}
	}
	return sandbox.ProgramMaster(ctx, s.Vault.Program, earlier)
}

// readMasters reads the master keys that are at hand.
func readMasters(ctx context.Context, s settings, db *bun.DB) (sandbox.Master, error) {
	if s.Vault.Key != "" {
		master, err := sandbox.ParseMaster(s.Vault.Key)
		if err != nil {
			return nil, problem.New("cli.no-master").Because(err)
		}
		return master, nil
	}
	text, err := readMaster(s.masterFile())
	if errors.Is(err, fs.ErrNotExist) && s.Vault.Master == "" {
		used, err := sandbox.HasKeys(ctx, db)
		if err != nil {
			return nil, err
		}
		if used {
			return nil, problem.New("cli.no-master").Because(errors.New("the vault has keys, and the master key is missing"))
		}
		if _, err := openSecret(filepath.Join(s.Data, keysFolder), masterFile); err != nil {
			return nil, err
		}
		if text, err = readMaster(s.masterFile()); err != nil {
			return nil, problem.New("cli.no-master").Because(err)
		}
	} else if err != nil {
		return nil, problem.New("cli.no-master").Because(err)
	}
	master, err := sandbox.ParseMaster(text)
	if err != nil {
		return nil, problem.New("cli.no-master").Because(err)
	}
	return master, nil
}

func (s *settings) masterFile() string {
	if s.Vault.Master != "" {
		return s.Vault.Master
	}
	return filepath.Join(s.Data, keysFolder, masterFile)
}

// readMaster reads a file of master keys, which only its owner may be able to read.
func readMaster(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || info.Size() > 1<<16 {
		return "", errors.New("the file of the master key must be a plain file with mode 0600")
	}
	text, err := os.ReadFile(path)
	return string(text), err
}

// addMaster puts a new master key before those of a file.
func addMaster(path, fresh string) error {
	text, err := readMaster(path)
	if err != nil {
		return err
	}
	if _, err := sandbox.ParseMaster(text); err != nil {
		return err
	}
	return writeMaster(path, fresh+"\n"+text)
}

// writeMaster replaces the file of the master key.
func writeMaster(path, text string) error { return replaceFile(path, text) }

// replaceFile replaces a file that its owner alone may read, which is there whole at every time, as before or as it should be.
func replaceFile(path, text string) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
