package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"golang.org/x/sys/unix"

	"weir/internal/fair"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox/isolate"
	"weir/sandbox/seal"
	"weir/sandbox/sealfs"
	"weir/sandbox/wire"
)

// Intake is what an import found.
type Intake struct {
	Dataset    policy.Dataset
	State      policy.VersionState // whether it is served
	Weaker     []policy.Weakening  // why it waits
	Undeclared int                 // columns of the file that the manifest does not declare, which were left out
}

// Import is Intake on the word of whoever holds the vault: what was taken in is approved at once. The platform never
// imports so; the lab and tests do.
func (v *Vault) Import(ctx context.Context, manifestPath string) (policy.Dataset, error) {
	taken, err := v.Intake(ctx, manifestPath)
	if err != nil || taken.State == policy.VersionApproved {
		return taken.Dataset, err
	}
	_, err = v.Decide(ctx, policy.VersionDecision{
		Dataset: taken.Dataset.Name, Version: taken.Dataset.Version, State: policy.VersionApproved,
	})
	return taken.Dataset, err
}

// Intake takes the data set that a manifest describes into the vault, as its newest version. It is served at once if it
// is declared as strictly as the version that is served, and waits for a decision otherwise. What is wrong with the
// manifest or the file is a problem "intake.…" that names file, row and column, never a value. Whatever fails, nothing of
// it is visible and nothing is left.
func (v *Vault) Intake(ctx context.Context, manifestPath string) (Intake, error) {
	m, err := readManifest(manifestPath)
	if err != nil {
		return Intake{}, err
	}
	path := m.File
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(manifestPath), path)
	}
	input, err := openRegular(path)
	if err != nil {
		return Intake{}, problem.New("intake.no-file", "file", plain(filepath.Base(path))).Because(err)
	}
	defer input.Close()
	info, err := input.Stat()
	if err != nil {
		return Intake{}, fmt.Errorf("import: %w", err)
	}
	return v.takeAlone(ctx, m, sealfs.File{Content: input, Size: info.Size()})
}

