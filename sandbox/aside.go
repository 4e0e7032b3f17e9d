package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// asidePrefix begins the name of a folder in which files lie that the store does not know. No data set and no workspace
// is called so. Nothing is ever removed because it is not known: it may be what another store knows.
const asidePrefix = "aside-"

// aside moves files out of the way, all into one folder that is made for the first.
type aside struct {
	root, folder string
	moved        []string
}

// move moves a file or a folder aside, under the name that it has below the root.
func (a *aside) move(path string) error {
	name, err := filepath.Rel(a.root, path)
	if err != nil {
		return err
	}
	if a.folder == "" {
		if a.folder, err = os.MkdirTemp(a.root, asidePrefix+time.Now().UTC().Format("20060102T150405Z-")); err != nil {
			return fmt.Errorf("move aside: %w", err)
		}
	}
	to := filepath.Join(a.folder, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("move aside: %w", err)
	}
	if err := os.Rename(path, to); err != nil {
		return fmt.Errorf("move aside: %w", err)
	}
	a.moved = append(a.moved, name)
	return nil
}

// settle makes the moves durable.
func (a *aside) settle() error {
	if a.folder == "" {
		return nil
	}
	return errors.Join(syncDir(a.folder), syncDir(a.root))
}

var (
	versionName = regexp.MustCompile(`^v[1-9][0-9]*$`)
	sealedName  = regexp.MustCompile(`^data\.([1-9][0-9]*)\.sealed$`)
)

// tidy moves aside what has no row in the store: changes that were cut off, for the most part. It ends what a sealing
// began, so that nothing lies in the clear and nothing under a key that was given up.
func (v *Vault) tidy(ctx context.Context) error {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Column("name", "version", "sealing").Scan(ctx); err != nil {
		return err
	}
	known := map[string]int{}
	for _, row := range rows {
		known[v.place(row.Name, row.Version)] = row.Sealing
	}
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return err
	}
	away := &aside{root: v.dir}
	for _, entry := range entries {
		path := filepath.Join(v.dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), incoming):
			err = away.move(path)
		case entry.IsDir() && datasetName.MatchString(entry.Name()):
			err = tidyDataset(path, known, away)
		}
		if err != nil {
			return err
		}
	}
	v.aside = away.moved
	if err := errors.Join(away.settle(), removeFile(filepath.Join(v.dir, clearKey))); err != nil {
		return err
	}
	return syncDir(v.dir)
}

func tidyDataset(dir string, known map[string]int, away *aside) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	left := 0
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		sealing, exists := known[path]
		switch {
		case exists:
			err = tidyVersion(path, sealing, away)
			left++
		case versionName.MatchString(entry.Name()):
			err = away.move(path)
		default:
			left++
		}
		if err != nil {
			return err
		}
	}
	if left == 0 {
		return os.Remove(dir)
	}
	return syncDir(dir)
}

// tidyVersion ends a sealing that was cut off after it counted: the file that it replaced goes. One that was cut off
// before left a file that no key opens, which is moved aside.
func tidyVersion(dir string, sealing int, away *aside) error {
	if _, err := os.Stat(filepath.Join(dir, dataFile(sealing))); errors.Is(err, fs.ErrNotExist) {
		return nil // what is there may be all that is left
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		parts := sealedName.FindStringSubmatch(entry.Name())
		switch {
		case entry.Name() == dataFile(sealing):
		case entry.Name() == clearFile:
			err = os.Remove(path)
		case parts == nil:
		default:
			if n, _ := strconv.Atoi(parts[1]); n < sealing {
				err = os.Remove(path)
			} else {
				err = away.move(path)
			}
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// Aside names what was moved aside when the vault was opened.
func (v *Vault) Aside() []string { return v.aside }

// Aside names what was moved aside when the workspaces were opened.
func (w *Workspaces) Aside() []string { return w.aside }

// SetAside is a folder of files that no store has asked for, from when and how large.
type SetAside struct {
	Name  string
	Files int
	Bytes int64
}

// SetAside lists what has been moved aside and is still there.
func (v *Vault) SetAside() ([]SetAside, error) { return setAside(v.dir) }

// SetAside lists what has been moved aside and is still there.
func (w *Workspaces) SetAside() ([]SetAside, error) { return setAside(w.dir) }

func setAside(dir string) (all []SetAside, err error) {
	folders, err := filepath.Glob(filepath.Join(dir, asidePrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		one := SetAside{Name: filepath.Base(folder)}
		err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				one.Files, one.Bytes = one.Files+1, one.Bytes+info.Size()
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list what was moved aside: %w", err)
		}
		all = append(all, one)
	}
	return all, nil
}

// Clear removes for good what has been moved aside.
func (v *Vault) Clear() (removed []SetAside, err error) {
	unlock, err := v.lockForChange()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return clearAside(v.dir)
}

// Clear removes for good what has been moved aside.
func (w *Workspaces) Clear() (removed []SetAside, err error) { return clearAside(w.dir) }

func clearAside(dir string) (removed []SetAside, err error) {
	all, err := setAside(dir)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if err := os.RemoveAll(filepath.Join(dir, one.Name)); err != nil {
			return removed, fmt.Errorf("remove what was moved aside: %w", err)
		}
		removed = append(removed, one)
	}
	return removed, syncDir(dir)
}

// Missing names the versions whose file is not where the store says.
func (v *Vault) Missing(ctx context.Context) (names []string, err error) {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Order("name", "version").Scan(ctx); err != nil {
		return nil, fmt.Errorf("find versions: %w", err)
	}
	for _, row := range rows {
		if _, err := os.Stat(filepath.Join(v.place(row.Name, row.Version), dataFile(row.Sealing))); errors.Is(err, fs.ErrNotExist) {
			names = append(names, fmt.Sprintf("%s/v%d", row.Name, row.Version))
		} else if err != nil {
			return nil, fmt.Errorf("find versions: %w", err)
		}
	}
	return names, nil
}
