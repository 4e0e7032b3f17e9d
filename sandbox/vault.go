package sandbox

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"weir/internal/fair"
	"weir/internal/problem"
	"weir/internal/store"
	"weir/policy"
	"weir/sandbox/seal"
)

//go:embed migrations
var migrations embed.FS

// Vault keeps the data sets: a directory with a sealed database file for each version, and rows in the store for it
// and its key. A version exists when its row does; a file without one is a leftover. What a version holds is never
// changed; the newest that was approved is served, see Decide.
//
// Nothing of the data is on a disk in the clear, see docs/design/vault.md.
type Vault struct {
	dir        string
	db         *bun.DB
	keys       keyring
	executable string
	secret     []byte      // keys the hashes of units
	workspaces *Workspaces // nil: this vault keeps no tables
	limits     Limits
	aside      []string                // what was moved aside when it was opened
	turns      *fair.Queue             // of intakes in this process, by provider
	patience   time.Duration           // for which an intake waits for another process's
	step       func(name string) error // called before each step of a change; tests make it fail
}

// intakeLimits let one large file be taken in.
var intakeLimits = Limits{Memory: 1 << 30, CPU: time.Hour, Wall: time.Hour, Bytes: 1 << 20, Threads: 2}

// How many intakes of one provider wait for their turn, and how long one waits for another process's to end.
const (
	intakesWaiting = 4
	intakePatience = 10 * time.Minute
)

// version is a version of a data set in the store.
type version struct {
	bun.BaseModel `bun:"table:sandbox_versions"`

	Name     string `bun:",pk"`
	Version  int    `bun:",pk"`
	Rows     int64
	Hash     string
	Manifest string    // policy.Dataset as JSON
	TakenAt  time.Time `bun:",notnull"`
	Sealing  int       // which of its sealings is the version's file; 0: it lies in the clear

	State     policy.VersionState
	DecidedAt bun.NullTime
	Reason    string
}