// Receive is Intake of a data set that comes over a connection: the manifest's text, and then the content of the file
// that it names. Until it has been taken in, what came lies sealed under a key that is never written down, in a file
// without a name. An error of content is given as it is.
func (v *Vault) Receive(ctx context.Context, manifestText []byte, content io.Reader) (policy.Version, error) {
	m, err := parseManifest("manifest.yaml", manifestText)
	if err != nil {
		return policy.Version{}, err
	}
	file, err := os.CreateTemp(v.dir, incoming)
	if err != nil {
		return policy.Version{}, fmt.Errorf("receive: %w", err)
	}
	defer file.Close()
	if err := os.Remove(file.Name()); err != nil {
		return policy.Version{}, fmt.Errorf("receive: %w", err)
	}
	key, upload := seal.NewKey(), seal.Purpose("upload")
	if err := sealOnto(file, key, upload, contextReader{ctx, content}); err != nil {
		return policy.Version{}, fmt.Errorf("receive: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return policy.Version{}, fmt.Errorf("receive: %w", err)
	}
	whole, err := seal.Open(file, info.Size(), key, upload)
	if err != nil {
		return policy.Version{}, fmt.Errorf("receive: %w", err)
	}
	taken, err := v.takeAlone(ctx, m, sealfs.File{Content: whole, Size: whole.Size()})
	return policy.Version{Dataset: taken.Dataset, State: taken.State, Weaker: taken.Weaker}, err
}

// takeAlone takes a file in while nobody else changes the vault. Providers take turns: who sends one file waits for what
// is under way, and not for all that somebody else has sent.
func (v *Vault) takeAlone(ctx context.Context, m manifest, input sealfs.File) (Intake, error) {
	done, err := v.turns.Take(ctx, m.Provider)
	if errors.Is(err, fair.ErrFull) {
		return Intake{}, problem.New("intake.busy")
	}
	if err != nil {
		return Intake{}, fmt.Errorf("wait for a turn: %w", err)
	}
	defer done()
	unlock, err := v.lockPatiently(ctx)
	if errors.Is(err, errBusy) {
		return Intake{}, problem.New("intake.busy")
	}
	if err != nil {
		return Intake{}, err
	}
	defer unlock()
	return v.take(ctx, m, input)
}

// lockPatiently waits for another process that changes the vault, for as long as the vault is patient.
func (v *Vault) lockPatiently(ctx context.Context) (unlock func(), err error) {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(v.patience); ; {
		unlock, err = v.lock()
		if !errors.Is(err, errBusy) || !time.Now().Before(end) {
			return unlock, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// openRegular opens a file that is one: a pipe or a device would let its writer decide how long reading takes.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// take goes from the open file to the rows in the store. The order is the argument: the file is whole and durable
// under its final name before the rows say that it exists.
func (v *Vault) take(ctx context.Context, m manifest, input sealfs.File) (taken Intake, err error) {
	if err := v.step("make directory"); err != nil {
		return Intake{}, err
	}
	dir, err := os.MkdirTemp(v.dir, incoming)
	if err != nil {
		return Intake{}, fmt.Errorf("import: %w", err)
	}
	defer func() {
		if err != nil && !errors.Is(err, errCrash) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if m.Version, err = v.nextVersion(ctx, m.Name, m.Provider); err != nil {
		return Intake{}, err
	}
	row, key := version{Name: m.Name, Version: m.Version, Sealing: 1}, seal.NewKey()
	if err := v.step("parse"); err != nil {
		return Intake{}, err
	}
	before, err := served(ctx, v.db, m.Name)
	if err != nil {
		return Intake{}, err
	}
	found, err := v.parse(ctx, m, v.intake(m, before), input, func(content io.Reader) error {
		return sealInto(filepath.Join(dir, dataFile(row.Sealing)), key, row.purpose(), content)
	})
	if err != nil {
		return Intake{}, err
	}
	m.Rows, m.Hash = found.Rows, found.Hash
	for i := range m.Units {
		m.Units[i].Unique, m.Units[i].Most, m.Units[i].Totals = found.Units[i].Most == 1, found.Units[i].Most, found.Units[i].Totals
		m.Units[i].Hashed = true
		m.Units[i].RowCap, m.Units[i].Caps = policy.Cap(found.Units[i].Rows), map[string]policy.Cap{}
		for measure, c := range found.Units[i].Caps {
			m.Units[i].Caps[measure] = policy.Cap(c)
		}
	}
	for i := range m.Columns {
		m.Columns[i].Full = slices.Contains(found.Full, m.Columns[i].Name)
	}
	for i := range m.Columns {
		m.Columns[i].Present = found.Present[i]
	}
	if err := v.do("sync directory", func() error { return syncDir(dir) }); err != nil {
		return Intake{}, err
	}
	taken = Intake{Dataset: m.Dataset, Undeclared: found.Undeclared}
	if err := v.publish(ctx, m, row, key, dir, &taken); err != nil {
		return Intake{}, err
	}
	return taken, nil
}

// errCrash stands for the end of the process, in tests: nothing is cleaned up after it.
var errCrash = errors.New("crash")

// parse has a worker read the file into a database in its own memory, and hands the database to keep.
func (v *Vault) parse(ctx context.Context, m manifest, request *wire.Intake, input sealfs.File, keep func(io.Reader) error) (*wire.Taken, error) {
	room, err := memoryForFiles()
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	limits := v.limits.withFiles(room)
	cell := isolate.Cell{Mode: wire.ModeIntake, Limits: limits, Scratch: room}
	file := plain(filepath.Base(m.File))
	worker, err := spawn(ctx, v.executable, cell, input)
	if err != nil {
		return nil, asConfinementProblem(fmt.Errorf("import: %w", err))
	}
	defer worker.close()
	reply, err := worker.call(ctx, v.limits.Wall, wire.Request{Intake: request}, v.limits.Bytes)
	var fault *failure
	switch {
	case errors.As(err, &fault) && fault.Intake != nil:
		return nil, badFile(m, file, *fault.Intake)
	case err != nil:
		return nil, problem.New("intake.failed", "file", file).Because(err)
	case reply.Taken == nil || !plausible(*reply.Taken, len(m.Units), len(m.Columns), room):
		return nil, problem.New("intake.failed", "file", file).Because(errProtocol)
	}
	if err := worker.stream(ctx, v.limits.Wall, reply.Taken.Bytes, keep); err != nil {
		return nil, problem.New("intake.failed", "file", file).Because(err)
	}
	return reply.Taken, nil
}

// memoryForFiles is how much memory the database of one import may take: half of the machine's.
func memoryForFiles() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("ask for the machine's memory: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit) / 2, nil
}

// intake is what a worker is asked to do with the file that a manifest describes. before is the version that is served,
// nil where there is none: caps that were proposed for it hold on.
func (v *Vault) intake(m manifest, before *policy.Dataset) *wire.Intake {
	request := &wire.Intake{
		Format: m.format, Encoding: m.Encoding, Gzip: m.gzip, Read: m.Read.wire(), Output: isolate.InsideFolder + "/data", Secret: v.secret,
		Memory: v.limits.Memory, Threads: v.limits.Threads,
	}
	for _, c := range m.Columns {
		column := wire.IntakeColumn{Name: c.Name, Source: c.Source, Type: c.Type, Values: c.Values, Cap: c.Cap}
		column.Measure = c.IsMeasure()
		column.Total = column.Measure && exactNumber(c.Type)
		if c.Bound != nil {
			column.Min, column.Max = c.Bound.Min, c.Bound.Max
		}
		request.Columns = append(request.Columns, column)
	}
	for _, u := range m.Units {
		place := slices.IndexFunc(m.Columns, func(c policy.Column) bool { return c.Name == u.Key })
		request.Units = append(request.Units, wire.IntakeUnit{Domain: u.Domain, Column: place, Rows: u.Rows, Protect: string(u.Protection()), Held: heldCaps(u, before)})
	}
	return request
}

// heldCaps are the caps of a unit key that were proposed for the version that is served, and approved with it.
func heldCaps(u policy.Unit, before *policy.Dataset) map[string]float64 {
	held := map[string]float64{}
	if before == nil {
		return held
	}
	for _, was := range before.Units {
		if was.Domain != u.Domain || was.Key != u.Key {
			continue
		}
		if was.RowCap.Proposed {
			held[""] = was.RowCap.Most
		}
		for measure, c := range was.Caps {
			if c.Proposed {
				held[measure] = c.Most
			}
		}
	}
	return held
}

var contentHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// plausible reports whether a worker's account of what it took in is one at all.
func plausible(t wire.Taken, units, columns int, room int64) bool {
	for _, u := range t.Units {
		if u.Most < 1 || u.Most > t.Rows || u.Units < 1 || u.Units > t.Rows {
			return false
		}
		for _, total := range u.Totals {
			if !(total >= 0) {
				return false
			}
		}
		if !plausibleCap(u.Rows) {
			return false
		}
		for _, c := range u.Caps {
			if !plausibleCap(c) {
				return false
			}
		}
	}
	return t.Rows >= 1 && t.Bytes >= 1 && t.Bytes <= room && t.Undeclared >= 0 && len(t.Units) == units && len(t.Present) == columns && len(t.Quality) == columns && contentHash.MatchString(t.Hash)
}

func plausibleCap(c wire.Cap) bool {
	return c.Most > 0 && !math.IsInf(c.Most, 0) && c.Beyond >= 0 && c.Beyond <= 100
}

// exactNumber reports whether a column's numbers are whole or decimal, so that their sum does not depend on its order.
func exactNumber(sqlType string) bool {
	return strings.HasPrefix(sqlType, "DECIMAL(") || slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}, sqlType)
}

// faults are the kinds of fault that an intake may find in a file.
var faults = []string{
	"no-rows", "missing-column", "duplicate-header", "wrong-width", "quotes", "long-row", "encoding", "malformed",
	"unreadable", "wrong-type", "out-of-bounds", "not-listed", "empty-key",
	"encoding-unclear", "checksum", "total-row", "damaged-key", "no-sheet", "no-path",
}

// badFile makes a problem of what an intake found: the one fault, or all of them with how often each is there. The worker has
// read a foreign file, so nothing that it says is taken as it is.
func badFile(m manifest, file string, found wire.BadFile) *problem.Problem {
	first := oneFault(m, file, found)
	if found.Count <= 1 && len(found.More) == 0 {
		return first
	}
	all := []problem.Part{{Problem: first, Times: found.Count}}
	total := max(found.Count, 1)
	for _, more := range found.More[:min(len(found.More), maxParts)] {
		all = append(all, problem.Part{Problem: oneFault(m, file, more), Times: more.Count})
		total += max(more.Count, 1)
	}
	return problem.New("intake.faults", "file", file, "count", rowText(total)).With(all...)
}

// maxParts is the most kinds of fault that are told at once.
const maxParts = 200

// oneFault makes a problem of one kind of fault: the kind must be known, and the column must be a declared one.
func oneFault(m manifest, file string, found wire.BadFile) *problem.Problem {
	if !slices.Contains(faults, found.Kind) {
		found.Kind = "unreadable"
	}
	column, _ := m.Column(found.Column)
	code := "intake." + found.Kind
	if found.Kind == "unreadable" && found.Row > 0 {
		code = "intake.unreadable-row"
	}
	return problem.New(code, "file", file, "row", rowText(found.Row), "line", rowText(found.Line),
		"column", plain(column.Name), "type", column.Type)
}

// nextVersion numbers what comes in, and refuses another provider's name before the file is read. Both hold when the
// version is entered, or it is not; see enter.
func (v *Vault) nextVersion(ctx context.Context, name, provider string) (int, error) {
	if err := v.step("number version"); err != nil {
		return 0, err
	}
	if err := checkOwner(ctx, v.db, name, provider); err != nil {
		return 0, err
	}
	newest, err := newestVersion(ctx, v.db, name)
	return newest + 1, err
}

func newestVersion(ctx context.Context, db bun.IDB, name string) (newest int, err error) {
	err = db.NewSelect().Model((*version)(nil)).ColumnExpr("coalesce(max(version), 0)").Where("name = ?", name).Scan(ctx, &newest)
	if err != nil {
		return 0, fmt.Errorf("number version: %w", err)
	}
	return newest, nil
}

func (v *Vault) do(name string, f func() error) error {
	if err := v.step(name); err != nil {
		return err
	}
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// publish gives the file its final name and then enters it in the store. Where it fails before the row exists, the
// file goes again; where it cannot be known whether the row exists, the next OpenVault decides.
func (v *Vault) publish(ctx context.Context, m manifest, row version, key seal.Key, dir string, taken *Intake) (err error) {
	place := v.place(m.Name, m.Version)
	parent := filepath.Dir(place)
	defer func() {
		if err != nil && !errors.Is(err, errCrash) {
			err = errors.Join(err, v.takeBack(m, place))
		}
	}()
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"make place", func() error { return os.MkdirAll(parent, 0o700) }},
		{"rename", func() error { return os.Rename(dir, place) }},
		{"sync data set", func() error { return syncDir(parent) }},
		{"sync vault", func() error { return syncDir(v.dir) }},
		{"enter", func() error { return v.enter(ctx, m, row, key, taken) }},
	} {
		if err := v.do(s.name, s.do); err != nil {
			return err
		}
	}
	v.tell(ctx)
	return nil
}

// enter writes the version's row and its key's, both or neither. In the same transaction the name is claimed for the
// provider, the number is held to be the next one, and the declaration is compared with what is served: nothing can come
// between.
func (v *Vault) enter(ctx context.Context, m manifest, row version, key seal.Key, taken *Intake) error {
	var err error
	if row.Manifest, err = m.json(); err != nil {
		return err
	}
	row.Rows, row.Hash, row.TakenAt = m.Rows, m.Hash, time.Now().UTC()
	wrapped, err := v.keys.wrap(ctx, key, row.purpose())
	if err != nil {
		return err
	}
	return v.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := claim(ctx, tx, m.Name, m.Provider); err != nil {
			return err
		}
		newest, err := newestVersion(ctx, tx, m.Name)
		if err != nil {
			return err
		}
		if row.Version != newest+1 {
			return problem.New("intake.busy")
		}
		if taken.Weaker, err = review(ctx, tx, m.Dataset); err != nil {
			return err
		}
		row.State = policy.VersionApproved
		if len(taken.Weaker) > 0 {
			row.State = policy.VersionWaiting
		}
		taken.State = row.State
		if _, err := tx.NewInsert().Model(wrapped).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		return countChange(ctx, tx)
	})
}

// takeBack removes a version that certainly has no row. The caller's context may be what failed, so it is not used.
func (v *Vault) takeBack(m manifest, place string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	exists, err := v.db.NewSelect().Model((*version)(nil)).Where("name = ? AND version = ?", m.Name, m.Version).Exists(ctx)
	if err != nil || exists {
		return err
	}
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	err = os.Remove(filepath.Dir(place)) // only if this was its first version
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
