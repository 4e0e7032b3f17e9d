package sandbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
)

//go:embed migrations
var migrations embed.FS

// Vault keeps the data sets: a directory with a database file for each version, and a row in the store for each.
// A version exists when its row does; a file without one is a leftover. Versions are never changed, and the newest
// is the one that is served.
//
// The files hold data in the clear, readable for the platform's user only.
type Vault struct {
	dir        string
	db         *bun.DB
	executable string
	secret     []byte
	limits     Limits
	step       func(name string) error // called before each step of an import; tests make it fail
}

// intakeLimits let one large file be taken in.
var intakeLimits = Limits{Memory: 1 << 30, CPU: time.Hour, Wall: time.Hour, Bytes: 1 << 20, Threads: 2}

// version is a version of a data set in the store.
type version struct {
	bun.BaseModel `bun:"table:sandbox_versions"`

	Name     string `bun:",pk"`
	Version  int    `bun:",pk"`
	Rows     int64
	Hash     string
	Manifest string    // policy.Dataset as JSON
	TakenAt  time.Time `bun:",notnull"`
}

// OpenVault opens the vault in dir, making it if need be, and removes what imports left behind that did not come
// to their end. executable is the worker program that parses what comes in.
func OpenVault(ctx context.Context, dir string, db *bun.DB, executable string) (*Vault, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	if err := store.Migrate(ctx, db, "sandbox", migrations); err != nil {
		return nil, err
	}
	v := &Vault{dir: dir, db: db, executable: executable, limits: intakeLimits, step: func(string) error { return nil }}
	unlock, err := v.lock()
	if errors.Is(err, errBusy) {
		// An import is under way in another process: there is a secret then, and nothing to tidy up.
		v.secret, err = v.readSecret()
		return v, err
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := v.tidy(ctx); err != nil {
		return nil, fmt.Errorf("tidy vault: %w", err)
	}
	if v.secret, err = v.openSecret(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// Dataset gives the newest version of a data set.
func (v *Vault) Dataset(ctx context.Context, name string) (policy.Dataset, error) {
	var row version
	err := v.db.NewSelect().Model(&row).Where("name = ?", name).Order("version DESC").Limit(1).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return policy.Dataset{}, problem.New("sandbox.unknown-dataset", "name", plain(name))
	}
	if err != nil {
		return policy.Dataset{}, fmt.Errorf("read data set: %w", err)
	}
	return row.dataset()
}

// Datasets gives the newest version of every data set, by name.
func (v *Vault) Datasets(ctx context.Context) ([]policy.Dataset, error) {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Order("name", "version DESC").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list data sets: %w", err)
	}
	var all []policy.Dataset
	for i, row := range rows {
		if i > 0 && rows[i-1].Name == row.Name {
			continue
		}
		d, err := row.dataset()
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (r version) dataset() (policy.Dataset, error) {
	var d policy.Dataset
	if err := json.Unmarshal([]byte(r.Manifest), &d); err != nil {
		return policy.Dataset{}, fmt.Errorf("read data set %s: %w", r.Name, err)
	}
	d.Version, d.Rows, d.Hash = r.Version, r.Rows, r.Hash
	return d, nil
}

// file gives the path of a version that exists.
func (v *Vault) file(ctx context.Context, name string, number int) (string, error) {
	exists, err := v.db.NewSelect().Model((*version)(nil)).Where("name = ? AND version = ?", name, number).Exists(ctx)
	if err != nil {
		return "", fmt.Errorf("find version: %w", err)
	}
	if !exists || !datasetName.MatchString(name) {
		return "", fmt.Errorf("the vault holds no version %d of that data set", number)
	}
	return filepath.Join(v.place(name, number), dataFile), nil
}

const (
	dataFile   = "data.duckdb"
	secretFile = "unit.key"
	lockFile   = "lock"
	incoming   = "incoming-" // begins the name of an import's own directory; no data set is called so
)

func (v *Vault) place(name string, number int) string {
	return filepath.Join(v.dir, name, fmt.Sprintf("v%d", number))
}

var errBusy = errors.New("an import is under way")

// lock makes this the only process that changes the vault.
func (v *Vault) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(v.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock vault: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errBusy
		}
		return nil, fmt.Errorf("lock vault: %w", err)
	}
	return func() { f.Close() }, nil
}

var versionName = regexp.MustCompile(`^v[1-9][0-9]*$`)

// tidy removes what has no row in the store: imports that were cut off.
func (v *Vault) tidy(ctx context.Context) error {
	var rows []version
	if err := v.db.NewSelect().Model(&rows).Column("name", "version").Scan(ctx); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, row := range rows {
		known[v.place(row.Name, row.Version)] = true
	}
	entries, err := os.ReadDir(v.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(v.dir, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), incoming):
			err = os.RemoveAll(path)
		case entry.IsDir() && datasetName.MatchString(entry.Name()):
			err = tidyDataset(path, known)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(v.dir)
}

func tidyDataset(dir string, known map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	left := 0
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if known[path] || !versionName.MatchString(entry.Name()) {
			left++
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if left == 0 {
		return os.Remove(dir)
	}
	return syncDir(dir)
}

// openSecret reads the key of units' hashes, or makes it in a vault that holds nothing yet. A new key in a vault
// with data would silently part the units of old data from those of new.
func (v *Vault) openSecret(ctx context.Context) ([]byte, error) {
	secret, err := v.readSecret()
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	count, err := v.db.NewSelect().Model((*version)(nil)).Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count versions: %w", err)
	}
	if count > 0 {
		return nil, errors.New("the vault holds data but its unit.key is missing")
	}
	secret = make([]byte, 32)
	rand.Read(secret)
	return secret, writeDurably(filepath.Join(v.dir, secretFile), secret)
}

func (v *Vault) readSecret() ([]byte, error) {
	path := filepath.Join(v.dir, secretFile)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("unit.key: %w", err)
	}
	if info.Mode() != 0o600 {
		return nil, fmt.Errorf("unit.key must be a file that only its owner may read, not %s", info.Mode())
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("unit.key: %w", err)
	}
	if len(secret) != 32 {
		return nil, errors.New("unit.key is not 32 bytes long")
	}
	return secret, nil
}

// writeDurably makes a file that is there whole or not at all.
func writeDurably(path string, content []byte) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory, or a file's content, survive a power failure.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