// OpenVault opens the vault in dir, making it if need be, and moves aside what the store does not know, such as what was
// left behind by changes that did not come to their end. A store that is not the vault's own, or that is behind it, is
// refused before anything is touched. Data from before files were sealed is sealed now. executable is the worker program that parses what
// comes in. A master key that is not the vault's is the problem sandbox.wrong-master.
func OpenVault(ctx context.Context, dir string, db *bun.DB, executable string, master Master) (*Vault, error) {
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
	v := &Vault{
		turns: fair.New(1, 1, intakesWaiting), patience: intakePatience,
		dir: dir, db: db, keys: keyring{db, master}, executable: executable, limits: intakeLimits,
		step: func(string) error { return nil },
	}
	unlock, err := v.lock()
	if errors.Is(err, errBusy) {
		// Another process changes the vault: there is a secret then, and nothing to tidy up.
		if err := v.Sound(ctx); err != nil {
			return nil, err
		}
		v.secret, err = v.readSecret(ctx)
		return v, err
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := v.bind(ctx); err != nil {
		return nil, err
	}
	if v.secret, err = v.openSecret(ctx); err != nil {
		return nil, err
	}
	if err := v.sealOld(ctx); err != nil {
		return nil, err
	}
	if err := v.tidy(ctx); err != nil {
		return nil, fmt.Errorf("tidy vault: %w", err)
	}
	return v, nil
}

// Dataset gives the version of a data set that is served: the newest approved one. Where there are only others, that is
// the problem sandbox.not-approved.
func (v *Vault) Dataset(ctx context.Context, name string) (policy.Dataset, error) {
	served, err := served(ctx, v.db, name)
	if err != nil {
		return policy.Dataset{}, err
	}
	if served != nil {
		return *served, nil
	}
	exists, err := v.db.NewSelect().Model((*version)(nil)).Where("name = ?", name).Exists(ctx)
	if err != nil {
		return policy.Dataset{}, fmt.Errorf("read data set: %w", err)
	}
	if exists {
		return policy.Dataset{}, problem.New("sandbox.not-approved", "name", plain(name))
	}
	return policy.Dataset{}, problem.New("sandbox.unknown-dataset", "name", plain(name))
}

// Datasets gives the version that is served of every data set that has one, by name.
func (v *Vault) Datasets(ctx context.Context) ([]policy.Dataset, error) {
	var rows []version
	err := v.db.NewSelect().Model(&rows).Where("state = ?", policy.VersionApproved).Order("name", "version DESC").Scan(ctx)
	if err != nil {
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

// stored is the file of a version, open for reading.
type stored struct {
	*seal.Reader
	file *os.File
}

func (s *stored) Close() error { return s.file.Close() }

// open opens the file of an approved version. One that is not what was sealed for this version is a problem
// sandbox.broken-seal that names the data set.
func (v *Vault) open(ctx context.Context, name string, number int) (*stored, error) {
	var row version
	err := v.db.NewSelect().Model(&row).
		Where("name = ? AND version = ? AND state = ?", name, number, policy.VersionApproved).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("the vault holds no version %d of that data set that is approved", number)
	}
	if err != nil {
		return nil, fmt.Errorf("find version: %w", err)
	}
	if !datasetName.MatchString(name) {
		return nil, errors.New("the vault holds a data set that cannot be called so")
	}
	return v.openRow(ctx, row)
}

func (v *Vault) openRow(ctx context.Context, row version) (*stored, error) {
	return openSealed(ctx, v.keys, filepath.Join(v.place(row.Name, row.Version), dataFile(row.Sealing)), row.purpose(), row.Name)
}

// openSealed opens a sealed file that people know by a name.
func openSealed(ctx context.Context, keys keyring, path string, p seal.Purpose, name string) (*stored, error) {
	key, err := keys.open(ctx, p)
	if errors.Is(err, seal.ErrUnknownMaster) || errors.Is(err, seal.ErrUnavailable) {
		return nil, asMasterProblem(err)
	}
	if errors.Is(err, seal.ErrBroken) || errors.Is(err, errNoKey) {
		return nil, brokenSeal(name, err)
	}
	if err != nil {
		return nil, err
	}
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, problem.New("sandbox.missing-file", "name", plain(name)).Because(err)
	}
	if err != nil {
		return nil, brokenSeal(name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	reader, err := seal.Open(f, info.Size(), key, p)
	if err != nil {
		return nil, errors.Join(brokenSeal(name, err), f.Close())
	}
	return &stored{reader, f}, nil
}

// brokenSeal is the problem of a file that is not what was sealed under this name.
func brokenSeal(name string, cause error) error {
	return problem.New("sandbox.broken-seal", "name", plain(name)).Because(cause)
}

const (
	clearFile = "data.duckdb" // from before files were sealed
	clearKey  = "unit.key"    // likewise
	lockFile  = "lock"
	incoming  = "incoming-" // begins the name of an import's own directory; no data set is called so
)

// unitKey is the purpose of the key of units' hashes.
const unitKey seal.Purpose = "unit"

// dataFile is the name of a version's file in its directory.
func dataFile(sealing int) string {
	if sealing == 0 {
		return clearFile
	}
	return fmt.Sprintf("data.%d.sealed", sealing)
}

// purpose binds a file to the version and to which of its sealings it is.
func (r version) purpose() seal.Purpose {
	return seal.Purpose(fmt.Sprintf("dataset/%s/%d/%d", r.Name, r.Version, r.Sealing))
}

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

// openSecret reads the key of units' hashes, or makes it in a vault that holds nothing yet. A new key in a vault
// with data would silently part the units of old data from those of new.
func (v *Vault) openSecret(ctx context.Context) ([]byte, error) {
	secret, err := v.readSecret(ctx)
	if !errors.Is(err, errNoKey) {
		return secret, err
	}
	fresh := seal.NewKey()
	old, err := v.clearSecret()
	switch {
	case err == nil:
		fresh = old
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		count, err := v.db.NewSelect().Model((*version)(nil)).Count(ctx)
		if err != nil {
			return nil, fmt.Errorf("count versions: %w", err)
		}
		if count > 0 {
			return nil, errors.New("the vault holds data but the key of its units is missing")
		}
	}
	row, err := v.keys.wrap(ctx, fresh, unitKey)
	if err != nil {
		return nil, asMasterProblem(err)
	}
	if _, err := v.db.NewInsert().Model(row).Exec(ctx); err != nil {
		return nil, fmt.Errorf("keep the key of units: %w", err)
	}
	return fresh[:], nil
}

func (v *Vault) readSecret(ctx context.Context) ([]byte, error) {
	key, err := v.keys.open(ctx, unitKey)
	if err != nil {
		return nil, asMasterProblem(err)
	}
	return key[:], nil
}

// syncDir makes the names in a directory, or a file's content, survive a power failure.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// removeFile removes a file, or finds that it is gone.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
